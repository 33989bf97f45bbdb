"""Names that Keras numbers anew in each process don't move weights: places say what is what."""

import numpy as np
import pytest
import tensorflow as tf
from keras_models import HERE, package

from estimator_ckpt import convert, restore


def sequential(kind, count, name):
    layers = package(kind).layers
    rows = [layers.InputLayer([4]), *(layers.Dense(4) for _ in range(count))]
    return package(kind).Sequential(rows, name=name)


def subclassed(kind, count, name):
    class Net(package(kind).Model):
        def __init__(self):
            super().__init__(name=name)
            for number in range(count):
                setattr(self, f"dense{number}", package(kind).layers.Dense(4))
            self.count = count

        def call(self, x):
            for number in range(self.count):
                x = getattr(self, f"dense{number}")(x)
            return x

    net = Net()
    net(np.zeros([1, 4], np.float32))
    return net


def module(kind, count, name):
    del kind, name
    root = tf.Module()
    for number in range(count):
        setattr(root, f"layer{number}", tf.Variable(tf.zeros([4]), name="w"))
    return root


def values(held):
    found = held.weights if hasattr(held, "weights") else held.variables
    return [np.array(each.numpy()) for each in found]


def fill(held, start):
    found = held.weights if hasattr(held, "weights") else held.variables
    for number, each in enumerate(found):
        each.assign(np.full(each.shape, start + number, np.float32))


ROOTS = {
    "both in a Checkpoint": (lambda held: tf.train.Checkpoint(model=held),) * 2,
    "the model itself": (lambda held: held,) * 2,
    "only saved in a Checkpoint": (lambda held: tf.train.Checkpoint(model=held), lambda held: held),
    "only here in a Checkpoint": (lambda held: held, lambda held: tf.train.Checkpoint(model=held)),
}


@pytest.mark.parametrize("kind", HERE)
@pytest.mark.parametrize("make", [sequential, subclassed, module])
@pytest.mark.parametrize("roots", ROOTS)
@pytest.mark.parametrize("saved", [2, 3])
def test_weights_go_where_they_were(tmp_path, kind, make, roots, saved):
    """Two layers from as many, or from the first ones of three."""
    there, here = ROOTS[roots]
    old = make(kind, saved, "net")
    fill(old, 1)
    source = tf.train.Checkpoint(there(old)).write(str(tmp_path / "source"))
    package(kind).layers.Dense(1)  # so that numbers are others
    new = make(kind, 2, "net")
    expected = values(old)[: len(values(new))]

    restore(here(new), source)
    np.testing.assert_equal(values(new), expected)

    fill(new, 100)
    convert(source, tmp_path / "like", to="tf2", like=here(new))
    status = tf.train.Checkpoint(here(new)).read(str(tmp_path / "like"))
    status.assert_existing_objects_matched()
    np.testing.assert_equal(values(new), expected)

    if make is not module:
        fill(new, 100)
        convert(source, tmp_path / "m.weights.h5", like=here(new))
        new.load_weights(str(tmp_path / "m.weights.h5"))
        np.testing.assert_equal(values(new), expected)


@pytest.mark.parametrize("kind", HERE)
def test_two_that_fit_are_not_chosen_between(tmp_path, kind):
    """Of a checkpoint with two such models, which one it is only names can tell."""
    one, other = sequential(kind, 2, "one"), sequential(kind, 2, "other")
    fill(one, 1)
    fill(other, 50)
    source = tf.train.Checkpoint(a=one, b=other).write(str(tmp_path / "source"))
    fill(other, 100)
    expected = [value - 50 for value in values(other)]
    restore(other, source)
    np.testing.assert_equal(values(other), expected)


@pytest.mark.parametrize("kind", HERE)
def test_slots_follow_their_variables(tmp_path, kind):
    def made():
        model = subclassed(kind, 2, None)
        optimizer = package(kind).optimizers.Adam(0.1)
        optimizer.build(model.trainable_variables)
        return model, optimizer, tf.train.Checkpoint(model=model, optimizer=optimizer)

    model, optimizer, checkpoint = made()
    gradients = [tf.ones_like(each) * (n + 1) for n, each in enumerate(model.trainable_variables)]
    optimizer.apply_gradients(zip(gradients, model.trainable_variables))
    source = checkpoint.write(str(tmp_path / "source"))

    def state(optimizer):
        held = optimizer.variables() if callable(optimizer.variables) else optimizer.variables
        return [np.array(each.numpy()) for each in held]

    again, its_optimizer, its_checkpoint = made()
    report = convert(source, tmp_path / "like", to="tf2", like=its_checkpoint)
    assert not report.notes
    its_checkpoint.read(str(tmp_path / "like")).assert_existing_objects_matched()
    np.testing.assert_equal(values(again), values(model))
    np.testing.assert_equal(state(its_optimizer), state(optimizer))
