"""The few tensors that this library writes itself are TensorFlow's, byte for byte."""

from __future__ import annotations

import pytest
import tensorflow as tf

from estimator_ckpt.bundle.index import decode_index
from estimator_ckpt.bundle.strings import (
    decode_strings,
    encode_strings,
    int64_scalar,
    string_scalar,
)
from estimator_ckpt.errors import DamagedCheckpointError

STRINGS = [b"", b"a", b"\x00\xff", "größe".encode(), b"x" * 127, b"x" * 128, b"x" * 70_000]


def written(save, tmp_path, value):
    """The bytes and the entry that TensorFlow makes of a scalar."""
    save(tmp_path / "ckpt", {"value": value})
    entry = decode_index((tmp_path / "ckpt.index").read_bytes()).entries["value"]
    return (tmp_path / "ckpt.data-00000-of-00001").read_bytes(), entry


@pytest.mark.parametrize("value", STRINGS, ids=len)
def test_a_string_is_what_tensorflow_writes(save, tmp_path, value):
    assert string_scalar(value, 0, 0) == written(save, tmp_path, tf.constant(value))


@pytest.mark.parametrize("value", STRINGS, ids=len)
def test_a_string_that_tensorflow_wrote_is_read(save, tmp_path, value):
    data, entry = written(save, tmp_path, tf.constant(value))
    assert decode_strings(data, 1) == ([value], entry.crc32c)


@pytest.mark.parametrize("value", [0, 1, -1, 2**63 - 1, -(2**63)])
def test_an_integer_is_what_tensorflow_writes(save, tmp_path, value):
    assert int64_scalar(value, 0, 0) == written(save, tmp_path, tf.constant(value, tf.int64))


@pytest.mark.parametrize(("encode", "value"), [(string_scalar, b"text"), (int64_scalar, 5)])
def test_shard_and_offset_are_those_that_were_asked_for(encode, value):
    _, entry = encode(value, 3, 1000)
    assert (entry.shard_id, entry.offset) == (3, 1000)


def test_every_damage_to_a_string_s_length_is_noticed():
    data, _ = string_scalar(b"text", 0, 0)
    for at in range(5):  # the length and its checksum
        damaged = bytearray(data)
        damaged[at] ^= 0x01
        with pytest.raises(DamagedCheckpointError, match="wrong checksum"):
            decode_strings(bytes(damaged), 1)


def test_every_truncation_of_a_string_is_noticed():
    data, _ = string_scalar(b"x" * 200, 0, 0)
    for size in range(len(data)):
        with pytest.raises(DamagedCheckpointError):
            decode_strings(data[:size], 1)
    with pytest.raises(DamagedCheckpointError, match="should have 200 bytes, but have 201"):
        decode_strings(data + b"x", 1)


@pytest.mark.parametrize("values", [[], [b""], [b"a", b"", b"x" * 300], [b"\0\xff" * 9]])
def test_strings_come_back(values):
    data, crc32c = encode_strings(values)
    assert decode_strings(data, len(values)) == (values, crc32c)


@pytest.mark.parametrize(
    ("data", "count", "message"),
    [
        (b"", 1, "within a number"),
        (encode_strings([b"ab"])[0][:-1], 1, "should have 2 bytes, but have 1"),
        (encode_strings([b"ab"])[0] + b"c", 1, "should have 2 bytes, but have 3"),
        (b"\x03" + encode_strings([b"ab"])[0][1:], 1, "lengths of its strings"),
        (encode_strings([b"ab"])[0], 2, "its strings"),
    ],
)
def test_damaged_strings_are_told(data, count, message):
    with pytest.raises(DamagedCheckpointError, match=message):
        decode_strings(data, count)
