"""What the machine itself needs: a copy in memory, a file written or read, bytes summed up.

    ways = {"ours": save, "write": limits.file_write(folder, 2**30)}
    measure.in_turn(5, ways)                # in the process, and in turn with what it is beside

Each function prepares all that it needs, its memory touched, and returns what measures it.
"""

from __future__ import annotations

import concurrent.futures
import os
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks import measure

Limit = Callable[[], measure.Run]
_PIECE = 16 * 2**20  # of a write, a read and a sum


def cores() -> int:
    """Returns how many threads can run at once."""
    known = hasattr(os, "sched_getaffinity")
    return len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1


def memory_copy(size: int, threads: int = 1) -> Limit:
    """Copies so many bytes from one place in memory to another, by so many threads."""
    import numpy as np

    source, target = np.ones(size, np.uint8), np.zeros(size, np.uint8)
    target[:] = 1  # zeros have no pages yet
    bounds = [size * number // threads for number in range(threads + 1)]
    parts = [slice(*pair) for pair in zip(bounds, bounds[1:])]
    pool = concurrent.futures.ThreadPoolExecutor(threads)

    def copy() -> None:
        if threads == 1:
            np.copyto(target, source)
        else:
            list(pool.map(lambda part: np.copyto(target[part], source[part]), parts))

    return lambda: {"seconds": measure.timed(copy)}


def file_write(folder: str, size: int, *, flushed: bool = False) -> Limit:
    """Writes so many bytes to a new file, and flushes it to the disk if asked to."""
    data, path = memoryview(_bytes(size)), os.path.join(folder, "limit")

    def write() -> None:
        with open(path, "xb", buffering=0) as file:
            for start in range(0, size, _PIECE):
                file.write(data[start : start + _PIECE])
            if flushed:
                os.fsync(file.fileno())

    def measured() -> measure.Run:
        try:
            return {"seconds": measure.timed(write)}
        finally:
            os.remove(path)

    return measured


def file_read(paths: Sequence[str]) -> Limit:
    """Reads files as a whole, from the page cache."""
    buffer = memoryview(bytearray(_bytes(max([_PIECE, *map(os.path.getsize, paths)]))))

    def read() -> None:
        for path in paths:
            with open(path, "rb", buffering=0) as file:
                while file.readinto(buffer):
                    pass

    return lambda: {"seconds": measure.timed(read)}


def small_files(folder: str, count: int, size: int, *, flushed: bool) -> Limit:
    """Makes so many files of so many bytes, each flushed to the disk if asked to."""
    data = _bytes(size)
    paths = [os.path.join(folder, f"limit-{number}") for number in range(count)]

    def write() -> None:
        for path in paths:
            with open(path, "xb", buffering=0) as file:
                file.write(data)
                if flushed:
                    os.fsync(file.fileno())

    def measured() -> measure.Run:
        try:
            return {"seconds": measure.timed(write)}
        finally:
            for path in filter(os.path.exists, paths):
                os.remove(path)

    return measured


def crc32c(size: int) -> Limit:
    """Sums up so many bytes of memory, as TensorFlow's files have it, in one thread."""
    from estimator_ckpt.bundle import checksums

    data = memoryview(_bytes(size))
    checksums.extend(0, data[:1])

    def add_up() -> None:
        checksum = 0
        for start in range(0, size, _PIECE):
            checksum = checksums.extend(checksum, data[start : start + _PIECE])

    return lambda: {"seconds": measure.timed(add_up)}


def xxh3(size: int) -> Limit:
    """Hashes so many bytes of memory to 128 bits, in one thread."""
    import xxhash

    data = memoryview(_bytes(size))
    return lambda: {"seconds": measure.timed(lambda: xxhash.xxh3_128_digest(data))}


def _bytes(size: int) -> Any:
    return b"\1" * size
