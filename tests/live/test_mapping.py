"""propose_map, and the map as rename=: of live objects, and of other checkpoints."""

from __future__ import annotations

import os
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from keras_models import HERE, package

from estimator_ckpt import (
    CheckpointArgumentError,
    VariableMap,
    VariableMismatchError,
    convert,
    describe,
    propose_map,
    rename,
    restore,
    warm_start_settings,
)
from estimator_ckpt.checkpoint.variable_rows import creation_order

tf1 = tf.compat.v1
INPUT = np.linspace(-1, 1, 2 * 8 * 8 * 1).reshape(2, 8, 8, 1).astype(np.float32)
LAYERS = {
    "net/conv1": {"weights": [3, 3, 1, 4], "biases": [4]},
    "net/conv2": {"weights": [3, 3, 4, 4], "biases": [4]},
    "net/fc": {"weights": [256, 5], "biases": [5]},
    "net/logits": {"weights": [5, 3], "biases": [3]},
}


def network(x):
    """The network in names that slim would give, made in an order of their own."""
    for name, shapes in LAYERS.items():
        with tf1.variable_scope(name):
            weights = tf1.get_variable("weights", shapes["weights"])
            biases = tf1.get_variable("biases", shapes["biases"])
        if len(shapes["weights"]) == 4:
            x = tf.nn.relu(tf.nn.conv2d(x, weights, 1, "SAME") + biases)
        else:
            x = tf.reshape(x, [2, -1]) @ weights + biases
            x = x if name.endswith("logits") else tf.nn.relu(x)
    return x


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    """The prefix of a TF1 checkpoint after two steps of Adam, its values and its output."""
    prefix = str(tmp_path_factory.mktemp("old") / "model.ckpt")
    with tf1.Graph().as_default(), tf1.Session() as session:
        step = tf1.train.get_or_create_global_step()
        logits = network(tf.constant(INPUT))
        train = tf1.train.AdamOptimizer(0.01).minimize(tf.reduce_sum(logits**2), step)
        session.run(tf1.global_variables_initializer())
        session.run(train)
        session.run(train)
        tf1.train.Saver().save(session, prefix)
        values = {v.op.name: session.run(v) for v in tf1.global_variables()}
        return prefix, values, session.run(logits)


def model_of(kind, *, compiled=True):
    """The same network in Keras' words."""
    layers = package(kind).layers
    model = package(kind).Sequential(
        [
            layers.InputLayer(INPUT.shape[1:]),
            layers.Conv2D(4, 3, padding="same", activation="relu"),
            layers.Conv2D(4, 3, padding="same", activation="relu"),
            layers.Flatten(),
            layers.Dense(5, activation="relu"),
            layers.Dense(3),
        ]
    )
    if compiled:
        model.compile(package(kind).optimizers.Adam(0.01), "mse")
        model.optimizer.build(model.trainable_variables)
    return model


@pytest.mark.parametrize("kind", HERE)
@pytest.mark.parametrize("through", ["restore", "convert", "text"])
def test_a_tf1_model_goes_into_keras_by_map_alone(old, tmp_path, kind, through):
    prefix, values, output = old
    model = model_of(kind)
    made = propose_map(prefix, model)
    assert len(made.pairs("certain")) == len(made.pairs("certain", "likely")) == 8
    if through == "restore":
        restore(model, prefix, rename=made)
    elif through == "text":
        restore(model_of(kind), prefix, rename=VariableMap.parse(made.text()))  # of another process
        restore(model, prefix, rename=VariableMap.parse(made.text()))
    else:
        report = convert(prefix, tmp_path / "like", to="tf2", like=model, rename=made)
        assert report.bytes_copied == 0
        tf.train.Checkpoint(model).restore(str(tmp_path / "like")).expect_partial()
    np.testing.assert_allclose(model(INPUT), output, rtol=1e-5, atol=1e-6)
    assert model.optimizer.iterations.numpy() == 2
    kept = [each.numpy() for each in model.optimizer.variables]
    for name in LAYERS:
        for leaf in ("weights", "biases"):
            for slot in ("Adam", "Adam_1"):
                value = values[f"{name}/{leaf}/{slot}"]
                assert any(np.array_equal(value, each) for each in kept), (name, leaf, slot)


def test_the_order_of_creation_is_read_from_the_meta_as_tensorflow_does(old):
    prefix, values, _ = old
    created = creation_order(prefix)
    graph = tf1.MetaGraphDef.FromString(pathlib.Path(f"{prefix}.meta").read_bytes())
    expected = [
        _variable_def(data).variable_name.partition(":")[0]
        for data in graph.collection_def["variables"].bytes_list.value
    ]
    assert list(created) == expected and set(created) == set(values)
    assert list(created.values()) == list(range(len(expected)))


def _variable_def(data):
    from tensorflow.core.framework import variable_pb2

    return variable_pb2.VariableDef.FromString(data)


def test_a_partitioned_variable_has_the_place_of_its_first_part(tmp_path):
    with tf1.Graph().as_default(), tf1.Session() as session:
        tf1.get_variable("a", [2])
        tf1.get_variable("p", [4, 2], partitioner=tf1.fixed_size_partitioner(2))
        tf1.get_variable("b", [2])
        session.run(tf1.global_variables_initializer())
        tf1.train.Saver().save(session, str(tmp_path / "ckpt"))
    assert creation_order(str(tmp_path / "ckpt")) == {"a": 0, "p": 1, "b": 2}


def test_a_meta_that_is_none_is_told(tmp_path):
    saved(tmp_path / "ckpt", {"w": [1.0]})
    (tmp_path / "ckpt.meta").write_bytes(b"\xff\xff no graph")
    with pytest.raises(Exception, match=r"ckpt.meta' is no graph .* remove it"):
        propose_map(tmp_path / "ckpt", {"v": tf.Variable([0.0])})


def saved(prefix, values):
    """Writes a TF1 checkpoint without a graph; returns its prefix."""
    with tf1.Graph().as_default(), tf1.Session() as session:
        variables = [tf1.Variable(value, name=name) for name, value in values.items()]
        session.run(tf1.global_variables_initializer())
        tf1.train.Saver(variables).save(session, str(prefix), write_meta_graph=False)
    return str(prefix)


OLD = {
    "a/kernel": np.float32([[1, 2, 3], [4, 5, 6]]),
    "a/bias": np.float32([7, 8, 9]),
    "b/kernel": np.float32([[1, 2], [3, 4], [5, 6]]),
    "b/kernel/Adam": np.float32([[6, 5], [4, 3], [2, 1]]),
    "b/kernel/Adam_1": np.float32([[1, 1], [1, 1], [1, 1]]),
    "global_step": 9,
}


@pytest.fixture
def source(tmp_path):
    return saved(tmp_path / "source", OLD)


def zeros(*names):
    """Variables by new names, of the shapes of a/kernel, a/bias and b/kernel; all have one name."""
    return {
        name: tf.Variable(np.zeros_like(value))
        for name, value in zip(names, (OLD["a/kernel"], OLD["a/bias"], OLD["b/kernel"]))
    }


def module(variables):
    return tf.train.Checkpoint(net=tf.train.Checkpoint(**variables))


def tree(variables, root):
    """The variables as attributes of objects: `x/kernel` is root.x.kernel."""
    for name, variable in variables.items():
        layer, leaf = name.split("/")
        if not hasattr(root, layer):
            setattr(root, layer, type(root)())
        setattr(getattr(root, layer), leaf, variable)
    return root


@pytest.mark.parametrize("of", ["dict", "checkpoint", "module", "stored", "stored objects"])
def test_each_kind_of_target(source, tmp_path, of):
    variables = zeros("x/kernel", "x/bias", "z/kernel")
    objects = tree(variables, tf.Module() if of == "module" else tf.train.Checkpoint())
    if of == "stored":
        target = saved(tmp_path / "t", {name: value.numpy() for name, value in variables.items()})
    elif of == "stored objects":
        target = objects.write(str(tmp_path / "t"))
    else:
        target = variables if of == "dict" else objects
    made = propose_map(source, target)
    expected = {"a/kernel": "x/kernel", "a/bias": "x/bias", "b/kernel": "z/kernel"}
    assert made.pairs() == expected
    if of in ("dict", "checkpoint", "module"):
        restore(target, source, rename=made)
        for name, new in expected.items():
            np.testing.assert_array_equal(variables[new], OLD[name])


def test_a_scalar_in_a_dictionary_is_mapped(tmp_path):
    prefix = saved(tmp_path / "source", {"dense/kernel": OLD["a/kernel"], "temperature": 2.0})
    target = {"dense/kernel": tf.Variable(tf.zeros([2, 3])), "temperature": tf.Variable(0.0)}
    made = propose_map(prefix, target)
    assert made.pairs() == {name: name for name in target}
    restore(target, prefix, rename=made)
    assert target["temperature"].numpy() == 2


def test_slots_follow_in_a_rename_and_what_is_left_out_goes(source, tmp_path):
    made = VariableMap.parse("[pinned]\nb/kernel -> dense/kernel\na/bias -> -\n")
    report = rename(source, tmp_path / "out", made)
    names = {row.name for row in describe(tmp_path / "out").variables}
    slots = {"dense/kernel/Adam", "dense/kernel/Adam_1"}
    assert names == {"a/kernel", "dense/kernel", *slots, "global_step"}
    assert [(each.key, each.reason) for each in report.dropped] == [
        ("a/bias", "left out by the map")
    ]


def test_nothing_but_what_is_mapped_goes_into_a_model(source):
    variables = zeros("a/kernel", "y", "z")  # of a name that the source has, too
    made = VariableMap.parse("[pinned]\na/bias -> y\nb/kernel -> z\n")
    report = restore(variables, source, rename=made, strict=False)
    assert [row.name for row in report.unmatched] == ["a/kernel"]
    assert not variables["a/kernel"].numpy().any()
    with pytest.raises(VariableMismatchError, match="a/kernel"):
        restore(variables, source, rename=made)


def test_what_is_likely_is_applied_only_when_accepted(source):
    text = "[certain]\na/kernel -> x\na/bias -> y\n\n[likely]\nb/kernel -> z\n"
    for accept, expected in (("certain", {"x", "y"}), ("likely", {"x", "y", "z"})):
        variables = zeros("x", "y", "z")
        made = VariableMap.parse(f"accept: {accept}\n{text}")
        assert made.text().count(f"accept: {accept}\n") == 1
        report = restore(variables, source, rename=made, strict=False)
        assert {row.target for row in report.restored} == expected


BAD = {
    "no source": ("a/kernal -> net/x", r"line 2: the source has no 'a/kernal'; near .*'?a/kernel"),
    "no target": ("a/kernel -> net/w", r"line 2: the target has no 'net/w'.*correct the name"),
    "a shape": ("a/kernel -> net/z", r"line 2: 'a/kernel' .*\[2, 3\] does not fit .*\[3, 2\]"),
    "a type": ("a/bias -> net/n", r"'a/bias' float32 \[3\] does not fit 'net/n' int32 \[3\]"),
    "a reshape": (
        "a/kernel -> net/r",
        r"line 2: .*\[2, 3\] does not fit .*\[6\]; put ' : reshape\(6\)'",
    ),
    "the step": ("global_step -> net/x", r"line 2: the source has no 'global_step'"),
    "two lines": ("a/kernel -> net/x\nb/kernel -> net/x", r"line 3: .* of line 2; remove one"),
}


@pytest.mark.parametrize("what", BAD)
@pytest.mark.parametrize("through", ["restore", "convert", "warm start"])
def test_a_map_that_can_not_be_followed_is_told_by_its_line(source, tmp_path, what, through):
    lines, message = BAD[what]
    variables = zeros("x", "y", "z") | {"n": tf.Variable([0, 0, 0]), "r": tf.Variable([0.0] * 6)}
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(CheckpointArgumentError, match=message):
        made = VariableMap.parse(f"[pinned]\n{lines}\n")
        if through == "restore":
            restore(module(variables), source, rename=made)
        elif through == "convert":
            convert(source, tmp_path / "out", to="tf2", like=module(variables), rename=made)
        else:
            with tf1.Graph().as_default():
                for name, value in variables.items():
                    tf1.get_variable(f"net/{name}", value.shape, value.dtype)
                list(warm_start_settings(source, rename=made))
    assert sorted(os.listdir(tmp_path)) == before
    assert not any(value.numpy().any() for value in variables.values())


def test_a_shape_that_differs_can_be_skipped_as_without_a_map(source):
    variables = zeros("x", "y", "z")
    made = VariableMap.parse("[pinned]\na/kernel -> z\na/bias -> y\n")
    report = restore(variables, source, rename=made, strict=False, on_mismatch="skip")
    assert [row.target for row in report.restored] == ["y"]


def test_a_likely_line_that_is_not_applied_need_not_fit_as_it_is(source):
    variables = zeros("x", "y") | {"r": tf.Variable([0.0] * 6)}
    text = "[certain]\na/bias -> y\n\n[likely]\na/kernel -> r\n"
    report = restore(variables, source, rename=VariableMap.parse(text), strict=False)
    assert [row.target for row in report.restored] == ["y"]
    with pytest.raises(CheckpointArgumentError, match="line 6: 'a/kernel'"):
        restore(variables, source, rename=VariableMap.parse(f"accept: likely\n{text}"))


def test_a_warm_start_by_map(source):
    made = VariableMap.parse("[pinned]\na/kernel -> a/bias\nb/kernel -> z\n")
    with tf1.Graph().as_default(), tf1.Session() as session:
        bias = tf1.get_variable("a/bias", [2, 3])
        z = tf1.get_variable("z", [3, 2])
        kept = tf1.get_variable("a/kernel", [2, 3], initializer=tf1.zeros_initializer())
        tf1.train.warm_start(*warm_start_settings(source, rename=made))
        session.run(tf1.global_variables_initializer())
        np.testing.assert_array_equal(session.run(bias), OLD["a/kernel"])
        np.testing.assert_array_equal(session.run(z), OLD["b/kernel"])
        assert not session.run(kept).any()


def test_a_model_that_is_not_built_is_told(source):
    model = tf.keras.Sequential([tf.keras.layers.Dense(3)])
    with pytest.raises(CheckpointArgumentError, match=r"no variables to map to.*build it first"):
        propose_map(source, model)


def test_pins_stay_and_tell_about_the_rest(tmp_path):
    names = [f"{tower}/{leaf}" for tower in ("left", "right") for leaf in ("kernel", "bias")]
    values = {"kernel": np.ones([2, 3], np.float32), "bias": np.ones([3], np.float32)}
    prefix = saved(tmp_path / "towers", {name: values[name.split("/")[1]] for name in names})
    target = {
        f"{tower}/{leaf}": tf.Variable(value)
        for tower in ("north", "south")
        for leaf, value in values.items()
    }
    asked = propose_map(prefix, dict(sorted(target.items())))
    pins = VariableMap.parse("[pinned]\nleft/kernel -> south/kernel\n")
    made = propose_map(prefix, target, pins=pins, accept="likely")
    assert asked.pairs() != made.pairs() and made.accept == "likely"
    assert made.pairs() == {
        "left/kernel": "south/kernel",
        "left/bias": "south/bias",
        "right/kernel": "north/kernel",
        "right/bias": "north/bias",
    }
    with pytest.raises(CheckpointArgumentError, match="accept='all' must be"):
        propose_map(prefix, target, accept="all")


def test_equal_values_of_two_checkpoints_tell_more_than_names(tmp_path):
    """Zeros and ones, which variables begin with, tell nothing; checksums are in the index."""
    rng = np.random.default_rng(0)
    values = {name: rng.normal(size=(4, 4)).astype(np.float32) for name in "abcdef"}
    begun = {"one": np.ones([16], np.float32), "zero": np.zeros([4, 4], np.float32)}
    called = dict(zip(values, "vqzwxy"))
    for folder, named in (
        ("old", {**values, **begun}),
        ("new", {**{called[name]: value for name, value in values.items()}, "k": begun["zero"]}),
    ):
        with tf.Graph().as_default(), tf1.Session() as session:
            for name in sorted(named):
                tf1.get_variable(name, initializer=named[name])
            session.run(tf1.global_variables_initializer())
            tf1.train.Saver().save(session, str(tmp_path / folder))
    for path in tmp_path.glob("*.data*"):
        path.write_bytes(bytes(path.stat().st_size))  # no tensor is read
    made = propose_map(tmp_path / "old", tmp_path / "new")
    assert made.pairs("certain").items() >= called.items()
    assert {pair.reason for pair in made.mapped if pair.source in called} == {
        "the only ones with these values"
    }
    again = propose_map(tmp_path / "old", tmp_path / "new", pins=VariableMap.parse(made.text()))
    assert again.pairs("certain") == made.pairs("certain")
