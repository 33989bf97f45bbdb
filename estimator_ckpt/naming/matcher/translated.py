"""Learns from what is decided which word of the source means which one of the target.

    translations(decided, sources, targets)       # {"left": "query"}

Two towers with embeddings of different sizes: the embeddings are told apart by shape, and with
them the words of their scopes, and so everything in these scopes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from estimator_ckpt.naming.matcher.layers import Layer


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
    mine, theirs = _occurrences(sources), _occurrences(targets)
    left = _where(pairs, 0)
    right = _where(pairs, 1)
    words: dict[frozenset[int], list[str]] = {}
    for word, where in right.items():
        if word not in mine and theirs[word] > len(where):
            words.setdefault(where, []).append(word)
    found = {}
    for word, where in left.items():
        if word not in theirs and mine[word] > len(where) and len(words.get(where, ())) == 1:
            found[word] = words[where][0]
    meanings = list(found.values())
    return {word: other for word, other in found.items() if meanings.count(other) == 1}


def _occurrences(layers: Iterable[Layer]) -> dict[str, int]:
    found: dict[str, int] = {}
    for layer in layers:
        for word in layer.words:
            found[word] = found.get(word, 0) + 1
    return found


def _where(pairs: Sequence[tuple[Layer, Layer | None]], side: int) -> dict[str, frozenset[int]]:
    found: dict[str, set[int]] = {}
    for number, pair in enumerate(pairs):
        layer = pair[side]
        for word in layer.words if layer is not None else ():
            found.setdefault(word, set()).add(number)
    return {word: frozenset(numbers) for word, numbers in found.items()}
