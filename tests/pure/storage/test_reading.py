"""A file that is read in ranges, in any order: each byte comes once, in few requests."""

from __future__ import annotations

import os
import random
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estimator_ckpt.storage import files, requesting
from estimator_ckpt.storage.requesting import Requested

SIZE = 400
DATA = random.Random(1).randbytes(SIZE)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(requesting, "REQUEST", 16)
    monkeypatch.setattr(requesting, "GAP", 3)


class Server:
    def __init__(self):
        self.log = []

    def get(self, offset, length):
        self.log.append((offset, length))
        return DATA[offset : offset + length]


RANGES = st.lists(st.tuples(st.integers(0, SIZE), st.integers(0, 60)), min_size=1, max_size=20)


@settings(max_examples=200)
@given(RANGES, st.randoms())
def test_whatever_is_announced_can_be_read_in_any_order(ranges, order):
    requesting.REQUEST, requesting.GAP = 16, 3
    server = Server()
    with Requested(server.get, ranges) as file:
        shuffled = order.sample(ranges, len(ranges))
        for offset, length in shuffled:
            assert file.read(offset, length) == DATA[offset : offset + length]
    asked = sorted(server.log)
    for (before, size), (after, _) in zip(asked, asked[1:]):
        assert before + size <= after  # nothing came twice
    wanted = {at for offset, length in ranges for at in range(offset, offset + length)}
    came = {at for offset, length in asked for at in range(offset, offset + length)}
    assert wanted <= came
    assert all(size <= 16 for _, size in asked)
    assert not {at for at in came - wanted if not {*range(at - 3, at + 4)} & wanted}


@given(RANGES, RANGES)
@settings(max_examples=100)
def test_what_was_not_announced_is_read_all_the_same(announced, ranges):
    with Requested(Server().get, announced) as file:
        for offset, length in ranges:
            assert file.read(offset, length) == DATA[offset : offset + length]


def test_what_was_read_is_forgotten_and_no_more_is_asked_for_than_a_few_ahead():
    server = Server()
    ranges = [(at, 4) for at in range(0, SIZE, 4)]
    with Requested(server.get, ranges) as file:
        for number, (offset, length) in enumerate(ranges):
            file.read(offset, length)
            assert len(file._answers) <= requesting._AHEAD
            assert len(server.log) <= number // 4 + requesting._AHEAD
    assert len(server.log) == SIZE // 16


def test_what_is_read_in_another_order_is_held_within_a_bound(monkeypatch):
    monkeypatch.setattr(requesting, "_MOST_HELD", 6)
    server = Server()
    ranges = [(at, 2) for at in range(0, SIZE, 8)]
    with Requested(server.get, ranges) as file:
        for offset, length in ranges[::2] + ranges[1::2]:
            assert file.read(offset, length) == DATA[offset : offset + length]
            assert len(file._answers) <= 6


def test_several_threads_read_one_file():
    server = Server()
    ranges = [(at, 5) for at in range(0, SIZE, 5)]
    wrong = []
    with Requested(server.get, ranges) as file:

        def read(part):
            for offset, length in part:
                if file.read(offset, length) != DATA[offset : offset + length]:
                    wrong.append(offset)

        threads = [threading.Thread(target=read, args=(ranges[n::4],)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong
    assert len(server.log) == len(set(server.log)) == SIZE // 16


def test_what_a_request_raises_is_raised_by_who_reads():
    def get(offset, length):
        raise OSError("refused")

    with Requested(get, [(0, 4), (30, 4)]) as file, pytest.raises(OSError, match="refused"):
        file.read(0, 4)


def test_a_local_file_is_opened_once(tmp_path, monkeypatch):
    path = tmp_path / "data"
    path.write_bytes(DATA)
    opened = []
    open_file = files._LOCAL.open_file
    monkeypatch.setattr(
        files._LOCAL, "open_file", lambda path: opened.append(open_file(path)) or opened[-1]
    )
    with files.reading(str(path), [(0, 10)]) as file:
        assert opened == []
        assert file.read(5, 10) == DATA[5:15]
        assert file.read(SIZE - 3, 10) == DATA[-3:]
        assert file.read(SIZE + 3, 10) == b""
    assert len(opened) == 1 and opened[0].closed
    with files.reading(os.devnull, []) as file, pytest.raises(OSError, match="device"):
        file.read(0, 1)
