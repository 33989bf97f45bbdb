"""Hashes of blocks, by several threads: 128 bits of XXH3.

    hash_all([memoryview(b"..."), ...])         # [16 bytes, ...]

It is no defence against somebody who makes up bytes for it: who can do that to a job's variables
can save what he likes.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from typing import Any

from estimator_ckpt.errors import CheckpointArgumentError

THREADS = min(8, os.cpu_count() or 1)
_WORTH_A_THREAD = 8 << 20  # bytes


def require_hash() -> None:
    """Makes sure that there is a hash.

    Raises:
      CheckpointArgumentError: the package xxhash is not installed.
    """
    _hash_function()


@functools.cache
def _hash_function() -> Callable[[Any], bytes]:
    try:
        from xxhash import xxh3_128_digest
    except ImportError as error:
        raise CheckpointArgumentError(
            "unchanged='link' compares variables by their hashes, which needs the package xxhash, "
            'and that is not installed: pip install xxhash, or pip install "estimator-ckpt'
            '[estimator]"; or leave unchanged="write"'
        ) from error
    function: Callable[[Any], bytes] = xxh3_128_digest
    return function


def hash_of(block: Any) -> bytes:
    """Returns the hash of a contiguous buffer of bytes."""
    return _hash_function()(block)


def hash_all(blocks: Sequence[Any]) -> list[bytes]:
    """Returns the hash of each block.

    Args:
      blocks: contiguous buffers of bytes.
    """
    found: list[bytes] = in_threads(_hash_function(), blocks, [len(block) for block in blocks])
    return found


def in_threads(function: Callable[[Any], Any], items: Sequence[Any], sizes: Sequence[int]) -> Any:
    """Returns [function(item) ...], worked out by several threads where there are many bytes.

    Args:
      function: one that lets other threads work meanwhile.
      items: what it is given.
      sizes: how many bytes that are.
    """
    if len(items) < 2 or sum(sizes) < _WORTH_A_THREAD:
        return [function(item) for item in items]
    ends, weight = [0], 0
    most = max(1, sum(sizes) // (8 * THREADS))
    for number, size in enumerate(sizes, 1):
        weight += size
        if weight >= most or number == len(sizes):
            ends.append(number)
            weight = 0
    ranges = list(zip(ends, ends[1:]))
    from concurrent.futures import ThreadPoolExecutor  # here: the flags of a job need none of it

    with ThreadPoolExecutor(THREADS) as threads:
        done = threads.map(lambda ends: [function(item) for item in items[slice(*ends)]], ranges)
        return [each for part in done for each in part]
