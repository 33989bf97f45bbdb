"""A file of a store that is read in many ranges, by few requests.

    with Requested(get, [(0, 1024), (4096, 1024)]) as file:
        file.read(4096, 1024)

Ranges that lie side by side come in requests of 8 MiB, some of them ahead of what is asked for, in
the order of the bytes. What was read as often as it was announced is forgotten, so that each byte
comes once and memory stays bounded, unless ranges are read in quite another order.
"""

from __future__ import annotations

import bisect
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from estimator_ckpt.storage.protocol import Range
from estimator_ckpt.storage.ranges import GAP, REQUEST
from estimator_ckpt.storage.reading import Reading

_AHEAD = 4  # requests that are made before what they bring is asked for
_MOST_HELD = 32  # answers that are kept for what is read in another order: 256 MiB


class Requested(Reading):
    """A file that comes by requests."""

    def __init__(self, get: Callable[[int, int], bytes], ranges: Iterable[Range]):
        """Announces what will be read.

        Args:
          get: makes one request, given an offset and a length; returns fewer bytes at the end.
          ranges: that will be read; each as often as it is here.
        """
        self._get = get
        announced = sorted(each for each in ranges if each[1])
        self._cuts = _cuts(announced)
        self._starts = [start for start, _ in self._cuts]
        self._left = [0] * len(self._cuts)  # bytes that are still to be read
        for each in announced:
            for number, _, size in self._shares(*each):
                self._left[number] += size
        self._answers: OrderedDict[int, Future[bytes]] = OrderedDict()
        self._asked = -1  # the last cut that was asked for ahead
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(_AHEAD)

    def read(self, offset: int, length: int) -> bytes:
        """Returns bytes: fewer where the file ends before."""
        if not length:
            return b""
        shares = self._shares(offset, length)
        if sum(size for _, _, size in shares) < length:
            return self._get(offset, length)  # it was not announced
        parts = []
        for number, start, size in shares:
            parts.append(memoryview(self._answer(number).result())[start : start + size])
        with self._lock:
            for number, _, size in shares:
                self._left[number] -= size
                if self._left[number] <= 0:
                    self._answers.pop(number, None)
        return b"".join(parts)

    def close(self) -> None:
        """Ends what is under way."""
        self._pool.shutdown(cancel_futures=True)
        self._answers.clear()

    def _answer(self, number: int) -> Future[bytes]:
        with self._lock:
            if number not in self._answers:
                self._ask(number)
            self._answers.move_to_end(number)
            answer = self._answers[number]
            if self._asked < number + _AHEAD:
                for ahead in range(max(self._asked, number) + 1, number + _AHEAD):
                    if ahead < len(self._cuts) and ahead not in self._answers:
                        self._ask(ahead)
            self._asked = max(self._asked, number + _AHEAD - 1)
            while len(self._answers) > _MOST_HELD:
                self._answers.popitem(last=False)
            return answer

    def _ask(self, number: int) -> None:
        self._answers[number] = self._pool.submit(self._get, *self._cuts[number])

    def _shares(self, offset: int, length: int) -> list[tuple[int, int, int]]:
        """Returns what cuts have of a range: (number, where in the cut, how many bytes)."""
        shares = []
        for number in range(
            max(0, bisect.bisect_right(self._starts, offset) - 1),
            bisect.bisect_left(self._starts, offset + length),
        ):
            begin, size = self._cuts[number]
            start = max(0, offset - begin)
            if start < (stop := min(size, offset + length - begin)):
                shares.append((number, start, stop - start))
        return shares


def _cuts(ranges: Sequence[Range]) -> list[Range]:
    """Returns the requests that bring sorted ranges, which may have bytes in common."""
    runs: list[list[int]] = []
    for offset, length in ranges:
        if runs and offset <= runs[-1][1] + GAP:
            runs[-1][1] = max(runs[-1][1], offset + length)
        else:
            runs.append([offset, offset + length])
    return [
        (start, min(REQUEST, end - start))
        for begin, end in runs
        for start in range(begin, end, REQUEST)
    ]
