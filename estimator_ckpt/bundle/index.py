"""A checkpoint's index: which key has which dtype, shape and bytes.

    index = decode_index(data)                  # of a PREFIX.index file
    entry = index.entries["dnn/kernel"]         # TensorEntry(dtype=1, shape=(784, 10), ...)
    data = encode_index(index)                  # the bytes that TensorFlow would write

A partitioned variable is one entry here, with a part for each slice. In the file it is one row
for the whole and one for each slice, under keys made from the name and the slice; those are
made anew when the index is written, so renaming an entry renames its slices.

Source: TensorFlow's `core/protobuf/tensor_bundle.proto`, `core/util/tensor_bundle/naming.h`,
`core/util/saved_tensor_slice_util.cc` and `core/lib/strings/ordered_code.cc`.
"""

from __future__ import annotations

import bisect
import itertools
import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import NamedTuple

from estimator_ckpt.bundle import dtypes, protos
from estimator_ckpt.bundle.allocation import many_objects
from estimator_ckpt.bundle.entry_bytes import encode_fields
from estimator_ckpt.bundle.many_entries import decode_many, encode_many
from estimator_ckpt.bundle.protos import Message
from estimator_ckpt.bundle.table import Rows, first_rows, read_blocks, write_table
from estimator_ckpt.errors import DamagedCheckpointError

_HEADER_KEY = b""
_FULL_EXTENT = -1
_MOST_DIMENSIONS = 254  # of a TensorShape
_MOST_SHARDS = 99_999  # the numbers in the names of data files have five digits
_BIG_ENDIAN = 1
_PARTS = itemgetter(6)  # of an entry
_ESCAPES = {b"\0": b"\0\xff", b"\xff": b"\xff\0"}  # of ordered code


class Extent(NamedTuple):
    """A slice of one dimension: `length` elements from `start`; -1 for all of them."""

    start: int
    length: int


class TensorPart(NamedTuple):
    """One slice of a partitioned variable: where it is in the whole, and its own entry."""

    extents: tuple[Extent, ...]
    entry: TensorEntry


class TensorEntry(NamedTuple):
    """Where a tensor's bytes are. (A NamedTuple, as there may be 100,000 of them.)

    Attributes:
      dtype: number of the element type in TensorFlow's `DataType`.
      shape: size of each dimension; for a partitioned variable, of the whole.
      shard_id: which data file holds the bytes.
      offset: where they begin in that file.
      size: their number; 0 for a partitioned variable, whose parts have the bytes.
      crc32c: their masked CRC32C.
      parts: the slices of a partitioned variable; () for any other tensor.
    """

    dtype: int
    shape: tuple[int, ...]
    shard_id: int = 0
    offset: int = 0
    size: int = 0
    crc32c: int = 0
    parts: tuple[TensorPart, ...] = ()

    @property
    def dtype_name(self) -> str:
        """TensorFlow's name of the element type, such as `float32`."""
        return dtypes.dtype_name(self.dtype)

    @property
    def stored(self) -> tuple[TensorEntry, ...]:
        """The entries that have bytes: the parts, or the entry itself."""
        return tuple(part.entry for part in self.parts) if self.parts else (self,)

    @property
    def bytes(self) -> int:
        """How many bytes the tensor has in the data files, all parts together."""
        return sum(part.entry.size for part in self.parts) if self.parts else self.size

    def in_shards(self, numbers: Mapping[int, int]) -> TensorEntry:
        """Returns the entry with its shards renumbered, {old: new}."""
        if self.parts:
            return self._replace(
                # The whole has no bytes; TensorFlow gives it the number of its first part's shard.
                shard_id=numbers.get(self.shard_id, 0),
                parts=tuple(
                    part._replace(entry=part.entry.in_shards(numbers)) for part in self.parts
                ),
            )
        return self._replace(shard_id=numbers[self.shard_id])


def have_parts(entries: Iterable[TensorEntry]) -> bool:
    """Returns whether any is of a partitioned variable."""
    return any(map(_PARTS, entries))


@dataclass(frozen=True)
class BundleIndex:
    """What a PREFIX.index file says.

    Attributes:
      entries: the tensors, by key.
      num_shards: how many data files belong to the checkpoint.
      producer: version of the format, as the header has it.
    """

    entries: Mapping[str, TensorEntry]
    num_shards: int = 1
    producer: int = 1


def decode_index(data: bytes, on_damage: Callable[[str], None] | None = None) -> BundleIndex:
    """Decodes the bytes of a PREFIX.index file.

    Args:
      data: the whole file.
      on_damage: called with what is wrong with a block or an entry, instead of raising; what can't
        be read is left out.

    Returns:
      The index, its entries sorted by key.

    Raises:
      DamagedCheckpointError: the bytes are not an index, or an unreadable (big-endian) one. With
        `on_damage` only if that leaves nothing to read.
    """
    try:
        with many_objects():
            return _decode(read_blocks(data, on_damage), on_damage)
    except protos.DecodeError as error:
        raise DamagedCheckpointError(f"a row of it can't be decoded: {error}") from error


@many_objects()
def encode_index(index: BundleIndex) -> bytes:
    """Encodes an index, byte for byte as TensorFlow does.

    Args:
      index: entries in any order.

    Returns:
      The bytes of a PREFIX.index file.
    """
    header = protos.BundleHeaderProto(num_shards=index.num_shards)
    header.version.producer = index.producer
    entries = index.entries.values()
    rows = {_HEADER_KEY: header.SerializeToString()}
    rows.update(zip(_keys(index.entries), encode_many(entries)))
    for name, entry in index.entries.items() if have_parts(entries) else ():
        if entry.parts:
            key = name.encode("utf-8", "surrogateescape")
            rows[key] += _encode_slices(entry.parts)
            for part in entry.parts:
                rows[_slice_key(key, part.extents)] = encode_fields(*part.entry[:-1])
    keys = sorted(rows)
    return write_table(zip(keys, map(rows.__getitem__, keys)))


def count_shards(data: bytes) -> int:
    """Reads from the bytes of a PREFIX.index how many data files belong to the checkpoint.

    Args:
      data: the whole file, of which only the head is decoded.

    Returns:
      Their number.

    Raises:
      DamagedCheckpointError: the bytes are not an index, or an unreadable one.
    """
    try:
        return int(_header(first_rows(data)).num_shards)
    except protos.DecodeError as error:
        raise DamagedCheckpointError(f"a row of it can't be decoded: {error}") from error


def _header(rows: list[tuple[bytes, bytes]]) -> Message:
    """Returns the header, which is the first row, if it is one that can be read."""
    if not rows or rows[0][0] != _HEADER_KEY:
        raise DamagedCheckpointError("it has no header, so it isn't the index of a checkpoint")
    header = protos.BundleHeaderProto.FromString(rows[0][1])
    if header.endianness == _BIG_ENDIAN:
        raise DamagedCheckpointError(
            "it was written on a big-endian machine; convert it there, "
            "TensorFlow can't read it here"
        )
    if not 1 <= header.num_shards <= _MOST_SHARDS:
        raise DamagedCheckpointError(f"its header claims {header.num_shards} shards")
    return header


def _decode(blocks: list[Rows], on_damage: Callable[[str], None] | None) -> BundleIndex:
    header = _header(blocks[0].pairs(1) if blocks else [])
    num_shards = header.num_shards
    slices: dict[bytes, bytes] = {}
    entries: dict[str, TensorEntry] = {}
    for rows in blocks:
        first = bisect.bisect_left(rows.keys, b"\x01")  # slices have keys that begin with a zero
        if first:
            slices.update((key, value) for key, value in rows.pairs(first) if key)
        keys, starts, ends = rows.keys[first:], rows.starts[first:], rows.ends[first:]
        names = _names(keys)
        fields, others = decode_many(rows.block, starts, ends, num_shards)
        # As map(TensorEntry._make, fields), in a third of the time.
        made = map(tuple.__new__, itertools.repeat(TensorEntry), fields)
        entries.update(zip(names, made))
        for number in others:
            key, name, value = (
                keys[number],
                names[number],
                rows.block[starts[number] : ends[number]],
            )
            try:
                entries[name] = _decode_variable(key, name, value, slices, num_shards)
            except (DamagedCheckpointError, protos.DecodeError) as error:
                if on_damage is None:
                    raise
                del entries[name]
                on_damage(str(error))
    if slices:
        problem = f"{len(slices)} slices in it belong to no variable, the first is {min(slices)!r}"
        if on_damage is None:
            raise DamagedCheckpointError(problem)
        on_damage(problem)
    return BundleIndex(entries, num_shards, header.version.producer)


def _names(keys: list[bytes]) -> list[str]:
    """Decodes keys, all at once where none has a zero in it."""
    names = b"\0".join(keys).decode("utf-8", "surrogateescape").split("\0") if keys else []
    if len(names) != len(keys):
        names = [key.decode("utf-8", "surrogateescape") for key in keys]
    return names


def _keys(names: Collection[str]) -> list[bytes]:
    """Encodes names, all at once where none has a zero in it."""
    keys = "\0".join(names).encode("utf-8", "surrogateescape").split(b"\0") if names else []
    if len(keys) != len(names):
        keys = [name.encode("utf-8", "surrogateescape") for name in names]
    return keys


def _decode_variable(
    key: bytes, name: str, value: bytes, slices: dict[bytes, bytes], num_shards: int
) -> TensorEntry:
    proto = protos.BundleEntryProto.FromString(value)
    entry = _decode_entry(name, proto, num_shards)
    if not proto.slices:
        return entry
    parts = tuple(_take_part(key, each, slices, num_shards) for each in proto.slices)
    for part in parts:
        _require_within(name, entry, part)
    return entry._replace(parts=parts)


def _take_part(
    key: bytes, slice_proto: Message, slices: dict[bytes, bytes], num_shards: int
) -> TensorPart:
    extents = tuple(
        Extent(each.start, each.length if each.HasField("length") else _FULL_EXTENT)
        for each in slice_proto.extent
    )
    name = key.decode("utf-8", "surrogateescape")
    encoded = slices.pop(_slice_key(key, extents), None)
    if encoded is None:
        raise DamagedCheckpointError(f"the slice {list(extents)} of {name!r} is missing in it")
    entry = _decode_entry(name, protos.BundleEntryProto.FromString(encoded), num_shards)
    return TensorPart(extents, entry)


def _require_within(name: str, whole: TensorEntry, part: TensorPart) -> None:
    """Makes sure that a slice is one of its whole, and has the shape that its extents say."""
    fits = len(part.extents) == len(whole.shape) and part.entry.dtype == whole.dtype
    lengths = []
    for (start, length), size in zip(part.extents, whole.shape):
        if length == _FULL_EXTENT:
            start, length = 0, size
        fits = fits and start >= 0 and length >= 0 and start + length <= size
        lengths.append(length)
    if not fits or tuple(lengths) != part.entry.shape:
        raise DamagedCheckpointError(
            f"{name!r} is {whole.dtype_name} of shape {list(whole.shape)}, but its slice "
            f"{list(part.extents)} is {part.entry.dtype_name} of shape {list(part.entry.shape)}"
        )


def _decode_entry(name: str, proto: Message, num_shards: int) -> TensorEntry:
    """Decodes any entry, less its parts, and says what is wrong with it."""
    shape = tuple(dim.size for dim in proto.shape.dim)
    shard_id, offset, size = proto.shard_id, proto.offset, proto.size
    entry = TensorEntry(proto.dtype, shape, shard_id, offset, size, proto.crc32c)
    if not 0 <= shard_id < num_shards or offset < 0 or size < 0:
        raise DamagedCheckpointError(
            f"{name!r} should be {size} bytes at {offset} of shard {shard_id}, "
            f"which can't be: the checkpoint has {num_shards} shards"
        )
    if shape and (len(shape) > _MOST_DIMENSIONS or min(shape) < 0):
        raise DamagedCheckpointError(
            f"{name!r} has {len(shape)} dimensions, the least of {min(shape)} elements; "
            f"a tensor has {_MOST_DIMENSIONS} at most, and none below 0"
        )
    element = dtypes.element_size(entry.dtype)
    if entry.dtype in dtypes.LENGTH_FIRST and math.prod(shape) > size and not proto.slices:
        raise DamagedCheckpointError(
            f"{name!r} has {size} bytes, too few for a {entry.dtype_name} of shape {list(shape)}"
        )
    if element and math.prod(shape) * element != size and not proto.slices:
        raise DamagedCheckpointError(
            f"{name!r} has {size} bytes, but {entry.dtype_name} of shape "
            f"{list(shape)} has {math.prod(shape) * element}"
        )
    return entry


def _encode_slices(parts: tuple[TensorPart, ...]) -> bytes:
    """Encodes the last field of an entry, where it has any."""
    proto = protos.BundleEntryProto()
    for part in parts:
        extents = proto.slices.add().extent
        for start, length in part.extents:
            extent = extents.add(start=start)
            if length != _FULL_EXTENT:
                extent.length = length
    return bytes(proto.SerializeToString())


def _slice_key(key: bytes, extents: tuple[Extent, ...]) -> bytes:
    """Returns the key of a slice: 0, name, rank, then start and length of each dimension."""
    escaped = re.sub(rb"[\0\xff]", lambda found: _ESCAPES[found[0]], key)
    encoded = b"\0" + escaped + b"\0\x01" + _ordered_number(len(extents))
    return encoded + b"".join(_ordered_signed(number) for extent in extents for number in extent)


def _ordered_number(number: int) -> bytes:
    """Encodes an unsigned integer: the count of its bytes, then the bytes, big-endian."""
    size = (number.bit_length() + 7) // 8
    return bytes((size,)) + number.to_bytes(size, "big")


def _ordered_signed(number: int) -> bytes:
    """Encodes a signed integer; a header of as many one-bits as there are bytes, then the sign.

    Seven bits of each byte are the number's (one of them its sign), so `size` bytes have a header
    of `size` one-bits, inverted together with the number where that is negative.
    """
    magnitude = ~number if number < 0 else number
    size = magnitude.bit_length() // 7 + 1
    header = ((1 << size) - 1) << (8 * size - size)
    return ((number & ((1 << 8 * size) - 1)) ^ header).to_bytes(size, "big")
