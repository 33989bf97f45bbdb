"""CRC32C in the masked form that tables and tensor entries store.

    masked_crc32c(b"bytes")        # what follows the bytes in a file

Source: LevelDB's `util/crc32c.h`. A checksum of bytes that contain checksums is weak, so
stored ones are masked: mask(c) = rotate-right(c, 15) + 0xa282ead8, modulo 2**32.

The package crc32c sums them up; where it is not installed, google-crc32c does, which keeps other
threads waiting meanwhile.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable
from typing import Union

from estimator_ckpt.errors import CheckpointArgumentError

Bytes = Union[bytes, bytearray, memoryview]
_MASK_DELTA = 0xA282EAD8
_POLYNOMIAL = 0x82F63B78  # of CRC32C, reflected
_START = 0xFFFFFFFF


def mask(crc: int) -> int:
    """Returns the stored form of a CRC32C (both are unsigned 32-bit)."""
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def unmask(masked: int) -> int:
    """Undoes `mask`."""
    rotated = (masked - _MASK_DELTA) & 0xFFFFFFFF
    return ((rotated >> 17) | (rotated << 15)) & 0xFFFFFFFF


def integer_of(masked: int, size: int) -> int | None:
    """Finds the integer that has a checksum, so that its bytes need not be read.

    For 32 bits a CRC32C is one-to-one: run backwards from the checksum, it gives the four bytes
    that it started with. The other four of an int64 are taken for zeros.

    Args:
      masked: the masked CRC32C of the integer's little-endian bytes.
      size: how many bytes it has, 4 or 8.

    Returns:
      The integer if it is from 0 to 2**31 - 1 (as a global step is, nearly always), else None.
    """
    table, index_of = _tables()
    state = unmask(masked) ^ _START
    for _ in range(size):
        index = index_of[state >> 24]
        state = ((state ^ table[index]) << 8 & 0xFFFFFFFF) | index
    number = state ^ _START
    encoded = struct.pack("<I", number).ljust(size, b"\0")
    return number if number < 1 << 31 and masked_crc32c(encoded) == masked else None


@functools.cache
def _tables() -> tuple[list[int], list[int]]:
    """Returns the CRC of each byte, and the byte of each CRC by that one's highest eight bits."""
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (_POLYNOMIAL if byte & 1 else 0)
        table.append(byte)
    index_of = [0] * 256
    for index, crc in enumerate(table):
        index_of[crc >> 24] = index
    return table, index_of


def extend(crc: int, data: Bytes) -> int:
    """Returns the unmasked CRC32C of what `crc` covers followed by `data`, any buffer of bytes.

    Raises:
      CheckpointArgumentError: no package is installed that sums them up.
    """
    return _extend()(crc, data)


def masked_crc32c(data: Bytes) -> int:
    """Returns the masked CRC32C of `data`, any buffer of bytes, an unsigned 32-bit integer."""
    return mask(extend(0, data))


@functools.cache
def _extend() -> Callable[[int, Bytes], int]:
    try:
        from crc32c import crc32c

        return lambda crc, data: int(crc32c(data, crc))
    except ImportError:
        pass
    try:
        import google_crc32c
    except ImportError as error:
        raise CheckpointArgumentError(
            "the checksums of checkpoints need the package crc32c (LGPL) or google-crc32c (Apache "
            "2.0), and neither is installed: pip install crc32c, or pip install google-crc32c"
        ) from error
    extend_bytes = google_crc32c.extend
    return lambda crc, data: int(extend_bytes(crc, _read_only(data)))


def _read_only(data: Bytes) -> object:
    """Returns bytes, or the same memory as an array that can't be written: nothing else will do."""
    if isinstance(data, bytes) or not len(data):
        return bytes(data)
    import numpy as np  # here, as it takes a while to load

    array = np.frombuffer(data, np.uint8)
    array.flags.writeable = False
    return array
