"""The CRC32C of two pieces in a row is that of their bytes, put together."""

import hypothesis
from hypothesis import strategies as st

from estimator_ckpt.bundle import checksums
from estimator_ckpt.bundle.combining import combine


@hypothesis.given(st.binary(max_size=300), st.binary(max_size=300))
def test_two_pieces(first, second):
    crcs = checksums.extend(0, first), checksums.extend(0, second)
    assert combine(*crcs, len(second)) == checksums.extend(0, first + second)


def test_a_long_piece():
    first, second = b"abc", bytes(5_000_003)
    crcs = checksums.extend(0, first), checksums.extend(0, second)
    assert combine(*crcs, len(second)) == checksums.extend(0, first + second)
