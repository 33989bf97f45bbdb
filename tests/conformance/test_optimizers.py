"""Optimizers: their slots and scalars go on exactly where they were."""

import logging

import jobs
import numpy as np
import tensorflow as tf
from eager import eagerly
from scenarios import conformance_test, scenario

tf1 = tf.compat.v1
legacy = tf.keras.optimizers.legacy

_TF1_OPTIMIZERS = {
    "adadelta": lambda: tf1.train.AdadeltaOptimizer(0.1),
    "adagrad": lambda: tf1.train.AdagradOptimizer(0.1),
    "adagrad_da": lambda: tf1.train.AdagradDAOptimizer(0.1, tf1.train.get_global_step()),
    "adam": lambda: tf1.train.AdamOptimizer(0.1),
    "ftrl": lambda: tf1.train.FtrlOptimizer(0.1, l1_regularization_strength=0.01),
    "momentum": lambda: tf1.train.MomentumOptimizer(0.1, 0.9),
    "nesterov": lambda: tf1.train.MomentumOptimizer(0.1, 0.9, use_nesterov=True),
    "proximal": lambda: tf1.train.ProximalAdagradOptimizer(0.1, l2_regularization_strength=0.1),
    "rmsprop": lambda: tf1.train.RMSPropOptimizer(0.01, momentum=0.9),
    "rmsprop_centered": lambda: tf1.train.RMSPropOptimizer(0.01, centered=True),
    "sgd": lambda: tf1.train.GradientDescentOptimizer(0.1),
}
_LEGACY_OPTIMIZERS = {
    "adadelta": lambda: legacy.Adadelta(0.1),
    "adagrad": lambda: legacy.Adagrad(0.1),
    "adam": lambda: legacy.Adam(0.1),
    "amsgrad": lambda: legacy.Adam(0.1, amsgrad=True),
    "adamax": lambda: legacy.Adamax(0.1),
    "ftrl": lambda: legacy.Ftrl(0.1, l1_regularization_strength=0.01),
    "nadam": lambda: legacy.Nadam(0.1),
    "rmsprop": lambda: legacy.RMSprop(0.01, momentum=0.9, centered=True),
    "sgd": lambda: legacy.SGD(0.1, momentum=0.9, nesterov=True),
}


def _layer(features, scope, use_resource=None):
    with tf1.variable_scope(scope, use_resource=use_resource):
        w = tf1.get_variable("w", [4, 3], initializer=tf1.glorot_uniform_initializer(seed=1))
        b = tf1.get_variable("b", [3], initializer=tf1.zeros_initializer())
    return tf.matmul(features["x"], w) + b, [w, b]


def _loss(y, labels):
    return tf.reduce_mean(tf.square(y - labels))


def _each_of(optimizers, minimize, use_resource=None):
    """A model_fn with a layer for each optimizer, so that one job tries them all."""

    def model_fn(features, labels, mode):
        step = tf1.train.get_global_step()
        losses, updates = [], []
        for name, make in optimizers.items():
            y, variables = _layer(features, name, use_resource)
            losses.append(_loss(y, labels))
            updates.append(minimize(make(), losses[-1], variables))
        with tf.control_dependencies(updates):
            train_op = step.assign_add(1)
        return tf.estimator.EstimatorSpec(mode, loss=tf.add_n(losses), train_op=train_op.op)

    return model_fn


def _minimize_legacy(optimizer, loss, variables):
    return tf.group(optimizer.get_updates(loss, variables))


def _values_of_8_and_of_4_and_4(job, model_fn):
    job.train(model_fn, steps=8, model_dir=job.folder / "at-once")
    for _ in range(2):
        job.train(model_fn, steps=4)
    values = job.values()
    jobs.assert_equal_values(values, job.values(job.folder / "at-once"))
    return values


@scenario("Optimizers")
def adam_resumes(job):
    """tf1 Adam: 8 steps equal 4 and 4."""
    return _values_of_8_and_of_4_and_4(job, jobs.adam_model_fn)


@scenario("Optimizers")
def every_tf1_optimizer_resumes(job):
    """Every other tf1 optimizer (Momentum, Ftrl, RMSProp, ...): 8 steps equal 4 and 4."""
    model_fn = _each_of(
        _TF1_OPTIMIZERS,
        lambda optimizer, loss, variables: optimizer.minimize(loss, var_list=variables),
    )
    return _values_of_8_and_of_4_and_4(job, model_fn)


@scenario("Optimizers", slow=True)
def every_legacy_keras_optimizer_resumes(job):
    """Every legacy Keras optimizer, with a step counter of its own: 8 steps equal 4 and 4."""
    # Keras optimizers refuse reference variables, which are the default without v2 behavior.
    model_fn = _each_of(_LEGACY_OPTIMIZERS, _minimize_legacy, use_resource=True)
    return _values_of_8_and_of_4_and_4(job, model_fn)


@scenario("Optimizers")
def legacy_keras_optimizer_counts_the_global_step(job):
    """Legacy Keras Adam whose `iterations` are the global step: 8 steps equal 4 and 4."""

    def model_fn(features, labels, mode):
        y, variables = _layer(features, "layer", use_resource=True)
        loss = _loss(y, labels)
        optimizer = legacy.Adam(0.1)
        optimizer.iterations = tf1.train.get_or_create_global_step()
        train_op = _minimize_legacy(optimizer, loss, variables)
        return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=train_op)

    return _values_of_8_and_of_4_and_4(job, model_fn)


@scenario("Optimizers", slow=True)
def two_optimizers_resume(job):
    """Two optimizers, one for each part of the model: 8 steps equal 4 and 4."""

    def model_fn(features, labels, mode):
        deep, deep_variables = _layer(features, "deep")
        wide, wide_variables = _layer(features, "wide")
        loss = _loss(deep + wide, labels)
        adam = tf1.train.AdamOptimizer(0.1)
        ftrl = tf1.train.FtrlOptimizer(0.1)
        train_op = tf.group(
            adam.minimize(loss, tf1.train.get_global_step(), deep_variables),
            ftrl.minimize(loss, var_list=wide_variables),
        )
        return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=train_op)

    return _values_of_8_and_of_4_and_4(job, model_fn)


@scenario("Optimizers", slow=True)
def two_adams_of_one_variable_resume(job):
    """Two Adams on the same variables, whose slots are numbered: 8 steps equal 4 and 4."""

    def model_fn(features, labels, mode):
        y, variables = _layer(features, "layer")
        loss = _loss(y, labels)
        first = tf1.train.AdamOptimizer(0.1).minimize(loss, var_list=variables)
        with tf.control_dependencies([first]):
            second = tf1.train.AdamOptimizer(0.01).minimize(
                tf.nn.l2_loss(variables[0]), tf1.train.get_global_step(), variables[:1]
            )
        return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=second)

    return _values_of_8_and_of_4_and_4(job, model_fn)


@scenario("Optimizers")
def learning_rate_decays_with_the_step(job):
    """A learning rate that decays with the global step: 8 steps equal 4 and 4."""

    def model_fn(features, labels, mode):
        y, _ = _layer(features, "layer")
        loss = _loss(y, labels)
        step = tf1.train.get_global_step()
        rate = tf1.train.exponential_decay(0.5, step, 2, 0.5, staircase=True)
        train_op = tf1.train.MomentumOptimizer(rate, 0.9).minimize(loss, step)
        return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=train_op)

    return _values_of_8_and_of_4_and_4(job, model_fn)


@scenario("Optimizers", slow=True)
def sparse_gradients_resume(job):
    """An embedding with sparse gradients, under Adam and Adagrad: 8 steps equal 4 and 4."""

    def model_fn(features, labels, mode):
        # Each row once: the sum of a row's gradients depends on their order.
        ids = tf.range(tf.shape(features["x"])[0])
        step = tf1.train.get_global_step()
        losses, updates = [], []
        for name in ("adam", "adagrad"):
            initializer = tf1.glorot_uniform_initializer(seed=1)
            table = tf1.get_variable(name, [10, 3], initializer=initializer)
            losses.append(_loss(tf.nn.embedding_lookup(table, ids), labels))
            updates.append(_TF1_OPTIMIZERS[name]().minimize(losses[-1], var_list=[table]))
        train_op = tf.group(step.assign_add(1), *updates)
        return tf.estimator.EstimatorSpec(mode, loss=tf.add_n(losses), train_op=train_op)

    return _values_of_8_and_of_4_and_4(job, model_fn)


def _keras_model():
    layer = tf.keras.layers.Dense(
        3, name="dense", kernel_initializer=tf.keras.initializers.GlorotUniform(seed=1)
    )
    model = tf.keras.Sequential([tf.keras.Input([4]), layer])
    return model


class _KerasJob:
    """A model_fn around a Keras model and a legacy Adam, and the Checkpoint of both."""

    def model_fn(self, features, labels, mode):
        self.model = _keras_model()
        y = self.model(features["x"], training=mode == tf.estimator.ModeKeys.TRAIN)
        loss = _loss(y, labels)
        if mode != tf.estimator.ModeKeys.TRAIN:
            return tf.estimator.EstimatorSpec(mode, predictions={"y": y}, loss=loss)
        self.optimizer = legacy.Adam(0.1)
        self.optimizer.iterations = tf1.train.get_or_create_global_step()
        train_op = _minimize_legacy(self.optimizer, loss, self.model.trainable_variables)
        return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=train_op)

    def checkpoint_fn(self, variables, step):
        del variables
        return tf.train.Checkpoint(model=self.model, optimizer=self.optimizer, step=step)

    def train(self, job, model_dir, steps):
        wrapped = job.wrap(self.model_fn)
        if job.how != "raw":
            wrapped = job.wrap(self.model_fn, checkpoint_fn=self.checkpoint_fn)
        estimator = jobs.make_estimator(wrapped, model_dir)
        estimator.train(jobs.same_batch_input_fn, steps=steps)
        return estimator


_KERAS_NAMES = ("dense/kernel", "dense/bias")


@scenario("Optimizers", slow=True)
def keras_model_and_optimizer_resume(job):
    """A Keras model in the model_fn, with the user's own layout: 8 steps equal 4 and 4."""
    keras = _KerasJob()
    keras.train(job, job.folder / "at-once", 8)
    for _ in range(2):
        estimator = keras.train(job, job.model_dir, 4)
    found = {}
    for model_dir in (job.folder / "at-once", job.model_dir):
        found[model_dir.name] = _dense_of(job, tf.train.latest_checkpoint(str(model_dir)))
    jobs.assert_equal_values(*found.values())
    return found, estimator.evaluate(jobs.input_fn, steps=2)


def _dense_of(job, prefix):
    """Reads the weights and the step, by name or where the Keras objects have them."""
    keys = ["dense/kernel", "dense/bias", "global_step"]
    if job.how == "tf2":
        at = "model/layer_with_weights-0/"
        keys = [path + jobs.VALUE for path in (at + "kernel", at + "bias", "step")]
    return dict(zip((*_KERAS_NAMES, "step"), (tf.train.load_variable(prefix, k) for k in keys)))


def _trained_by_tf2_code(job, prefix):
    """What TF2 code finds in a checkpoint, and after one more step in it."""
    with eagerly():
        model, optimizer = _keras_model(), legacy.Adam(0.1)
        optimizer.iterations  # noqa: B018 - makes the variable
        optimizer._create_all_weights(model.trainable_variables)
        step = tf.Variable(0, dtype=tf.int64)
        if job.how == "raw":  # by name, as a migration to TF2 does it by hand
            reader = tf.train.load_checkpoint(prefix)
            for name, variable in zip(_KERAS_NAMES, model.trainable_variables):
                variable.assign(reader.get_tensor(name))
                for slot in ("m", "v"):
                    value = reader.get_tensor(f"Adam/{name}/{slot}")
                    optimizer.get_slot(variable, slot).assign(value)
            step.assign(reader.get_tensor("global_step"))
            optimizer.iterations.assign(step)
        else:
            checkpoint = tf.train.Checkpoint(model=model, optimizer=optimizer, step=step)
            checkpoint.restore(prefix).expect_partial().assert_existing_objects_matched()
        found = {
            "step": step.numpy(),
            "iterations": optimizer.iterations.numpy(),
            "weights": model.get_weights(),
        }
        with tf.GradientTape() as tape:
            loss = _loss(model(jobs.FEATURES[:8]), jobs.LABELS[:8])
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables))
        found["weights one step later"] = model.get_weights()
    return found


@scenario("Optimizers")
def keras_objects_go_on_in_tf2_code(job):
    """A Keras model and optimizer, loaded and trained on by TF2 code: weights, slots and step."""
    keras = _KerasJob()
    keras.train(job, job.model_dir, 4)
    found = _trained_by_tf2_code(job, tf.train.latest_checkpoint(str(job.model_dir)))
    keras.train(job, job.model_dir, 1)
    one_later = _dense_of(job, tf.train.latest_checkpoint(str(job.model_dir)))
    assert found["step"] == found["iterations"] == 4
    for value, name in zip(found["weights one step later"], _KERAS_NAMES):
        np.testing.assert_allclose(value, one_later[name], rtol=1e-5)
    return found


@scenario("Optimizers")
def optimizer_without_a_step_beside_it_goes_on_in_tf2_code(job):
    """The same without `step` in the Checkpoint: the optimizer's `iterations` are the step."""
    keras = _KerasJob()

    def checkpoint_fn(variables, step):
        del variables, step
        return tf.train.Checkpoint(optimizer=keras.optimizer, model=keras.model)

    keras.checkpoint_fn = checkpoint_fn
    for _ in range(2):
        keras.train(job, job.model_dir, 2)
    prefix = tf.train.latest_checkpoint(str(job.model_dir))
    with eagerly():
        optimizer = legacy.Adam(0.1)
        if job.how == "raw":
            optimizer.iterations.assign(tf.train.load_variable(prefix, "global_step"))
        else:
            tf.train.Checkpoint(optimizer=optimizer).restore(prefix).expect_partial()
        return optimizer.iterations.numpy()


@scenario("Optimizers")
def new_keras_optimizer_is_warned_of(job):
    """A new-style Keras optimizer, which never updates in a graph: trains nothing, and says so."""

    def model_fn(features, labels, mode):
        y, variables = _layer(features, "layer", use_resource=True)
        loss = _loss(y, labels)
        optimizer = tf.keras.optimizers.Adam(0.1)
        optimizer.build(variables)
        step = tf1.train.get_global_step()
        gradients = tf.gradients(loss, variables)
        train_op = tf.group(
            optimizer.apply_gradients(zip(gradients, variables)), step.assign_add(1)
        )
        return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=train_op)

    warnings = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: warnings.append(record.getMessage())
    logger = logging.getLogger("estimator_ckpt")
    logger.addHandler(handler)
    try:
        for _ in range(2):
            job.train(model_fn, steps=2, save_checkpoints_steps=1)
    finally:
        logger.removeHandler(handler)
    warned = [text for text in warnings if "updates none of its 2 trainable variables" in text]
    assert len(warned) == (0 if job.how == "raw" else 2), warnings
    first, last = (
        jobs.values(job.model_dir / name) for name in (job.checkpoints()[0], job.checkpoints()[-1])
    )
    np.testing.assert_array_equal(first["layer/w"], last["layer/w"])
    return first, last


test_scenario = conformance_test(__name__)
