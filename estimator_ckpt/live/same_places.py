"""What a checkpoint has at the places that live objects have among their own.

    found = SamePlaces(live, account)
    found.key_of["model/kernel/.ATTRIBUTES/VARIABLE_VALUE"]      # the key in the checkpoint
    found.offered(names)                                        # what is left to be told by name

Two graphs of objects tell best what is what: names that Keras numbers anew in each process don't.
"""

from __future__ import annotations

from collections.abc import Mapping

from estimator_ckpt.checkpoint.account import Account
from estimator_ckpt.live.objects import LiveObjects, offered_roles
from estimator_ckpt.naming.object_graph import ObjectGraph
from estimator_ckpt.naming.roles import Role


class SamePlaces:
    """The values that are at equal paths, where both sides have an object graph.

    Attributes:
      key_of: {key of a live value: key in the checkpoint}.
      apart: keys of live values of optimizers whose places hold something else there.
      pairs: {node of the live graph: node of the checkpoint's}; {} where one of the two roots is
        an attribute of the other side's, as of `Checkpoint(model=model)` and `model`.
    """

    def __init__(self, live: LiveObjects, account: Account, *, by_name: bool = False):
        """Compares the graphs.

        Args:
          live: the objects.
          account: of the checkpoint.
          by_name: whether places count for nothing, as names were given anew.
        """
        self._live, self._account = live, account
        self.pairs: dict[int, int] = {}
        self.key_of: dict[str, str] = {}
        self.apart: list[str] = []
        if account.graph is None or by_name:
            return
        self.pairs = live.graph.pairs(account.graph)
        found = live.graph.matches(account.graph, self.pairs)
        if not any(map(self._is_variable, found)):
            elsewhere = self._below_another_root(account.graph)
            if elsewhere:
                self.pairs, found = {}, elsewhere
        stored_as = {live.names[key]: account.name_of.get(there) for key, there in found.items()}
        for key, there in found.items():
            wanted = live.role(key)
            stored = account.roles.get(account.name_of.get(there, ""))
            owner = stored_as.get(wanted.of or "", wanted.of)
            if (
                stored is not None
                and wanted.is_of_optimizer
                and _play_different(wanted._replace(of=owner), stored)
            ):
                # In an optimizer of another kind, `_variables/1` is the learning rate in Keras 3,
                # and a slot in Keras 2.
                self.apart.append(key)
            else:
                self.key_of[key] = there

    def _is_variable(self, key: str) -> bool:
        return key in self._live.values and self._live.role(key).kind == "variable"

    def _below_another_root(self, graph: ObjectGraph) -> dict[str, str] | None:
        """Returns what matches where one root is a child of the other one, if only one place fits.

        There, all variables of the live objects have to be.
        """
        live = self._live
        wanted = set(filter(self._is_variable, live.values))
        starts = [{0: child} for child in graph.children_of(0).values()]
        starts += [{child: 0} for child in live.graph.children_of(0).values()]
        fitting = []
        for start in starts:
            found = live.graph.matches(graph, live.graph.pairs(graph, start))
            if wanted and wanted <= found.keys():
                fitting.append(found)
        return fitting[0] if len(fitting) == 1 else None

    def offered(self, names: Mapping[str, str]) -> dict[str, Role]:
        """Returns what the checkpoint offers by name; slots follow their variable along its path.

        Args:
          names: {new name: name in the checkpoint}.
        """
        live, account = self._live, self._account
        by_name = {live.names[key] for key in live.values if key not in self.key_of}
        owners = {
            account.name_of.get(stored): live.names[key]
            for key, stored in self.key_of.items()
            if live.role(key).kind == "variable" and account.name_of.get(stored) not in by_name
        }
        return {
            name: role._replace(of=owners[role.of]) if role.of in owners and role.of else role
            for name, role in offered_roles(account, names).items()
        }


def _play_different(wanted: Role, stored: Role) -> bool:
    """Returns whether two values of optimizers are known to play different parts."""
    if wanted.kind != stored.kind:
        return True
    if None not in (wanted.of, stored.of) and wanted.of != stored.of:
        return True
    known = wanted.meaning and stored.meaning
    return bool(known) and wanted.meaning != stored.meaning
