"""Norms, histograms and dead rows, judged by numpy, whatever the pieces are."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_st

from estimator_ckpt.reporting.statistics import BINS, Statistics

DTYPES = ["float16", "float32", "float64", "int8", "int64", "uint8", "bool", "complex64"]


def counted(array, pieces=1):
    found = Statistics(array.shape)
    for _ in found.watch(np.array_split(array.reshape(-1), pieces)):
        pass
    return found


def arrays(dtype):
    shapes = numpy_st.array_shapes(min_dims=0, max_dims=3, max_side=9)
    elements = None
    if dtype == "float64":  # those that float64 can divide; the others are among the extremes below
        sizes = st.floats(1e-100, 1e100)
        elements = sizes | sizes.map(float.__neg__) | st.sampled_from([0.0, np.nan, np.inf])
    return numpy_st.arrays(np.dtype(dtype), shapes, elements=elements)


@given(st.sampled_from(DTYPES).flatmap(arrays), st.integers(1, 5))
def test_all_is_as_numpy_says(array, pieces):
    found = counted(array, pieces)
    values = np.abs(array) if array.dtype.kind == "c" else array
    wide = values.astype(np.float64).reshape(-1)
    wide = wide[np.isfinite(wide)]
    scale = np.abs(wide).max() if wide.size else 0.0
    norm = float(np.linalg.norm(wide / scale)) * scale if scale else 0.0
    assert math.isclose(found.norm, norm, rel_tol=1e-9, abs_tol=0) or math.isinf(norm)
    histogram = found.histogram
    assert (histogram is None) == (wide.size == 0)
    if histogram is not None:
        assert len(histogram.counts) <= BINS
        assert sum(histogram.counts) == wide.size
        assert histogram.counts[0] and histogram.counts[-1]
        first = histogram.start / histogram.width
        places = np.floor(wide / histogram.width) - first
        assert np.bincount(places.astype(int)).tolist() == list(histogram.counts)


@given(arrays("float32"), st.integers(1, 7))
def test_pieces_change_nothing(array, pieces):
    one, other = counted(array), counted(array, pieces)
    assert (one.histogram, one.dead_rows) == (other.histogram, other.dead_rows)
    assert math.isclose(one.norm, other.norm, rel_tol=1e-12)


@given(numpy_st.arrays(np.int8, st.tuples(st.integers(0, 9), st.integers(0, 4), st.integers(1, 3)),
                       elements=st.integers(0, 1)), st.integers(1, 7))  # fmt: skip
def test_dead_rows_are_those_of_zeros(array, pieces):
    found = counted(array, pieces).dead_rows
    if array[0:1].size or (array.shape[0] == 0 and array.shape[1]):
        assert found == sum(not row.any() for row in array)
    else:
        assert found is None


def test_what_has_no_rows_has_no_dead_ones():
    assert counted(np.zeros(5)).dead_rows is None
    assert counted(np.float32(0)).dead_rows is None


@pytest.mark.parametrize(
    "values",
    [
        *([1e308, -1e308], [5e-324, 0], [1e300, 1e-300], [np.nan, np.inf, 1.0], [7.0] * 3),
        *([-1e-115, 1e210], [-1.7976931348623157e308], [0.0, -5e-324]),
    ],
)
def test_extremes_are_counted(values):
    found = counted(np.array(values))
    assert sum(found.histogram.counts) == np.isfinite(values).sum()
    assert math.isfinite(found.norm) and math.isfinite(found.histogram.start)


def test_types_that_numpy_lacks_are_counted():
    values = np.arange(8, dtype=np.float32).astype(ml_dtypes.bfloat16)
    assert math.isclose(counted(values).norm, math.sqrt(140))
