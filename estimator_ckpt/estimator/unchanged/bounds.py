"""Which data files of the last checkpoint a new one goes on using, so that it stays within bounds.

    kept = files_to_keep(found, written=50 << 20, needed=1 << 30, bounds=Bounds(files=8, room=2.0))

What is unchanged in a file that is given up is written anew, into the one new file: so the files
do not become many, and none stays for the sake of the little in it that is still of use.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

File = TypeVar("File")


class Bounds(NamedTuple):
    """How far a checkpoint may go.

    Attributes:
      files: the most data files that it may have.
      room: the most bytes that these may have, in multiples of the bytes that it needs.
    """

    files: int = 8
    room: float = 2.0


class Use(NamedTuple):
    """Of one data file: its bytes, and how many of them are still of use."""

    size: int
    live: int


def files_to_keep(
    used: Mapping[File, Use], *, written: int, needed: int, bounds: Bounds
) -> set[File]:
    """Returns the files to go on using.

    Args:
      used: the files that have unchanged bytes.
      written: the bytes that have changed.
      needed: the bytes of the whole checkpoint.
      bounds: of it.
    """
    kept: dict[Any, Use] = {file: use for file, use in used.items() if use.live}
    written += sum(use.live for use in used.values()) - sum(use.live for use in kept.values())
    while kept:
        if sum(use.size for use in kept.values()) + written > bounds.room * needed:
            file = min(kept, key=lambda each: kept[each].live / kept[each].size)  # the emptiest
        elif len(kept) + bool(written) > bounds.files:
            file = min(kept, key=lambda each: kept[each].live)  # the cheapest
        else:
            break
        written += kept.pop(file).live
    return set(kept)
