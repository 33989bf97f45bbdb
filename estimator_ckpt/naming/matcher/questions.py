"""Makes questions of what can't be decided: mirror images once a group, with whole answers.

    asked = questions([(cell, reason), ...], alignments)

Layers that the same words tell apart on either side are one question: `tower_a` and `tower_b`
against `query` and `document`, with all their layers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from estimator_ckpt.naming.matcher.layers import Layer, fit
from estimator_ckpt.naming.matcher.names import Cell
from estimator_ckpt.naming.matcher.orders import Alignment
from estimator_ckpt.naming.matcher.rows import Question

Answer = Mapping[Layer, Layer]
Answers = Sequence[tuple[str, Answer]]
Words = frozenset[str]


def questions(
    open_cells: Iterable[tuple[Cell, str]],
    aligned: Sequence[Alignment],
    fixed: Answer,
) -> list[Question]:
    """Returns the questions about cells whose layers can't be told apart.

    Args:
      open_cells: look-alikes, each with the reason why they are asked.
      aligned: alignments of orders, each of which is an answer.
      fixed: what is a part of each answer to the largest question.
    """
    groups: dict[tuple[frozenset[Words], frozenset[Words]], list[tuple[Cell, str]]] = {}
    for cell, reason in open_cells:
        groups.setdefault((_families(cell.sources), _families(cell.targets)), []).append(
            (cell, reason)
        )
    ordered = sorted(
        groups.values(), key=lambda group: -sum(len(cell.sources) for cell, _ in group)
    )
    return [
        _question([cell for cell, _ in group], group[0][1], aligned, {} if number else fixed)
        for number, group in enumerate(ordered)
    ]


def _families(layers: Iterable[Layer]) -> frozenset[Words]:
    return frozenset(layer.words for layer in layers)


def _question(
    cells: Sequence[Cell], reason: str, aligned: Sequence[Alignment], fixed: Answer
) -> Question:
    sources = [layer for cell in cells for layer in cell.sources]
    targets = [layer for cell in cells for layer in cell.targets]
    answers = [*_by_family(cells), *_by_order(cells, sources, aligned), *_by_text(cells)]
    different: dict[tuple[tuple[str, str], ...], str] = {}
    for title, answer in answers:
        whole = [*answer.items(), *fixed.items()]
        rows = tuple(sorted(pair for s, t in whole for pair in row_pairs(s, t)))
        different.setdefault(rows, title)
    return Question(
        sources=_row_names([*sources, *fixed]),
        targets=_row_names([*targets, *fixed.values()]),
        reason=reason,
        answers=tuple((title, rows) for rows, title in list(different.items())[:2]),
    )


def _row_names(layers: Iterable[Layer]) -> tuple[str, ...]:
    return tuple(row.name for layer in layers for row in layer.rows.values())


def row_pairs(source: Layer, target: Layer) -> list[tuple[str, str]]:
    """Returns the variables of two layers that correspond, as names."""
    roles = fit(source.signature, target.signature) or ()
    return [(source.rows[mine].name, target.rows[theirs].name) for mine, theirs in roles]


def _by_family(cells: Sequence[Cell]) -> Answers:
    """Both ways to pair two families of words with two others."""
    mine, theirs = (
        sorted(_families(layers), key=sorted)
        for layers in (
            [layer for cell in cells for layer in cell.sources],
            [layer for cell in cells for layer in cell.targets],
        )
    )
    if len(mine) != 2 or len(theirs) != 2:
        return []
    shown = [[" ".join(sorted(words)) or "the other" for words in side] for side in (mine, theirs)]
    found = []
    for turned in (theirs, theirs[::-1]):
        answer: dict[Layer, Layer] = {}
        for cell in cells:
            for family, other in zip(mine, turned):
                left = _sorted(layer for layer in cell.sources if layer.words == family)
                right = _sorted(layer for layer in cell.targets if layer.words == other)
                if len(left) != len(right):
                    return []
                answer.update(zip(left, right))
        names = shown[1] if turned is theirs else shown[1][::-1]
        title = "; ".join(f"{one} = {two}" for one, two in zip(shown[0], names))
        found.append((title, answer))
    return found


def _by_order(
    cells: Sequence[Cell], sources: Sequence[Layer], aligned: Sequence[Alignment]
) -> Answers:
    targets = {layer for cell in cells for layer in cell.targets}
    found = []
    for each in aligned:
        partners = {layer: set(each.candidates.get(layer, ())) & targets for layer in sources}
        answer = {s: next(iter(some)) for s, some in partners.items() if len(some) == 1}
        if len(answer) == len(sources) and len(set(answer.values())) == len(answer):
            found.append((f"in the order of {each.source} and of {each.target}", answer))
    return found


def _by_text(cells: Sequence[Cell]) -> Answers:
    """As names are sorted, forwards and backwards; for cells of as many layers on both sides."""
    if any(len(cell.sources) != len(cell.targets) for cell in cells):
        return []
    found = []
    for title, step in (("as names are sorted", 1), ("the other way round", -1)):
        answer: dict[Layer, Layer] = {}
        for cell in cells:
            answer.update(zip(_sorted(cell.sources), _sorted(cell.targets)[::step]))
        found.append((title, answer))
    return found


def _sorted(layers: Iterable[Layer]) -> list[Layer]:
    return sorted(layers, key=lambda layer: (layer.names[0].text, layer.key))
