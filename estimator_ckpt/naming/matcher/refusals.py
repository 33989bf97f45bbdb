"""What corresponds only after its values are changed: refused, with the transformation needed.

    found = transposed(left_source, left_target)
    found += split_or_joined(left_source, left_target)

Each function returns what it recognized; the layers in it must not be mapped otherwise.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from estimator_ckpt.naming.matcher.layers import Layer
from estimator_ckpt.naming.matcher.names import by_name
from estimator_ckpt.naming.matcher.rows import NamedShape, Refusal
from estimator_ckpt.naming.matcher.shapes import (
    is_transposed,
    parts_of,
    same_bytes,
    squeezed,
    turned_order,
)
from estimator_ckpt.naming.transformations import Transpose

_PART = re.compile(r"(?P<whole>.+?)[/_]part_(?P<number>\d+)")
_MOST_PARTS = 64
_MOST_DIMENSIONS = 5


@dataclass(frozen=True)
class Recognized:
    """What is refused of some layers, and roles of them that can be mapped all the same.

    Attributes:
      kind: of the transformation that it takes, in a word.
      refusals: the lines of a map that would do it; one without lines, where that can't be told.
      sources: the layers that it is about.
      targets: the same on the other side.
      others: roles of the first of both that can be mapped.
    """

    kind: str
    refusals: tuple[Refusal, ...]
    sources: tuple[Layer, ...]
    targets: tuple[Layer, ...]
    others: tuple[tuple[str, str], ...] = ()


def if_all(
    lines: Sequence[Refusal], layers: Iterable[Layer], others: Iterable[str] = ()
) -> tuple[Refusal, ...]:
    """Returns the lines, if they are about each variable of the layers but these; else none."""
    covered = {name for each in lines for name in (*each.sources, *each.targets)}.union(others)
    every = {row.name for layer in layers for row in layer.rows.values()}
    return tuple(lines) if covered == every else ()


def refused(
    sources: Sequence[Layer],
    targets: Sequence[Layer],
    kind: str,
    reason: str,
    lines: tuple[Refusal, ...] = (),
) -> Recognized:
    """Returns what is refused of these layers, with the lines that do it or a word for it."""
    whole = (Refusal(_names(sources), _names(targets), kind, reason),)
    return Recognized(kind, lines or whole, tuple(sources), tuple(targets))


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
        yield refused(sources, targets, "transpose", reason)
        return
    others = tuple(
        (role, role)
        for role, row in sources[0].rows.items()
        if role in targets[0].rows and row is not one
        if same_bytes(row.shape, targets[0].rows[role].shape)
    )
    refusal = Refusal((one.name,), (other.name,), _transpose(one.shape, other.shape), reason)
    yield Recognized("transpose", (refusal,), (sources[0],), (targets[0],), others)


# How PyTorch has the kernels of convolutions, and the way back; where sizes are equal, these are
# meant.
_KNOWN_ORDERS = {
    turned_order(rank, way) for rank in range(2, _MOST_DIMENSIONS + 1) for way in (True, False)
}


def _transpose(one: Sequence[int], other: Sequence[int]) -> str:
    """The step that gives a shape the other's; in a word, where several do and none is usual."""
    if len(one) != len(other) or len(one) > _MOST_DIMENSIONS:
        return "transpose"
    orders = [
        axes
        for axes in itertools.permutations(range(len(one)))
        if all(one[axis] == size for axis, size in zip(axes, other))
    ]
    usual = [axes for axes in orders if axes in _KNOWN_ORDERS] or orders
    return str(Transpose(usual[0])) if len(usual) == 1 else "transpose"


def split_or_joined(sources: Sequence[Layer], targets: Sequence[Layer]) -> list[Recognized]:
    """Finds what is one on one side and several on the other: fused query, key and value."""
    found = _numbered_parts(sources, targets)
    used = {layer for each in found for layer in (*each.sources, *each.targets)}
    sources, targets = (
        [layer for layer in side if layer not in used] for side in (sources, targets)
    )
    for whole, parts in _wholes(sources, targets):
        reason = f"{list(whole.main.shape)} holds {len(parts)} of {list(parts[0].main.shape)}"
        found.append(refused([whole], parts, "split", reason, _lines_of_parts(whole, parts, True)))
    used = {layer for each in found for layer in (*each.sources, *each.targets)}
    left, right = ([layer for layer in side if layer not in used] for side in (sources, targets))
    for whole, parts in _wholes(right, left):
        reason = f"{list(whole.main.shape)} is {len(parts)} of {list(parts[0].main.shape)}"
        lines = _lines_of_parts(whole, parts, False)
        found.append(refused(parts, [whole], "concat", reason, lines))
    return found


def _numbered_parts(sources: Sequence[Layer], targets: Sequence[Layer]) -> list[Recognized]:
    """Finds what is saved as `emb/part_0`, `emb/part_1` and is one on the other side."""
    groups: dict[str, dict[int, Layer]] = {}
    for layer in sources:
        if len(layer.rows) == 1 and (part := _PART.fullmatch(layer.main.name)):
            groups.setdefault(part["whole"], {})[int(part["number"])] = layer
    found: list[Recognized] = []
    for whole, numbered in groups.items():
        parts = [numbered[number] for number in sorted(numbered)]
        shapes = [layer.main.shape for layer in parts]
        first = shapes[0][:1], {shape[1:] for shape in shapes}
        if sorted(numbered) != list(range(len(parts))) or not first[0] or len(first[1]) > 1:
            continue
        merged = (sum(shape[0] for shape in shapes), *shapes[0][1:])
        fitting = [layer for layer in targets if tuple(layer.main.shape) == merged]
        named = [layer for layer in fitting if layer.main.name == whole] or fitting
        if len(named) == 1 and len(named[0].rows) == 1 and len(parts) > 1:
            names, one = tuple(layer.main.name for layer in parts), named[0]
            reason = f"{list(merged)} is saved in {len(parts)} parts"
            line = Refusal(names, (one.main.name,), "concat(0)", reason)
            found.append(Recognized("concat", (line,), tuple(parts), (one,)))
    return found


def _lines_of_parts(whole: Layer, parts: Sequence[Layer], is_split: bool) -> tuple[Refusal, ...]:
    """The lines of a map that split one layer into others, or make one of them; or nothing."""
    lines: list[Refusal] = []
    for role, row in _roles_of_parts(whole, parts):
        rows = [part.rows.get(role, part.main) for part in parts]
        shapes = {tuple(each.shape) for each in rows}
        axes = [
            axis
            for axis, (size, part) in enumerate(zip(row.shape, rows[0].shape))
            if size != part and size == part * len(parts)
        ]
        if len(shapes) > 1 or len(axes) != 1 or len(row.shape) != len(rows[0].shape):
            return ()
        (axis,), size = axes, rows[0].shape[axes[0]]
        reason = f"{list(row.shape)} holds {len(parts)} of {list(rows[0].shape)}; check their order"
        names = tuple(each.name for each in rows)
        if is_split:
            lines += [
                Refusal(
                    (row.name,), (name,), f"split({axis}, {at * size}:{(at + 1) * size})", reason
                )
                for at, name in enumerate(names)
            ]
        else:
            lines.append(Refusal(names, (row.name,), f"concat({axis})", reason))
    return if_all(lines, (whole, *parts))


def _roles_of_parts(whole: Layer, parts: Sequence[Layer]) -> Iterator[tuple[str, NamedShape]]:
    for role, row in whole.rows.items():
        if row is whole.main or all(role in part.rows for part in parts):
            yield role, row


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
