"""Casts of arrays, and what is counted as lost, judged by Python's own numbers."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest

from estimator_ckpt.checkpoint.casting import Losses, cast_array

INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
EDGES = [each for name in INTEGERS for each in (np.iinfo(name).min, np.iinfo(name).max)]
WHOLE = sorted({near for edge in EDGES for near in (edge - 1, edge, edge + 1)} | {2, -5, 300})
FLOATS = {
    "float64": np.float64,
    "float32": np.float32,
    "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
}


def values_of(name):
    """Values of a type at all edges of the others."""
    if name in FLOATS:
        found = [*map(float, WHOLE), 0.5, -0.25, 1e30, math.nan, math.inf, -math.inf, -0.0]
        with np.errstate(all="ignore"):
            return np.array(found, np.float64).astype(FLOATS[name])
    if name == "bool":
        return np.array([False, True])
    own = np.iinfo(name)
    return np.array([each for each in WHOLE if own.min <= each <= own.max], name)


def has(name, value):
    """Whether an integer type has a number of Python."""
    if isinstance(value, float) and (not math.isfinite(value) or value != int(value)):
        return False
    least, most = (0, 1) if name == "bool" else (np.iinfo(name).min, np.iinfo(name).max)
    return least <= int(value) <= most


@pytest.mark.parametrize("new", [*INTEGERS, "bool"])
@pytest.mark.parametrize("old", [*INTEGERS, "bool", *FLOATS])
def test_what_an_integer_type_lacks_is_counted_and_the_rest_is_kept(old, new):
    array = values_of(old)
    python = [float(each) if old in FLOATS else int(each) for each in array]
    fits = np.array([has(new, each) for each in python])
    losses = Losses()
    made = cast_array(array, np.dtype(new), losses)
    assert made.dtype == new
    assert losses.misfits == (~fits).sum()
    if losses.misfits:
        np.testing.assert_equal(losses.example, array[~fits][0])
    kept = [int(each) for each in made[fits]]
    assert kept == [int(each) for each, fit in zip(python, fits) if fit]


@pytest.mark.parametrize("new", ["float16", "bfloat16", "float32"])
def test_what_floats_lose_is_counted(new):
    array = np.array([1e300, -1e300, math.inf, math.nan, 1e-300, 0.0, 1.0])
    losses = Losses()
    made = cast_array(array, np.dtype(FLOATS[new]), losses)
    assert (losses.overflows, losses.underflows, losses.misfits) == (2, 1, 0)
    np.testing.assert_array_equal(
        made.astype(np.float64), [math.inf, -math.inf, math.inf, math.nan, 0.0, 0.0, 1.0]
    )
