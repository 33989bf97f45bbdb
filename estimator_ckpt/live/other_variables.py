"""Tells which live values would get, along their paths, what was saved from other variables.

others = from_others(account, {"layers/0/...": ("b", VARIABLE)}, {"layers/0/...": key})
others["layers/0/..."]                                             # ("b", "a")
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from estimator_ckpt.checkpoint.account import Account
from estimator_ckpt.naming.likeness import mixed_up
from estimator_ckpt.naming.roles import Role

_NUMBER_WITHIN = re.compile(r"_\d+(?=_|$)")


def from_others(
    account: Account, wanted: Mapping[str, tuple[str, Role]], sources: Mapping[str, str]
) -> dict[str, tuple[str, str]]:
    """Finds what would get, along its path, the value of another variable.

    Args:
      account: of the checkpoint.
      wanted: {key of a live value: (its name-based name, its role)}.
      sources: {key of a live value: key in the checkpoint at the same place}.

    Returns:
      {key of a live value: (its name, the name that the other was saved by)}.
    """
    full_names = {} if account.graph is None else account.graph.full_names
    saved = {
        key: _comparable(name, account.roles.get(account.name_of.get(key, "")))
        for key, name in full_names.items()
    }
    pairs = {
        key: (_comparable(name, role), saved.get(sources.get(key, ""), ""))
        for key, (name, role) in wanted.items()
    }
    used = set(sources.values())
    left = [("", name) for key, name in saved.items() if key not in used]
    others = mixed_up([*pairs.values(), *left])
    return {
        key: (wanted[key][0], full_names[sources[key]])
        for key, pair in pairs.items()
        if pair in others
    }


def _comparable(name: str, role: Role | None) -> str:
    """Returns a name as `mixed_up` takes it: as it is, or for an optimizer's value in one part.

    Keras 3 calls a slot `adam/net_dense_1_kernel_momentum`, where scopes can't be told apart.
    """
    if role is None or not role.is_of_optimizer:
        return name
    return _NUMBER_WITHIN.sub("", name.replace("/", "_"))
