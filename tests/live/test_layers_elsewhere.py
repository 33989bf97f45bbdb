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


def sequential(keras, layers, values=(), compiled=False):
    model = keras.Sequential(
        [keras.Input([2])] + [keras.layers.Dense(2, use_bias=False, name=name) for name in layers],
        name="net",
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
