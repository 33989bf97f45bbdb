"""Learns from what is decided which word of the source means which one of the target.

    translations(decided, sources, targets)       # {"left": "query"}

Two towers with embeddings of different sizes: the embeddings are told apart by shape, and with
them the words of their scopes, and so everything in these scopes. Numbers count as words, so
that `shortcut` can be learned to be the `0` of `block1_0_conv`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from estimator_ckpt.naming.matcher.layers import Layer

SOURCE, TARGET = "<", ">"
"""What comes before the numbers of either side: a 3 here need not be a 3 there."""


class _Decided(Protocol):
    @property
    def target(self) -> Layer | None: ...

    @property
    def confidence(self) -> str | None: ...


def translations(
    decided: Mapping[Layer, _Decided], sources: Sequence[Layer], targets: Sequence[Layer]
) -> dict[str, str]:
    """Returns {word of the source: word of the target} for words that only one side has.

    A word is translated if it is in the same certain pairs as one word of the other side, and
    elsewhere, too; so it says something about what is open.
    """
    pairs = [
        (layer, verdict.target)
        for layer, verdict in decided.items()
        if verdict.target is not None and verdict.confidence == "certain"
    ]
    mine, theirs = _occurrences(sources, SOURCE), _occurrences(targets, TARGET)
    left = _where([one for one, _ in pairs], SOURCE)
    right = _where([other for _, other in pairs if other is not None], TARGET)
    meant = _rarest({w: where for w, where in right.items() if w not in mine}, theirs)
    said = _rarest({w: where for w, where in left.items() if w not in theirs}, mine)
    return {word: meant[where] for where, word in said.items() if where in meant}


def _rarest(
    words: Mapping[str, frozenset[int]], counts: Mapping[str, int]
) -> dict[frozenset[int], str]:
    """Of the words that are in the same pairs, and elsewhere, the one that is rarest.

    In `tower_a` that is the `a`: `tower` is in the other one, too.
    """
    found: dict[frozenset[int], list[str]] = {}
    for word, where in words.items():
        if counts[word] > len(where) >= _support(word):
            found.setdefault(where, []).append(word)
    rarest = {}
    for where, some in found.items():
        least = min(counts[word] for word in some)
        few = [word for word in some if counts[word] == least]
        if len(few) == 1:
            rarest[where] = few[0]
    return rarest


def telling_words(layer: Layer, side: str) -> frozenset[str]:
    """The words of a layer, and its numbers as words of one side."""
    return layer.words | {side + mark for mark in layer.marks}


def _support(word: str) -> int:
    """How often a word must have been seen; numbers agree by chance."""
    return 2 if word[0] in SOURCE + TARGET else 1


def _occurrences(layers: Iterable[Layer], side: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for layer in layers:
        for word in telling_words(layer, side):
            found[word] = found.get(word, 0) + 1
    return found


def _where(layers: Sequence[Layer], side: str) -> dict[str, frozenset[int]]:
    """In which of the pairs a word is."""
    found: dict[str, set[int]] = {}
    for number, layer in enumerate(layers):
        for word in telling_words(layer, side):
            found.setdefault(word, set()).add(number)
    return {word: frozenset(numbers) for word, numbers in found.items()}
