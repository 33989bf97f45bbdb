"""From an optimizer to the same optimizer: nothing is dropped, whatever way the checkpoint went."""

from __future__ import annotations

import importlib

import numpy as np
import optimizer_jobs
import pytest
import tensorflow as tf

from estimator_ckpt import VariableMismatchError, convert, restore
from estimator_ckpt.naming.correspondence import called_alike, correspond
from estimator_ckpt.naming.roles import Role

_OPTIONS = {
    "Adadelta": [{}],
    "Adafactor": [{}],
    "Adagrad": [{}],
    "Adam": [{}, {"amsgrad": True}],
    "AdamW": [{}, {"amsgrad": True}],
    "Adamax": [{}],
    "Ftrl": [{}],
    "Lamb": [{}],
    "Lion": [{}],
    "LossScaleOptimizer": [{}],
    "Muon": [{}],
    "Nadam": [{}],
    "RMSprop": [{}, {"momentum": 0.5}, {"centered": True}, {"momentum": 0.5, "centered": True}],
    "SGD": [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}],
}
_ALSO = {"legacy": [{}], "new": [{}, {"use_ema": True}]}
_ALSO["keras3"] = [*_ALSO["new"], {"gradient_accumulation_steps": 2}]
_NOT_THERE = {
    "legacy": ("Adafactor", "AdamW", "Lamb", "Lion", "LossScaleOptimizer", "Muon"),
    "new": ("Lamb", "LossScaleOptimizer", "Muon"),
    "keras3": (),
}
TABLE = [
    (family, kind, {**options, **also, **named})
    for family, others in _ALSO.items()
    for kind, each in _OPTIONS.items()
    if kind not in _NOT_THERE[family]
    for options in each
    for also in (others if kind != "LossScaleOptimizer" else [{}])  # it refuses them
    for named in ({}, {"name": "zorn"})
]
_EMA = {"momentum": 0.9, "use_ema": True}
_BOOKKEEPING = {"_CHECKPOINTABLE_OBJECT_GRAPH", "save_counter/.ATTRIBUTES/VARIABLE_VALUE"}
EVERYDAY = [
    ("legacy", "Adam", {"name": "zorn"}),
    ("new", "Adam", {"name": "zorn"}),
    ("new", "Adafactor", {}),
    ("new", "Nadam", {"name": "zorn"}),
    ("new", "SGD", _EMA),
    ("keras3", "Adafactor", {"name": "zorn"}),
    ("keras3", "Nadam", {}),
    ("keras3", "SGD", _EMA),
]


def _keras(family):
    if family == "legacy":
        return tf.keras, tf.keras.optimizers.legacy
    if family == "new":
        return tf.keras, tf.keras.optimizers
    if not optimizer_jobs.has_keras3():
        pytest.skip("Keras 3 is not here")
    keras = importlib.import_module("keras")
    return keras, keras.optimizers


class _Job:
    def __init__(self, family, kind, options):
        keras, optimizers = _keras(family)
        if not hasattr(optimizers, kind):
            pytest.skip(f"this Keras has no {kind}")
        layers = [
            keras.layers.Dense(2, name="d1"),
            keras.layers.Dense(1, name="d2", use_bias=False),
        ]
        self.model = keras.Sequential(layers, name="net")
        self.model.build((None, 3))
        inner = [optimizers.Adam(0.01)] if kind == "LossScaleOptimizer" else []
        if kind == "Muon":
            inner, options = [0.01], {"exclude_embeddings": False, **options}
        self.optimizer = getattr(optimizers, kind)(*inner, **options)
        self.checkpoint = tf.train.Checkpoint(model=self.model, optimizer=self.optimizer)

    def train(self, steps):
        for step in range(steps):
            x = tf.constant(np.random.RandomState(step).randn(4, 3), tf.float32)
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(self.model(x) ** 2)
            variables = self.model.trainable_variables
            gradients = tape.gradient(loss, variables)
            self.optimizer.apply_gradients(zip(gradients, variables))
        return self

    def built(self):
        if hasattr(self.optimizer, "build"):  # which names its values without its own name
            self.optimizer.build(self.model.trainable_variables)
            return self
        return self.train(1)


def _stored(prefix):
    reader = tf.train.load_checkpoint(str(prefix))
    keys = reader.get_variable_to_shape_map().keys() - _BOOKKEEPING
    return {key: reader.get_tensor(key) for key in keys}


def _assert_equal(prefix, expected):
    found = _stored(prefix)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value, err_msg=key)


def _id(row):
    family, kind, options = row
    return "-".join([family, kind, *(f"{name}={value}" for name, value in options.items())])


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(row, id=_id(row), marks=[] if row in EVERYDAY else pytest.mark.slow)
        for row in TABLE
    ],
)
def test_nothing_of_the_same_optimizer_is_dropped(row, tmp_path):
    saved = _Job(*row).train(3).checkpoint.write(str(tmp_path / "saved"))
    expected = _stored(saved)
    for layout in ("tf2", "tf1", "dual"):
        source = saved
        if layout != "tf2":
            source = tmp_path / layout
            convert(saved, source, to=layout)
        target = _Job(*row).built()
        report = restore(target.checkpoint, source)
        assert not report.unmatched
        _assert_equal(target.checkpoint.write(str(tmp_path / f"{layout}-again")), expected)
        target = _Job(*row).built()
        like = tmp_path / f"{layout}-like"
        report = convert(source, like, to="tf2", like=target.checkpoint)
        reasons = [each.reason for each in report.dropped]
        assert not [each for each in reasons if not each.startswith("another name of the same")]
        assert not [note for note in report.notes if note.startswith("left out")]
        target.checkpoint.read(str(like)).assert_existing_objects_matched()
        _assert_equal(target.checkpoint.write(str(tmp_path / f"{layout}-read")), expected)


@pytest.mark.parametrize("family", ["new", "keras3"])
@pytest.mark.parametrize("layout", ["tf2", "tf1"])
def test_slots_of_no_known_variable_are_not_said_to_be_slots_of_none(family, layout, tmp_path):
    job = _Job(family, "Adafactor", {}).train(1)
    source, weights = tmp_path / "source", tmp_path / "weights"
    convert(job.checkpoint.write(str(tmp_path / "saved")), source, to=layout)
    other = _Job(family, "Adam", {}).built()
    report = convert(source, tmp_path / "like", to="tf2", like=other.checkpoint)
    reasons = [each.reason for each in report.dropped]
    assert any(reason.startswith("the objects that it should be like") for reason in reasons)
    assert "None" not in "".join(reasons)
    tf.train.Checkpoint(model=job.model).write(str(weights))
    with pytest.raises(VariableMismatchError, match=r"nothing called '.*optimizer/") as raised:
        restore(job.checkpoint, weights)
    assert "None" not in str(raised.value)


def test_the_optimizers_own_name_may_differ_in_its_number_or_be_left_out():
    wanted = {"m": "adam_2/m/k_1", "step": "iteration", "product": "variable_3"}
    scopes = dict.fromkeys(wanted, "adam_2")
    offered = ["adam/m/k", "adam/m/k_1", "adam/iteration", "adam/variable", "sgd/m/k_1"]
    assert called_alike(wanted, scopes, offered) == {
        "m": "adam/m/k_1",
        "step": "adam/iteration",
        "product": "adam/variable",
    }


def test_which_of_two_optimizers_it_is_is_not_guessed():
    wanted = {"a": "adam_1/iteration", "b": "adam_2/iteration"}
    scopes = {"a": "adam_1", "b": "adam_2"}
    assert called_alike(wanted, scopes, ["adam/iteration", "adam_1/iteration"]) == {}
    assert called_alike(wanted, scopes, ["adam/iteration"]) == {}
    one = {"a": "adam_3/iteration"}
    assert called_alike(one, {"a": "adam_3"}, ["adam/iteration", "adam_1/iteration"]) == {}


def test_a_slot_called_so_of_another_variable_is_not_taken():
    slot = Role("slot", "dense_1/kernel", "m", "adam", "adam: mean of gradients")
    offered = {
        "Adam/dense_1/kernel/m": slot._replace(of="dense_2/kernel"),
        "Adam/dense/kernel/m": slot,
    }
    found = correspond({"Adam/dense_1/kernel/m": slot}, offered)
    assert found["Adam/dense_1/kernel/m"].name == "Adam/dense/kernel/m"
