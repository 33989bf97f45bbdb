import ml_dtypes
import numpy as np
import pytest

from estimator_ckpt.estimator.background import copying
from estimator_ckpt.estimator.background.arena import Arena
from estimator_ckpt.estimator.background.copying import Copier

TYPES = (np.float32, np.int64, np.bool_, ml_dtypes.bfloat16, np.complex64, np.uint8)


def arrays(count, seed=0, largest=9):
    random = np.random.default_rng(seed)
    made = [np.array([b"a", b"\0b"], object), np.array(3, np.float32)]
    for number in range(count):
        dtype = TYPES[number % 7 % len(TYPES)] if number % 3 else np.float32
        shape = random.integers(0, largest, size=number % 4)
        made.append(random.integers(0, 2, size=shape).astype(dtype))
    return made


def require_equal(found, wanted):
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        assert one.flags.c_contiguous
        assert one.tolist() == other.tolist()


@pytest.mark.parametrize("joined_at_once", [1, 100, 2 << 20])
@pytest.mark.parametrize("threads_from", [1, 8 << 20])
def test_copies_are_equal_of_whatever_type_and_size(monkeypatch, joined_at_once, threads_from):
    monkeypatch.setattr(copying, "_JOINED_AT_ONCE", joined_at_once)
    monkeypatch.setattr(copying, "_COPIED_AT_ONCE", threads_from)
    wanted = arrays(300)
    require_equal(Copier(Arena()).copy(wanted).arrays(), wanted)


def test_copies_stay_as_they_were_when_what_they_are_of_changes():
    sources = arrays(50)
    before = [each.copy() for each in sources]
    copies = Copier(Arena()).copy(sources)
    for each in sources:
        each[...] = 0
    require_equal(copies.arrays(), before)


def test_a_copier_takes_other_values_and_shapes_each_time():
    copier, seen = Copier(Arena()), []
    for seed in (0, 0, 1, 2):
        wanted = arrays(120, seed, largest=5 + seed)
        copies = copier.copy(wanted)
        seen.append(copies.places)
        require_equal(copies.arrays(), wanted)
    assert seen[0] is seen[1]
    assert seen[1] is not seen[2]


def test_small_arrays_of_one_type_are_copied_together_and_large_ones_in_pieces():
    small = [np.ones(7, np.float32) for _ in range(1000)]
    large = np.arange(5 << 20, dtype=np.float32)
    wanted = [*small, np.array(1, np.int64), *small, large, *small]
    copies = Copier(Arena()).copy(wanted)
    require_equal(copies.arrays(), wanted)
    assert [run.last - run.first for run in copies.places.runs] == [1000, 1, 1000, 1, 1000]
    tasks = [len(copying._tasks(run, wanted, copies.memory)) for run in copies.places.runs]
    assert tasks == [1, 1, 1, 3, 1]


def test_nothing_is_copied_where_there_is_nothing():
    assert Copier(Arena()).copy([]).arrays() == []


@pytest.mark.parametrize("ends", [(302,), (0, 1, 1, 150, 299, 302)])
def test_what_lies_side_by_side_is_given_together_in_the_order_of_the_arrays(ends):
    wanted = arrays(300)
    copies = Copier(Arena()).copy(wanted)
    begin, seen, pieces = 0, [], 0
    for end in ends:
        for first, last, data in copies.joined(begin, end):
            assert first == len(seen)
            seen += range(first, last)
            pieces += 1
            if wanted[first].dtype == object:
                assert data is copies.objects[first]
                assert last == first + 1
            else:
                assert bytes(data) == b"".join(each.tobytes() for each in wanted[first:last])
        begin = end
    assert seen == list(range(302))
    assert pieces < 302
