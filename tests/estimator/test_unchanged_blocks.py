"""Blocks are slices with contiguous bytes that make up the tensor; bounds hold."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from estimator_ckpt.bundle import dtypes
from estimator_ckpt.estimator.unchanged import blocks
from estimator_ckpt.estimator.unchanged.blocks import blocks_of, joined
from estimator_ckpt.estimator.unchanged.bounds import Bounds, Use, files_to_keep

FLOAT32, HALF = 1, 19


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK", 64)
    blocks_of.cache_clear()
    yield
    blocks_of.cache_clear()


def cut(array, extents):
    place = tuple(slice(start, start + length) for start, length in extents)
    return array[place] if extents else array


@hypothesis.given(st.lists(st.integers(0, 40), max_size=4).filter(lambda s: np.prod(s) < 50_000))
@hypothesis.settings(
    suppress_health_check=[
        hypothesis.HealthCheck.function_scoped_fixture,
        hypothesis.HealthCheck.too_slow,
    ]
)
def test_blocks_are_slices_whose_bytes_follow_each_other(shape):
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    data = array.tobytes()
    found = blocks_of(tuple(shape), FLOAT32)
    end = 0
    for block in found:
        assert block.start == end
        end += block.size
        assert cut(array, block.extents).tobytes() == data[block.start : end]
    assert end == len(data)
    assert len(found) <= 4 * blocks._MOST_BLOCKS
    assert len(found) == 1 or all(block.extents for block in found)


@hypothesis.given(st.lists(st.integers(1, 30), min_size=1, max_size=3))
@hypothesis.settings(
    suppress_health_check=[
        hypothesis.HealthCheck.function_scoped_fixture,
        hypothesis.HealthCheck.too_slow,
    ]
)
def test_neighbours_that_are_joined_are_a_slice_of_both(shape):
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    found = blocks_of(tuple(shape), FLOAT32)
    for first, second in zip(found, found[1:]):
        whole = joined(first.extents, second.extents)
        if whole is not None:
            parts = cut(array, first.extents).tobytes() + cut(array, second.extents).tobytes()
            assert cut(array, whole).tobytes() == parts


def test_a_tensor_that_tensorflow_reads_in_slices_no_more_is_one_block():
    assert len(blocks_of((1000,), FLOAT32)) > 1
    assert len(blocks_of((1000,), HALF)) == 1
    assert len(blocks_of((1000, *[1] * 8), FLOAT32)) == 1
    assert len(blocks_of((2,), dtypes.STRING)) == 1


def test_a_large_tensor_has_no_more_than_so_many_blocks():
    assert len(blocks_of((10_000_000_000, 64), FLOAT32)) <= 1025


uses = st.dictionaries(
    st.integers(),
    st.tuples(st.integers(1, 1000), st.integers(0, 1000)).map(
        lambda pair: Use(max(pair), min(pair))
    ),
)


@hypothesis.given(uses, st.integers(0, 1000), st.integers(1, 9), st.floats(1, 5))
def test_bounds_hold(used, changed, most, room):
    bounds = Bounds(most, room)
    needed = changed + sum(use.live for use in used.values())
    kept = files_to_keep(used, written=changed, needed=needed, bounds=bounds)
    written = needed - sum(used[file].live for file in kept)
    assert len(kept) + bool(written) <= most
    assert sum(used[file].size for file in kept) + written <= room * needed
    assert all(used[file].live for file in kept)


def test_what_is_within_bounds_stays():
    used = {"a": Use(100, 60), "b": Use(10, 10)}
    assert files_to_keep(used, written=5, needed=75, bounds=Bounds()) == {"a", "b"}


def test_the_emptiest_file_is_given_up_for_room_and_the_cheapest_for_the_count():
    used = {"a": Use(100, 90), "b": Use(1000, 100), "c": Use(10, 10)}
    assert files_to_keep(used, written=0, needed=200, bounds=Bounds(8, 2.0)) == {"a", "c"}
    assert files_to_keep(used, written=1, needed=201, bounds=Bounds(3, 9.0)) == {"a", "b"}
