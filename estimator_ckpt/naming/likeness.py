"""Tells from names whether values go along their paths to other variables than they are from.

    mixed_up([("net_b/b/kernel", "net_a/a/kernel"), ("net_b/a/kernel", "net_a/b/kernel")])  # both

Names are alike in as many scopes as they have in common at their end: a model may be called
something else than when it was saved, or lie in another scope, and its layers keep their names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

_NUMBERED = re.compile(r"_\d+(?=/|$)")


def mixed_up(pairs: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    """Returns the pairs that are not of one variable, as either would fit better elsewhere.

    That is where a name here and one saved that are not a pair are more alike than each is with
    what it is paired with. Numbers at the end of a scope don't count, as Keras gives them anew in
    each process; nor does the last part of a name alone, as all layers have a `kernel`.

    Args:
      pairs: (name here, name saved) of each value that goes along its path, and of each that does
        not, with "" for the one that is missing.
    """
    longer = {}
    for pair in pairs:
        one, other = map(_parts, pair)
        count = _alike(one, other)
        longer[pair] = list(_ends(one, count)), list(_ends(other, count))
    here = {end for ends, _ in longer.values() for end in ends}
    saved = {end for _, ends in longer.values() for end in ends}
    return {
        pair
        for pair, (ends, other_ends) in longer.items()
        if all(pair) and not (saved.isdisjoint(ends) and here.isdisjoint(other_ends))
    }


def without_numbers(name: str) -> str:
    """Returns a name without the numbers that Keras gives anew in each process: `Adam_2/m`."""
    return _NUMBERED.sub("", name)


def _parts(name: str) -> list[str]:
    """Returns the parts of a name without numbers; the first is "", to tell where it begins."""
    return without_numbers(f"/{name}").split("/") if name else []


def _alike(one: list[str], other: list[str]) -> int:
    """Returns how many parts two names have in common at their end, at least 1."""
    count = 0
    while count < min(len(one), len(other)) and one[-count - 1] == other[-count - 1]:
        count += 1
    return max(count, 1)


def _ends(parts: list[str], count: int) -> Iterator[str]:
    """Yields the ends of a name that have more than so many of its parts."""
    for length in range(count + 1, len(parts) + 1):
        yield "/".join(parts[-length:])
