"""Models of Keras 2 and 3 as users have them, for the tests of Keras' files."""

import importlib

import numpy as np
import optimizer_jobs

KERAS = ("keras2", "keras3")
HERE = KERAS if optimizer_jobs.has_keras3() else KERAS[:1]
"""Those that are installed."""


def package(which):
    """Returns Keras 2 or 3; None where there is none."""
    if which == "keras3":
        return importlib.import_module("keras") if optimizer_jobs.has_keras3() else None
    return importlib.import_module("keras" if not optimizer_jobs.has_keras3() else "tf_keras")


def nested(keras, layers):
    inner = keras.Sequential([keras.Input([4]), layers.Dense(3, name="x")], name="inner")
    inputs = keras.Input([4])
    normal = layers.BatchNormalization(name="bn")(inner(inputs))
    return keras.Model(inputs, layers.Dense(1, name="out")(layers.Dropout(0.5)(normal)))


def compiled(keras, layers):
    model = nested(keras, layers)
    model.compile(keras.optimizers.Adam(0.1), "mse", metrics=["mae"])
    model.optimizer.build(model.trainable_variables)
    return model


def sequential(keras, layers):
    dense = (layers.Dense(size, name=f"layer{size}") for size in (3, 2, 5))
    return keras.Sequential([keras.Input([4]), *dense])


def subclassed(keras, layers):
    class Net(keras.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.first = layers.Dense(3, name="first")
            self.others = [layers.Dense(3, name="second"), layers.Dense(3, name="third")]

        def call(self, inputs):
            return self.others[1](self.others[0](self.first(inputs)))

    model = Net(name="net")
    model(np.zeros((1, 4), np.float32))
    return model


def shared(keras, layers):
    dense, inputs = layers.Dense(4, name="twice"), keras.Input([4])
    return keras.Model(inputs, dense(dense(inputs)))


def seeds(keras, layers):
    inputs = keras.Input([4])
    noise = layers.GaussianNoise(0.1)(layers.Dropout(0.5, seed=1)(inputs))
    return keras.Model(inputs, layers.Dense(1, name="out")(noise))


def mixed_precision(keras, layers):
    inputs = keras.Input([4])
    half = layers.Dense(2, name="half", dtype="mixed_bfloat16")(inputs)
    return keras.Model(inputs, layers.Dense(2, name="out", dtype="mixed_float16")(half))


def bfloat16(keras, layers):
    inputs = keras.Input([4])
    return keras.Model(inputs, layers.Dense(2, name="brain", dtype="bfloat16")(inputs))


def attention(keras, layers):
    inputs = keras.Input([5, 4])
    seen = layers.MultiHeadAttention(2, 2, name="heads")(inputs, inputs)
    both = layers.Bidirectional(layers.LSTM(3), name="both")(seen)
    return keras.Model(inputs, layers.Dense(1, name="out")(both))


def custom(keras, layers):
    class Own(layers.Layer):
        """A layer that saves its variables by names of its own, in an order of its own."""

        def build(self, shape):
            self.scale = self.add_weight(name="scale", shape=[shape[-1]])
            self.table = self.add_weight(name="table", shape=[2, 3], trainable=False)

        def call(self, inputs):
            return inputs * self.scale

        def save_own_variables(self, store):
            store["table"] = np.asarray(self.table)
            store["scale"] = np.asarray(self.scale)

        def load_own_variables(self, store):
            self.table.assign(store["table"])
            self.scale.assign(store["scale"])

    inputs = keras.Input([4])
    return keras.Model(inputs, layers.Dense(1, name="out")(Own(name="own")(inputs)))


STRANGERS = (
    *(compiled, sequential, subclassed, shared, seeds),
    *(mixed_precision, bfloat16, attention, custom),
)


def held(model):
    """Returns the variables that Keras saves of a model: its weights and its optimizer's."""
    optimizer = getattr(model, "optimizer", None)
    return [*model.weights, *(optimizer.variables if optimizer else ())]


def values(model):
    return [np.array(each) for each in held(model)]


def randomize(model, seed):
    """Gives a model values, each variable its own."""
    random = np.random.RandomState(seed)
    for each in held(model):
        each.assign(np.asarray(random.rand(*each.shape) * 9).astype(np.asarray(each).dtype))
    return model


def assert_equal(model, wanted):
    found = values(model)
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted):
        assert one.dtype == other.dtype and one.tobytes() == other.tobytes()
