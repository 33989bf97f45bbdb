"""Layers that look alike: what fits by roles and shapes, on both sides.

    classes = classes_of(source_layers, target_layers)
    classes[0].sources, classes[0].targets

What fits is no matter of names: a class is what shapes alone leave open.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from estimator_ckpt.naming.matcher.layers import Layer, Signature, fit


@dataclass(frozen=True)
class LookAlikes:
    """Layers of both sides each of which fits one of the other side."""

    sources: tuple[Layer, ...]
    targets: tuple[Layer, ...]


def classes_of(sources: Sequence[Layer], targets: Sequence[Layer]) -> list[LookAlikes]:
    """Returns the classes of look-alikes; what fits nothing on the other side is in none."""
    left, right = _by_signature(sources), _by_signature(targets)
    sizes: dict[int, list[Signature]] = {}
    for signature in right:
        sizes.setdefault(_size(signature), []).append(signature)
    groups = _Groups()
    for one in left:
        for other in sizes.get(_size(one), ()):
            if fit(one, other):
                groups.join((0, one), (1, other))
    return [
        LookAlikes(
            tuple(layer for side, each in members if side == 0 for layer in left[each]),
            tuple(layer for side, each in members if side == 1 for layer in right[each]),
        )
        for members in groups.members()
    ]


def _size(signature: Signature) -> int:
    return max(math.prod(shape) for _, shape, _ in signature)


def _by_signature(layers: Iterable[Layer]) -> dict[Signature, list[Layer]]:
    found: dict[Signature, list[Layer]] = {}
    for layer in layers:
        found.setdefault(layer.signature, []).append(layer)
    return found


Node = tuple[int, Signature]


class _Groups:
    """Disjoint sets."""

    def __init__(self) -> None:
        self._group: dict[Node, list[Node]] = {}

    def join(self, one: Node, other: Node) -> None:
        left = self._group.setdefault(one, [one])
        right = self._group.setdefault(other, [other])
        if left is not right:
            left.extend(right)
            for node in right:
                self._group[node] = left

    def members(self) -> list[list[Node]]:
        return list({id(group): group for group in self._group.values()}.values())
