"""Where the values of live objects are in a checkpoint, for a target that has exactly their keys.

    found = find_sources(LiveObjects(model), account, names)
    found.sources["model/kernel/.ATTRIBUTES/VARIABLE_VALUE"]       # the key in the checkpoint

All that is missing or does not fit is in one error; optimizers' values that are not there are left
out, with a warning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from estimator_ckpt import naming
from estimator_ckpt.checkpoint.account import Account
from estimator_ckpt.checkpoint.fitting import misfit
from estimator_ckpt.conversion.added import Int32
from estimator_ckpt.errors import VariableMismatchError
from estimator_ckpt.live.objects import INT32, INTEGERS, LiveObjects
from estimator_ckpt.live.other_variables import from_others
from estimator_ckpt.live.same_places import SamePlaces
from estimator_ckpt.messages import listed, logger
from estimator_ckpt.naming.correspondence import Match
from estimator_ckpt.naming.object_graph import Leaf, ObjectGraph
from estimator_ckpt.naming.roles import Role

_log = logger(__name__)
_COUNTS = ("counter", "global_step")


@dataclass(frozen=True)
class FoundSources:
    """Where the values of live objects are in a checkpoint.

    Attributes:
      sources: {key of a live value: key in the checkpoint}.
      graph: the objects' graph, without the optimizers' values that were not found.
      added: {key of a live value: what the checkpoint has it not as it is for}.
      unused: {key in the checkpoint: why the objects have nothing for it}.
      notes: what was not found, and what is taken for what.
    """

    sources: Mapping[str, str]
    graph: ObjectGraph
    added: Mapping[str, int]
    unused: Mapping[str, str]
    notes: tuple[str, ...]


def find_sources(
    live: LiveObjects, account: Account, names: Mapping[str, str], *, by_name: bool = False
) -> FoundSources:
    """Finds the values of live objects in a checkpoint: by their places, else by name and role.

    Args:
      live: the objects.
      account: of the checkpoint.
      names: {new name: name in the checkpoint}.
      by_name: whether only names count.

    Returns:
      Where they are. Optimizers' values that are not there are left out, with a warning.

    Raises:
      VariableMismatchError: variables are not there, or have another shape or dtype.
    """
    places = SamePlaces(live, account, by_name=by_name)
    stored = {
        key: name
        for key, there in places.key_of.items()
        if (name := account.name_of.get(there, "")) in names and _may_be(live, key, account, name)
    }
    placed = {name for key, name in stored.items() if live.role(key).kind == "variable"}
    offered = places.offered({new: old for new, old in names.items() if new not in placed})
    matches = live.correspondences(offered, names, account)
    matches.update((key, Match(name)) for key, name in stored.items())
    sources: dict[str, str] = {}
    added: dict[str, int] = {}
    absent: list[str] = []
    lost: dict[str, str] = {}
    misfits: list[str] = []
    notes: list[str] = []
    for key, value in live.values.items():
        match = matches[key]
        if match.name is None and key == naming.SAVE_COUNTER_KEY:
            added[key] = 1
        elif match.name is None and live.role(key).is_of_optimizer:
            lost[key] = f"'{value.name or key}': {match.reason}"
        elif match.name is None:
            absent.append(f"'{value.name}' ({key}): {match.reason}")
        else:
            old = names[match.name]
            if match.reason:
                notes.append(f"'{value.name or key}' gets '{old}': {match.reason}")
            reason = misfit(account.entry(old), value.shape, value.dtype)
            if match.steps is not None:
                added[key] = _count_in(value.dtype, match.steps)
            elif reason is None or value.variable is None:
                sources[key] = account.origin(old, key)
            elif (count := _count_for(live, key, account, old)) is not None:
                added[key] = count
            else:
                misfits.append(f"'{value.name}' ({key}): {reason}, as '{old}'")
    if absent or misfits:
        raise VariableMismatchError(_unlike(absent, misfits))
    notes += _notes_on_others(live, account, places, sources)
    if lost:
        notes += [f"left out, its optimizer begins anew: {each}" for each in lost.values()]
        _log.warning(
            "The checkpoint has nothing for %d values of optimizers, which keep their own: %s",
            len(lost),
            listed(lost.values()),
        )
    graph = live.graph.without(lost)
    if naming.SAVE_COUNTER_KEY not in {*sources, *added}:
        # Without its node, assert_consumed() would miss it.
        graph = graph.with_leaves([Leaf((naming.SAVE_COUNTER,))])
    used = {account.entries[key] for key in sources.values()}
    unused = {
        key: _reason_unused(account.roles[name])
        for name, keys in account.keys_of.items()
        for key in keys
        if account.entries[key] not in used
    }
    if naming.SAVE_COUNTER_KEY in account.entries and naming.SAVE_COUNTER_KEY not in sources:
        unused[naming.SAVE_COUNTER_KEY] = _reason_unused(Role("save_counter"))
    if unused and live.unbuilt:
        notes.append(f"not built yet, and without variables: {listed(live.unbuilt)}")
    return FoundSources(sources, graph, added, unused, tuple(notes))


def _may_be(live: LiveObjects, key: str, account: Account, name: str) -> bool:
    """Returns whether what is at a value's place may be its own: another optimizer's has a place
    there, too, and mostly another shape.
    """
    value = live.values[key]
    if value.variable is None:
        return False
    is_slot = live.role(key).is_of_optimizer and live.role(key).kind not in _COUNTS
    return not is_slot or misfit(account.entry(name), value.shape, value.dtype) is None


def _notes_on_others(
    live: LiveObjects, account: Account, places: SamePlaces, sources: Mapping[str, str]
) -> list[str]:
    """Notes, and logs, what gets along its path what was saved from another variable."""
    wanted = {
        key: (value.name, live.role(key)) for key, value in live.values.items() if key in sources
    }
    at_places = {key: there for key, there in places.key_of.items() if key in sources}
    others = from_others(account, wanted, at_places)
    notes = [
        f"'{key}': it is '{name}' here, and was saved from '{saved}'"
        for key, (name, saved) in others.items()
    ]
    if notes:
        _log.warning("By their places among the objects, but look at: %s", listed(notes))
    return notes


def _count_for(live: LiveObjects, key: str, account: Account, old: str) -> int | None:
    """Returns a count of the checkpoint in the integer type of a counter here; or None."""
    value = live.values[key]
    if live.role(key).kind not in _COUNTS or value.dtype not in INTEGERS:
        return None
    count = account.integer(old)
    if count is None or (value.dtype == INT32 and count >= 1 << 31):
        return None
    return _count_in(value.dtype, count)


def _count_in(dtype: int | None, count: int) -> int:
    """Returns a count as a value of an integer type."""
    return Int32(count) if dtype == INT32 else count


def _reason_unused(role: Role) -> str:
    of = "" if role.of is None else f" of '{role.of}'"
    what = {"slot": f"slot{of} that holds it", "average": f"average{of}"}
    lacking = what.get(role.kind, f"{role.kind.replace('_', ' ')} for it")
    return f"the objects that it should be like have no {lacking}"


def _unlike(absent: list[str], misfits: list[str]) -> str:
    parts = []
    if absent:
        parts.append(
            f"the checkpoint lacks {len(absent)} variables of the objects that it should be like: "
            f"{listed(absent)}; give rename={{old: new}}"
        )
    if misfits:
        parts.append(f"{len(misfits)} variables don't fit: {listed(misfits)}")
    return "; ".join(parts)
