"""Turns what was found about layers into a proposal, variable by variable.

    collected(found, (source, target), (states, target_states)).unmapped_source

Nothing is left out: what is not mapped, asked or refused is unmapped, and says why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from estimator_ckpt.naming.matcher.layers import Layer
from estimator_ckpt.naming.matcher.questions import row_pairs
from estimator_ckpt.naming.matcher.refusals import Recognized
from estimator_ckpt.naming.matcher.rows import (
    CERTAIN,
    LIKELY,
    PINNED,
    SAME_VALUES,
    NamedShape,
    Pair,
    Proposal,
    Question,
    Refusal,
    Unmapped,
)
from estimator_ckpt.naming.matcher.shapes import same_bytes
from estimator_ckpt.naming.matcher.words import role_of, slashed
from estimator_ckpt.naming.transformations import Reshape

Sides = tuple[Mapping[str, NamedShape], Mapping[str, NamedShape]]
States = tuple[Mapping[str, str], Mapping[str, str]]


@dataclass(frozen=True)
class Found:
    """What was found.

    Attributes:
      pins: {source: target} that were given.
      same_values: {source: target} of those that have the same values, and no other ones do.
      decided: layers of both sides that correspond, how sure that is, and why.
      questions: what is asked.
      recognized: what is refused.
    """

    pins: Mapping[str, str]
    same_values: Mapping[str, str]
    decided: Sequence[tuple[Layer, Layer, str, str]]
    questions: Sequence[Question]
    recognized: Sequence[Recognized]


def collected(found: Found, sides: Sides, states: States) -> Proposal:
    """Returns the proposal, variable by variable.

    Args:
      found: what was found about layers.
      sides: {name: variable} of the source and of the target.
      states: {name: reason} of what is no weight, of both sides.
    """
    source, target = sides
    pairs = {one: (other, CERTAIN, SAME_VALUES) for one, other in found.same_values.items()}
    pairs.update({one: (other, CERTAIN, PINNED) for one, other in found.pins.items()})
    taken = {other for other, _, _ in pairs.values()}
    for layer, other_layer, confidence, reason in found.decided:
        for one, other in row_pairs(layer, other_layer):
            if one not in pairs and other not in taken:
                pairs[one] = (other, confidence, reason)
    for each in found.recognized:
        for mine, theirs in each.others:
            one, other = each.sources[0].rows[mine].name, each.targets[0].rows[theirs].name
            if one not in pairs and other not in taken:
                pairs[one] = (other, LIKELY, "of the same layer as what has to be changed")
    refused = [refusal for each in found.recognized for refusal in each.refusals]
    open_lines: list[Question | Refusal] = [*found.questions, *refused]
    free = (
        source.keys()
        - states[0].keys()
        - pairs.keys()
        - {name for each in open_lines for name in each.sources},
        target.keys()
        - states[1].keys()
        - {other for other, _, _ in pairs.values()}
        - {name for each in open_lines for name in each.targets},
    )
    for one, other in _biases_above([each[:2] for each in found.decided], sides, free):
        pairs[one] = (other, LIKELY, "the only bias of its shape in the scope above its kernel")
    for one, (other, _, _) in list(pairs.items()):
        dtypes = source[one].dtype, target[other].dtype
        if dtypes[0] != dtypes[1] and one not in found.pins:
            del pairs[one]
            made = [f"cast({dtypes[1]})"]
            if reshaped := _reshaped(source[one], target[other]):
                made.append(str(Reshape(reshaped)))
            why = f"{dtypes[0]} is not {dtypes[1]}"
            refused.append(Refusal((one,), (other,), ", ".join(made), why))
    return _sorted(pairs, found.questions, refused, sides, states)


def _biases_above(
    decided: Sequence[tuple[Layer, Layer]], sides: Sides, free: tuple[set[str], set[str]]
) -> list[tuple[str, str]]:
    """Finds biases that lie one scope above their kernel on one side, as in a linear model."""
    found = []
    for mine in (0, 1):
        above: dict[tuple[str, tuple[int, ...]], list[str]] = {}
        for name in sorted(free[mine]):
            scope, _, leaf = slashed(name).rpartition("/")
            if scope and role_of(leaf) == ("bias", ""):
                above.setdefault((scope, tuple(sides[mine][name].shape)), []).append(name)
        claims: dict[str, list[str]] = {}
        for pair in decided if above else ():
            layer, bias = pair[mine], pair[1 - mine].rows.get("bias")
            if bias is None or bias.name not in free[1 - mine] or "bias" in layer.rows:
                continue
            parent = slashed(layer.main.name).rpartition("/")[0].rpartition("/")[0]
            names = above.get((parent, tuple(bias.shape)), [])
            if len(names) == 1:
                claims.setdefault(names[0], []).append(bias.name)
        for name, others in claims.items():
            if len(others) == 1:
                found.append((others[0], name) if mine else (name, others[0]))
    return found


def _sorted(
    pairs: Mapping[str, tuple[str, str, str]],
    asked: Sequence[Question],
    refused: Sequence[Refusal],
    sides: Sides,
    states: States,
) -> Proposal:
    source, target = sides
    places = {
        name: (row.listed is None, row.listed or 0, row.created or 0, name)
        for name, row in target.items()
    }
    mapped = tuple(
        Pair(
            one,
            other,
            confidence,
            reason,
            reshaped=_reshaped(source[one], target[other]),
            also=target[other].second_name or "",
        )
        for one, (other, confidence, reason) in sorted(
            pairs.items(), key=lambda item: places[item[1][0]]
        )
    )
    used, reached = set(pairs), {each.target for each in mapped}
    for sources, targets in [
        *((each.sources, each.targets) for each in asked),
        *((each.sources, each.targets) for each in refused),
    ]:
        used.update(sources)
        reached.update(targets)
    return Proposal(
        mapped=mapped,
        questions=tuple(asked),
        refusals=tuple(refused),
        unmapped_source=_unmapped(sides, (used, reached), states, "target"),
        unmapped_target=_unmapped(sides[::-1], (reached, used), states[::-1], "source"),
    )


def _reshaped(one: NamedShape, other: NamedShape) -> tuple[int, ...] | None:
    return None if tuple(one.shape) == tuple(other.shape) else tuple(other.shape)


def _unmapped(
    sides: Sides, used: tuple[set[str], set[str]], states: States, side: str
) -> tuple[Unmapped, ...]:
    """Says why the rest of the first of two sides is not mapped; `side` is the other's name."""
    rows, others = sides
    shapes = {tuple(row.shape) for row in others.values()}
    free = {
        tuple(row.shape)
        for name, row in others.items()
        if name not in used[1] and name not in states[1]
    }
    found = []
    for name, row in sorted(rows.items()):
        if name in used[0]:
            continue
        reason = states[0].get(name)
        if reason is None and any(same_bytes(row.shape, shape) for shape in free):
            reason = (
                f"what fits its shape in the {side} is not mapped either: no name, order or role "
                "tells that it is this one; pin it if it is"
            )
        elif reason is None and any(same_bytes(row.shape, shape) for shape in shapes):
            reason = f"what fits its shape in the {side} belongs to other layers"
        elif reason is None:
            reason = f"the {side} has nothing of its shape {list(row.shape)}"
        found.append(Unmapped(name, reason))
    return tuple(found)
