"""Keras' own files, of Keras 2 and 3, read by all commands and written; Keras is the judge."""

from __future__ import annotations

import os
import pathlib

import keras_models
import numpy as np
import pytest
import tensorflow as tf
from keras_models import KERAS, STRANGERS, assert_equal, compiled, randomize, values

from estimator_ckpt import (
    CheckpointArgumentError,
    VariableMap,
    VariableMismatchError,
    assignment_map,
    average,
    compact,
    convert,
    describe,
    diff,
    export_checkpoint,
    propose_map,
    rename,
    restore,
    warm_start_settings,
)
from estimator_ckpt.cli.main import main
from estimator_ckpt.live.objects import LiveObjects

tf1 = tf.compat.v1
KINDS = (".weights.h5", ".keras", ".h5")
WRITTEN = (".weights.h5", ".keras")
TO = ("dual", *(pytest.param(each, marks=pytest.mark.slow) for each in ("tf1", "tf2")))


@pytest.fixture(params=KERAS)
def keras(request):
    found = keras_models.package(request.param)
    if found is None:
        pytest.skip(f"{request.param} is not here")
    return found


def make(keras, kind=compiled, seed=0):
    return randomize(kind(keras, keras.layers), seed)


def save(model, path):
    """Saves as a user does; a model without optimizer as an `.h5` of weights where there is one."""
    (model.save_weights if str(path).endswith(".weights.h5") else model.save)(str(path))
    return str(path)


@pytest.fixture(params=KINDS)
def saved(request, keras, tmp_path):
    """A compiled model and its file."""
    model = make(keras, seed=1)
    return model, save(model, tmp_path / f"model{request.param}")


def kernel_of(path):
    names = [row.name for row in describe(path).variables if row.shape == (4, 3)]
    return min((name for name in names if not name.startswith("optimizer/")), key=len)


def test_inspect_tells_names_shapes_roles_and_values(saved, capfd):
    model, path = saved
    found = describe(path, values=True)
    assert found.format == "keras" and found.prefix == path and not found.other_keys
    assert {row.shape for row in found.variables} == {each.shape for each in values(model)}
    kernel = next(row for row in found.variables if row.name == kernel_of(path))
    assert kernel.role == "variable"
    assert kernel.values.max == np.max([each.max() for each in values(model)[:1]])
    if not path.endswith("l.h5"):  # where names may tell less
        slots = [row.role for row in found.variables].count("slot")
        assert slots in (12, 13), "in Keras 3, the learning rate is one of these variables"
    assert main(["inspect", path]) == 0
    assert "format keras" in capfd.readouterr().err


def test_diff_compares_with_what_was_made_of_it(saved, tmp_path):
    _, path = saved
    convert(path, tmp_path / "ckpt", to="tf1")
    found = diff(path, tmp_path / "ckpt")
    assert not found.changes and found.equal == len(describe(path).variables)


def test_restore_takes_weights_slots_and_step(keras, saved):
    model, path = saved
    other = make(keras, seed=2)
    report = restore(other, path)
    assert_equal(other, values(model))
    assert {row.name.rpartition("/.A")[0] for row in report.unmatched} <= {
        "optimizer/_learning_rate"
    }
    assert report.prefix == path


def test_restore_into_a_checkpoint_that_holds_the_model(keras, saved):
    model, path = saved
    other = make(keras, seed=2)
    restore(tf.train.Checkpoint(net=other), path)
    assert_equal(other, values(model))


@pytest.mark.parametrize("to", TO)
def test_converted_and_back_it_is_what_keras_wrote(keras, saved, to, tmp_path):
    model, path = saved
    before = pathlib.Path(path).read_bytes()
    report = convert(path, tmp_path / "ckpt", to=to)
    assert report.bytes_linked == 0, "Keras writes into its file when it saves again"
    assert describe(tmp_path / "ckpt").format == to
    stored = {key for key, _ in tf.train.list_variables(str(tmp_path / "ckpt"))}
    assert (kernel_of(path) in stored) == (to != "tf2")
    for kind in WRITTEN:
        other = make(keras, seed=3)
        mine = values(other)
        convert(tmp_path / "ckpt", tmp_path / f"back{kind}", like=other)
        assert_equal(other, mine)
        if kind == ".keras":
            other = keras.models.load_model(str(tmp_path / f"back{kind}"))
        else:
            other.load_weights(str(tmp_path / f"back{kind}"))
        assert_equal(other, values(model))
    assert pathlib.Path(path).read_bytes() == before


@pytest.mark.parametrize("to", TO)
def test_export_writes_the_places_that_a_converted_file_has_for_names(keras, to, tmp_path):
    model = make(keras, seed=1)
    path = save(model, tmp_path / "m.weights.h5")
    convert(path, tmp_path / "ckpt", to=to)
    code = main(["export", str(tmp_path / "ckpt"), str(tmp_path / "out" / "n.weights.h5")])
    assert code == 0
    other = make(keras, seed=2)
    other.load_weights(str(tmp_path / "out" / "n.weights.h5"))
    assert_equal(other, values(model))


def test_the_names_and_slots_of_a_job_go_into_a_file_like_a_model(keras, tmp_path):
    model = make(keras, seed=1)
    named = tf.train.Checkpoint(model=model).write(str(tmp_path / "objects"))
    other = make(keras, seed=2)
    restore(other, save(model, tmp_path / "m.weights.h5"))
    report = convert(named, tmp_path / "n.weights.h5", like=tf.train.Checkpoint(model=other))
    assert report.format == "keras" and report.bytes_written == os.path.getsize(report.prefix)
    randomize(other, 3)
    other.load_weights(report.prefix)
    assert_equal(other, values(model))


def test_other_commands_read_it_too(saved, tmp_path):
    _, path = saved
    wanted = describe(path, values=True)
    name = kernel_of(path)
    rename(path, tmp_path / "renamed", {name: "kernel"})
    compact(path, tmp_path / "compact")
    average([path, tmp_path / "compact"], tmp_path / "mean")
    assert "kernel" in {row.name for row in describe(tmp_path / "renamed").variables}
    assert describe(tmp_path / "compact", values=True).variables == wanted.variables
    assert describe(tmp_path / "mean").format == "tf1"
    report = export_checkpoint(path, tmp_path / "m.npz", slots=False)
    with np.load(report.path) as arrays:
        assert name in arrays.files and len(arrays.files) < len(wanted.variables)


def test_a_warm_start_and_what_tensorflow_itself_would_open(saved, tmp_path):
    model, path = saved
    name = kernel_of(path)
    with tf.Graph().as_default(), tf1.Session() as session:
        tf1.get_variable("mine/kernel", [4, 3])
        settings = warm_start_settings(path, rename={name: "mine/kernel"}, include="mine")
        tf1.train.warm_start(*settings)
        session.run(tf1.global_variables_initializer())
        (value,) = session.run(tf1.global_variables())
    np.testing.assert_array_equal(value, values(model)[0])
    with tf.Graph().as_default(), pytest.raises(CheckpointArgumentError, match="convert '"):
        assignment_map(path, {"/": "/"})


def test_a_map_gives_what_was_saved_of_a_model_like_this_its_names(keras, tmp_path):
    saved = make(keras, seed=1)
    saved.evaluate(np.ones((2, 4)), np.ones((2, 1)), verbose=0)  # makes metrics
    path = save(keras.models.clone_model(saved), tmp_path / "m.weights.h5")
    made = propose_map(path, saved)
    assert len(made.pairs()) == 8 and not made.asked
    assert len(propose_map(save(saved, tmp_path / "all.weights.h5"), saved).pairs()) == 8
    randomize(saved, 2)
    restore(saved, path, rename=made, strict=False)
    other = make(keras, keras_models.nested, seed=3)
    other.load_weights(path)
    for one, two in zip(saved.weights, other.weights):
        np.testing.assert_array_equal(one, two)
    narrow = propose_map(path, make(keras, keras_models.sequential))
    assert "pinned" not in {pair.confidence for pair in narrow.mapped}


@pytest.mark.parametrize("suffix", WRITTEN)
def test_the_map_of_a_model_to_its_own_file_keeps_the_optimizer(keras, tmp_path, suffix):
    model = make(keras, seed=1)
    path = save(model, tmp_path / f"own{suffix}")
    expected = values(model)
    made = propose_map(path, model)
    convert(path, tmp_path / "new", like=model, rename=made)
    for source, rules in ((path, made), (path, VariableMap.parse(made.text()))):
        randomize(model, 2)
        restore(model, source, rename=rules)
        assert_equal(model, expected)
    randomize(model, 2)
    restore(model, tmp_path / "new")
    assert_equal(model, expected)


def test_a_map_to_other_places_takes_no_slots(keras, tmp_path):
    def twins(keras, layers):
        model = keras.Sequential([keras.Input([3]), layers.Dense(3), layers.Dense(3)])
        model.compile(keras.optimizers.Adam(0.1), "mse")
        model.optimizer.build(model.trainable_variables)
        return model

    model = make(keras, twins, seed=1)
    path = save(model, tmp_path / "m.weights.h5")
    here = propose_map(path, model).pairs()
    places = sorted(here)
    targets = [here[each] for each in [*places[2:], *places[:2]]]
    lines = [f"{place} -> {target}" for place, target in zip(places, targets)]
    crossed = VariableMap.parse("\n".join(["[pinned]", *lines]))
    report = restore(model, path, rename=crossed, strict=False)
    taken = {row.key for row in report.restored}
    assert taken - {"optimizer/vars/0"} == set(places), "what is more than a count has no variable"


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(each, marks=pytest.mark.slow) if each is keras_models.attention else each
        for each in STRANGERS
    ],
    ids=lambda each: each.__name__,
)
@pytest.mark.parametrize("kind", [".weights.h5", pytest.param(".keras", marks=pytest.mark.slow)])
def test_models_as_users_have_them(keras, model, kind, tmp_path):
    if model is keras_models.bfloat16 and keras.__version__.startswith("2"):
        pytest.skip("Keras 2 writes bfloat16 without saying that it is, and can't read it itself")
    saved = make(keras, model, seed=1)
    path = save(saved, tmp_path / f"m{kind}")
    other = make(keras, model, seed=2)
    restore(other, path)
    assert_equal(other, values(saved))
    again = make(keras, model, seed=3)
    mine = values(again)
    report = convert(path, tmp_path / f"n{kind}", like=again)
    assert_equal(again, mine)
    again.load_weights(report.prefix)
    assert_equal(again, values(saved))


def test_keras_2_and_3_read_each_others_places(tmp_path):
    packages = [found for which in KERAS if (found := keras_models.package(which))]
    if len(packages) < 2:
        pytest.skip("Keras 3 is not here")
    for one, other in (packages, packages[::-1]):
        saved = make(one, keras_models.nested, seed=1)
        path = save(saved, tmp_path / f"{one.__name__}.weights.h5")
        found = make(other, keras_models.nested, seed=2)
        restore(found, path)
        assert_equal(found, values(saved))


def test_a_layer_in_a_plain_list_is_never_left_out_silently(keras, tmp_path):
    saved = make(keras, keras_models.subclassed, seed=1)
    first = {
        value.name: tf.Variable(np.array(value.variable))
        for key, value in LiveObjects(saved).values.items()
        if key.startswith("first/")
    }
    tf.train.Checkpoint(var_list=first).write(str(tmp_path / "part"))
    with pytest.raises(VariableMismatchError, match=r"others|second|lacks 4"):
        convert(tmp_path / "part", tmp_path / "m.weights.h5", like=saved)
    assert not (tmp_path / "m.weights.h5").exists()


def test_an_optimizer_of_another_kind_gets_nothing_that_means_something_else(keras, tmp_path):
    path = save(make(keras, seed=1), tmp_path / "m.weights.h5")
    other = keras_models.nested(keras, keras.layers)
    other.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    other.optimizer.build(other.trainable_variables)
    with pytest.raises(VariableMismatchError, match="get no value"):
        restore(other, path)


def test_what_can_not_be_said_of_a_file_of_keras(keras, tmp_path):
    model = make(keras, seed=1)
    ckpt = convert(save(model, tmp_path / "m.weights.h5"), tmp_path / "c", to="tf1").prefix
    named = tf.train.Checkpoint(var_list={"w": tf.Variable(1.0)}).write(str(tmp_path / "w"))
    wrong = {
        "like=model": lambda: convert(ckpt, tmp_path / "n.weights.h5"),
        "is a format of checkpoints": lambda: convert(
            ckpt, tmp_path / "n.keras", to="tf1", like=model
        ),
        "a Checkpoint has none": lambda: convert(
            named, tmp_path / "n.keras", like=tf.train.Checkpoint(w=tf.Variable(1.0, name="w"))
        ),
        "which only the model tells": lambda: export_checkpoint(ckpt, tmp_path / "n.keras"),
        "no place in a file of Keras": lambda: export_checkpoint(named, tmp_path / "n.weights.h5"),
        "exists": lambda: convert(ckpt, tmp_path / "m.weights.h5", like=model),
    }
    for message, do in wrong.items():
        with pytest.raises((CheckpointArgumentError, FileExistsError), match=message):
            do()
    unbuilt = keras.Sequential([keras.layers.Dense(3)])
    with pytest.raises(CheckpointArgumentError, match="build it first"):
        convert(ckpt, tmp_path / "n.weights.h5", like=unbuilt)
    with pytest.raises(VariableMismatchError, match="build it first"):
        restore(unbuilt, str(tmp_path / "m.weights.h5"))
    assert convert(ckpt, tmp_path / "n.keras", like=model, dry_run=True).keys
    assert not list(tmp_path.glob("n.*"))
