"""In what named arrays differ: bit for bit, and by how much."""

from __future__ import annotations

import math

import numpy as np
import pytest

from estimator_ckpt.prove.values import compare_arrays, compare_values

NAN = float("nan")


@pytest.mark.parametrize(
    "value", [[1.0, NAN], True, 7, np.float16([1, 2]), ["a", "b"], [b"x\0"], np.zeros([0, 3])]
)
def test_what_is_equal_bit_for_bit_is_no_difference(value):
    assert compare_arrays("v", np.array(value), np.array(value)) is None


def test_the_largest_difference_is_told_with_its_place():
    left = np.float32([[1, 2], [4, 100]])
    found = compare_arrays("v", left, left + np.float32([[0, 1], [0, 2]]))
    assert (found.what, found.largest, found.place) == ("values", 2.0, (1, 1))
    assert found.relative == pytest.approx(1 / 3)
    assert str(found) == "v differs by 2 (0.333 of the value) at [1, 1]"


def test_bits_count_and_not_numbers():
    assert compare_arrays("v", np.float32(0.0), np.float32(-0.0)).largest == 0
    assert compare_arrays("v", np.float32([1, NAN]), np.float32([2, NAN])).largest == 1
    one_sided = compare_arrays("v", np.float32([1, 5]), np.float32([NAN, 0]))
    assert math.isnan(one_sided.largest)
    assert one_sided.place == (0,)
    infinite = compare_arrays("v", np.float32([np.inf, 1]), np.float32([np.inf, 2]))
    assert infinite.largest == 1


def test_types_and_texts_differ_too():
    assert compare_arrays("v", np.zeros(2), np.zeros([2, 1])).what == "type"
    assert "float64[2] and float32[2]" in str(compare_arrays("v", np.zeros(2), np.float32([0, 0])))
    found = compare_arrays("v", np.array(["a", "b"]), np.array(["a", "cd"]))
    assert str(found) == "v differs: 'b' and 'cd'"


def test_names_of_one_side_are_told():
    found = compare_values({"a": 1, "b": 2}, {"b": 2, "c\n": 3})
    assert [str(each) for each in found] == ["a is missing", r"c\n is added"]
