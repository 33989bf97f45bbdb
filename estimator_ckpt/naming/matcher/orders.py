"""What the order of layers says: sequences of look-alikes are aligned, as `diff` aligns lines.

    found = alignments(source_layers, target_layers, class_of)
    found[0].candidates[layer]       # those of the target that it can be aligned with
    found[0].coverage                # 1.0: both orders are of one network

How much of two orders can be aligned tells which order to trust: that of creation, of a list such
as `model.weights`, or of the names with their numbers. A shuffled order aligns badly, unless all
layers look alike; how many other orders there could be is the weight of an alignment.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from estimator_ckpt.naming.matcher.layers import Layer

CREATED, LISTED, SORTED = "creation", "the list", "names"
_CONSISTENT, _TOGETHER, _COVERED = 0.95, 0.8, 0.9


@dataclass(frozen=True)
class Order:
    """The layers of one side in one order."""

    kind: str
    layers: tuple[Layer, ...]


@dataclass(frozen=True)
class Alignment:
    """Two orders, aligned.

    Attributes:
      source: the kind of the source's order.
      target: the kind of the target's order.
      coverage: how many layers are aligned, of those that could be.
      weight: the decimal logarithm of the number of different orders of these look-alikes.
      candidates: {layer of the source: layers that it is aligned with in a best alignment}.
    """

    source: str
    target: str
    coverage: float
    weight: float
    candidates: Mapping[Layer, tuple[Layer, ...]]

    @property
    def by_names(self) -> bool:
        """Whether an order is that of sorted names, which is no more than an order of words."""
        return SORTED in (self.source, self.target)

    @property
    def by_creation(self) -> bool:
        """Whether both orders are those of creation."""
        return self.source == self.target == CREATED


def alignments(
    source: Sequence[Layer], target: Sequence[Layer], class_of: Mapping[Layer, int]
) -> list[Alignment]:
    """Returns the best alignments of the orders of both sides: those of (nearly) most coverage."""
    source = [layer for layer in source if layer in class_of]
    target = [layer for layer in target if layer in class_of]
    counts = [Counter(class_of[layer] for layer in side) for side in (source, target)]
    common = {number: min(count, counts[1][number]) for number, count in counts[0].items()}
    possible = sum(common.values())
    if not possible:
        return []
    tried = []
    for one in orders_of(source):
        for other in orders_of(target):
            parts = _parts(one, other, class_of)
            length = sum(_length(*part) for part in parts)
            tried.append((length / possible, one, other, parts))
    best = max((coverage for coverage, *_ in tried), default=0.0)
    weight = _weight(common.values())
    return [
        Alignment(one.kind, other.kind, coverage, weight, _candidates(one, other, parts, class_of))
        for coverage, one, other, parts in tried
        if coverage >= best - 0.01
    ]


def _weight(counts: Collection[int]) -> float:
    different = math.lgamma(sum(counts) + 1) - sum(math.lgamma(count + 1) for count in counts)
    return different / math.log(10)


def orders_of(layers: Sequence[Layer]) -> list[Order]:
    """Returns the orders of one side that can be of a network that was built layer by layer."""
    found = []
    for kind, place in ((CREATED, "created"), (LISTED, "listed")):
        places = {
            layer: {role: getattr(row, place) for role, row in layer.rows.items()}
            for layer in layers
        }
        known = all(number is not None for each in places.values() for number in each.values())
        if known and _is_built(places):
            ordered = sorted(layers, key=lambda layer: min(places[layer].values()))
            found.append(Order(kind, tuple(ordered)))
    if all(order.kind != CREATED for order in found):
        by_name = sorted(layers, key=lambda layer: (layer.names[0].text, layer.key))
        found.append(Order(SORTED, tuple(by_name)))
    return found


def _is_built(places: Mapping[Layer, Mapping[str, int]]) -> bool:
    """Whether an order keeps the variables of a layer together, and in the same order in each."""
    ranks = {
        number: rank
        for rank, number in enumerate(
            sorted(n for each in places.values() for role, n in each.items() if _trained(role))
        )
    }
    # How often one role comes before, and after, another one in layers of a kind.
    directions: dict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0, 0])
    together = total = 0
    for layer, each in places.items():
        found = sorted((ranks[number], role) for role, number in each.items() if _trained(role))
        if len(found) > 1:
            total += 1
            together += found[-1][0] - found[0][0] == len(found) - 1
        for at, (_, role) in enumerate(found):
            for _, other in found[at + 1 :]:
                one, two = sorted((role, other))
                directions[layer.kind, one, two][one == role] += 1
    agreeing = sum(max(counts) for counts in directions.values())
    pairs = sum(map(sum, directions.values()))
    return together >= _TOGETHER * total and agreeing >= _CONSISTENT * pairs


def _trained(role: str) -> bool:
    return role not in ("mean", "variance")


Part = tuple[list[Layer], list[Layer], list[int], list[int]]


def _parts(one: Order, other: Order, class_of: Mapping[Layer, int]) -> list[Part]:
    """What is aligned: all layers at once, or, sorted by name, each kind of layers by itself."""
    apart = SORTED in (one.kind, other.kind)
    both = (*one.layers, *other.layers)
    kinds = _kinds(both, class_of) if apart else {class_of[layer]: "" for layer in both}
    parts = []
    for kind in sorted(set(kinds.values())):
        sides = [
            [layer for layer in order.layers if kinds[class_of[layer]] == kind]
            for order in (one, other)
        ]
        symbols = [[class_of[layer] for layer in side] for side in sides]
        parts.append((sides[0], sides[1], symbols[0], symbols[1]))
    return parts


def _kinds(layers: Iterable[Layer], class_of: Mapping[Layer, int]) -> dict[int, str]:
    """The kind of a class: the roles that all of it has, or else what sort of layers it is of."""
    roles: dict[int, set[tuple[str, ...]]] = defaultdict(set)
    kinds: dict[int, str] = {}
    for layer in layers:
        roles[class_of[layer]].add(tuple(sorted(layer.rows)))
        kinds.setdefault(class_of[layer], layer.kind)
    # Where a layer has a bias on one side only, no kind is divided by having one.
    uneven = {kinds[number] for number, found in roles.items() if len(found) > 1}
    return {
        number: kind if kind in uneven else f"{kind} {next(iter(roles[number]))}"
        for number, kind in kinds.items()
    }


def _is_covered(one: list[int], other: list[int]) -> bool:
    """Whether enough of what could be aligned is aligned."""
    counts = Counter(one) & Counter(other)
    return _length([], [], one, other) >= _COVERED * sum(counts.values())


def _length(_: list[Layer], __: list[Layer], one: list[int], other: list[int]) -> int:
    """The length of the longest common subsequence, a row of the table as the bits of a number."""
    where: dict[int, int] = defaultdict(int)
    for place, symbol in enumerate(other):
        where[symbol] |= 1 << place
    everything = (1 << len(other)) - 1
    row = everything
    for symbol in one:
        matches = row & where[symbol]
        row = ((row + matches) | (row - matches)) & everything
    return len(other) - bin(row).count("1")


def _candidates(
    one: Order, other: Order, parts: Sequence[Part], class_of: Mapping[Layer, int]
) -> dict[Layer, tuple[Layer, ...]]:
    """For each layer of the source, its partners in any of the longest common subsequences."""
    found = {}
    for left, right, symbols, others in parts:
        if not _is_covered(symbols, others):
            continue
        before = _table(symbols, others)
        after = _table(symbols[::-1], others[::-1])
        rows, columns, best = len(symbols), len(others), before[-1][-1]
        places = defaultdict(list)
        for place, symbol in enumerate(others):
            places[symbol].append(place)
        for row, symbol in enumerate(symbols):
            lengths, rest = before[row], after[rows - row - 1]
            partners = [
                right[column]
                for column in places[symbol]
                if lengths[column] + 1 + rest[columns - column - 1] == best
            ]
            if partners:
                found[left[row]] = tuple(partners)
    return found


def _table(one: Sequence[int], other: Sequence[int]) -> list[list[int]]:
    """The lengths of the longest common subsequences of all beginnings."""
    table = [[0] * (len(other) + 1)]
    for symbol in one:
        above, row, left = table[-1], [0], 0
        for column, each in enumerate(other):
            left = above[column] + 1 if each == symbol else max(above[column + 1], left)
            row.append(left)
        table.append(row)
    return table


def neighbours(
    order: Order, class_of: Mapping[Layer, int], attached: bool = True
) -> Callable[[Layer, Layer], bool]:
    """Returns a function that says whether an order can't tell two look-alikes from each other.

    It can't if they are close together, or if what is around them looks alike. A normalization is
    told from another by the layer that it is attached to, where the order is one of layers.
    """
    layers: list[Layer] = []
    places: dict[Layer, int] = {}
    held: dict[Layer, Layer] = {}
    for layer in order.layers:
        # A normalization or a bias is where the layer before it is.
        if layers and ("norm" in layer.kind or layer.kind == "bias"):
            places[layer] = len(layers) - 1
            held[layer] = layers[-1]
        else:
            places[layer] = len(layers)
            layers.append(layer)
    around = {
        layer: tuple(class_of.get(near) for near in layers[max(0, at - 2) : at + 3])
        for layer, at in places.items()
    }

    def alike(one: Layer, other: Layer) -> bool:
        left, right = held.get(one), held.get(other)
        if left is not None or right is not None:
            if not attached:
                return True
            if left is None or right is None or class_of.get(left) != class_of.get(right):
                return False
        close = abs(places[one] - places[other]) <= 4
        return close or around[one] == around[other]

    return alike
