"""A Keras model whose layers are others, or elsewhere, than when it was saved (Keras 2 and 3)."""

from __future__ import annotations

import logging

import numpy as np
import optimizer_jobs
import pytest
import tensorflow as tf

from estimator_ckpt import VariableMismatchError, restore, structure_diff

VALUES = {"a": 1.0, "b": 2.0}
# {what became of [a, b]: (its layers, what restore says when strict, and with strict="names")}
TWICE, OTHERS = "would go to two variables", "would get what was saved from others"
CHANGES = {
    "same": ("ab", "", ""),
    "inserted": ("anb", TWICE, TWICE),
    "inserted first": ("nab", TWICE, TWICE),
    "swapped": ("ba", "", OTHERS),
    "removed first": ("b", "", OTHERS),
    "removed last": ("a", "", ""),
    "added": ("abn", "nothing called '.*n/kernel'", "nothing called '.*n/kernel'"),
    "renamed": ("an", "", ""),  # at the same place under a new name, which nothing else has
}


@pytest.fixture(params=["keras2", "keras3"])
def keras(request):
    if request.param == "keras2":
        return tf.keras
    if not optimizer_jobs.has_keras3():
        pytest.skip("Keras 3 is not here")
    import keras

    return keras


def sequential(keras, layers, values=(), compiled=False, name="net"):
    model = keras.Sequential(
        [keras.Input([2])] + [keras.layers.Dense(2, use_bias=False, name=each) for each in layers],
        name=name,
    )
    for layer in model.layers:
        layer.kernel.assign(np.full([2, 2], dict(values).get(layer.name, 0.0), np.float32))
    if compiled:
        model.compile(keras.optimizers.Adam(0.1), "mse")
        model.optimizer.build(model.trainable_variables)
    return model


def held(model):
    return {layer.name: float(layer.kernel.numpy()[0, 0]) for layer in model.layers}


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("change", CHANGES)
def test_no_layer_gets_anothers_values_unsaid(keras, tmp_path, change, compiled, caplog):
    layers, *errors = CHANGES[change]
    saved = tf.train.Checkpoint(sequential(keras, "ab", VALUES, compiled))
    prefix = saved.write(str(tmp_path / "saved"))
    for strict, error in zip((True, "names"), errors):
        model = sequential(keras, layers, compiled=compiled)
        if error:
            with pytest.raises(VariableMismatchError, match=error):
                restore(model, prefix, strict=strict)
            assert not any(held(model).values())
        else:
            restore(model, prefix, strict=strict)

    model = sequential(keras, layers, compiled=compiled)
    with caplog.at_level(logging.WARNING):
        report = restore(model, prefix, strict=False)
    notes = " ".join(row.note for row in report.restored)
    for name, value in held(model).items():
        if value != VALUES.get(name, 0.0) and change != "renamed":
            assert f"{name}/kernel' here, and was saved from" in notes
            assert f"{name}/kernel' here, and was saved from" in caplog.text
    assert all("n/kernel" in row.reason for row in report.unmatched)
    diff = structure_diff(prefix, model)
    assert diff.compatible == (change in ("same", "renamed"))
    assert ("other variable" in {row.kind for row in diff.rows}) == (
        TWICE in errors or OTHERS in errors
    )


@pytest.mark.parametrize("change", CHANGES)
def test_by_names_each_layer_gets_its_own(keras, tmp_path, change):
    layers, *_ = CHANGES[change]
    prefix = tf.train.Checkpoint(sequential(keras, "ab", VALUES)).write(str(tmp_path / "saved"))
    model = sequential(keras, layers)
    scope = "" if keras is tf.keras else "net/"
    kernels = {f"{scope}{layer.name}/kernel": layer.kernel for layer in model.layers}
    restore(kernels, prefix, strict=False)
    assert held(model) == {name: VALUES.get(name, 0.0) for name in layers}


def subclassed(keras, layers, values=(), name=None):
    class Net(keras.Model):
        def __init__(self):
            super().__init__(name=name)
            self.all = [keras.layers.Dense(2, use_bias=False, name=each) for each in layers]
            for at, layer in enumerate(self.all):  # Keras 3 tracks no lists
                setattr(self, f"layer_{at}", layer)

        def call(self, inputs):
            for layer in self.all:
                inputs = layer(inputs)
            return inputs

    model = Net()
    model(tf.zeros([1, 2]))
    for layer in model.all:
        layer.kernel.assign(np.full([2, 2], dict(values).get(layer.name, 0.0), np.float32))
    return model


@pytest.mark.parametrize("names", [("net", "other"), (None, None)], ids=["named", "numbered"])
@pytest.mark.parametrize("make", [sequential, subclassed])
@pytest.mark.parametrize("change", CHANGES)
def test_a_model_that_is_called_something_else(keras, tmp_path, change, make, names):
    if make is subclassed and keras is not tf.keras:
        pytest.skip("Keras 3 gives all variables of such a model the same name: net/kernel")
    layers, *_ = CHANGES[change]
    mixed = change not in ("same", "removed last", "added", "renamed")
    prefix = tf.train.Checkpoint(make(keras, "ab", VALUES, name=names[0])).write(f"{tmp_path}/c")
    model = make(keras, layers, name=names[1])

    kinds = {row.kind for row in structure_diff(prefix, model).rows}
    assert ("other variable" in kinds) == mixed
    if mixed:
        with pytest.raises(VariableMismatchError, match=f"{OTHERS}|{TWICE}"):
            restore(model, prefix, strict="names")
        assert not any(held(model).values())
    report = restore(model, prefix, strict=False)
    notes = [row.note for row in report.restored]
    for name, value in held(model).items():
        is_others = mixed and value not in (0.0, VALUES.get(name))
        assert (
            any(f"{name}/kernel' here, and was saved from" in note for note in notes) == is_others
        )


@pytest.mark.parametrize("change", ["same", "swapped", "removed first", "renamed"])
def test_in_a_subclassed_model_slots_tell_the_layers(keras, tmp_path, change):
    first, model = (subclassed(keras, layers, VALUES) for layers in ("ab", CHANGES[change][0]))
    for each in (first, model):
        each.compile(keras.optimizers.Adam(0.1), "mse")
        each.optimizer.build(each.trainable_variables)
    prefix = tf.train.Checkpoint(first).write(str(tmp_path / "saved"))
    kinds = {row.kind for row in structure_diff(prefix, model).rows}
    assert ("other variable" in kinds) == (change in ("swapped", "removed first"))
    if change == "swapped":
        with pytest.raises(VariableMismatchError, match=OTHERS):
            restore(model, prefix, strict="names")
    else:
        restore(model, prefix, strict=False)


def functional(keras):
    inputs = keras.Input([2])
    hidden = keras.layers.Dense(2)(keras.layers.Dense(2, name="a")(inputs))
    return keras.Model(inputs, keras.layers.Dense(2)(hidden))


def numbered_subclassed(keras):
    class Block(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(2)
            self.norm = keras.layers.BatchNormalization()

        def call(self, inputs):
            return self.norm(self.dense(inputs))

    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.one, self.two = Block(), Block()
            self.b = keras.layers.Dense(2, name="b")
            self.head = keras.layers.Dense(2)

        def call(self, inputs):
            return self.head(self.b(self.two(self.one(inputs))))

    return Net()


def numbered_sequential(keras):
    layers = keras.layers
    return keras.Sequential([layers.Dense(2), layers.Dense(2, name="a"), layers.Dense(2)])


def nested(keras):
    inputs = keras.Input([2])
    parts = functional(keras), numbered_subclassed(keras), numbered_sequential(keras)
    outputs = inputs
    for part in (*parts, keras.layers.Dense(2)):
        outputs = part(outputs)
    return keras.Model(inputs, outputs)


@pytest.mark.parametrize("make", [numbered_sequential, functional, numbered_subclassed, nested])
def test_the_same_model_once_more_is_no_other(keras, tmp_path, make):
    models = []
    for _ in range(3):
        models.append(make(keras))
        models[-1](tf.zeros([1, 2]))
        models[-1].compile(keras.optimizers.Adam(0.1), "mse")
        models[-1].optimizer.build(models[-1].trainable_variables)
    prefix = tf.train.Checkpoint(models[0]).write(str(tmp_path / "saved"))
    both = tf.train.Checkpoint(x=models[0], y=models[1]).write(str(tmp_path / "both"))
    for path, target in (
        (prefix, models[1]),
        (both, tf.train.Checkpoint(x=models[1], y=models[2])),
    ):
        assert structure_diff(path, target).compatible
        report = restore(target, path, strict="names")
        assert not any(row.note for row in report.restored)
