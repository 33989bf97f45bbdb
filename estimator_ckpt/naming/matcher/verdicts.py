"""Weighs what orders and names say about one layer, and says how sure that is.

    orders = OrderEvidence(source_layers, target_layers, class_of)
    verdict = judged(layer, named, cell, orders)
    verdict.target, verdict.confidence, verdict.reason       # confidence None: to be asked

Certain is what is the only choice by its shape, or what names say and no trusted order denies.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from estimator_ckpt.naming.matcher.layers import Layer
from estimator_ckpt.naming.matcher.names import COUNTED, NUMBERS, REST, WORDS, Cell, Named
from estimator_ckpt.naming.matcher.orders import (
    CREATED,
    LISTED,
    SORTED,
    Alignment,
    alignments,
    neighbours,
    orders_of,
)
from estimator_ckpt.naming.matcher.rows import CERTAIN, LIKELY

_TELLING, _STRONG, _WHOLE = 3.0, 6.0, 0.995


@dataclass(frozen=True)
class Verdict:
    """What is said about a layer of the source.

    Attributes:
      target: the layer of the target, or None.
      confidence: `certain`, `likely`, or None where it has to be asked.
      reason: what speaks for it, or against any answer.
    """

    target: Layer | None
    confidence: str | None
    reason: str


class OrderEvidence:
    """What the orders of both sides say.

    Args:
      sources: layers of the source.
      targets: layers of the target.
      class_of: {layer: number of its look-alikes}.
    """

    def __init__(
        self,
        sources: Sequence[Layer],
        targets: Sequence[Layer],
        class_of: Mapping[Layer, int],
    ):
        self.alignments = alignments(sources, targets, class_of)
        aligned = [layer for layer in sources if layer in class_of]
        orders = orders_of(aligned)
        self.by_names = any(each.by_names for each in self.alignments)
        self.sorted_sides = (
            any(each.source == SORTED and each.coverage < _WHOLE for each in self.alignments),
            any(each.target == SORTED and each.coverage < _WHOLE for each in self.alignments),
        )
        self._cells: dict[int, tuple[Cell, dict[Layer, set[Layer] | None]]] = {}
        self.close = neighbours(orders[0], class_of, attached=not self.by_names)
        kinds = {(each.source, each.target) for each in self.alignments}
        both = {(CREATED, CREATED), (CREATED, LISTED)} <= kinds
        weight = max((each.weight for each in self.alignments), default=0.0)
        # Either the shapes tell that an order is right, or all orders that are known agree.
        self.telling = weight >= _TELLING
        self.usable = self.telling or both
        self.strong = [
            each
            for each in self.alignments
            if each.by_creation and each.coverage == 1.0 and each.weight >= _STRONG
        ]

    def partners(self, layer: Layer, among: Collection[Layer]) -> set[Layer] | None:
        """Returns what all trusted orders allow, or None where they say nothing."""
        found = None
        allowed = among if isinstance(among, (set, frozenset)) else frozenset(among)
        for each in self.alignments:
            candidates = each.candidates.get(layer)
            if candidates:
                found = (allowed if found is None else found).intersection(candidates)
        return None if found is None else set(found)

    def partners_in(self, cell: Cell) -> dict[Layer, set[Layer] | None]:
        """Returns what `partners` says of each layer of a cell; worked out once a cell."""
        known = self._cells.get(id(cell))
        if known is None:
            allowed = frozenset(cell.targets)
            found = {layer: self.partners(layer, allowed) for layer in cell.sources}
            # The cell is kept, so that no other one gets its id.
            known = self._cells[id(cell)] = (cell, found)
        return known[1]

    def partner(self, layer: Layer, among: Collection[Layer]) -> Layer | None:
        """Returns the one partner that all trusted orders allow, or None."""
        return _only(self.partners(layer, among))

    def confirms(self, layer: Layer, target: Layer, among: Collection[Layer]) -> bool:
        """Returns whether orders that tell something lead to the same partner."""
        return self.telling and self.partner(layer, among) is target

    def denies(self, layer: Layer, target: Layer) -> bool:
        """Returns whether an order of layers, not of sorted names, leads to other partners only."""
        found = [each.candidates.get(layer) for each in self.alignments if not each.by_names]
        return self.telling and any(some and target not in some for some in found)

    def unlike(self, layer: Layer, target: Layer) -> bool:
        """Returns whether both orders of creation are known, and lead to other partners only."""
        found = [each.candidates.get(layer) for each in self.alignments if each.by_creation]
        return any(some and target not in some for some in found)

    def best(self) -> list[Alignment]:
        """Returns the trusted alignments."""
        return self.alignments


def judged(layer: Layer, named: Named | None, cell: Cell, orders: OrderEvidence) -> Verdict:
    """Returns the verdict on a layer of the source that has look-alikes.

    Args:
      layer: of the source.
      named: its partner by name, if names say one.
      cell: the layers among which names leave the choice.
      orders: what orders say.
    """
    if named is not None:
        return _judged_by_name(layer, named, cell, orders)
    return _judged_by_order(layer, cell, orders)


def _judged_by_name(layer: Layer, named: Named, cell: Cell, orders: OrderEvidence) -> Verdict:
    target, among = named.target, _everyone(orders, layer)
    denied = orders.denies(layer, target)
    if named.by == REST:
        if denied:
            return Verdict(None, None, "what names leave and what the order says differ")
        sure = orders.confirms(layer, target, among)
        return Verdict(target, CERTAIN if sure else LIKELY, "the others' names are taken")
    sure = orders.confirms(layer, target, among)
    if not named.clear:
        if denied or orders.unlike(layer, target):
            return Verdict(None, None, "their names and the order differ")
        return Verdict(target, CERTAIN if sure else LIKELY, "names, though words differ, too")
    if named.by == COUNTED:
        if denied:
            return _judged_by_order(layer, cell, orders)
        same = layer.names == target.names
        return Verdict(target, CERTAIN if sure and same else LIKELY, "counted alike")
    if named.by != WORDS:
        sure = not denied and (sure or (named.by == NUMBERS and not named.learned))
        reason = "the same numbers" if named.by == NUMBERS else "the numbers agree"
        return Verdict(target, CERTAIN if sure else LIKELY, reason)
    shared = ", ".join(sorted(cell.words))
    if named.learned:
        if denied:
            return Verdict(None, None, "the order contradicts what other layers say about words")
        return Verdict(target, CERTAIN if sure else LIKELY, f"other layers say which is {shared}")
    return Verdict(target, LIKELY if denied else CERTAIN, f"the names share {shared}")


def _everyone(orders: OrderEvidence, layer: Layer) -> set[Layer]:
    return {each for one in orders.best() for each in one.candidates.get(layer, ())}


def _judged_by_order(layer: Layer, cell: Cell, orders: OrderEvidence) -> Verdict:
    if not orders.usable:
        return Verdict(None, None, "they look alike, and no order or name tells them apart")
    allowed = orders.partners_in(cell)
    target = _only(allowed[layer])
    if target is None:
        return Verdict(None, None, "they look alike, and the orders don't tell them apart")
    if cell.contested:
        if orders.telling:
            return Verdict(target, LIKELY, "the order; words of the names contradict each other")
        return Verdict(None, None, "words of their names contradict each other")
    twins = [other for other in cell.sources if other is not layer and orders.close(layer, other)]
    for twin in twins:
        partners = allowed[twin]
        if partners is None:
            continue
        partner = _only(partners)
        if partner is None or _mirrored(layer, twin, target, partner, orders.sorted_sides):
            return Verdict(
                None, None, "they are mirror images, and only the order tells them apart"
            )
    sure = not twins and any(target in each.candidates.get(layer, ()) for each in orders.strong)
    return Verdict(target, CERTAIN if sure else LIKELY, "the order of layers")


def _only(partners: set[Layer] | None) -> Layer | None:
    return next(iter(partners)) if partners is not None and len(partners) == 1 else None


def _mirrored(
    one: Layer, two: Layer, other: Layer, twin: Layer, sorted_sides: tuple[bool, bool]
) -> bool:
    """Whether the two could as well be the other way round, for all that their names say.

    They are mirror images if both sides tell them apart in words that have nothing in common.
    Tables that stand beside each other are unless both sides number them.
    """
    by_name, other_by_name = sorted_sides
    if (by_name and one.words != two.words) or (other_by_name and other.words != twin.words):
        return True  # the alphabet is no order of layers
    if one.kind == "embedding" or other.kind == "embedding":
        return not (_numbered(one, two) and _numbered(other, twin))
    here, there = _are_beside(one, two), _are_beside(other, twin)
    if here != there:
        # Words on one side only: numbers on the other say an order, if someone chose them.
        return _is_counted(other, twin) if here else _is_counted(one, two)
    return here


def _are_beside(one: Layer, two: Layer) -> bool:
    """Whether each has a word that the other has not: `left` and `right`, no part and its whole."""
    return not (one.words <= two.words or two.words <= one.words)


def _is_counted(one: Layer, two: Layer) -> bool:
    """Whether two names differ in numbers that a framework gave, and in no other."""
    left, right = one.names[0], two.names[0]
    if left.template != right.template:
        return False
    differ = False
    for number, other, explicit in zip(left.numbers, right.numbers, left.explicit):
        if number != other:
            differ = True
            if explicit:
                return False
    return differ


def _numbered(one: Layer, two: Layer) -> bool:
    left, right = one.names[0], two.names[0]
    return left.template == right.template and left.numbers != right.numbers
