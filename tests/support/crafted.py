"""Indexes that no writer would write: every checksum is right, and what they say can't be.

for name, data in crafted.impossible().items():
    (tmp_path / "ckpt.index").write_bytes(data)
"""

from __future__ import annotations

import itertools
import struct

import cramjam

from estimator_ckpt.bundle import checksums
from estimator_ckpt.bundle.protos import BundleEntryProto, BundleHeaderProto
from estimator_ckpt.bundle.table import write_table, write_varint

MAGIC = 0xDB4775248B80FB57


def header(**fields):
    return BundleHeaderProto(**{"num_shards": 1, **fields}).SerializeToString()


def entry(shape, dtype=1, size=24, slices=(), **fields):
    proto = BundleEntryProto(dtype=dtype, size=size, **fields)
    for each in shape:
        proto.shape.dim.add().size = each
    for extents in slices:
        added = proto.slices.add()
        for start, length in extents:
            added.extent.add(start=start, length=length)
    return proto.SerializeToString()


def block(rows):
    """A block whose keys are given as (shared, rest)."""
    data = b"".join(
        write_varint(shared) + write_varint(len(rest)) + write_varint(len(value)) + rest + value
        for shared, rest, value in rows
    )
    return data + struct.pack("<II", 0, 1)


def table(blocks, handles=None, keys=None):
    """A table of these blocks, (bytes, compression).

    Its index lists `handles`, or all, and has `keys` for them, the last one of each block.
    """
    output, found = b"", []
    for data, compression in [*blocks, (block([]), 0)]:
        found.append((len(output), len(data)))
        output += _with_trailer(data, compression)
    *listed, metaindex = found
    listed = [listed[number] for number in handles] if handles is not None else listed
    keys = keys or [b"%08d" % number for number in range(len(listed))]
    rows = [(0, key, _handle(each)) for key, each in zip(keys, listed)]
    index = block(rows)
    footer = _handle(metaindex) + _handle((len(output), len(index)))
    return output + _with_trailer(index, 0) + footer.ljust(40, b"\0") + struct.pack("<Q", MAGIC)


def compressed(rows):
    """A table of (key, value) rows in blocks that snappy has packed, of 16 rows each."""
    groups = [rows[start : start + 16] for start in range(0, len(rows), 16)]
    blocks = []
    for group in groups:
        before, packed = b"", []
        for key, value in group:
            same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(before, key))
            shared = len(list(same))
            packed.append((shared, key[shared:], value))
            before = key
        blocks.append((bytes(cramjam.snappy.compress_raw(block(packed))), 1))
    return table(blocks, keys=[group[-1][0] for group in groups])


def _handle(handle):
    return write_varint(handle[0]) + write_varint(handle[1])


def _with_trailer(data, compression):
    data += bytes((compression,))
    return data + struct.pack("<I", checksums.masked_crc32c(data))


def impossible():
    """{what is wrong with it: an index}."""
    head = (b"", header())

    def of(*rows):
        return write_table(sorted(rows))

    long_key = [(0, b"", header()), (0, b"k" * 100_000, b""), *[(100_000, b"", b"")] * 30_000]
    unpacked = cramjam.snappy.compress_raw(bytes(1000))
    claims_more = write_varint(1 << 40) + bytes(unpacked)[2:]
    return {
        "big-endian": of((b"", header(endianness=1))),
        "more shards than there are names": of((b"", header(num_shards=2**31 - 1))),
        "a negative number of shards": of((b"", header(num_shards=-(2**31)))),
        "a float of 2**62 elements": of(head, (b"w", entry([2**31, 2**31]))),
        "a tensor of 2**60 bytes": of(head, (b"w", entry([2**58], size=2**60))),
        "strings of no bytes": of(head, (b"w", entry([2**40], dtype=7, size=24))),
        "variants of no bytes": of(head, (b"w", entry([2**40], dtype=21, size=24))),
        "negative dimensions": of(head, (b"w", entry([-2, -3]))),
        "far too many dimensions": of(head, (b"w", entry([2**62] * 30_000))),
        "bytes at a place beyond any": of(head, (b"w", entry([6], offset=2**62))),
        "a whole of 2**62 elements": of(
            head, (b"w", entry([2**62], size=0, slices=[[(0, 2**62)]]))
        ),
        "a slice beyond its whole": of(
            head,
            (b"w", entry([2], size=0, slices=[[(1, 3)]])),
            (b"\0w\0\1\1\1\x81\x83", entry([3], size=12)),
        ),
        "a block that is there twice": table(
            [(block([(0, b"", header())]), 0), (block([(0, b"w", entry([6]))]), 0)],
            [0, *[1] * 20_000],
        ),
        "keys that repeat each other": table([(block(long_key), 0)]),
        "a compressed block that is huge": table([(claims_more, 1)]),
        "an unknown compression": table([(block([(0, b"", header())]), 7)]),
    }
