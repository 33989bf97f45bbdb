"""Copies arrays, of which there may be many, at once into one piece of memory.

    copier = Copier(Arena())
    copies = copier.copy(arrays)              # with several threads; contents are of now
    copies.arrays()                           # arrays of the same types and shapes, in that memory

What costs is, for large arrays, the bytes, and for many small ones, each array. Small ones of one
type that follow each other lie side by side in the memory, so one call of NumPy joins them; where
everything lies is found out once, for as long as types and shapes stay.
"""

from __future__ import annotations

import concurrent.futures
import operator
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from estimator_ckpt.estimator.background.arena import Arena

_COPIED_AT_ONCE = 8 << 20
_JOINED = 64 << 10  # what is smaller is copied together with its neighbours,
_JOINED_AT_ONCE = 2 << 20  # so many bytes in a call
ALIGNMENT = 64
_THREADS = min(8, os.cpu_count() or 1)
_kind = operator.attrgetter("dtype", "shape")


class _Run(NamedTuple):
    """Arrays of one type, from number `first` to before `last`, and their place in memory."""

    first: int
    last: int
    start: int
    size: int


class _Places:
    """Where in memory arrays of some types and shapes lie.

    Attributes:
      kinds: the (type, shape) of each.
      starts: where each begins; None for arrays of objects, which lie elsewhere.
      ends: where each ends.
      behind: for each the number behind the last one of those that it is copied together with.
      size: the bytes of all.
      runs: what is copied together.
    """

    def __init__(self, kinds: list[tuple[Any, Any]], sizes: list[int]):
        self.kinds = kinds
        self.starts: list[int | None] = []
        self.ends: list[int] = []
        self.runs: list[_Run] = []
        self.size = 0
        run = None
        for number, ((dtype, _), size) in enumerate(zip(kinds, sizes)):
            if dtype.hasobject:
                self.starts.append(None)
                self.ends.append(0)
                run = None
                continue
            joins = size < _JOINED and run is not None and run.size < _JOINED_AT_ONCE
            if joins and run is not None and kinds[run.first][0] == dtype:
                self.runs[-1] = run = run._replace(last=number + 1, size=run.size + size)
            else:
                start = -(-self.size // ALIGNMENT) * ALIGNMENT
                run = _Run(number, number + 1, start, size)
                self.runs.append(run)
                run = run if size < _JOINED else None
            self.size = self.runs[-1].start + self.runs[-1].size
            self.starts.append(self.size - size)
            self.ends.append(self.size)
        self.behind = list(range(1, len(kinds) + 1))
        for each in self.runs:
            self.behind[each.first : each.last] = [each.last] * (each.last - each.first)


class Copies(NamedTuple):
    """What was copied.

    Attributes:
      places: where each copy is.
      memory: where all are, but those of objects.
      objects: {number: copy}, of these.
    """

    places: _Places
    memory: Any
    objects: dict[int, Any]

    def joined(self, first: int, last: int) -> Iterator[tuple[int, int, Any]]:
        """Yields the copies in their order, those that lie side by side together.

        Args:
          first: the number of the first array.
          last: the number behind the last one.

        Yields:
          The first number, the one behind the last, and the bytes; or the array of objects.
        """
        starts, ends = self.places.starts, self.places.ends
        while first < last:
            behind = min(self.places.behind[first], last)
            start = starts[first]
            if start is None:
                yield first, behind, self.objects[first]
            else:
                yield first, behind, self.memory[start : ends[behind - 1]]
            first = behind

    def arrays(self) -> list[Any]:
        """Returns the copies, each with the type and the shape of its array."""
        return [
            self.objects[number] if start is None else np.ndarray(shape, dtype, self.memory, start)
            for number, ((dtype, shape), start) in enumerate(
                zip(self.places.kinds, self.places.starts)
            )
        ]


class Copier:
    """Copies arrays again and again; the types and shapes may change, but seldom do.

    Attributes:
      arena: has the memory of the copies, and takes it back.
    """

    def __init__(self, arena: Arena):
        """Creates it.

        Args:
          arena: gives the memory.
        """
        self.arena = arena
        self._places = _Places([], [])

    def copy(self, arrays: Sequence[Any]) -> Copies:
        """Copies arrays; those of objects (strings) share their elements.

        Args:
          arrays: contiguous, in C order.

        Returns:
          The copies, which hold until memory is asked for again.
        """
        kinds = list(map(_kind, arrays))
        if kinds != self._places.kinds:
            self._places = _Places(kinds, [array.nbytes for array in arrays])
        places = self._places
        memory = self.arena.memory(places.size)
        tasks = [task for run in places.runs for task in _tasks(run, arrays, memory)]
        # To join many arrays holds Python's lock: several threads would only wait for each other.
        joined = [task for task in tasks if len(task[0]) > 1]
        left = iter([task for task in tasks if len(task[0]) == 1])
        if places.size < _COPIED_AT_ONCE or _THREADS == 1:
            _carry_out(left)
            _carry_out(joined)
        else:
            with concurrent.futures.ThreadPoolExecutor(_THREADS) as threads:
                # Each thread takes the next one; this one begins with those that are joined.
                others = [threads.submit(_carry_out, left) for _ in range(_THREADS - 1)]
                _carry_out(joined)
                _carry_out(left)
            for other in others:
                other.result()
        objects = {
            number: arrays[number].copy()
            for number, start in enumerate(places.starts)
            if start is None
        }
        return Copies(places, memory, objects)


def _tasks(run: _Run, arrays: Sequence[Any], memory: Any) -> list[tuple[Sequence[Any], Any]]:
    """Returns what to copy: (arrays, where to), each of at most a few megabytes."""
    target = memory[run.start : run.start + run.size]
    source = arrays[run.first]
    if run.last > run.first + 1:
        return [(arrays[run.first : run.last], target.view(source.dtype))]
    flat = source.reshape(-1).view(np.uint8)
    steps = range(0, run.size, _COPIED_AT_ONCE)
    return [((flat[at : at + _COPIED_AT_ONCE],), target[at : at + _COPIED_AT_ONCE]) for at in steps]


def _carry_out(tasks: Iterable[tuple[Sequence[Any], Any]]) -> None:
    for sources, target in tasks:
        if len(sources) == 1:
            np.copyto(target, sources[0])
        else:
            np.concatenate(sources, axis=None, out=target)
