"""Where names go in an object-based checkpoint, and which names come back."""

from __future__ import annotations

import pytest
import tensorflow as tf

from estimator_ckpt.errors import CheckpointArgumentError, NameClashError
from estimator_ckpt.naming import (
    GLOBAL_STEP,
    OBJECT_GRAPH_KEY,
    SAVE_COUNTER_KEY,
    Layout,
    format_of,
    full_names,
    variable_names,
)
from estimator_ckpt.naming.layout import why_unnamed
from estimator_ckpt.naming.paths import variable_key

NAMES = ["dnn/kernel", "dnn/kernel/Adam", "v1.0", "a.Sb", GLOBAL_STEP]


def saved(tmp_path, **objects):
    """Saves a Checkpoint with TensorFlow; returns its keys and its object graph's names."""
    prefix = tf.train.Checkpoint(**objects).save(str(tmp_path / "ckpt"))
    keys = [key for key, _ in tf.train.list_variables(prefix)]
    return keys, full_names(tf.train.load_variable(prefix, OBJECT_GRAPH_KEY))


def test_the_keys_are_those_of_tensorflow_for_the_same_objects(tmp_path):
    variables = {name: tf.Variable(1.0) for name in NAMES if name != GLOBAL_STEP}
    keys, _ = saved(tmp_path, var_list=variables, step=tf.Variable(1))
    ours = {Layout().key(name) for name in NAMES}
    assert ours | {OBJECT_GRAPH_KEY, SAVE_COUNTER_KEY} == set(keys)


def test_another_container_holds_all_but_the_step():
    layout = Layout("vars")
    assert layout.key("dnn/kernel") == "vars/dnn.Skernel/.ATTRIBUTES/VARIABLE_VALUE"
    assert layout.key(GLOBAL_STEP) == "step/.ATTRIBUTES/VARIABLE_VALUE"


def test_the_step_can_be_called_otherwise_or_stay_with_the_variables():
    assert Layout(step="count").path(GLOBAL_STEP) == ("count",)
    assert Layout(step=None).path(GLOBAL_STEP) == ("var_list", GLOBAL_STEP)


@pytest.mark.parametrize(
    ("container", "step"),
    [
        ("step", "step"),
        ("save_counter", "step"),
        ("save_counter", None),
        ("var_list", "save_counter"),
        ("", "step"),
        ("var_list", ""),
    ],
)
def test_attributes_that_no_checkpoint_can_have_are_refused(container, step):
    with pytest.raises(CheckpointArgumentError, match="give each another name"):
        Layout(container, step)


@pytest.mark.parametrize("layout", [Layout(), Layout("vars"), Layout(step=None)], ids=str)
def test_names_come_back(layout):
    keys = {layout.key(name): name for name in NAMES}
    assert variable_names(keys, lambda: {}) == keys


@pytest.mark.parametrize("save_counter", [True, False])
def test_the_object_graph_has_each_name_and_key(save_counter):
    names = full_names(Layout().object_graph(NAMES, save_counter=save_counter))
    expected = {Layout().key(name): name for name in NAMES}
    if save_counter:
        expected[SAVE_COUNTER_KEY] = "save_counter"
    assert names == expected


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (["w", "global_step"], "tf1"),
        ([], "tf1"),
        # Without an object graph no Checkpoint can load it, whatever the keys look like.
        (["w/.ATTRIBUTES/VARIABLE_VALUE"], "tf1"),
        ([OBJECT_GRAPH_KEY, "w/.ATTRIBUTES/VARIABLE_VALUE", SAVE_COUNTER_KEY], "tf2"),
        ([OBJECT_GRAPH_KEY], "tf2"),
        ([OBJECT_GRAPH_KEY, "w/.ATTRIBUTES/VARIABLE_VALUE", "w"], "dual"),
    ],
)
def test_the_format_is_told_from_the_keys(keys, expected):
    assert format_of(iter(keys)) == expected


def test_keys_of_one_container_name_their_variables_whatever_the_graph_says(tmp_path):
    variables = {"a": tf.Variable(1.0, name="x"), "b": tf.Variable(2.0, name="x")}
    keys, graph_names = saved(tmp_path, var_list=variables)
    assert set(graph_names.values()) == {"x", "save_counter"}
    assert sorted(variable_names(keys, lambda: graph_names).values()) == ["a", "b"]


def test_keys_of_other_objects_are_named_by_the_graph(tmp_path):
    layer = tf.keras.layers.Dense(2, name="dense")
    layer(tf.zeros([1, 3]))
    keys, graph_names = saved(tmp_path, net=tf.train.Checkpoint(layer=layer))
    assert sorted(variable_names(keys, lambda: graph_names).values()) == [
        "dense/bias",
        "dense/kernel",
    ]


def test_two_containers_are_named_by_the_graph(tmp_path):
    first, second = tf.Variable(1.0, name="first"), tf.Variable(2.0, name="second")
    keys, graph_names = saved(tmp_path, a={"w": first}, b={"w": second})
    assert sorted(variable_names(keys, lambda: graph_names).values()) == ["first", "second"]


def test_the_items_of_a_list_are_named_by_the_graph(tmp_path):
    variables = [tf.Variable(1.0, name="first"), tf.Variable(2.0, name="second")]
    keys, graph_names = saved(tmp_path, var_list=variables)
    assert sorted(variable_names(keys, lambda: graph_names).values()) == ["first", "second"]


def test_a_slot_is_named_by_the_graph(tmp_path):
    variable = tf.Variable([1.0], name="w")
    optimizer = tf.keras.optimizers.legacy.SGD(0.1, momentum=0.9)
    optimizer.apply_gradients([(tf.ones([1]), variable)])
    keys, graph_names = saved(tmp_path, var_list={"w": variable}, optimizer=optimizer)
    named = variable_names(keys, lambda: graph_names)
    assert {"w", "SGD/w/momentum"} <= set(named.values())


def test_the_step_is_the_global_step_even_where_the_graph_calls_it_otherwise(tmp_path):
    net = tf.train.Checkpoint(w=tf.Variable(1.0, name="w"))
    keys, graph_names = saved(tmp_path, net=net, step=tf.Variable(1, name="counter"))
    assert variable_names(keys, lambda: graph_names)[variable_key("step")] == GLOBAL_STEP


def test_names_that_clash_are_refused_with_both_keys(tmp_path):
    keys, graph_names = saved(tmp_path, a=tf.Variable(1.0), b=tf.Variable(2.0))
    with pytest.raises(NameClashError) as error:
        variable_names(keys, lambda: graph_names)
    message = str(error.value)
    assert "the name 'Variable' would belong to 2 tensors" in message
    assert variable_key("a") in message and variable_key("b") in message
    assert "save Checkpoint(var_list={name: variable}) instead" in message


def test_a_tensor_without_a_name_is_refused_by_its_key():
    keys = [variable_key("net", "deep", "w"), variable_key("net", "deep", "x")]
    with pytest.raises(NameClashError, match=f"1 tensors have no name, the first is '{keys[1]}'"):
        variable_names(keys, lambda: {keys[0]: "w"})


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (OBJECT_GRAPH_KEY, "the object graph"),
        (SAVE_COUNTER_KEY, "the counter of tf.train.Checkpoint.save"),
        ("net/.ATTRIBUTES/OBJECT_CONFIG_JSON", "the Python state of an object"),
    ],
)
def test_what_a_name_based_checkpoint_has_no_use_for_is_left_out_with_its_reason(key, reason):
    assert why_unnamed(key).startswith(reason)
    assert variable_names([key, Layout().key("w")], lambda: {}) == {Layout().key("w"): "w"}


def test_a_variable_is_not_left_out():
    assert why_unnamed(Layout().key("save_counter")) is None
    assert why_unnamed(Layout().key("w")) is None
