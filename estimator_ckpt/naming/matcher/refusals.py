"""What corresponds only after its values are changed: refused, with the transformation needed.

    found = recurrent(source_layers, target_layers)     # cells with other gates
    found += transposed(left_source, left_target)
    found += split_or_joined(left_source, left_target)

Each function returns what it recognized; the layers in it must not be mapped otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from estimator_ckpt.naming.matcher.layers import Layer, fit
from estimator_ckpt.naming.matcher.names import by_name
from estimator_ckpt.naming.matcher.rows import Refusal
from estimator_ckpt.naming.matcher.shapes import is_transposed, parts_of, same_bytes, squeezed

_CELL = re.compile(r"lstm|gru|rnn|cell", re.IGNORECASE)
_MOST_PARTS = 64


@dataclass(frozen=True)
class Recognized:
    """A refusal, the layers that it is about, and roles of them that can be mapped all the same."""

    refusal: Refusal
    sources: tuple[Layer, ...]
    targets: tuple[Layer, ...]
    others: tuple[tuple[str, str], ...] = ()


def recurrent(sources: Sequence[Layer], targets: Sequence[Layer]) -> list[Recognized]:
    """Finds cells that hold one matrix on one side, and an input's and a state's on the other."""
    found = _recurrent(sources, targets, _refused)
    return found + _recurrent(targets, sources, lambda s, t, *why: _refused(t, s, *why))


def _recurrent(
    fused: Sequence[Layer],
    parted: Sequence[Layer],
    make: Callable[..., Recognized],
) -> list[Recognized]:
    wanted: dict[tuple[int, int, int], list[Layer]] = {}
    for layer in parted:
        if {"kernel", "recurrent"} <= layer.rows.keys():
            if any(fit(other.signature, layer.signature) for other in fused):
                continue
            inputs, units = layer.rows["kernel"].shape[0], layer.rows["recurrent"].shape[0]
            gates = layer.rows["recurrent"].shape[-1] // max(units, 1)
            wanted.setdefault((inputs, units, gates), []).append(layer)
    found = []
    for (inputs, units, gates), layers in wanted.items():
        widths = {4: (4,), 3: (1, 2), 1: (1,)}.get(gates, ())
        shapes = {(inputs + units, width * units) for width in widths}
        others = [
            other
            for other in fused
            if tuple(other.main.shape) in shapes and _is_cell(other, gates, parted)
        ]
        if others:
            why = f"one matrix for {inputs} inputs and {units} units on one side, two on the other"
            gate = {
                4: "; gates i, j, f, o become i, f, c, o, and forget_bias is added to the bias",
                3: "; gates r, u and the candidate become z, r, h",
            }.get(gates, "")
            found.append(make(others, layers, "split, gates" if gate else "split", why + gate))
    return found


def _is_cell(layer: Layer, gates: int, others: Iterable[Layer]) -> bool:
    if any(_CELL.search(part) for part in layer.key):
        return True
    return gates == 4 and not any(fit(layer.signature, other.signature) for other in others)


def _refused(
    sources: Sequence[Layer], targets: Sequence[Layer], transformation: str, reason: str
) -> Recognized:
    refusal = Refusal(_names(sources), _names(targets), transformation, reason)
    return Recognized(refusal, tuple(sources), tuple(targets))


def _names(layers: Iterable[Layer]) -> tuple[str, ...]:
    return tuple(row.name for layer in layers for row in layer.rows.values())


def transposed(sources: Sequence[Layer], targets: Sequence[Layer]) -> list[Recognized]:
    """Finds what has the same dimensions in a different order, among what is left."""
    found: list[Recognized] = []
    for left, right in _alike(sources, targets, lambda shape: tuple(sorted(shape))):
        named = by_name([(left, right)], {}).named if len(left) == len(right) else {}
        pairs = {source: each.target for source, each in named.items()}
        for source, target in pairs.items():
            found += _transposed([source], [target])
        rest = [layer for layer in left if layer not in pairs]
        found += _transposed(rest, [layer for layer in right if layer not in pairs.values()])
    return found


def _transposed(sources: list[Layer], targets: list[Layer]) -> Iterator[Recognized]:
    if not sources or not targets:
        return
    one, other = sources[0].main, targets[0].main
    if not is_transposed(one.shape, other.shape):
        return
    reason = f"{list(one.shape)} is the transpose of {list(other.shape)}"
    if len(sources) > 1 or len(targets) > 1:
        yield _refused(sources, targets, "transpose", reason)
        return
    others = tuple(
        (role, role)
        for role, row in sources[0].rows.items()
        if role in targets[0].rows and row is not one
        if same_bytes(row.shape, targets[0].rows[role].shape)
    )
    refusal = Refusal((one.name,), (other.name,), "transpose", reason)
    yield Recognized(refusal, (sources[0],), (targets[0],), others)


def split_or_joined(sources: Sequence[Layer], targets: Sequence[Layer]) -> list[Recognized]:
    """Finds what is one on one side and several on the other: fused query, key and value."""
    found = []
    for whole, parts in _wholes(sources, targets):
        reason = f"{list(whole.main.shape)} holds {len(parts)} of {list(parts[0].main.shape)}"
        found.append(_refused([whole], parts, "split", reason))
    used = {layer for each in found for layer in (*each.sources, *each.targets)}
    left, right = ([layer for layer in side if layer not in used] for side in (sources, targets))
    for whole, parts in _wholes(right, left):
        reason = f"{list(whole.main.shape)} is {len(parts)} of {list(parts[0].main.shape)}"
        found.append(_refused(parts, [whole], "concat", reason))
    return found


def _wholes(wholes: Sequence[Layer], parts: Sequence[Layer]) -> Iterator[tuple[Layer, list[Layer]]]:
    left, right = (_by_shape(side, lambda shape: shape) for side in (wholes, parts))
    used: set[tuple[int, ...]] = set()
    for shape, ones in left.items():
        for other, others in right.items():
            count = parts_of(shape, other)
            if other in used or not 1 < count <= _MOST_PARTS or len(others) != count * len(ones):
                continue
            used.add(other)
            ones, others = (sorted(side, key=_built) for side in (ones, others))
            for at, one in enumerate(ones):
                yield one, others[at * count : (at + 1) * count]
            break


def _built(layer: Layer) -> tuple[object, ...]:
    created = [row.created for row in layer.rows.values() if row.created is not None]
    return (min(created, default=0), layer.names[0].text, layer.key)


Key = Callable[[tuple[int, ...]], tuple[int, ...]]


def _by_shape(layers: Iterable[Layer], key: Key) -> dict[tuple[int, ...], list[Layer]]:
    found: dict[tuple[int, ...], list[Layer]] = {}
    for layer in layers:
        shape = squeezed(layer.main.shape)
        if len(shape) >= 2:
            found.setdefault(key(shape), []).append(layer)
    return found


def _alike(
    sources: Sequence[Layer], targets: Sequence[Layer], key: Key
) -> Iterator[tuple[list[Layer], list[Layer]]]:
    left, right = _by_shape(sources, key), _by_shape(targets, key)
    for shape, layers in left.items():
        if shape in right:
            yield layers, right[shape]
