"""What names say about look-alikes: shared words first, then numbers that someone chose.

    found = by_name(sources, targets, translated={})
    found.named[layer].target, found.named[layer].by       # "words", "numbers", "what is left" ...

A word counts where it splits both sides alike: 12 of 48 are a `query` here and there. No order is
looked at; so whatever the order, the answer is the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations

from estimator_ckpt.naming.matcher.layers import Layer
from estimator_ckpt.naming.matcher.translated import SOURCE, TARGET, telling_words
from estimator_ckpt.naming.matcher.words import Name

_MOST_COLUMNS = 4
WORDS, REST = "words", "what is left"
# Numbers behind the same word; those that differ by one or follow other words; those that a
# framework counted.
NUMBERS, SHIFTED, COUNTED = "numbers", "other numbers", "counted numbers"


@dataclass
class Cell:
    """Layers that look alike and share the same telling words.

    Attributes:
      sources: of the source.
      targets: of the target.
      words: those that they share and others don't.
      contested: whether some word says otherwise.
    """

    sources: list[Layer]
    targets: list[Layer]
    words: frozenset[str] = frozenset()
    contested: bool = False


@dataclass(frozen=True)
class Named:
    """A partner found by name.

    Attributes:
      target: the layer of the target.
      by: `words`, `numbers`, `other numbers`, `counted numbers` or `what is left`.
      learned: whether a word had to be translated.
      clear: whether no words are left on both sides that tell look-alikes apart, differently.
    """

    target: Layer
    by: str
    learned: bool = False
    clear: bool = True


@dataclass
class Findings:
    """What names say about a network: cells, and a partner where a cell leaves one choice."""

    cells: list[Cell] = field(default_factory=list)
    named: dict[Layer, Named] = field(default_factory=dict)


def by_name(
    classes: Sequence[tuple[Collection[Layer], Collection[Layer]]],
    translated: Mapping[str, str],
) -> Findings:
    """Finds partners by the words and numbers of names.

    Args:
      classes: look-alikes of both sides.
      translated: words of the source that are known to mean others of the target.

    Returns:
      The findings.
    """
    meanings = frozenset(translated.values())
    words = {
        layer: frozenset(layer.words - translated.keys()).union(
            translated[word] for word in telling_words(layer, SOURCE) if word in translated
        )
        for sources, _ in classes
        for layer in sources
    }
    words.update(
        (layer, layer.words | (telling_words(layer, TARGET) & meanings))
        for _, targets in classes
        for layer in targets
    )
    trust = _trust(classes, words)
    findings = Findings()
    left_over: set[int] = set()
    vocabularies: dict[int, tuple[frozenset[str], frozenset[str]]] = {}
    for sources, targets in classes:
        found = _cells(list(sources), list(targets), words, trust)
        told = _told_apart(sources, words), _told_apart(targets, words)
        vocabularies.update((id(cell), told) for cell in found)
        if any(cell.words & meanings for cell in found):
            left_over.update(id(cell) for cell in found if _is_left_over(cell, words, meanings))
        findings.cells += found
    offsets: dict[_Places, set[int]] = {}
    numbered = []
    for cell in findings.cells:
        if cell.contested or not cell.sources or len(cell.sources) != len(cell.targets):
            continue
        if len(cell.sources) == 1:
            by = WORDS if cell.words else REST
            learned = bool(cell.words & meanings) or id(cell) in left_over
            clear = id(cell) in left_over or _is_clear(cell, words, vocabularies[id(cell)])
            findings.named[cell.sources[0]] = Named(cell.targets[0], by, learned, clear)
            continue
        match = _by_number(cell)
        if match is not None:
            learned = bool(cell.words & meanings) or id(cell) in left_over
            clear = id(cell) in left_over or _is_clear(cell, words, vocabularies[id(cell)])
            numbered.append((match, learned, clear))
            for key, offset in match.offsets.items():
                offsets.setdefault(key, set()).add(offset)
    for match, learned, clear in numbered:
        if all(len(offsets[key]) == 1 for key in match.offsets):
            for source, target in match.pairs:
                findings.named[source] = Named(target, match.by, learned, clear)
    return findings


Words = Mapping[Layer, frozenset[str]]


def _told_apart(layers: Collection[Layer], words: Words) -> frozenset[str]:
    """The words that some of these layers have, and others don't."""
    found = [words[layer] for layer in layers]
    everything = frozenset[str]().union(*found)
    return everything - everything.intersection(*found)


def _is_left_over(cell: Cell, words: Words, meanings: frozenset[str]) -> bool:
    """Whether it is what a translated word leaves, and of one family on either side."""
    families = [{words[layer] for layer in side} for side in (cell.sources, cell.targets)]
    return not cell.words & meanings and all(len(side) == 1 for side in families)


def _is_clear(cell: Cell, words: Words, told: tuple[frozenset[str], frozenset[str]]) -> bool:
    """Whether not both sides have telling words of their own: `mix` here, `mlp` there."""
    left, right = (
        frozenset[str]().union(*(words[layer] for layer in side)) & telling
        for side, telling in zip((cell.sources, cell.targets), told)
    )
    return not (left - right - told[1]) or not (right - left - told[0])


def _trust(
    classes: Sequence[tuple[Collection[Layer], Collection[Layer]]], words: Words
) -> Counter[str]:
    """How often a word splits look-alikes in the same way on both sides."""
    found: Counter[str] = Counter()
    for sources, targets in classes:
        counts = [Counter(w for layer in side for w in words[layer]) for side in (sources, targets)]
        for word, count in counts[0].items():
            if count == counts[1][word] and not count == len(sources) == len(targets):
                found[word] += 1
    return found


def _cells(
    sources: list[Layer], targets: list[Layer], words: Words, trust: Counter[str]
) -> list[Cell]:
    """Splits look-alikes by one telling word after another, the most trusted first."""
    counts = [Counter(w for layer in side for w in words[layer]) for side in (sources, targets)]
    sizes = (len(sources), len(targets))
    balanced = {
        word
        for word, count in counts[0].items()
        if count == counts[1][word] and (count, count) != sizes
    }
    unbalanced = {word for word in counts[0] if counts[1][word]} - balanced
    unbalanced = {word for word in unbalanced if (counts[0][word], counts[1][word]) != sizes}
    cells = [Cell(sources, targets)]
    for word in sorted(balanced, key=lambda word: (-trust[word], -len(word), word)):
        cells = [part for cell in cells for part in _divided(cell, word, words, strict=True)]
    for word in sorted(unbalanced, key=lambda word: (-trust[word], -len(word), word)):
        cells = [part for cell in cells for part in _divided(cell, word, words, strict=False)]
    return cells


def _divided(cell: Cell, word: str, words: Words, strict: bool) -> Iterator[Cell]:
    """Divides a cell by a word if it does so alike on both sides; else it may be contested."""
    left = [layer for layer in cell.sources if word in words[layer]]
    right = [layer for layer in cell.targets if word in words[layer]]
    alike = len(left) == len(right)
    if alike and left and (len(left), len(right)) == (len(cell.sources), len(cell.targets)):
        yield Cell(cell.sources, cell.targets, cell.words | {word}, cell.contested)
    elif alike and left:
        yield Cell(left, right, cell.words | {word}, cell.contested)
        yield Cell(
            [layer for layer in cell.sources if word not in words[layer]],
            [layer for layer in cell.targets if word not in words[layer]],
            cell.words,
            cell.contested,
        )
    else:
        yield Cell(cell.sources, cell.targets, cell.words, cell.contested or (strict and not alike))


# Where a number stands, in the names of the source and of the target.
_Places = tuple[tuple[str, ...], tuple[str, ...]]


@dataclass(frozen=True)
class _Match:
    pairs: list[tuple[Layer, Layer]]
    offsets: dict[_Places, int]
    by: str


@dataclass(frozen=True)
class _Column:
    """The numbers at one place of a template, of several layers."""

    prefix: tuple[str, ...]
    values: tuple[int, ...]
    chosen: bool


def _by_number(cell: Cell) -> _Match | None:
    """Pairs layers by numbers: the same ones, or those of counting from 0 and from 1."""
    for left in _views(cell.sources):
        for right in _views(cell.targets):
            match = _matched(cell, left, right)
            if match is not None:
                return match
    return None


def _views(layers: Sequence[Layer]) -> Iterator[list[_Column]]:
    """The columns of numbers that tell layers apart, for each of their names."""
    for view in range(min(len(layer.names) for layer in layers)):
        columns = _columns([layer.names[view] for layer in layers])
        if columns and len(set(zip(*(column.values for column in columns)))) == len(layers):
            yield columns


def _columns(names: Sequence[Name]) -> list[_Column]:
    """What differs, each once; nothing where names differ in more than numbers."""
    if len({name.template for name in names}) != 1:
        return []
    places = [place for place, word in enumerate(names[0].template) if word == "#"]
    columns: list[_Column] = []
    for number, place in enumerate(places):
        values = tuple(name.numbers[number] for name in names)
        if len(set(values)) == 1 or any(_same_but_offset(values, c.values) for c in columns):
            continue
        chosen = all(name.explicit[number] for name in names)
        columns.append(_Column(names[0].template[: place + 1], values, chosen))
    return columns


def _same_but_offset(one: Sequence[int], other: Sequence[int]) -> bool:
    return len({left - right for left, right in zip(one, other)}) == 1


def _matched(cell: Cell, left: list[_Column], right: list[_Column]) -> _Match | None:
    if len(left) != len(right) or len(left) > _MOST_COLUMNS:
        return None
    chosen = all(column.chosen for column in (*left, *right))
    found = [
        match
        for turned in permutations(right)
        for match in [_shifted(cell, left, list(turned), chosen)]
        if match is not None
    ]
    same = [match for match in found if match.by == NUMBERS]
    if len(same) == 1 or len(found) == 1:
        return (same or found)[0]
    # Two orders of the numbers, or none: no more than an order.
    return None if chosen and not found else _ranked(cell, left, right)


def _shifted(cell: Cell, left: list[_Column], right: list[_Column], chosen: bool) -> _Match | None:
    """Pairs layers whose numbers differ by the same in all of them: by nothing, or by one."""
    shifts = [min(b.values) - min(a.values) for a, b in zip(left, right)]
    rows = zip(*(column.values for column in left))
    shifted = [tuple(number + shift for number, shift in zip(row, shifts)) for row in rows]
    targets = dict(zip(zip(*(column.values for column in right)), cell.targets))
    if any(abs(shift) > 1 for shift in shifts) or set(shifted) != set(targets):
        return None
    offsets = {(a.prefix, b.prefix): shift for a, b, shift in zip(left, right, shifts)}
    pairs = [(source, targets[row]) for source, row in zip(cell.sources, shifted)]
    same = all(
        shift == 0 and a.prefix[-2] == b.prefix[-2] for shift, a, b in zip(shifts, left, right)
    )
    return _Match(pairs, offsets, (NUMBERS if same else SHIFTED) if chosen else COUNTED)


def _ranked(cell: Cell, left: list[_Column], right: list[_Column]) -> _Match:
    """Pairs layers in the order of their numbers, some of which frameworks counted."""
    sides = [
        [layer for _, layer in sorted(zip(zip(*(c.values for c in columns)), layers), key=_first)]
        for columns, layers in ((left, cell.sources), (right, cell.targets))
    ]
    return _Match(list(zip(*sides)), {}, COUNTED)


def _first(pair: tuple[tuple[int, ...], Layer]) -> tuple[int, ...]:
    return pair[0]
