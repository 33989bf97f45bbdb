"""Damages checkpoints, to see what notices.

damage.flip(path, 100)             # one bit of the byte at 100
damage.zero_shards(prefix)         # only the index is left as it was
"""

from __future__ import annotations

import glob
import os


def flip(path, offset, bit=0):
    """Flips a bit of a file; a negative offset counts from its end."""
    with open(path, "r+b") as file:
        file.seek(offset, os.SEEK_SET if offset >= 0 else os.SEEK_END)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1 << bit]))


def shards(prefix):
    return sorted(glob.glob(glob.escape(str(prefix)) + ".data-*-of-*"))


def zero_shards(prefix):
    """Puts sparse files of the same sizes in the place of the shards."""
    for path in shards(prefix):
        size = os.path.getsize(path)
        os.remove(path)  # it may be a link to another checkpoint's
        with open(path, "wb") as file:
            file.truncate(size)
