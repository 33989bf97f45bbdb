"""The checksum that a tensor's stored bytes should have, for every type; for checking, not reading.

    with files.open_file(path) as file:
        stored_checksum(entry, file) == entry.crc32c

Source: `WriteTensor`, `WriteStringTensor` and `WriteVariantTensor` in TensorFlow's
`core/util/tensor_bundle/tensor_bundle.cc`.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from typing import IO

from estimator_ckpt.bundle import checksums, dtypes
from estimator_ckpt.bundle.index import TensorEntry
from estimator_ckpt.bundle.table import read_varint
from estimator_ckpt.errors import DamagedCheckpointError

# Pieces stay in the processor's cache between reading and summing: 1 MiB at once takes twice as
# long. Each request to a remote file system costs far more than that saves.
LOCAL_CHUNK = 256 * 1024
REMOTE_CHUNK = 4 * 1024 * 1024


def stored_checksum(
    entry: TensorEntry,
    file: IO[bytes],
    *,
    chunk_size: int = LOCAL_CHUNK,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Works out the checksum of a tensor's bytes, in pieces, so that memory stays bounded.

    Args:
      entry: of a tensor that is not partitioned, or of a part.
      file: its data file, open for reading.
      chunk_size: how many bytes to read at once.
      progress: called with the number of bytes after each piece.

    Returns:
      The masked CRC32C that the entry should have.

    Raises:
      DamagedCheckpointError: the file ends before the tensor does, or strings or variants are not
        stored as they should be.
    """
    chunks = _chunks(entry, file, chunk_size, progress or (lambda count: None))
    if entry.dtype == dtypes.STRING:
        return checksums.mask(_of_strings(math.prod(entry.shape), _Stream(chunks)))
    if entry.dtype == dtypes.VARIANT:
        return checksums.mask(_of_variants(math.prod(entry.shape), _Stream(chunks)))
    crc = 0
    for chunk in chunks:
        crc = checksums.extend(crc, chunk)
    return checksums.mask(crc)


def _chunks(
    entry: TensorEntry, file: IO[bytes], chunk_size: int, progress: Callable[[int], None]
) -> Iterator[bytes]:
    file.seek(entry.offset)
    missing = entry.size
    while missing:
        chunk = file.read(min(missing, chunk_size))
        if not chunk:
            raise DamagedCheckpointError(f"the file ends {missing} bytes too early")
        missing -= len(chunk)
        progress(len(chunk))
        yield chunk


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
