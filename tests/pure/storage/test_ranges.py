"""Which requests bring ranges of a file, and that the ranges come out of them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estimator_ckpt.storage import ranges


def test_neighbours_come_together_and_gaps_that_are_small(monkeypatch):
    monkeypatch.setattr(ranges, "GAP", 3)
    runs = ranges.plan([(0, 4), (4, 4), (11, 1), (100, 5), (90, 2), (92, 0)])
    assert [(run.start, run.end) for run in runs] == [(0, 12), (100, 105), (90, 92)]


def test_no_request_is_larger_than_allowed():
    run = ranges.Run(5, 5 + 2 * ranges.REQUEST + 1)
    assert [length for _, length in run.cuts] == [ranges.REQUEST, ranges.REQUEST, 1]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 40)), max_size=12),
    st.integers(1, 9),
    st.integers(0, 5),
    st.booleans(),
)
def test_each_range_has_its_bytes_however_they_lie(wanted, request_size, gap, in_order):
    data = bytes(range(64))
    asked = []

    def get(offset, length):
        asked.append((offset, length))
        return data[offset : offset + length]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranges, "REQUEST", request_size)
        patch.setattr(ranges, "GAP", gap)
        wanted = sorted(wanted) if in_order else wanted
        found = list(ranges.fetch(wanted, get))
    assert found == [data[offset : offset + length] for offset, length in wanted]
    assert all(0 < length <= request_size for _, length in asked)


def test_whoever_stops_early_waits_for_no_more_than_is_in_flight():
    asked = []
    got = ranges.in_flight(lambda *cut: asked.append(cut) or b"", [(each, 1) for each in range(99)])
    next(got)
    got.close()
    assert len(asked) <= ranges.IN_FLIGHT + 1


def test_an_error_of_a_request_is_raised():
    def get(offset, length):
        raise FileNotFoundError(offset)

    with pytest.raises(FileNotFoundError):
        list(ranges.fetch([(0, 1), (1 << 30, 1)], get))
