"""The same small problem, trained by each optimizer of each kind that TensorFlow has had.

job = optimizer_jobs.make("legacy", "adam")
job.train(4)
prefix = job.save("folder/saved")              # by plain TensorFlow
again = optimizer_jobs.make("keras3", "adam")
again.restore(prefix)                          # by estimator_ckpt.restore
again.train(4)
again.values()                                 # {"d/kernel": array, "d/bias": array}
"""

from __future__ import annotations

import contextlib

import numpy as np
import tensorflow as tf

from estimator_ckpt import restore

tf1 = tf.compat.v1

KERNEL = np.array([[0.5, -0.3, 0.2], [0.1, 0.4, -0.6]], np.float32)
BIAS = np.array([0.1, -0.2, 0.3], np.float32)
X = np.array([[1.0, 2.0], [-1.0, 0.5], [0.3, -0.7], [2.0, 1.0]], np.float32)
Y = np.array([[1.0, 0, 2], [0, 1, -1], [1, 1, 1], [3, -2, 0]], np.float32)
RATE = 0.1
MODEL = ("d/bias", "d/kernel")
_BY_TF1 = ("session", "tf1")

# {optimizer: {family: (class, arguments)}}; arguments are equal where the updates are to be.
_TF1 = {
    "adam": ("AdamOptimizer", {}),
    "momentum": ("MomentumOptimizer", {"momentum": 0.9}),
    "rmsprop": ("RMSPropOptimizer", {"epsilon": 1e-7}),
    "rmsprop_momentum": ("RMSPropOptimizer", {"momentum": 0.5, "epsilon": 1e-7}),
    "rmsprop_centered": (
        "RMSPropOptimizer",
        {"momentum": 0.5, "centered": True, "epsilon": 1e-7},
    ),
    "adagrad": ("AdagradOptimizer", {}),
    "adadelta": ("AdadeltaOptimizer", {"epsilon": 1e-7}),
    "ftrl": ("FtrlOptimizer", {}),
}
_KERAS = {
    "adam": ("Adam", {"epsilon": 1e-8}),
    "amsgrad": ("Adam", {"amsgrad": True}),
    "adamw": ("AdamW", {}),
    "momentum": ("SGD", {"momentum": 0.9}),
    "rmsprop": ("RMSprop", {}),
    "rmsprop_momentum": ("RMSprop", {"momentum": 0.5}),
    "rmsprop_centered": ("RMSprop", {"momentum": 0.5, "centered": True}),
    "adagrad": ("Adagrad", {}),
    "adadelta": ("Adadelta", {}),
    "ftrl": ("Ftrl", {}),
    "adamax": ("Adamax", {}),
    "nadam": ("Nadam", {}),
}
OPTIMIZERS = {
    "session": _TF1,
    "tf1": _TF1,
    "legacy": {name: made for name, made in _KERAS.items() if name != "adamw"},
    "new": _KERAS,
    "keras3": _KERAS,
}
"""{kind: the optimizers that it has}: `session` is tf.compat.v1.train in a graph, saved by name;
`tf1` the same in objects; `legacy` and `new` those of Keras 2."""


def reasons_expected(name, before, after):
    """The beginnings of the reasons why something does not go on."""
    reasons = set()
    across = (before in _BY_TF1) != (after in _BY_TF1)
    if before == "tf1" and after == "session":  # nobody counts there, but Adam by its powers
        reasons.add("the checkpoint has no global")
    elif before == "tf1" and after != "tf1" and name != "adam":
        reasons.add("the checkpoint counts")
    if across and name in ("momentum", "rmsprop") and (name == "momentum" or after in _BY_TF1):
        reasons.add("no slot of 'd/")  # RMSProp of tf.compat.v1.train has a momentum of zeros
    if across and name == "adam" and after in _BY_TF1:
        reasons.add("it is a power of the optimizer's beta")
    if name == "nadam" and (before == "legacy") != (after == "legacy"):
        reasons.add("no counter of the checkpoint holds 'nadam: product of momenta")
    return reasons


def goes_on(name, before, after, reasons):
    """Whether training goes on as it would have, without what is lost."""
    if after == "new" and name == "nadam":
        return False  # nor after TensorFlow's own restore: a counter in Python is not saved
    needed = reasons - {"the checkpoint has no global"}
    if name not in ("adam", "nadam"):
        needed = {each for each in needed if name == "momentum" and each.startswith("no slot")}
    return not needed


def require_goes_on(first, second, name, before, after, reasons):
    """Makes sure that a job has the values of another, and trains on as expected without the rest.

    Args:
      first: the job that was saved.
      second: the one that was restored.
      name: of the optimizer in the table.
      before: the kind of the first one's.
      after: the kind of the second one's.
      reasons: why values of the second one have no counterpart.
    """
    for key, value in first.values().items():
        np.testing.assert_array_equal(second.values()[key], value)
    first.train(4)
    second.train(4)
    equal = all(
        np.allclose(value, second.values()[key], rtol=1e-4, atol=1e-5)
        for key, value in first.values().items()
    )
    assert equal == goes_on(name, before, after, reasons)


def has_keras3():
    """Whether `import keras` gives Keras 3."""
    import keras

    return keras.__version__.startswith("3")


def make(kind, name, warm_start=None):
    """Returns a job: an optimizer of a kind, by name, and what it trains.

    That of kind "session" takes settings to warm-start by, as Estimator does.
    """
    class_name, arguments = OPTIMIZERS[kind][name]
    if kind == "session":
        return SessionJob(lambda: getattr(tf1.train, class_name)(RATE, **arguments), warm_start)
    if kind == "keras3":
        import keras

        return Keras3Job(getattr(keras.optimizers, class_name)(RATE, **arguments))
    modules = {
        "tf1": tf1.train,
        "legacy": tf.keras.optimizers.legacy,
        "new": tf.keras.optimizers,
    }
    return ObjectsJob(getattr(modules[kind], class_name)(RATE, **arguments))


def loss_of(kernel, bias):
    return tf.reduce_mean(tf.square(tf.matmul(tf.constant(X), kernel) + bias - tf.constant(Y)))


class _Dense(tf.Module):
    def __init__(self):
        super().__init__(name="d")
        self.kernel = tf.Variable(KERNEL, name="d/kernel")
        self.bias = tf.Variable(BIAS, name="d/bias")


class ObjectsJob:
    """Eager, saved by a `tf.train.Checkpoint`."""

    def __init__(self, optimizer):
        self.model = _Dense()
        self.optimizer = optimizer
        self.checkpoint = tf.train.Checkpoint(model=self.model, optimizer=optimizer)

    def train(self, steps):
        for _ in range(steps):
            variables = [self.model.kernel, self.model.bias]
            with tf.GradientTape() as tape:
                loss = loss_of(*variables)
            self._apply(zip(tape.gradient(loss, variables), variables))

    def _apply(self, gradients):
        self.optimizer.apply_gradients(gradients)

    def build(self):
        """Makes the slots, without leaving a trace of the step that makes them.

        TensorFlow's own restore finds a value for each of them; ours, too.
        """
        if hasattr(self.optimizer, "build"):
            self.optimizer.build([self.model.kernel, self.model.bias])
        else:
            self.train(1)
        return self

    def slot_values(self):
        """Values of all slots that there are; of Keras' optimizers only."""
        if hasattr(self.optimizer, "_weights"):  # legacy
            held = self.optimizer.weights
        else:
            held = getattr(self.optimizer, "variables", None)
        held = held() if callable(held) else held
        return [each.numpy() for each in held if len(each.shape)]

    def save(self, prefix):
        return self.checkpoint.write(str(prefix))

    def restore(self, prefix, **options):
        self.build()
        return restore(self.checkpoint, prefix, **options)

    def values(self):
        return {"d/kernel": self.model.kernel.numpy(), "d/bias": self.model.bias.numpy()}


class Keras3Job(ObjectsJob):
    """A Keras 3 model with its optimizer; variables are `keras.Variable`."""

    def __init__(self, optimizer):
        import keras

        inputs = keras.Input([2])
        dense = keras.layers.Dense(3, name="d")
        self.model = keras.Model(inputs, dense(inputs), name="net")
        dense.kernel.assign(KERNEL)
        dense.bias.assign(BIAS)
        self.dense = dense
        self.optimizer = optimizer
        self.checkpoint = tf.train.Checkpoint(model=self.model, optimizer=optimizer)

    def train(self, steps):
        for _ in range(steps):
            variables = [self.dense.kernel, self.dense.bias]
            with tf.GradientTape() as tape:
                loss = loss_of(*(each.value for each in variables))
            gradients = tape.gradient(loss, [each.value for each in variables])
            self.optimizer.apply_gradients(zip(gradients, variables))

    def build(self):
        self.optimizer.build([self.dense.kernel, self.dense.bias])
        return self

    def values(self):
        return {"d/kernel": self.dense.kernel.numpy(), "d/bias": self.dense.bias.numpy()}


class SessionJob:
    """A graph and a Session, saved by name."""

    def __init__(self, make_optimizer, warm_start=None):
        self.graph = tf.Graph()
        with self.graph.as_default():
            step = tf1.train.get_or_create_global_step()
            with tf1.variable_scope("d"):
                kernel = tf1.get_variable("kernel", initializer=KERNEL)
                bias = tf1.get_variable("bias", initializer=BIAS)
            self.train_op = make_optimizer().minimize(loss_of(kernel, bias), global_step=step)
            self.saver = tf1.train.Saver()
            self.variables = {each.op.name: each for each in tf1.global_variables()}
            if warm_start is not None:
                tf1.train.warm_start(*warm_start)
            self.session = tf1.Session()
            self.session.run(tf1.global_variables_initializer())

    @contextlib.contextmanager
    def _entered(self):
        with self.graph.as_default(), self.session.as_default():
            yield self.session

    def train(self, steps):
        with self._entered() as session:
            for _ in range(steps):
                session.run(self.train_op)

    def save(self, prefix):
        with self._entered() as session:
            return self.saver.save(session, str(prefix), write_meta_graph=False)

    def restore(self, prefix, **options):
        with self._entered():
            return restore(self.variables, prefix, **options)

    def values(self):
        with self._entered() as session:
            return {name: session.run(self.variables[name]) for name in MODEL}

    def step(self):
        with self._entered() as session:
            return int(session.run(self.variables["global_step"]))
