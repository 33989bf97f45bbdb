import mmap
import os
import sys
import threading

import numpy as np
import pytest

from estimator_ckpt.estimator.background import arena as arena_module
from estimator_ckpt.estimator.background.arena import Arena

SIZES = [0, 1, 64, 65, 3_000_000]
LARGE = 64 << 20
PAGEOUT = 21  # MADV_PAGEOUT, Linux 5.4: reclaims these pages as if memory were short
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="/proc/self/smaps is Linux's")


def parts(arena, sizes):
    """Flat arrays of some sizes, one behind the other in the memory."""
    memory = arena.memory(sum(sizes))
    ends = np.cumsum(sizes)
    return [memory[end - size : end] for size, end in zip(sizes, ends)]


def fill(arrays, value):
    for number, array in enumerate(arrays):
        array[:] = value + number


def require(arrays, value):
    for number, array in enumerate(arrays):
        np.testing.assert_array_equal(array, np.full_like(array, value + number))


def test_memory_can_be_written_and_read():
    arrays = parts(Arena(), SIZES)
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
        arrays = parts(arena, [*SIZES, 10_000 * value])  # a table grows
        fill(arrays, value)
        require(arrays, value)
        arena.give_back()


def test_a_kernel_that_knows_no_such_advice_gets_its_memory_back_all_the_same(monkeypatch):
    monkeypatch.setattr(arena_module, "_FREE", 12345)
    arena = Arena()
    arrays = parts(arena, SIZES)
    fill(arrays, 1)
    arena.give_back()
    require(arrays, 1)  # whoever still looks at them is not surprised
    fill(parts(arena, SIZES), 2)
    require(arrays, 1)


@pytest.mark.skipif(not hasattr(mmap, "MADV_FREE"), reason="this system has no MADV_FREE")
def test_the_same_memory_is_had_again_where_the_system_can_take_it_in_between():
    arena = Arena()
    first = parts(arena, SIZES)[-1].ctypes.data
    arena.give_back()
    assert parts(arena, SIZES)[-1].ctypes.data == first
    assert parts(arena, [*SIZES, 10_000])[-2].ctypes.data == first  # a table has grown


def test_memory_for_more_is_had_only_when_the_old_has_been_given_up(monkeypatch):
    arena, seen, new_map = Arena(), [], arena_module._map

    def watched(size):
        seen.append(arena._memory)
        return new_map(size)

    monkeypatch.setattr(arena_module, "_map", watched)
    parts(arena, [1])
    parts(arena, [LARGE])
    assert seen == [None, None]


def test_where_mmap_has_no_flags_there_is_memory_all_the_same(monkeypatch):
    monkeypatch.delattr(mmap, "MAP_ANONYMOUS", raising=False)
    monkeypatch.setattr(arena_module, "_FREE", None)
    test_memory_that_was_given_back_can_be_had_again_and_again(monkeypatch, True)


def facts_of_mapping(array):
    """Returns what Linux says of the mapping that an array lies in: {"Rss": bytes, ...}."""
    address, found = array.ctypes.data, None
    with open("/proc/self/smaps") as lines:
        for line in lines:
            name, _, rest = line.partition(" ")
            if not name.endswith(":"):
                start, end = (int(each, 16) for each in name.split("-"))
                if found is not None:
                    break
                if start <= address < end:
                    found = {"sharing": rest.split()[0][3]}
            elif found is not None:
                number = rest.split()[0]
                found[name[:-1]] = int(number) * 1024 if rest.endswith("kB\n") else rest.split()
    return found


def page_faults():
    import resource

    return resource.getrusage(resource.RUSAGE_THREAD).ru_minflt


def keep_apart(arena):
    """Has Linux make no single mapping of this one and of another arena's beside it."""
    arena._memory.madvise(mmap.MADV_DONTDUMP)


@on_linux
def test_what_is_given_back_stays_and_no_page_of_it_is_faulted_in_anew():
    arena = Arena()
    (array,) = parts(arena, [LARGE])
    array[:] = 1
    arena.give_back()
    keep_apart(arena)
    facts = facts_of_mapping(array)
    assert facts["sharing"] == "p"
    assert facts["Rss"] >= LARGE  # it still counts as resident
    # And may be taken at any time; of pages that are not huge, the system counts some later.
    assert facts["LazyFree"] >= LARGE - LARGE // 20
    before = page_faults()
    (again,) = parts(arena, [LARGE])
    again[:] = 2
    assert page_faults() - before < LARGE // mmap.PAGESIZE // 20
    assert facts_of_mapping(again)["LazyFree"] < LARGE // 20  # it is in use


@on_linux
def test_the_system_takes_what_was_given_back_when_it_needs_it():
    arena = Arena()
    (array,) = parts(arena, [LARGE])
    array[:] = 1
    arena.give_back()
    keep_apart(arena)
    arena._memory.madvise(PAGEOUT)
    assert facts_of_mapping(array)["Rss"] < LARGE // 20
    (again,) = parts(arena, [LARGE])
    again[:] = 2
    assert again.min() == 2


@pytest.mark.skipif(
    not os.path.exists("/sys/kernel/mm/transparent_hugepage"), reason="no huge pages here"
)
def test_the_memory_may_be_in_huge_pages():
    (array,) = parts(Arena(), [LARGE])
    assert "hg" in facts_of_mapping(array)["VmFlags"]


@on_linux
def test_what_is_kept_is_not_the_systems_to_take():
    arena = Arena(keeps=True)
    array = arena.memory(LARGE)
    array[:] = 1
    arena.give_back()
    assert facts_of_mapping(array)["Rss"] >= LARGE
    arena._memory.madvise(PAGEOUT)
    assert array.min() == 1
    assert arena.memory(LARGE).ctypes.data == array.ctypes.data


@on_linux
def test_memory_that_was_prepared_is_there_when_it_is_needed():
    arena = Arena()
    arena.prepare(LARGE)
    arena._touching.join(600)
    before = page_faults()
    array = arena.memory(LARGE)
    array[:] = 2
    assert page_faults() - before < LARGE // mmap.PAGESIZE // 20
    assert facts_of_mapping(array)["Rss"] >= LARGE


def test_whoever_needs_memory_does_not_wait_until_all_of_it_is_prepared(monkeypatch):
    monkeypatch.setattr(arena_module, "_TOUCHED_AT_ONCE", 4096)
    arena = Arena()
    arena.prepare(16 * LARGE)
    array = arena.memory(LARGE)
    array[:] = 3
    assert [each for each in threading.enumerate() if "checkpoint writer" in each.name] == []
    assert array.min() == 3  # nobody touches it any more


def test_a_table_that_has_grown_a_little_has_room_in_what_was_prepared():
    arena = Arena()
    arena.prepare(LARGE)
    arena._touching.join(600)
    memory = arena._memory
    arena.memory(LARGE + LARGE // 20)
    assert arena._memory is memory


def test_what_goes_wrong_with_preparing_is_said_and_tried_again(monkeypatch, caplog):
    new_map, failures = arena_module._map, [OSError(12, "Cannot allocate memory")]

    def scarce(size):
        if failures:
            raise failures.pop()
        return new_map(size)

    monkeypatch.setattr(arena_module, "_map", scarce)
    arena = Arena()
    arena.prepare(LARGE)
    arena._touching.join(600)
    assert f"The {LARGE} bytes for copies of the variables can't be had" in caplog.text
    assert "Cannot allocate memory" in caplog.text
    assert arena.memory(LARGE).size == LARGE


@on_linux
def test_a_child_made_by_fork_has_memory_of_its_own_and_none_of_ours_is_copied():
    arena = Arena(keeps=True)
    array = arena.memory(LARGE)
    array[:] = 4
    (hears, tells), (receiver, sender) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.read(hears, 1)  # when the parent has counted
            mine = arena.memory(LARGE)
            first = int(mine[0])
            mine[:] = 5
            os.write(sender, bytes([first, int(mine.max())]))
        finally:
            os._exit(0)
    before = page_faults()
    array[:] = 6
    faults = page_faults() - before
    os.write(tells, b"!")
    os.close(sender)
    assert os.read(receiver, 2) == bytes([0, 5])
    os.waitpid(child, 0)
    for each in (hears, tells, receiver):
        os.close(each)
    assert faults < LARGE // mmap.PAGESIZE // 20
    assert array.min() == 6
