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
    ObjectGraph,
    format_of,
    name_tensors,
)
from estimator_ckpt.naming.layout import reason_without_name
from estimator_ckpt.naming.paths import variable_key

NAMES = ["dnn/kernel", "dnn/kernel/Adam", "v1.0", "a.Sb", GLOBAL_STEP]


def saved(tmp_path, **objects):
    """Saves a Checkpoint with TensorFlow; returns its keys and its object graph's names."""
    prefix = tf.train.Checkpoint(**objects).save(str(tmp_path / "ckpt"))
    keys = [key for key, _ in tf.train.list_variables(prefix)]
    data = tf.train.load_variable(prefix, OBJECT_GRAPH_KEY)
    return keys, ObjectGraph.parse(data).full_names


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
    assert name_tensors(keys, lambda: {}).by_key == keys


@pytest.mark.parametrize("save_counter", [True, False])
def test_the_object_graph_has_each_name_and_key(save_counter):
    names = Layout().object_graph(NAMES, save_counter=save_counter).full_names
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
    assert sorted(name_tensors(keys, lambda: graph_names).by_key.values()) == ["a", "b"]


def test_keys_of_other_objects_are_named_by_the_graph(tmp_path):
    layer = tf.keras.layers.Dense(2, name="dense")
    layer(tf.zeros([1, 3]))
    keys, graph_names = saved(tmp_path, net=tf.train.Checkpoint(layer=layer))
    assert sorted(name_tensors(keys, lambda: graph_names).by_key.values()) == [
        "dense/bias",
        "dense/kernel",
    ]


def test_two_containers_are_named_by_the_graph(tmp_path):
    first, second = tf.Variable(1.0, name="first"), tf.Variable(2.0, name="second")
    keys, graph_names = saved(tmp_path, a={"w": first}, b={"w": second})
    assert sorted(name_tensors(keys, lambda: graph_names).by_key.values()) == ["first", "second"]


def test_the_items_of_a_list_are_named_by_the_graph(tmp_path):
    variables = [tf.Variable(1.0, name="first"), tf.Variable(2.0, name="second")]
    keys, graph_names = saved(tmp_path, var_list=variables)
    assert sorted(name_tensors(keys, lambda: graph_names).by_key.values()) == ["first", "second"]


def test_a_slot_is_named_by_the_graph(tmp_path):
    variable = tf.Variable([1.0], name="w")
    optimizer = tf.keras.optimizers.legacy.SGD(0.1, momentum=0.9)
    optimizer.apply_gradients([(tf.ones([1]), variable)])
    keys, graph_names = saved(tmp_path, var_list={"w": variable}, optimizer=optimizer)
    named = name_tensors(keys, lambda: graph_names).by_key
    assert {"w", "SGD/w/momentum"} <= set(named.values())


def test_the_step_is_the_global_step_even_where_the_graph_calls_it_otherwise(tmp_path):
    net = tf.train.Checkpoint(w=tf.Variable(1.0, name="w"))
    keys, graph_names = saved(tmp_path, net=net, step=tf.Variable(1, name="counter"))
    assert name_tensors(keys, lambda: graph_names).by_key[variable_key("step")] == GLOBAL_STEP


def test_tensors_whose_names_clash_are_called_by_their_paths(tmp_path):
    third = tf.Variable(3.0, name="w")
    keys, graph_names = saved(tmp_path, a=tf.Variable(1.0), b=[tf.Variable(2.0)], c=third)
    names = name_tensors(keys, lambda: graph_names)
    assert sorted(names.by_key.values()) == ["a", "b/0", "w"]
    assert names.by_path == dict.fromkeys(("a", "b/0"), "another tensor is called 'Variable', too")


def test_a_tensor_without_a_name_is_called_by_its_path():
    keys = [variable_key("net", "deep", "w"), variable_key("net", "deep", "x/y")]
    names = name_tensors(keys, lambda: {keys[0]: "w"})
    assert names.by_key == {keys[0]: "w", keys[1]: "net/deep/x/y"}
    assert names.by_path == {"net/deep/x/y": "it has no name of its own"}


def test_a_name_that_a_name_based_tensor_has_is_not_given_again():
    key = variable_key("net", "deep", "w")
    assert name_tensors([key], lambda: {key: "w"}, taken=["w"]).by_key == {key: "net/deep/w"}
    with pytest.raises(NameClashError, match="'net/deep/w' would belong to two tensors"):
        name_tensors([key], lambda: {key: "w"}, taken=["w", "net/deep/w"])


def test_all_can_be_called_by_their_paths(tmp_path):
    keys, graph_names = saved(tmp_path, var_list={"x/y": tf.Variable(1.0, name="w")})
    names = name_tensors(keys, lambda: graph_names, by_path=True)
    assert list(names.by_key.values()) == ["var_list/x/y"]


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (OBJECT_GRAPH_KEY, "the object graph"),
        (SAVE_COUNTER_KEY, "the counter of tf.train.Checkpoint.save"),
        ("net/.ATTRIBUTES/OBJECT_CONFIG_JSON", "the Python state of an object"),
    ],
)
def test_what_a_name_based_checkpoint_has_no_use_for_is_left_out_with_its_reason(key, reason):
    assert reason_without_name(key).startswith(reason)
    assert name_tensors([key, Layout().key("w")], lambda: {}).by_key == {Layout().key("w"): "w"}


def test_a_variable_is_not_left_out():
    assert reason_without_name(Layout().key("save_counter")) is None
    assert reason_without_name(Layout().key("w")) is None
