"""What a piece of work may take: time, and memory that Python reserves.

error = limits.within(lambda: read(data), seconds=0.1, megabytes=64)
"""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable


def within(
    work: Callable[[], object], seconds: float, megabytes: float, memory: bool = True
) -> Exception | None:
    """Does a piece of work, and then again, as counting memory takes time itself.

    What is slow is tried again, as the first may have had to clear up what others had left.

    Args:
      work: what is done.
      seconds: of the processor that it may take; what others do on this machine doesn't count.
      megabytes: that it may reserve at a time.
      memory: whether to do it again, for its memory.

    Returns:
      What it has raised.

    Raises:
      AssertionError: it took more.
    """
    took = float("inf")
    for _ in range(3):
        start = time.thread_time()
        raised = _raised(work)
        took = min(took, time.thread_time() - start)
        if took <= seconds:
            break
    assert took <= seconds, f"it took {took:.3f} s; {seconds} s are the most"
    if memory:
        tracemalloc.start()
        try:
            _raised(work)
            peak = tracemalloc.get_traced_memory()[1] / 2**20
        finally:
            tracemalloc.stop()
        assert peak <= megabytes, f"it reserved {peak:.1f} MB; {megabytes} MB are the most"
    return raised


def _raised(work: Callable[[], object]) -> Exception | None:
    try:
        work()
    except Exception as error:
        return error
    return None
