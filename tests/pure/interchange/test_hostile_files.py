"""Files of arrays that no honest writer made: refused at once, whatever sizes they speak of."""

from __future__ import annotations

import io
import json
import struct
import tracemalloc
import zipfile

import limits
import numpy as np
import pytest

from estimator_ckpt import DamagedCheckpointError, import_checkpoint
from estimator_ckpt.checkpoint import arrays, open_checkpoint


def npy(descr="'<f4'", order="False", shape="(2,)", data=b"\0" * 8, version=1, length=None):
    header = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n".encode()
    width = "<H" if version == 1 else "<I"
    size = struct.pack(width, len(header) if length is None else length)
    return b"\x93NUMPY" + bytes((version, 0)) + size + header + data


def archive(*members, method=zipfile.ZIP_DEFLATED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as made:
        for name, data in members:
            made.writestr(name, data)
    return file.getvalue()


def one(data, **kwargs):
    return archive(("w.npy", data), **kwargs)


def changed(data, old, new):
    assert old in data
    return data.replace(old, new)


def sharing_one_member():
    """The directory lists one member's bytes under many names: 1 MB stands for 100."""
    data = archive(("0.npy", npy(shape="(262144,)", data=b"\0" * 2**20)))
    start = data.index(b"PK\x01\x02")
    end = data.index(b"PK\x05\x06")
    listed = data[start:end]
    many = b"".join(listed.replace(b"0.npy", b"%c.npy" % (48 + at)) for at in range(70))
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 70, 70, len(many), start, 0)
    return data[:start] + many + tail


def with_size(data, size):
    """Says in the directory that a member has this size when it is unpacked."""
    at = data.index(b"PK\x01\x02") + 24
    return data[:at] + struct.pack("<L", size) + data[at + 4 :]


def at_offset(data, offset):
    at = data.index(b"PK\x01\x02") + 42
    return data[:at] + struct.pack("<L", offset) + data[at + 4 :]


NPZ = {
    "elements without a byte": (one(npy("'|S0'", shape="(4000000000,)", data=b"")), "elements"),
    "text without a byte": (one(npy("'<U0'", shape="(1000000, 1000000)", data=b"")), "elements"),
    "a giant shape": (one(npy(shape="(1000000000000,)")), "needs 4000000000"),
    "a giant empty shape": (one(npy(shape="(0, 9223372036854775808)", data=b"")), "the shape"),
    "a product that overflows": (one(npy(shape="(4294967296, 4294967296)")), "the shape"),
    "many dimensions": (one(npy("'<f4'", shape=f"({'1,' * 4000})")), "4,000 dimensions"),
    "a header of 200,000 dimensions": (one(npy(shape=f"({'1,' * 200_000})", version=2)), "header"),
    "a negative dimension": (one(npy(shape="(-2,)")), "not that of a .npy file"),
    "a dimension of 5,000 digits": (one(npy(shape=f"({'9' * 5000},)")), "can't be read"),
    "one huge string": (
        one(npy("'|S20000000'", shape="(1,)", data=b"\0" * 20_000_000)),
        "in memory",
    ),
    "a huge string that is not there": (one(npy("'|S2000000000'", shape="(9,)")), "needs"),
    "many long strings": (one(npy("'|S9000000'", shape="(9000000,)")), "needs"),
    "a header that lies about its length": (
        one(npy(version=2, length=2**32 - 1)),
        "its header has",
    ),
    "a header that ends early": (one(npy(length=9000)), "ends in its header"),
    "a program as header": (one(npy(shape="__import__('os').abort()")), "header is not"),
    "a deep header": (one(npy(shape="(" * 9000)), "header is not"),
    "a header with two shapes": (one(npy(shape="(2,), 'more': (2,)")), "header is not"),
    "no header": (one(npy(order="1")), "header is not"),
    "no type": (one(npy("'<x9'")), "no type of numpy"),
    "a type of many": (one(npy("'(1000000000,)f4'")), "no type of numpy"),
    "another version": (one(npy().replace(b"Y\1", b"Y\3")), "version"),
    "bytes shared by members": (sharing_one_member(), "overlaps"),
    "packed by another method": (one(npy(), method=zipfile.ZIP_LZMA), "numpy doesn't use"),
    "a size that can't be": (with_size(one(npy()), 2**31), "can't become"),
    "an offset beyond the file": (at_offset(one(npy()), 2**31), "can't be read"),
    "a negative offset": (at_offset(one(npy()), 2**32 - 1), "can't be read"),
    "a name that is not UTF-8": (
        changed(archive(("\xe9\xe9.npy", npy())), "\xe9\xe9".encode(), b"\xff\xff\xff\xff"),
        "no zip archive",
    ),
    "no archive": (b"PK\x05\x06" * 9, "no zip archive"),
    "nothing": (b"", "no zip archive"),
}


def safetensors(header, data=b"\0" * 8, length=None):
    if not isinstance(header, bytes):
        header = json.dumps(header).encode()
    return (len(header) if length is None else length).to_bytes(8, "little") + header + data


def row(shape=(2,), offsets=(0, 8), dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


SAFETENSORS = {
    "a giant shape": (safetensors({"w": row((10**12,))}), "should be bytes"),
    "a giant empty shape": (safetensors({"w": row((0, 2**63), (0, 0))}, b""), "the shape"),
    "a product that overflows": (safetensors({"w": row((2**32, 2**32))}), "the shape"),
    "200,000 dimensions": (safetensors({"w": row((1,) * 200_000)}), "200,000 dimensions"),
    "a huge name": (safetensors({"w" * 1_000_000: row()}), "a name has 1,000,000 characters"),
    "a huge type": (safetensors({"w": row(dtype="F" * 1_000_000)}), "no dtype and shape"),
    "a type that is a list": (safetensors({"w": row(dtype=[["F32"]])}), "no dtype and shape"),
    "a shape that is text": (safetensors({"w": {**row(), "shape": "22"}}), "no dtype and shape"),
    "a shape of fractions": (safetensors({"w": row((2.0,))}), "not of integers"),
    "a shape of truths": (safetensors({"w": row((True, True))}), "not of integers"),
    "a negative dimension": (safetensors({"w": row((-1, -2))}), "the shape"),
    "negative offsets": (safetensors({"w": row(offsets=(-8, 0))}), "data_offsets"),
    "offsets that overlap": (safetensors({"v": row(), "w": row(offsets=(4, 12))}), "ends at"),
    "offsets backward": (safetensors({"w": row(offsets=(8, 0))}), "data_offsets"),
    "huge offsets": (safetensors({"w": row(offsets=(0, 2**70))}), "data_offsets"),
    "a number of 5,000 digits": (safetensors(b'{"w":' + b"9" * 5000 + b"}"), "header"),
    "a deep header": (safetensors(b"[" * 100_000), "header can't be read"),
    "a header that is a list": (safetensors([1]), "header can't be read"),
    "one name twice": (safetensors(b'{"w":1,"w":2}'), "twice"),
    "no UTF-8": (safetensors(b"\xff\xfe{}"), "header can't be read"),
    "a header longer than the file": (safetensors({}, length=2**63), "should begin with a header"),
    "nothing": (b"", "should begin with a header"),
}


@pytest.mark.parametrize(
    ("suffix", "data", "message"),
    [
        *(pytest.param(".npz", *case, id=f"npz: {what}") for what, case in NPZ.items()),
        *(pytest.param(".safetensors", *case, id=what) for what, case in SAFETENSORS.items()),
    ],
)
def test_it_is_refused_in_milliseconds_and_little_memory(tmp_path, suffix, data, message):
    path = tmp_path / f"x{suffix}"
    path.write_bytes(data)
    raised = limits.within(
        lambda: import_checkpoint(path, tmp_path / "ckpt", to="tf2", skip_unsupported=True),
        seconds=0.1,
        megabytes=16,
    )
    assert isinstance(raised, DamagedCheckpointError)
    assert message in str(raised)
    assert len(str(raised)) < 1000
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("compress", [False, True])
def test_an_array_in_fortran_order_is_never_in_memory(tmp_path, compress):
    array = np.asfortranarray(np.arange(2**20, dtype=np.float64).reshape(4, 2**8, 2**10))
    (np.savez_compressed if compress else np.savez)(tmp_path / "x.npz", w=array)
    tracemalloc.start()
    import_checkpoint(tmp_path / "x.npz", tmp_path / "ckpt", to="tf1")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * 2**20 < array.nbytes
    checkpoint = open_checkpoint(tmp_path / "ckpt")
    np.testing.assert_array_equal(
        arrays.read_array(checkpoint, checkpoint.index.entries["w"]), array
    )


def test_records_are_told(tmp_path):
    np.savez(tmp_path / "x.npz", w=np.zeros(2, [("a", "f4"), ("b", "i8")]), v=np.ones(1))
    report = import_checkpoint(tmp_path / "x.npz", tmp_path / "c", to="tf1", skip_unsupported=True)
    assert [row.name for row in report.tensors] == ["v"]
    assert "records" in report.left_out[0].reason
