"""The part that each tensor plays, told of what real optimizers make."""

from __future__ import annotations

import pytest
import tensorflow as tf

from estimator_ckpt.naming.roles import Named, tell_roles
from estimator_ckpt.naming.slots import fits_variable, meaning, parse_slot

tf1 = tf.compat.v1
MODEL = {"dnn/kernel": [3, 2], "dnn/bias": [2], "logits": [2, 4], "logits/kernel": [4, 2]}
FLOAT, INT64 = 1, 9

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


def roles_of(shapes, dtypes=None):
    """The roles of name-based tensors, {name: shape}."""
    return tell_roles(
        {
            name: Named(tuple(shape), (dtypes or {}).get(name, FLOAT))
            for name, shape in shapes.items()
        }
    )


def roles_with(make):
    """The roles of all variables of a graph that trains the model with an optimizer."""
    with tf1.Graph().as_default():
        for name, shape in sorted(MODEL.items()):
            tf1.get_variable(name, shape, use_resource=True)
        variables = tf1.trainable_variables()
        loss = tf.add_n([tf.reduce_sum(variable**2) for variable in variables])
        optimizer = make()
        if hasattr(optimizer, "get_updates"):
            optimizer.get_updates(loss, variables)
        else:
            optimizer.minimize(loss)
        found = {each.op.name: each for each in tf1.global_variables()}
        return roles_of(
            {name: each.shape.as_list() for name, each in found.items()},
            {name: each.dtype.base_dtype.as_datatype_enum for name, each in found.items()},
        )


@pytest.mark.parametrize(
    "make",
    [*TF1_OPTIMIZERS.values(), *KERAS_OPTIMIZERS.values()],
    ids=[*TF1_OPTIMIZERS, *KERAS_OPTIMIZERS],
)
def test_what_an_optimizer_adds_is_told_from_the_model(make):
    roles = roles_with(make)
    assert roles.keys() >= MODEL.keys()
    assert {name for name, role in roles.items() if not role.is_of_optimizer} == set(MODEL)
    slots = [role for role in roles.values() if role.kind == "slot"]
    assert len({[role.of for role in slots].count(name) for name in MODEL}) == 1
    assert all(role.meaning for role in slots), slots


def test_a_weight_below_a_variable_is_no_slot_of_it():
    roles = roles_of({"logits": [2, 4], "logits/kernel": [2, 4], "logits/bias": [4]})
    assert {role.kind for role in roles.values()} == {"variable"}


@pytest.mark.parametrize(
    "name", ["dnn/other", "m", "unknown/w/Adam", "dnn/v/kernel", "att/m/kernel"]
)
def test_a_variable_of_the_model_is_no_slot(name):
    assert roles_of({**MODEL, "kernel": [4], name: [4]})[name].kind == "variable"


@pytest.mark.parametrize("shape", [[2, 3], [3, 2, 1], [7], []])
def test_a_known_slot_name_with_another_shape_is_no_slot(shape):
    assert roles_of({"w": [3, 2], "w/Adam": shape})["w/Adam"].kind == "variable"


def test_a_moving_average_is_its_variables():
    with tf1.Graph().as_default():
        variable = tf1.get_variable("dnn/kernel", [2])
        tf.train.ExponentialMovingAverage(0.9).apply([variable])
        shapes = {each.op.name: each.shape.as_list() for each in tf1.global_variables()}
    role = roles_of(shapes)["dnn/kernel/ExponentialMovingAverage"]
    assert (role.kind, role.of) == ("average", "dnn/kernel")


def test_the_longest_name_owns_a_slot():
    shapes = {key: [2] for key in ("kernel", "dnn/kernel", "training/Adam/dnn/kernel/m")}
    assert roles_of(shapes)["training/Adam/dnn/kernel/m"].of == "dnn/kernel"


def test_scalars_of_optimizers_are_told_from_the_model():
    scalars = (
        "beta1_power",
        "dnn/beta2_power_1",
        "Adam/iter",
        "training/SGD/learning_rate",
        "scale",
    )
    roles = roles_of({key: [] for key in scalars}, {"Adam/iter": INT64})
    assert [roles[name].kind for name in scalars] == [
        *("counter", "counter", "counter", "hyperparameter", "variable"),
    ]


@pytest.mark.parametrize(
    ("slot", "variable", "fits"),
    [
        ((3, 2), (3, 2), True),
        ((3,), (3, 2), True),  # Adafactor's rows
        ((5, 2), (5, 3, 2), True),  # its columns, of the two last dimensions
        ((3, 1), (3, 2), True),  # SM3
        ((1, 2), (3, 2), True),
        ((1, 1), (3, 2), False),
        ((2, 3), (3, 2), False),
        ((), (3, 2), False),
        ((2,), (3,), False),
    ],
)
def test_a_slot_has_its_variables_shape_or_a_factor_of_it(slot, variable, fits):
    assert fits_variable(slot, variable) == fits


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        (("adam", "m"), ("adam", "Adam"), True),
        (("adam", "velocity"), ("adamw", "v"), True),
        (("adam", "m"), ("adam", "v"), False),
        (("sgd", "momentum"), ("sgd", "m"), True),
        # Sums of updates, and sums of gradients.
        (("sgd", "momentum"), ("momentum", "Momentum"), False),
        (("rmsprop", "velocity"), ("rmsprop", "rms"), True),
        (("adam", "velocity"), ("rmsprop", "velocity"), False),
        (("adamax", "v"), ("adamax", "norm"), True),
    ],
)
def test_slots_mean_the_same_where_one_can_take_the_others_place(first, second, same):
    assert (meaning(*first) == meaning(*second)) == same
    assert meaning(*first) and meaning(*second)


def test_a_name_is_read_as_each_optimizer_writes_it():
    def read(name):
        return [tuple(slot) for slot in parse_slot(name)]

    assert ("d/kernel", "Adam_1", "adam") in read("d/kernel/Adam_1")
    assert ("d/kernel", "m", "adam") in read("training/Adam/d/kernel/m")
    assert ("d/kernel", "m", "adam") in read("Adam/m/d/kernel")
    assert ("net_d_kernel", "velocity", "adamw") in read("adam_w/net_d_kernel_velocity")
    assert read("d/kernel") == []
