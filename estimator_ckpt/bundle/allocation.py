"""Making many small objects at once, without Python's cycle collector looking through all of them.

    with many_objects():
        rows = [decode(row) for row in table]

What is made of an index are tuples of numbers and strings, which form no cycles; the collector
would go through all of them again and again while they grow in number.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def many_objects() -> Iterator[None]:
    """Pauses the cycle collector; it is as it was before when the block is left."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
