"""CRC32C and its masked form, against published values and TensorFlow."""

from __future__ import annotations

import struct
import sys

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from estimator_ckpt.bundle import checksums

# RFC 3720, B.4, and the check value of the CRC catalogue.
PUBLISHED = [
    (b"", 0),
    (bytes(32), 0x8A9136AA),
    (b"\xff" * 32, 0x62A8AB43),
    (bytes(range(32)), 0x46DD794E),
    (b"123456789", 0xE3069283),
]


@pytest.fixture(params=["crc32c", "google_crc32c"])
def package(request, monkeypatch):
    """Each package that may sum up; with the second one, the first is not installed."""
    pytest.importorskip(request.param)
    if request.param != "crc32c":
        monkeypatch.setitem(sys.modules, "crc32c", None)
    checksums._extend.cache_clear()
    yield request.param
    checksums._extend.cache_clear()


def test_any_buffer_has_its_checksum_with_either_package(package):
    for data, crc in PUBLISHED:
        array = np.frombuffer(data, np.uint8).copy() if data else np.zeros(0, np.uint8)
        fixed = array.copy()
        fixed.flags.writeable = False
        buffers = (data, bytearray(data), memoryview(data), memoryview(array), memoryview(fixed))
        for buffer in (*buffers, memoryview(bytearray(data))[:], memoryview(data + b"x")[:-1]):
            assert checksums.extend(0, buffer) == crc
            assert checksums.extend(checksums.extend(0, buffer[:3]), buffer[3:]) == crc
        assert array.flags.writeable


@pytest.mark.parametrize(("data", "crc"), PUBLISHED)
def test_the_checksum_is_crc32c(data, crc):
    assert checksums.extend(0, data) == crc
    assert checksums.masked_crc32c(data) == checksums.mask(crc)


@pytest.mark.parametrize(
    ("crc", "masked"),
    [(0, 0xA282EAD8), (1, 0xA284EAD8), (0x8000, 0xA282EAD9), (0xFFFFFFFF, 0xA282EAD7)],
)
def test_a_stored_checksum_is_rotated_and_shifted(crc, masked):
    assert checksums.mask(crc) == masked


@given(st.binary(max_size=100), st.binary(max_size=100))
def test_a_checksum_can_be_made_piece_by_piece(first, second):
    whole = checksums.extend(0, first + second)
    assert checksums.extend(checksums.extend(0, first), second) == whole


@pytest.mark.parametrize("data", [b"", b"a", bytes(range(256)) * 100])
def test_tensorflow_stores_the_same_checksum(tmp_path, data):
    path = tmp_path / "records"  # a record is: length, its checksum, data, its checksum
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(data)
    written = path.read_bytes()
    assert struct.unpack("<I", written[8:12]) == (checksums.masked_crc32c(written[:8]),)
    assert struct.unpack("<I", written[-4:]) == (checksums.masked_crc32c(data),)


@pytest.mark.parametrize(("width", "size"), [("<q", 8), ("<i", 4)])
@pytest.mark.parametrize("number", [0, 1, 7, 1000, 65536, 123456789, 2**31 - 1])
def test_an_integer_is_known_by_its_checksum(number, width, size):
    stored = checksums.masked_crc32c(struct.pack(width, number))
    assert checksums.integer_of(stored, size) == number


def test_another_value_is_not_taken_for_an_integer():
    assert checksums.integer_of(checksums.masked_crc32c(struct.pack("<i", -1)), 4) is None


@pytest.mark.parametrize("crc", [0, 1, 0xFFFFFFFF, 0xA282EAD8, 0x12345678])
def test_unmasking_undoes_masking(crc):
    assert checksums.unmask(checksums.mask(crc)) == crc
