"""Slots and other optimizer state, told from the names that real optimizers give them."""

from __future__ import annotations

import pytest
import tensorflow as tf

from estimator_ckpt.naming import is_optimizer_state, slot_of

tf1 = tf.compat.v1
MODEL = {"dnn/kernel", "dnn/bias", "logits/kernel"}

TF1_OPTIMIZERS = {
    "adam": lambda: tf1.train.AdamOptimizer(0.1),
    "adagrad": lambda: tf1.train.AdagradOptimizer(0.1),
    "adadelta": lambda: tf1.train.AdadeltaOptimizer(0.1),
    "ftrl": lambda: tf1.train.FtrlOptimizer(0.1),
    "momentum": lambda: tf1.train.MomentumOptimizer(0.1, 0.9),
    "rmsprop": lambda: tf1.train.RMSPropOptimizer(0.1, centered=True, momentum=0.5),
    "sgd": lambda: tf1.train.GradientDescentOptimizer(0.1),
}
KERAS_OPTIMIZERS = {
    "keras adam": lambda: tf.keras.optimizers.legacy.Adam(amsgrad=True),
    "keras adamax": lambda: tf.keras.optimizers.legacy.Adamax(),
    "keras nadam": lambda: tf.keras.optimizers.legacy.Nadam(),
    "keras adagrad": lambda: tf.keras.optimizers.legacy.Adagrad(),
    "keras adadelta": lambda: tf.keras.optimizers.legacy.Adadelta(),
    "keras ftrl": lambda: tf.keras.optimizers.legacy.Ftrl(),
    "keras sgd": lambda: tf.keras.optimizers.legacy.SGD(momentum=0.9),
    "keras rmsprop": lambda: tf.keras.optimizers.legacy.RMSprop(centered=True, momentum=0.9),
}


def names_with(make):
    """The names of all variables of a graph that trains the model with an optimizer."""
    with tf1.Graph().as_default():
        for name in sorted(MODEL):
            tf1.get_variable(name, [2], use_resource=True)
        variables = tf1.trainable_variables()
        loss = tf.add_n([tf.reduce_sum(variable**2) for variable in variables])
        optimizer = make()
        if hasattr(optimizer, "get_updates"):
            optimizer.get_updates(loss, variables)
        else:
            optimizer.minimize(loss)
        return {variable.op.name for variable in tf1.global_variables()}


@pytest.mark.parametrize("make", TF1_OPTIMIZERS.values(), ids=TF1_OPTIMIZERS)
def test_what_a_tf1_optimizer_adds_is_told_from_the_model(make):
    names = names_with(make)
    assert names >= MODEL
    assert {name for name in names if not is_optimizer_state(name, names)} == MODEL


@pytest.mark.parametrize("make", KERAS_OPTIMIZERS.values(), ids=KERAS_OPTIMIZERS)
def test_what_a_keras_optimizer_adds_is_told_from_the_model(make):
    names = names_with(make)
    assert names > MODEL
    assert {name for name in names if not is_optimizer_state(name, names)} == MODEL


@pytest.mark.parametrize("make", [TF1_OPTIMIZERS["adam"], KERAS_OPTIMIZERS["keras adam"]])
def test_each_slot_belongs_to_the_variable_that_it_is_for(make):
    names = names_with(make)
    owners = [slot_of(name, names) for name in names]
    counts = {owner: owners.count(owner) for owner in MODEL}
    assert len(set(counts.values())) == 1, counts
    assert counts["dnn/kernel"] >= 2


def test_a_moving_average_is_a_slot():
    with tf1.Graph().as_default():
        variable = tf1.get_variable("dnn/kernel", [2])
        tf.train.ExponentialMovingAverage(0.9).apply([variable])
        names = {each.op.name for each in tf1.global_variables()}
    assert names == {"dnn/kernel", "dnn/kernel/ExponentialMovingAverage"}
    assert slot_of("dnn/kernel/ExponentialMovingAverage", names) == "dnn/kernel"


@pytest.mark.parametrize("name", ["dnn/bias", "global_step", "dnn/other", "m", "unknown/w/Adam"])
def test_a_variable_of_the_model_is_no_slot(name):
    names = {*MODEL, name}
    assert slot_of(name, names) is None
    assert not is_optimizer_state(name, names)


def test_the_longest_name_owns_a_slot():
    names = {"kernel", "dnn/kernel", "training/Adam/dnn/kernel/m"}
    assert slot_of("training/Adam/dnn/kernel/m", names) == "dnn/kernel"


def test_the_scopes_of_two_optimizers_are_told_from_the_model():
    names = {*MODEL, "dnn/kernel/Adam", "dnn/kernel/Adam_1", "beta1_power", "dnn/beta2_power_1"}
    assert {name for name in names if not is_optimizer_state(name, names)} == MODEL
