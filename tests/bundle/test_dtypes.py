"""The table of element types agrees with TensorFlow's."""

from __future__ import annotations

import pytest
import tensorflow as tf
from tensorflow.core.framework import types_pb2

from estimator_ckpt.bundle import dtypes

# In the enum: 0 is no type, and from 100 on are those of references to variables.
NUMBERS = sorted(number for number in types_pb2.DataType.values() if 0 < number < 100)


# What TensorFlow 2.12 lacks.
OF_NEWER_ONES = set(range(26, 34))


def test_every_type_of_tensorflow_is_there_and_no_other():
    assert sorted(dtypes.DTYPE_NAMES.keys() - OF_NEWER_ONES.difference(NUMBERS)) == NUMBERS


@pytest.mark.parametrize("number", NUMBERS)
def test_a_type_has_tensorflow_s_name(number):
    assert dtypes.dtype_name(number) == tf.dtypes.as_dtype(number).name


@pytest.mark.parametrize("number", NUMBERS)
def test_an_element_has_tensorflow_s_size(number):
    kind = tf.dtypes.as_dtype(number)
    if kind in (tf.string, tf.resource, tf.variant):  # TensorFlow says 0, for what has no size
        assert dtypes.element_size(number) is None
    else:
        assert dtypes.element_size(number) == kind.size


def test_the_named_numbers_are_tensorflow_s():
    assert tf.int64.as_datatype_enum == dtypes.INT64
    assert tf.string.as_datatype_enum == dtypes.STRING
    assert tf.variant.as_datatype_enum == dtypes.VARIANT


def test_a_type_of_the_future_has_a_name_and_no_size():
    assert dtypes.dtype_name(99) == "dtype_99"
    assert dtypes.element_size(99) is None
