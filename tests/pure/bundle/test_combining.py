"""The CRC32C of two pieces in a row is that of their bytes, put together."""

import hypothesis
import numpy as np
from hypothesis import strategies as st

from estimator_ckpt.bundle import Extent, TensorEntry, TensorPart, checksums
from estimator_ckpt.bundle.combining import combine
from estimator_ckpt.bundle.slice_spec import checksum_of_whole


@hypothesis.given(st.binary(max_size=300), st.binary(max_size=300))
def test_two_pieces(first, second):
    crcs = checksums.extend(0, first), checksums.extend(0, second)
    assert combine(*crcs, len(second)) == checksums.extend(0, first + second)


def test_a_long_piece():
    first, second = b"abc", bytes(5_000_003)
    crcs = checksums.extend(0, first), checksums.extend(0, second)
    assert combine(*crcs, len(second)) == checksums.extend(0, first + second)


@hypothesis.given(st.data())
def test_the_checksum_of_rows_put_together_is_that_of_the_whole(data):
    shape = (data.draw(st.integers(1, 9)), data.draw(st.integers(1, 5)))
    array = np.random.default_rng(0).random(shape, np.float32)
    cuts = sorted(data.draw(st.sets(st.integers(1, shape[0]), max_size=4)) | {0, shape[0]})
    parts = [
        TensorPart((Extent(first, end - first), Extent(0, -1)), entry(array[first:end]))
        for first, end in zip(cuts, cuts[1:])
    ]
    whole = TensorEntry(1, shape, parts=tuple(data.draw(st.permutations(parts))))
    assert checksum_of_whole(whole) == entry(array).crc32c
    if len(parts) > 1:
        assert checksum_of_whole(whole._replace(parts=whole.parts[1:])) is None
    if shape[1] == 2 and shape[0] > 1:
        columns = [
            TensorPart((Extent(0, -1), Extent(n, 1)), entry(array[:, [n]])) for n in range(2)
        ]
        assert checksum_of_whole(TensorEntry(1, shape, parts=tuple(columns))) is None


def entry(array):
    data = array.tobytes()
    return TensorEntry(1, array.shape, size=len(data), crc32c=checksums.masked_crc32c(data))
