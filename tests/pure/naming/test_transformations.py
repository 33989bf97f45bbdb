"""What changes values: its text, its shapes, and that numpy agrees, whole and in pieces."""

from __future__ import annotations

import math
import pathlib
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estimator_ckpt.checkpoint.transforming import applied, transformed
from estimator_ckpt.errors import CheckpointArgumentError
from estimator_ckpt.naming.transformations import (
    Cast,
    Concat,
    Gates,
    Kind,
    Reshape,
    Split,
    Transformation,
    Transpose,
)
from estimator_ckpt.naming.variable_map import VariableMap
from estimator_ckpt.storage import files

shapes = st.lists(st.integers(1, 6), min_size=1, max_size=4).map(tuple)
NAMES = "ifcozr"


def numbers(shape):
    return np.arange(math.prod(shape), dtype=np.float32).reshape(shape)


@st.composite
def changes(draw):
    """A transformation, and arrays that it can be applied to."""
    arrays = [numbers(draw(shapes))]
    steps = []
    if draw(st.booleans()):
        axis = draw(st.integers(0, arrays[0].ndim - 1))
        arrays += [arrays[0] + 1000.0] * draw(st.integers(0, 2))
        steps.append(Concat(draw(st.sampled_from([axis, axis - arrays[0].ndim]))))
    for _ in range(draw(st.integers(0 if steps else 1, 3))):
        made = applied(Transformation(tuple(steps)), arrays) if steps else arrays[0]
        steps.append(draw(st.one_of([each(made.shape) for each in STEPS])))
    return Transformation(tuple(steps)), arrays


def transposes(shape):
    return st.permutations(range(len(shape))).map(lambda axes: Transpose(tuple(axes)))


@st.composite
def splits(draw, shape):
    axis = draw(st.integers(0, len(shape) - 1))
    start = draw(st.integers(0, shape[axis] - 1))
    return Split(axis, start, draw(st.integers(start + 1, shape[axis])))


@st.composite
def gates(draw, shape):
    axis = draw(st.integers(0, len(shape) - 1))
    counts = [count for count in range(1, len(NAMES)) if shape[axis] % count == 0]
    old = tuple(NAMES[: draw(st.sampled_from(counts))])
    added = tuple(draw(st.sampled_from([0.0, 1.0, -2.0])) for _ in old)
    new = tuple(draw(st.permutations(old)))
    place = draw(st.sampled_from([axis, axis - len(shape)]))
    return Gates(old, new, added if any(added) else (), place)


def reshapes(shape):
    flat = (math.prod(shape),)
    return st.sampled_from([flat, (1, *shape), (*shape, 1), shape]).map(Reshape)


def casts(shape):
    return st.sampled_from(["float16", "float32", "bfloat16", "float64", "int32"]).map(Cast)


STEPS = [transposes, splits, gates, reshapes, casts]


def kinds_of(arrays):
    return [Kind(each.shape, each.dtype.name) for each in arrays]


@settings(max_examples=300, deadline=None)
@given(changes(), st.integers(4, 64))
def test_numpy_has_the_shape_that_is_told_and_pieces_are_the_whole(change, piece):
    made, arrays = change
    whole = applied(made, arrays)
    kind = made.result(kinds_of(arrays))
    assert (kind.shape, kind.dtype) == (whole.shape, whole.dtype.name)

    def read(array):
        return lambda: (array.reshape(-1)[at : at + 7] for at in range(0, array.size, 7))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "PIECE", piece)
        pieces = list(transformed(made, kinds_of(arrays), [read(each) for each in arrays]))
    assert all(each.ndim == 1 and each.dtype == whole.dtype for each in pieces)
    np.testing.assert_array_equal(np.concatenate(pieces), whole.reshape(-1))


@settings(max_examples=200, deadline=None)
@given(changes())
def test_the_text_is_read_back(change):
    made, _ = change
    assert Transformation.parse(str(made)) == made


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_what_is_done_can_be_undone(data):
    array = numbers(data.draw(shapes))
    turn = data.draw(transposes(array.shape))
    back = Transpose(tuple(np.argsort(turn.axes).tolist()))
    np.testing.assert_array_equal(applied(Transformation((turn, back)), [array]), array)
    order = data.draw(gates(array.shape))
    undone = Gates(order.new, order.old, (), order.axis)
    plain = Gates(order.old, order.new, (), order.axis)
    np.testing.assert_array_equal(applied(Transformation((plain, undone)), [array]), array)
    part = data.draw(splits(array.shape))
    size = array.shape[part.axis]
    places = sorted({0, part.start, part.stop, size})
    parts = [
        applied(Transformation((Split(part.axis, start, stop),)), [array])
        for start, stop in zip(places, places[1:])
    ]
    np.testing.assert_array_equal(applied(Transformation((Concat(part.axis),)), parts), array)


def test_gates_add_what_cells_of_tensorflow_1_add_at_each_step_but_not_to_slots():
    made = Transformation.parse("gates(i c f+1 o -> i f c o)")
    bias = np.float32([1, 1, 2, 2, 3, 3, 4, 4])
    np.testing.assert_array_equal(applied(made, [bias]), [1, 1, 4, 4, 2, 2, 4, 4])
    np.testing.assert_array_equal(applied(made.of_slots, [bias]), [1, 1, 3, 3, 2, 2, 4, 4])


def test_rows_are_cast_merged_and_split_without_the_whole_in_memory():
    """Each piece is there before the next one is read."""
    read = []

    def chunks():
        for at in range(100):
            read.append(at)
            yield np.full(files.PIECE // 4, at, np.float32)

    rows = 100 * files.PIECE // 16
    for text in (
        "concat(0), cast(float16)",
        "concat(0), split(1, 0:2), transpose(0, 1)",
        f"concat(0), split(0, 0:{rows})",
        f"concat(0), gates(a b -> b a), reshape({2 * rows}, 2, 2)",
    ):
        read.clear()
        pieces = transformed(
            Transformation.parse(text), [Kind((rows, 4), "float32")] * 2, [chunks, chunks]
        )
        next(pieces)
        assert len(read) < 4, text


def test_what_the_page_shows_is_a_map_with_each_step():
    page = (pathlib.Path(__file__).parents[3] / "docs" / "map.md").read_text()
    (block,) = re.findall(r"```text\n(.*?)```", page, re.DOTALL)
    shown = VariableMap.parse(block)
    lines = [line for line in block.splitlines() if " -> " in line]
    assert len(shown.changes) + len(shown.mapped) == len(lines)
    steps = {
        type(step) for change in shown.applied_changes() for step in change.transformation.steps
    }
    assert steps == {Cast, Concat, Gates, Reshape, Split, Transpose}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "there is no step; there are reshape"),
        ("turn(1)", "there is no transformation 'turn'; there are reshape"),
        ("transpose", "'transpose' is no transformation"),
        ("transpose(1, x)", r"'transpose\(1, x\)' can't be understood; it is written as transp"),
        ("reshape(2, -1)", "can't be understood"),
        ("split(1, 3)", r"it is written as split\(axis, start:stop\)"),
        ("gates(i f -> i g)", r"it is written as gates\("),
        ("gates(i i -> i i)", r"it is written as gates\("),
        ("gates(i f -> f i, 0)", r"it is written as gates\("),
        ("cast(string)", r"it is written as cast\(float16\)"),
        ("cast(float32), concat(0)", r"concat\(axis\) can only be the first step"),
    ],
)
def test_a_text_that_says_nothing_is_refused_with_how_it_is_written(text, message):
    with pytest.raises(CheckpointArgumentError, match=message):
        Transformation.parse(text)


@pytest.mark.parametrize(
    ("text", "shapes", "message"),
    [
        ("transpose(1, 0)", [(2, 3, 4)], r"transpose\(1, 0\) does not fit: .* has 3 dimensions"),
        ("reshape(5)", [(2, 3)], r"\[2, 3\] has 6 elements, \[5\] 5"),
        ("split(1, 0:4)", [(2, 3)], "axis 1 of .* goes from 0 to 3"),
        ("split(1, 2:2)", [(2, 3)], "axis 1 of"),
        ("split(2, 0:1)", [(2, 3)], "has no axis 2"),
        ("gates(a b -> b a)", [(2, 3)], "axis -1 of .* is no 2 equal blocks"),
        ("concat(0)", [(2, 3), (2, 4)], "differ in more than axis 0"),
        ("transpose(1, 0)", [(2, 3), (2, 3)], r"become one by concat\(axis\) first"),
    ],
)
def test_what_does_not_fit_is_said(text, shapes, message):
    with pytest.raises(CheckpointArgumentError, match=message):
        Transformation.parse(text).result([Kind(shape, "float32") for shape in shapes])


@pytest.mark.parametrize("dtype", ["int32", "uint8", "bool"])
def test_no_fraction_is_added_to_integers(dtype):
    made = Transformation.parse("gates(a b+0.5 -> b a)")
    with pytest.raises(CheckpointArgumentError, match=f"{dtype} has whole numbers only"):
        made.result([Kind((4,), dtype)])
    with pytest.raises(CheckpointArgumentError, match="has whole numbers only"):
        Transformation.parse(f"cast({dtype}), {made}").result([Kind((4,), "float32")])


def test_nothing_is_added_to_bool():
    with pytest.raises(CheckpointArgumentError, match="nothing can be added to bool"):
        Transformation.parse("gates(a b+1 -> b a)").result([Kind((4,), "bool")])


@pytest.mark.parametrize("number", [-300, -255, -128, -1, 1, 127, 128, 255, 300])
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_a_sum_that_an_integer_type_lacks_is_refused_and_no_other(dtype, number):
    own = np.iinfo(dtype)
    every = np.arange(own.min, own.max + 1)
    fits = (every + number >= own.min) & (every + number <= own.max)
    made = Transformation.parse(f"gates(a{number:+} -> a)")

    def run(values):
        array = values.astype(dtype)
        return np.concatenate([*transformed(made, kinds_of([array]), [lambda: iter([array])])])

    if fits.any():
        np.testing.assert_array_equal(run(every[fits]), every[fits] + number)
    with pytest.raises(
        CheckpointArgumentError, match=f"does not keep {(~fits).sum()} of the values"
    ):
        run(every)
