"""Models of Keras 3 as targets: compiled, not built, a layer, its variables by name or path."""

from __future__ import annotations

import logging
import os
import subprocess
import sys

import numpy as np
import optimizer_jobs
import pytest
import tensorflow as tf

from estimator_ckpt import (
    VariableMismatchError,
    assignment_map,
    convert,
    describe,
    restore,
    structure_diff,
)
from estimator_ckpt.cli.main import main

pytestmark = pytest.mark.skipif(not optimizer_jobs.has_keras3(), reason="Keras 3 is not here")
tf1 = tf.compat.v1
SHAPES = {
    "net/a/kernel": [2, 3],
    "net/a/bias": [3],
    "net/b/kernel": [3, 1],
    "net/b/bias": [1],
}
SLOTS = {"momentum": "Adam", "velocity": "Adam_1"}
FORMATS = ("tf1", "tf2", "dual", "dual of tf1")


def net(*, built=True, compiled=True):
    import keras

    inputs = [keras.Input([2])] if built else []
    layers = [keras.layers.Dense(3, name="a"), keras.layers.Dense(1, name="b")]
    model = keras.Sequential([*inputs, *layers], name="net")
    if compiled:
        model.compile(keras.optimizers.Adam(0.1), "mse", metrics=["mae"])
        if built:
            model.optimizer.build(model.trainable_variables)
    return model


def variables(model):
    return {each.path: each for each in model.variables}


def variables_and_slots(model):
    """All variables that a model and its optimizer have, as tf.compat.v1 calls them."""
    found = variables(model)
    if getattr(model, "optimizer", None):
        found["global_step"] = model.optimizer.iterations
        made = {each.path.partition("/")[2]: each for each in model.optimizer.variables}
        for name in SHAPES:
            for slot, old in SLOTS.items():
                found[f"{name}/{old}"] = made[f"{name.replace('/', '_')}_{slot}"]
    return found


def values(model):
    return {name: each.numpy() for name, each in variables_and_slots(model).items()}


def stored_keys(prefix):
    return {key for key, _ in tf.train.list_variables(str(prefix))}


def random(shape, salt):
    return np.random.RandomState(salt).rand(*shape).astype(np.float32)


STORED = {
    name + slot: random(shape, salt + 9 * at)
    for salt, (name, shape) in enumerate(SHAPES.items())
    for at, slot in enumerate(("", "/Adam", "/Adam_1"))
} | {"global_step": 5}
WEIGHTS = {name: STORED[name] for name in SHAPES}


def assert_values(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """The same values in each format: saved from a Keras 3 model, or by names."""
    folder = tmp_path_factory.mktemp("sources")
    with tf.Graph().as_default(), tf1.Session() as session:
        for name, value in STORED.items():
            tf1.get_variable(name, initializer=np.int64(value) if name == "global_step" else value)
        session.run(tf1.global_variables_initializer())
        named = tf1.train.Saver().save(session, str(folder / "tf1"), write_meta_graph=False)
    model = net()
    for name, each in variables_and_slots(model).items():
        each.assign(STORED[name])
    objects = tf.train.Checkpoint(model=model).write(str(folder / "tf2"))
    found = {"tf1": named, "tf2": objects}
    for name, source in (("dual", objects), ("dual of tf1", named)):
        found[name] = str(folder / name)
        convert(source, found[name], to="dual")
    return found


@pytest.mark.parametrize("which", FORMATS)
def test_a_compiled_model_gets_weights_slots_and_step(sources, which):
    model = net()
    report = restore(tf.train.Checkpoint(model=model), sources[which])
    assert_values(values(model), STORED)
    assert {row.name.rpartition("/.A")[0] for row in report.unmatched} <= {
        "model/optimizer/_learning_rate"
    }


@pytest.mark.parametrize("which", FORMATS)
def test_a_model_without_optimizer_and_its_variables_by_path(sources, which):
    model = net(compiled=False)
    report = restore(model, sources[which])
    assert_values(values(model), WEIGHTS)
    assert report.left and not report.unmatched
    again = net(compiled=False)
    restore(variables(again), sources[which])
    assert_values(values(again), WEIGHTS)


@pytest.mark.parametrize("which", FORMATS)
def test_a_layer(sources, which):
    layer = net(compiled=False).layers[-1]
    restore(layer, sources[which])
    np.testing.assert_array_equal(layer.kernel, STORED["net/b/kernel"])
    np.testing.assert_array_equal(layer.bias, STORED["net/b/bias"])


def test_variables_by_their_short_names_say_what_is_near(sources):
    model = net(compiled=False)
    with pytest.raises(VariableMismatchError, match="nothing called 'kernel'; near is 'net/"):
        restore({each.name: each for each in model.variables[:2]}, sources["tf2"])


@pytest.mark.parametrize("which", FORMATS)
def test_a_model_that_is_not_built_gets_its_values_later_or_it_is_said(sources, which, caplog):
    model = net(built=False)
    root = tf.train.Checkpoint(model=model)
    if which in ("tf2", "dual"):
        report = restore(root, sources[which])
        assert report.deferred
        assert all(row.reason.startswith("it waits for") for row in report.left)
        model.build([None, 2])
        model.optimizer.build(model.trainable_variables)
        assert_values(values(model), STORED)
        return
    with pytest.raises(VariableMismatchError, match="build it first"):
        restore(model, sources[which])
    with caplog.at_level(logging.WARNING):
        report = restore(root, sources[which], strict=False)
    assert not report.deferred
    assert "Not built yet, and without variables: 'model'" in caplog.text


@pytest.mark.parametrize("which", FORMATS)
def test_structure_diff_tells_what_has_no_place(sources, which):
    root = tf.train.Checkpoint(model=net())
    if which == "tf1":
        with pytest.raises(ValueError, match="is name-based"):
            structure_diff(sources[which], root)
        return
    diff = structure_diff(sources[which], root)
    if which != "dual of tf1":
        assert diff.compatible and diff.matched == 14
        assert structure_diff(sources[which], net()).hint.startswith("14 values have their place")
        kinds = {row.kind for row in structure_diff(sources[which], net(built=False)).rows}
        assert "only in checkpoint" in kinds
        return
    assert {row.kind for row in diff.rows} == {"only in checkpoint", "only in target"}


@pytest.mark.parametrize("which", FORMATS)
def test_convert_gives_a_model_its_keys(sources, which, tmp_path):
    model = net()
    root = tf.train.Checkpoint(model=model)
    report = convert(sources[which], tmp_path / "like", to="tf2", like=root)
    lost = {row.key for row in report.dropped if row.reason.startswith("the objects")}
    assert {key.partition("/")[0] for key in lost} <= {"save_counter"}
    reasons = {row.reason for row in report.dropped if row.key.startswith("save_counter")}
    assert reasons <= {"the objects that it should be like have no save counter for it"}
    assert not {row.key for row in report.dropped} & stored_keys(tmp_path / "like")
    root.read(str(tmp_path / "like")).assert_existing_objects_matched()
    assert_values(values(model), STORED)


@pytest.mark.parametrize("which", FORMATS)
def test_convert_says_what_of_the_model_is_not_built(sources, which, tmp_path):
    root = tf.train.Checkpoint(model=net(built=False))
    report = convert(sources[which], tmp_path / "like", to="tf2", like=root)
    assert any("not built yet, and without variables: 'model'" in each for each in report.notes)
    assert {row.reason for row in report.dropped} >= {
        "the objects that it should be like have no variable for it"
    }


@pytest.mark.parametrize("which", FORMATS)
def test_roles_and_owners_are_told(sources, which):
    rows = {row.name: row for row in describe(sources[which]).variables}
    roles = {name: row.role for name, row in rows.items() if name in SHAPES}
    assert roles == dict.fromkeys(SHAPES, "variable")
    owners = [row.slot_of for row in rows.values() if row.role == "slot"]
    assert sorted(owners) == sorted([*SHAPES, *SHAPES])


@pytest.mark.parametrize("which", FORMATS)
def test_an_assignment_map_for_variables_of_a_model(sources, which):
    with tf.Graph().as_default(), tf1.Session() as session:
        held = {name: tf1.get_variable(name, shape) for name, shape in SHAPES.items()}
        tf1.train.init_from_checkpoint(
            sources[which], assignment_map(sources[which], {"net/": "net/"})
        )
        session.run(tf1.global_variables_initializer())
        assert_values(session.run(held), WEIGHTS)


def test_an_assignment_map_takes_a_variable_of_keras(sources):
    import keras

    with tf.Graph().as_default(), tf1.Session() as session:
        layer = keras.layers.Dense(3)
        layer.build([None, 2])
        chosen = assignment_map(sources["tf2"], {"net/a/kernel": layer.kernel})
        tf1.train.init_from_checkpoint(sources["tf2"], chosen)
        session.run(tf1.global_variables_initializer())
        np.testing.assert_array_equal(session.run(layer.kernel.value), STORED["net/a/kernel"])


@pytest.mark.parametrize("which", FORMATS)
def test_inspect_shows_the_tree_and_the_parts(sources, which, capsys):
    assert main(["inspect", sources[which], "--tree"]) == 0
    tree = capsys.readouterr().out
    names = {"tf2": "_trainable_variables/", "dual": "net_a_kernel_velocity"}
    assert names.get(which, "Adam_1") in tree
    assert tree.count("[2, 3] float32") == 3


@pytest.mark.slow
def test_where_tf_keras_is_keras_3(sources, tmp_path):
    """In a process of its own, where nothing has set TF_USE_LEGACY_KERAS."""
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, numpy as np, tensorflow as tf\n"
        "from estimator_ckpt import restore\n"
        "assert tf.keras.__version__.startswith('3')\n"
        "for number, prefix in enumerate(sys.argv[2:]):\n"
        "    layers = [tf.keras.layers.Dense(3, name='a'), tf.keras.layers.Dense(1, name='b')]\n"
        "    model = tf.keras.Sequential([tf.keras.Input([2]), *layers], name='net')\n"
        "    model.compile(tf.keras.optimizers.Adam(0.1), 'mse')\n"
        "    model.optimizer.build(model.trainable_variables)\n"
        "    report = restore(tf.train.Checkpoint(model=model), prefix)\n"
        "    assert int(model.optimizer.iterations) == 5, report\n"
        "    np.save(f'{sys.argv[1]}/{number}.npy', model.get_weights()[0])\n"
    )
    subprocess.run(
        [sys.executable, script, tmp_path, *sources.values()],
        env={**os.environ, "TF_USE_LEGACY_KERAS": "0"},
        check=True,
        timeout=600,
    )
    for number in range(len(sources)):
        np.testing.assert_array_equal(np.load(tmp_path / f"{number}.npy"), STORED["net/a/kernel"])


def listed_net():
    """A model of which Keras 3 knows both layers, and TensorFlow one."""
    import keras

    class Listed(keras.Model):
        def __init__(self):
            super().__init__(name="net")
            self.a = keras.layers.Dense(3, name="a")
            self.others = [keras.layers.Dense(1, name="b")]

        def call(self, inputs):
            return self.others[0](self.a(inputs))

    model = Listed()
    model(np.zeros([1, 2], "float32"))
    return model


@pytest.mark.parametrize("held", [lambda model: model, lambda model: tf.train.Checkpoint(m=model)])
def test_layers_that_tensorflow_does_not_see_are_told(tmp_path, caplog, held):
    model = listed_net()
    prefix = tf.train.Checkpoint(m=listed_net()).write(str(tmp_path / "model"))
    if isinstance(held(model), type(model)):
        prefix = tf.train.Checkpoint(a=model.a).write(str(tmp_path / "model"))
    with pytest.raises(VariableMismatchError, match="no object that TensorFlow tracks leads to it"):
        restore(held(model), prefix)
    report = restore(held(model), prefix, strict=False)
    assert [row.name for row in report.unmatched] == ["net/b/bias", "net/b/kernel"]
    assert "net/b/kernel" in caplog.text
    restore(held(model), prefix, exclude="net/b/")
    by_path = {each.path: each for each in model.weights if each.path.startswith("net/b/")}
    assert len(by_path) == 2  # as the message has it
