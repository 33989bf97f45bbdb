"""CRC32C in the masked form that tables and tensor entries store.

    masked_crc32c(b"bytes")        # what follows the bytes in a file

Source: LevelDB's `util/crc32c.h`. A checksum of bytes that contain checksums is weak, so
stored ones are masked: mask(c) = rotate-right(c, 15) + 0xa282ead8, modulo 2**32.
"""

from __future__ import annotations

import google_crc32c

_MASK_DELTA = 0xA282EAD8


def mask(crc: int) -> int:
    """Returns the stored form of a CRC32C (both are unsigned 32-bit)."""
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def extend(crc: int, data: bytes) -> int:
    """Returns the unmasked CRC32C of what `crc` covers followed by `data`."""
    return int(google_crc32c.extend(crc, data))


def masked_crc32c(data: bytes) -> int:
    """Returns the masked CRC32C of `data`, an unsigned 32-bit integer."""
    return mask(int(google_crc32c.value(data)))
