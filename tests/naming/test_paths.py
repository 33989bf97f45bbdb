"""Object paths and their keys, against TensorFlow's own functions."""

from __future__ import annotations

import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from tensorflow.python.trackable import trackable_utils

from estimator_ckpt.naming import paths

# Mostly what the escapes are made of, so that every order of them comes up.
parts = st.one_of(st.text(max_size=20), st.text("./Sa", max_size=12))


@given(parts)
def test_a_part_is_escaped_as_tensorflow_does(part):
    assert paths.escape(part) == trackable_utils.escape_local_name(part)


@given(parts)
def test_unescaping_undoes_escaping(part):
    assert paths.unescape(paths.escape(part)) == part


@given(parts, parts)
def test_no_two_parts_have_the_same_escape(first, second):
    assert (paths.escape(first) == paths.escape(second)) == (first == second)


@pytest.mark.parametrize(
    ("escaped", "part"),
    [("a..b.Sc", "a.b/c"), ("a..Sb", "a.Sb"), ("...S", "./"), (".S..", "/."), ("plain", "plain")],
)
def test_escapes_are_undone_in_one_pass(escaped, part):
    assert paths.unescape(escaped) == part


@pytest.mark.parametrize(
    "path",
    [("step",), ("var_list", "dnn/kernel"), ("a.b", "c"), ("net", "layers", "0", "w"), ("x", "")],
)
def test_a_variable_s_key_is_tensorflow_s(path):
    expected = trackable_utils.checkpoint_key(
        "/".join(map(trackable_utils.escape_local_name, path)), "VARIABLE_VALUE"
    )
    assert paths.variable_key(*path) == expected
    assert paths.parse_key(expected) == (path, "VARIABLE_VALUE")


# Parts are never empty in what TensorFlow writes, and none is `.OPTIMIZER_SLOT` once escaped.
@given(st.lists(parts.filter(bool), min_size=1, max_size=5))
def test_a_key_is_taken_apart_into_what_it_was_made_of(path):
    assert paths.parse_key(paths.variable_key(*path)) == (tuple(path), "VARIABLE_VALUE")


def test_the_keys_that_tensorflow_saves_are_taken_apart(tmp_path):
    variables = {"dnn/kernel": tf.Variable(1.0), "v1.0/.S": tf.Variable(1.0)}
    saved = tf.train.Checkpoint(var_list=variables, step=tf.Variable(1))
    prefix = saved.write(str(tmp_path / "ckpt"))
    keys = {key for key, _ in tf.train.list_variables(prefix) if paths.is_object_key(key)}
    assert {paths.parse_key(key).path for key in keys} == {
        ("var_list", "dnn/kernel"),
        ("var_list", "v1.0/.S"),
        ("step",),
    }


def test_the_key_of_a_slot_is_told_from_others(tmp_path):
    variable = tf.Variable([1.0])
    optimizer = tf.keras.optimizers.legacy.SGD(0.1, momentum=0.9)
    optimizer.apply_gradients([(tf.ones([1]), variable)])
    saved = tf.train.Checkpoint(**{"a.b": variable}, optimizer=optimizer)
    keys = [key for key, _ in tf.train.list_variables(saved.write(str(tmp_path / "ckpt")))]
    slots = [key for key in keys if paths.is_slot_key(key)]
    assert slots == ["a..b/.OPTIMIZER_SLOT/optimizer/momentum/.ATTRIBUTES/VARIABLE_VALUE"]
    assert paths.parse_key(slots[0]).path == ("a.b", ".OPTIMIZER_SLOT", "optimizer", "momentum")


def test_a_variable_that_is_called_like_a_slot_is_none():
    assert not paths.is_slot_key(paths.variable_key("var_list", "w/.OPTIMIZER_SLOT/x"))


@pytest.mark.parametrize(
    "name", ["dnn/kernel", "global_step", "_CHECKPOINTABLE_OBJECT_GRAPH", "a.b"]
)
def test_a_name_is_no_object_key(name):
    assert not paths.is_object_key(name)


def test_an_attribute_other_than_a_variable_s_is_kept():
    key = trackable_utils.checkpoint_key("table", "-keys")
    assert paths.parse_key(key) == (("table",), "-keys")


@given(st.lists(parts.filter(bool), min_size=1, max_size=4))
def test_container_and_name_are_the_two_parts_of_a_path_that_has_two(path):
    found = paths.container_and_name(paths.variable_key(*path))
    assert found == (tuple(path) if len(path) == 2 else None)


def test_what_is_no_variable_of_a_container_has_no_container_and_name():
    for key in ("dense/kernel", "a/b/.ATTRIBUTES/table-keys", "_CHECKPOINTABLE_OBJECT_GRAPH"):
        assert paths.container_and_name(key) is None
