"""The checksum that a tensor's stored bytes should have, for every type; for checking, not reading.

    stored_checksum(entry, chunks) == entry.crc32c

Source: `WriteTensor`, `WriteStringTensor` and `WriteVariantTensor` in TensorFlow's
`core/util/tensor_bundle/tensor_bundle.cc`.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator

from estimator_ckpt.bundle import checksums, dtypes
from estimator_ckpt.bundle.index import TensorEntry
from estimator_ckpt.bundle.table import read_varint
from estimator_ckpt.errors import DamagedCheckpointError


def stored_checksum(entry: TensorEntry, chunks: Iterator[bytes]) -> int:
    """Works out the checksum of a tensor's bytes, in pieces, so that memory stays bounded.

    Args:
      entry: of a tensor that is not partitioned, or of a part.
      chunks: its stored bytes, in pieces.

    Returns:
      The masked CRC32C that the entry should have.

    Raises:
      DamagedCheckpointError: strings or variants are not stored as they should be.
    """
    if entry.dtype == dtypes.STRING:
        return checksums.mask(_of_strings(math.prod(entry.shape), _Stream(chunks)))
    if entry.dtype == dtypes.VARIANT:
        return checksums.mask(_of_variants(math.prod(entry.shape), _Stream(chunks)))
    crc = 0
    for chunk in chunks:
        crc = checksums.extend(crc, chunk)
    return checksums.mask(crc)


def _of_strings(count: int, stream: _Stream) -> int:
    """Over all lengths, as integers of a fixed size; their checksum; and then all strings."""
    crc = total = 0
    for _ in range(count):
        length = stream.varint()
        total += length
        crc = checksums.extend(crc, struct.pack("<I" if length < 1 << 32 else "<Q", length))
    crc = stream.checked(crc, "the lengths of its strings have a wrong checksum")
    for chunk in stream.rest():
        total -= len(chunk)
        crc = checksums.extend(crc, chunk)
    if total:
        raise DamagedCheckpointError("the lengths of its strings don't add up to its size")
    return crc


def _of_variants(count: int, stream: _Stream) -> int:
    """Over each length, what is so long, and the checksum of all that up to there."""
    crc = 0
    for _ in range(count):
        length = stream.varint()
        crc = checksums.extend(crc, struct.pack("<Q", length))
        crc = checksums.extend(crc, stream.take(length))
        crc = stream.checked(crc, "one of its variants has a wrong checksum")
    if any(stream.rest()):
        raise DamagedCheckpointError("there is more of it than its variants")
    return crc


class _Stream:
    """Takes numbers and bytes from chunks, wherever one ends."""

    def __init__(self, chunks: Iterator[bytes]):
        self._chunks = chunks
        self._chunk = b""
        self._position = 0

    def take(self, count: int) -> bytes:
        taken = []
        while count:
            if self._position == len(self._chunk):
                self._chunk, self._position = next(self._chunks, b""), 0
                if not self._chunk:
                    raise DamagedCheckpointError("a length in it reaches beyond its end")
            taken.append(self._chunk[self._position : self._position + count])
            self._position += len(taken[-1])
            count -= len(taken[-1])
        return b"".join(taken)

    def varint(self) -> int:
        encoded = self.take(1)
        while encoded[-1] >= 128 and len(encoded) < 10:
            encoded += self.take(1)
        return read_varint(encoded, 0)[0]

    def checked(self, crc: int, otherwise: str) -> int:
        """Takes the masked form of `crc`, which has to come next; returns it extended by that."""
        stored = self.take(4)
        if stored != struct.pack("<I", checksums.mask(crc)):
            raise DamagedCheckpointError(otherwise)
        return checksums.extend(crc, stored)

    def rest(self) -> Iterator[bytes]:
        yield self._chunk[self._position :]
        yield from self._chunks
