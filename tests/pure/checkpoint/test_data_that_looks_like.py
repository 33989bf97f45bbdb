"""Tensors whose bytes begin as files of other kinds do: data files all the same."""

from __future__ import annotations

import json
import os
import zlib

import pytest

from estimator_ckpt.checkpoint import BundleWriter, open_checkpoint
from estimator_ckpt.checkpoint.opening import require_data
from estimator_ckpt.checkpoint.strangers import stranger
from estimator_ckpt.errors import DamagedCheckpointError
from estimator_ckpt.operations.verify import verify

_UINT8 = 4
_HEADER = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
STARTS = {
    "a step and a bias, as safetensors": (1).to_bytes(8, "little") + b'{"\x3b\x3d',
    "safetensors": len(_HEADER).to_bytes(8, "little") + _HEADER,
    "gzip": b"\x1f\x8b\x08\x00",
    "bzip2": b"BZh9",
    "xz": b"\xfd7zXZ\0",
    "zstd": b"(\xb5/\xfd",
    "hdf5": b"\x89HDF\r\n\x1a\n",
    "npy": b"\x93NUMPY\x01\x00",
    "zip": b"PK\x03\x04" + b"\0" * 26,
    "tar": b"\0" * 257 + b"ustar",
    "tflite": b"\x1c\0\0\0TFL3",
    "lfs": b"version https://git-lfs.github.com/spec/v1\n",
    "html": b"<!DOCTYPE html>",
}


def _write(prefix, start):
    with BundleWriter(prefix) as writer:
        for key, data in (("a", start), ("b", zlib.compress(start)), ("c", b"four")):
            writer.put(key, writer.append(_UINT8, (len(data),), iter((data,))))
        writer.commit()
    return open_checkpoint(prefix)


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
@pytest.mark.parametrize("keys", ["a", "ab", "b", "abc"])
def test_it_is_data_whichever_of_its_tensors_are_wanted(tmp_path, start, keys):
    checkpoint = _write(str(tmp_path / "ckpt"), start)
    assert stranger(checkpoint.shard_paths[0]) is not None  # so it looks
    require_data(checkpoint, keys)
    assert verify(checkpoint.prefix).ok
    with open(checkpoint.shard_paths[0], "ab") as file:
        file.write(b"more, as a checkpoint beside it may have in the same file")
    require_data(checkpoint, keys)
    assert verify(checkpoint.prefix).ok


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
def test_it_is_cut_short_and_not_another_file(tmp_path, start):
    checkpoint = _write(str(tmp_path / "ckpt"), start)
    os.truncate(checkpoint.shard_paths[0], checkpoint.index.entries["b"].offset + 1)
    with pytest.raises(DamagedCheckpointError, match="was cut short"):
        require_data(checkpoint, "abc")


@pytest.mark.parametrize("size", [-1, 1, 4096])
@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
def test_another_file_is_told_whatever_its_size(tmp_path, start, size):
    checkpoint = _write(str(tmp_path / "ckpt"), b"0123456789" * 40)
    path = checkpoint.shard_paths[0]
    length = os.path.getsize(path) + size
    with open(path, "wb") as file:
        file.write(start.ljust(length, b" ")[:length])
    told = str(stranger(path))
    with pytest.raises(DamagedCheckpointError) as caught:
        require_data(checkpoint, "abc")
    assert told in str(caught.value)
    assert any(told in finding.problem for finding in verify(checkpoint.prefix).findings)
