"""Puts the evidence together: a proposal of a map from one set of variables to another.

    proposal = propose(checkpoint_rows, model_rows, pins={"dnn/w": "model/dense/kernel"})
    proposal.pairs("certain")

The steps: variables become layers; layers that look alike become classes; names divide classes;
orders are aligned; what is decided translates words for the rest; what is left is asked.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from estimator_ckpt.errors import CheckpointArgumentError
from estimator_ckpt.messages import near
from estimator_ckpt.naming.matcher import refusals, squares
from estimator_ckpt.naming.matcher.cells import recurrent
from estimator_ckpt.naming.matcher.classes import classes_of
from estimator_ckpt.naming.matcher.collecting import Found, collected
from estimator_ckpt.naming.matcher.layers import Layer, fit, layers_of
from estimator_ckpt.naming.matcher.names import Cell, Findings, by_name
from estimator_ckpt.naming.matcher.questions import questions
from estimator_ckpt.naming.matcher.rows import (
    CERTAIN,
    KNOWN,
    LIKELY,
    PINNED,
    SAME_LAYER,
    NamedShape,
    Proposal,
    Question,
)
from estimator_ckpt.naming.matcher.shapes import same_bytes
from estimator_ckpt.naming.matcher.translated import translations
from estimator_ckpt.naming.matcher.verdicts import OrderEvidence, Verdict, judged


def propose(
    source: Iterable[NamedShape],
    target: Iterable[NamedShape],
    pins: Mapping[str, str] | None = None,
) -> Proposal:
    """Proposes which variable of a target gets the value of which one of a source.

    Args:
      source: the variables of a checkpoint, in any order.
      target: the variables of a model or of another checkpoint, in any order.
      pins: {source: target} of what is known. Pins are kept, and tell about the rest.

    Returns:
      The proposal. The order of the rows doesn't matter; only what they say does.

    Raises:
      CheckpointArgumentError: names are not unique, or a pin names what does not exist, names a
        target twice, or pairs variables whose shapes don't hold the same bytes.
    """
    sides = [_by_name(rows, side) for rows, side in ((source, "source"), (target, "target"))]
    pins = dict(pins or {})
    require_fitting_pins(pins, *sides)
    (left, states), (right, target_states) = (layers_of(side.values()) for side in sides)
    same = _of_same_values(sides[0], sides[1], pins)
    work = _Work(left, right, pins, same)
    work.run()
    assert work.orders is not None
    found = Found(
        pins,
        same,
        [(layer, *each) for layer, verdict in work.decided.items() for each in [_told(verdict)]],
        [*questions(work.open_cells, work.orders.best(), work.asked_too), *work.squares],
        work.recognized,
    )
    return collected(found, (sides[0], sides[1]), (states, target_states))


def _by_name(rows: Iterable[NamedShape], side: str) -> dict[str, NamedShape]:
    found: dict[str, NamedShape] = {}
    for row in rows:
        if row.name in found:
            raise CheckpointArgumentError(
                f"the {side} has two variables called '{row.name}'; names must be unique, "
                "use object paths"
            )
        found[row.name] = row
    return found


def _of_same_values(
    source: Mapping[str, NamedShape], target: Mapping[str, NamedShape], pins: Mapping[str, str]
) -> dict[str, str]:
    """Returns {source: target} of those whose values no other one of either side has."""
    sides = [
        _by_value(row for name, row in rows.items() if name not in pinned)
        for rows, pinned in ((source, pins.keys()), (target, set(pins.values())))
    ]
    return {
        one.name: other.name
        for value, (one, *more) in sides[0].items()
        for other, *others in [sides[1].get(value, [None])]
        if other is not None and not more and not others and same_bytes(one.shape, other.shape)
    }


def _by_value(rows: Iterable[NamedShape]) -> dict[tuple[object, ...], list[NamedShape]]:
    found: dict[tuple[object, ...], list[NamedShape]] = {}
    for row in rows:
        size = math.prod(row.shape)
        if row.checksum is not None and size >= _TELLING:
            found.setdefault((row.checksum, row.dtype, size), []).append(row)
    return found


def require_fitting_pins(
    pins: Mapping[str, str],
    source: Mapping[str, NamedShape],
    target: Mapping[str, NamedShape],
) -> None:
    """Raises CheckpointArgumentError for the first pin that can't be followed."""
    taken: dict[str, str] = {}
    for one, other in pins.items():
        for name, rows, side in ((one, source, "source"), (other, target, "target")):
            if name not in rows:
                raise CheckpointArgumentError(f"the {side} has no '{name}'{near(name, rows)}")
        if other in taken:
            raise CheckpointArgumentError(
                f"'{taken[other]}' and '{one}' both go to '{other}'; remove one of them"
            )
        taken[other] = one
        shapes = list(source[one].shape), list(target[other].shape)
        if not same_bytes(*shapes):
            raise CheckpointArgumentError(
                f"'{one}' {shapes[0]} does not fit '{other}' {shapes[1]}: these shapes don't hold "
                "the same bytes in the same order; its values have to be changed first"
            )


# How often what is decided is used for the rest; and how much has to be open for all to be asked.
_ROUNDS, _MOST = 5, 0.75
_TELLING = 8  # elements that don't have the same values by chance


@dataclass
class _Work:
    """The layers of both sides, and what is decided about them so far."""

    sources: Sequence[Layer]
    targets: Sequence[Layer]
    pins: Mapping[str, str]
    same_values: Mapping[str, str]
    decided: dict[Layer, Verdict] = field(default_factory=dict)
    open_cells: list[tuple[Cell, str]] = field(default_factory=list)
    squares: list[Question] = field(default_factory=list)
    asked_too: dict[Layer, Layer] = field(default_factory=dict)
    recognized: list[refusals.Recognized] = field(default_factory=list)
    orders: OrderEvidence | None = None

    def run(self) -> None:
        """Decides what can be decided."""
        self._take_pins()
        left, right = self._free(self.sources), self._free(self.targets)
        self.recognized += recurrent(left, right)
        left, right = self._free(left), self._free(right)
        classes = [(list(c.sources), list(c.targets)) for c in classes_of(left, right)]
        class_of = {
            layer: number
            for number, (sources, targets) in enumerate(classes)
            for layer in (*sources, *targets)
        }
        self.orders = OrderEvidence(left, right, class_of)
        self._take_same_names(left, right)
        if any(layer in self.decided for layer in left):
            classes = [(self._free(one), self._free(other)) for one, other in classes]
        self._decide(classes)
        if _most_is_open(self.open_cells, self.decided):
            self.asked_too = {
                layer: verdict.target
                for layer, verdict in self.decided.items()
                if verdict.target is not None and verdict.reason not in KNOWN
            }
            for layer in self.asked_too:
                del self.decided[layer]
        rest = self._free(self.sources), self._free(self.targets)
        self.recognized += refusals.transposed(*rest)
        rest = self._free(self.sources), self._free(self.targets)
        self.recognized += refusals.split_or_joined(*rest)
        self._doubt_squares()

    def _take_pins(self) -> None:
        """Layers whose variables are known to be those of one other layer are decided."""
        owner = {row.name: layer for layer in self.targets for row in layer.rows.values()}
        known = {**self.same_values, **self.pins}
        for layer in self.sources:
            names = [row.name for row in layer.rows.values() if row.name in known]
            partners = {owner.get(known[name]) for name in names}
            partner = next(iter(partners)) if len(partners) == 1 else None
            if partner is not None:
                is_pinned = not self.pins.keys().isdisjoint(names)
                reason = PINNED if is_pinned else SAME_LAYER
                self.decided[layer] = Verdict(partner, CERTAIN, reason)

    def _take_same_names(self, sources: Sequence[Layer], targets: Sequence[Layer]) -> None:
        """Where both sides have the same names, they are the map, unless an order denies it."""
        assert self.orders is not None
        owners = {frozenset(row.name for row in layer.rows.values()): layer for layer in targets}
        names = [frozenset(row.name for row in layer.rows.values()) for layer in sources]
        if set(names) != set(owners):
            return
        pairs = [(layer, owners[name]) for layer, name in zip(sources, names)]
        if not any(self.orders.denies(*pair) for pair in pairs):
            self.decided.update(
                (one, Verdict(other, CERTAIN, "both sides have the same names"))
                for one, other in pairs
                if fit(one.signature, other.signature)
            )

    def _free(self, layers: Iterable[Layer]) -> list[Layer]:
        """Those that nothing is decided about, and nothing is asked or refused."""
        used = {v.target for v in self.decided.values()} | set(self.decided)
        used |= {*self.asked_too, *self.asked_too.values()}
        used |= {each for cell, _ in self.open_cells for each in (*cell.sources, *cell.targets)}
        for each in self.recognized:
            used |= {*each.sources, *each.targets}
        return [layer for layer in layers if layer not in used]

    def _decide(self, classes: Sequence[tuple[list[Layer], list[Layer]]]) -> None:
        """Decides the look-alikes; what is decided tells what words mean, so again and again."""
        assert self.orders is not None
        rest = []
        for sources, targets in classes:
            verdict = _only_choice(sources, targets)
            if verdict is not None:
                self.decided[sources[0]] = verdict
            else:
                rest.append((sources, targets))
        translated: dict[str, str] = {}
        for _ in range(_ROUNDS):
            findings = by_name(rest, translated)
            verdicts, open_cells = self._judge(findings, bool(translated))
            decided = {**self.decided, **verdicts}
            more = translations(decided, self.sources, self.targets)
            if more == translated:
                break
            translated = more
        self.decided, self.open_cells = decided, open_cells

    def _judge(
        self, findings: Findings, translated: bool
    ) -> tuple[dict[Layer, Verdict], list[tuple[Cell, str]]]:
        assert self.orders is not None
        verdicts: dict[Layer, Verdict] = {}
        open_cells = []
        for cell in findings.cells:
            found = {
                layer: judged(layer, findings.named.get(layer), cell, self.orders)
                for layer in cell.sources
            }
            good = _without_clashes(found)
            verdicts.update(good)
            left = [layer for layer in cell.sources if layer not in good]
            taken = {verdict.target for verdict in good.values()}
            right = [layer for layer in cell.targets if layer not in taken]
            if left and right:
                reason = next(iter(found[layer].reason for layer in left))
                open_cells.append((Cell(left, right, cell.words, cell.contested), reason))
        del translated
        return verdicts, open_cells

    def _doubt_squares(self) -> None:
        known = {**self.same_values, **self.pins}
        changed, doubted, question = squares.doubted(self.decided, self.recognized, known)
        self.decided.update(changed)
        for layer in doubted:
            del self.decided[layer]
        self.squares += [question] if question else []


def _told(verdict: Verdict) -> tuple[Layer, str, str]:
    assert verdict.target is not None and verdict.confidence is not None
    return verdict.target, verdict.confidence, verdict.reason


def _only_choice(sources: Sequence[Layer], targets: Sequence[Layer]) -> Verdict | None:
    """The verdict where one layer of each side fits, and nothing else."""
    if len(sources) != 1 or len(targets) != 1:
        return None
    one, other = sources[0], targets[0]
    if all(size == 1 for row in one.rows.values() for size in row.shape):
        # A scalar fits every scalar.
        alike = bool(one.words & other.words) or one.names == other.names
        return Verdict(other, CERTAIN if alike else LIKELY, "the only numbers of their kind")
    return Verdict(other, CERTAIN, "the only ones with these roles and shapes")


def _without_clashes(found: Mapping[Layer, Verdict]) -> dict[Layer, Verdict]:
    """The verdicts that name a target which no other one names, and which fits."""
    claims: dict[Layer, int] = {}
    for verdict in found.values():
        if verdict.target is not None:
            claims[verdict.target] = claims.get(verdict.target, 0) + 1
    return {
        layer: verdict
        for layer, verdict in found.items()
        if verdict.target is not None
        and claims[verdict.target] == 1
        and fit(layer.signature, verdict.target.signature)
    }


def _most_is_open(open_cells: Iterable[tuple[Cell, str]], decided: Mapping[Layer, Verdict]) -> bool:
    """Whether most of a network is asked: then the rest is a part of the answers.

    A head alone is of no use, and whoever answers should see a whole map.
    """
    count = sum(len(layer.rows) for cell, _ in open_cells for layer in cell.sources)
    return count > _MOST * (count + sum(len(layer.rows) for layer in decided))
