"""The CRC32C of two pieces in a row from those of each, without their bytes.

    combine(crc_of_first, crc_of_second, length_of_second)       # as extend(crc_of_first, second)

A CRC is a polynomial's remainder; what follows shifts it, which is a multiplication by a power of
x. That power depends on the length alone, and is worked out once for each length.

Source: `crc32_combine` in zlib's `crc32.c`, with the polynomial of CRC32C.
"""

from __future__ import annotations

import functools

_POLYNOMIAL = 0x82F63B78  # of CRC32C, reflected: the highest bit is that of x to the power of 0
_ONE = 1 << 31


def combine(first: int, second: int, length: int) -> int:
    """Returns the CRC32C of two pieces, one behind the other.

    Args:
      first: the unmasked CRC32C of the first one.
      second: that of the second one.
      length: how many bytes the second one has.

    Returns:
      The unmasked CRC32C of both.
    """
    return _product(_shift(length), first) ^ second


@functools.lru_cache(4096)
def _shift(length: int) -> int:
    """Returns x to the power of eight times a length, modulo the polynomial."""
    power, square = _ONE, _ONE >> 8  # x to the powers of 0 and of 8
    while length:
        if length & 1:
            power = _product(square, power)
        square = _product(square, square)
        length >>= 1
    return power


def _product(one: int, other: int) -> int:
    """Returns the product of two polynomials, modulo that of CRC32C."""
    product = 0
    while one:
        if one & _ONE:
            product ^= other
        one = one << 1 & 0xFFFFFFFF
        other = other >> 1 ^ (_POLYNOMIAL if other & 1 else 0)
    return product
