"""Which requests bring ranges of a file: neighbours together, none too large; pure.

for run in plan([(0, 10), (10, 5), (1 << 30, 4)]):
    run.cuts            # [(0, 15)], then [(1 << 30, 4)]
    run.ranges          # [(0, 10), (10, 5)], then ...
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from estimator_ckpt.storage.protocol import Range

REQUEST = 8 * 1024 * 1024
"""The most bytes that one request asks for."""
GAP = 64 * 1024
"""Bytes that are rather read for nothing than that another request is made."""
IN_FLIGHT = 8
"""Requests that are made at once."""


@dataclass
class Run:
    """Ranges whose bytes lie side by side.

    Attributes:
      start: where the first begins.
      end: where the last ends.
      ranges: as they were given, in that order.
    """

    start: int
    end: int
    ranges: list[Range] = field(default_factory=list)

    @property
    def cuts(self) -> list[Range]:
        """The requests that bring it."""
        return [
            (start, min(REQUEST, self.end - start))
            for start in range(self.start, self.end, REQUEST)
        ]


def plan(ranges: Sequence[Range]) -> list[Run]:
    """Joins ranges, in the order that they are given, to runs.

    A range goes with those before it if it begins where they end, or little later.
    """
    runs: list[Run] = []
    for offset, length in ranges:
        run = runs[-1] if runs else None
        if run is None or (length and not run.end <= offset <= run.end + GAP):
            run = Run(offset, offset)
            runs.append(run)
        run.ranges.append((offset, length))
        run.end = offset + length if length else run.end
    return runs


def fetch(ranges: Sequence[Range], get: Callable[[int, int], bytes]) -> Iterator[bytes]:
    """Yields the bytes of ranges, with several requests in flight.

    Args:
      ranges: in the order in which they are wanted.
      get: makes one request, given an offset and a length; returns fewer bytes at the end.
    """
    runs = plan(ranges)
    answers = in_flight(get, [cut for run in runs for cut in run.cuts])
    for run in runs:
        yield from _split(run, answers)


def in_flight(get: Callable[[int, int], bytes], cuts: Sequence[Range]) -> Iterator[bytes]:
    """Yields the answers to requests, in their order, of which several are made at once."""
    if len(cuts) < 2:
        yield from itertools.starmap(get, cuts)
        return
    rest = iter(cuts)
    with ThreadPoolExecutor(min(IN_FLIGHT, len(cuts))) as pool:
        waiting = deque(pool.submit(get, *cut) for cut in itertools.islice(rest, IN_FLIGHT))
        try:
            while waiting:
                answer = waiting.popleft().result()
                waiting.extend(pool.submit(get, *cut) for cut in itertools.islice(rest, 1))
                yield answer
        finally:
            for each in waiting:
                each.cancel()


def _split(run: Run, answers: Iterable[bytes]) -> Iterator[bytes]:
    rest, number, held = iter(answers), -1, memoryview(b"")
    for offset, length in run.ranges:
        parts = []
        at, end = offset - run.start, offset - run.start + length
        while at < end:
            while number < at // REQUEST:
                number, held = number + 1, memoryview(next(rest))
            begins = number * REQUEST
            parts.append(held[at - begins : end - begins])
            at = begins + REQUEST
        yield b"".join(parts)
