import mmap

import numpy as np
import pytest

from estimator_ckpt.estimator.background import arena as arena_module
from estimator_ckpt.estimator.background.arena import Arena

SIZES = [0, 1, 64, 65, 3_000_000]


def fill(arrays, value):
    for number, array in enumerate(arrays):
        array[:] = value + number


def require(arrays, value):
    for number, array in enumerate(arrays):
        np.testing.assert_array_equal(array, np.full_like(array, value + number))


def test_arrays_have_their_sizes_and_do_not_overlap():
    arrays = Arena().arrays(SIZES)
    assert [array.size for array in arrays] == SIZES
    assert all(array.flags.writeable and array.dtype == np.uint8 for array in arrays)
    fill(arrays, 7)
    require(arrays, 7)


@pytest.mark.parametrize("can_advise", [True, False])
def test_memory_that_was_given_back_can_be_had_again_and_again(monkeypatch, can_advise):
    if not can_advise:
        monkeypatch.setattr(arena_module, "_FREE", None)
    arena = Arena()
    for value in range(1, 6):
        arrays = arena.arrays([*SIZES, 10_000 * value])  # a table grows
        fill(arrays, value)
        require(arrays, value)
        arena.give_back()


def test_a_kernel_that_knows_no_such_advice_gets_its_memory_back_all_the_same(monkeypatch):
    monkeypatch.setattr(arena_module, "_FREE", 12345)
    arena = Arena()
    arrays = arena.arrays(SIZES)
    fill(arrays, 1)
    arena.give_back()
    require(arrays, 1)  # whoever still looks at them is not surprised
    fill(arena.arrays(SIZES), 2)
    require(arrays, 1)


@pytest.mark.skipif(not hasattr(mmap, "MADV_FREE"), reason="this system has no MADV_FREE")
def test_the_same_memory_is_had_again_where_the_system_can_take_it_in_between():
    arena = Arena()
    first = arena.arrays(SIZES)[-1].ctypes.data
    arena.give_back()
    assert arena.arrays(SIZES)[-1].ctypes.data == first
