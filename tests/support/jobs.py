"""Small Estimator jobs for the tests, and what a user can observe of them.

estimator = jobs.make_estimator(jobs.adam_model_fn, model_dir, save_checkpoints_steps=2)
estimator.train(jobs.input_fn, steps=5)
jobs.values(estimator.latest_checkpoint())      # {name: array}, read by plain TensorFlow
"""

from __future__ import annotations

import os

import numpy as np
import tensorflow as tf

from estimator_ckpt import compat

compat.install()  # processes that these jobs run in import no conftest
tf1 = tf.compat.v1

_RANDOM = np.random.RandomState(0)
FEATURES = _RANDOM.randn(64, 4).astype(np.float32)
LABELS = _RANDOM.randn(64, 3).astype(np.float32)
VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"


def input_fn():
    """Gives the same batches of 8 in the same order, without end."""
    return tf.data.Dataset.from_tensor_slices(({"x": FEATURES}, LABELS)).repeat().batch(8)


def same_batch_input_fn():
    """Gives one batch of 8 again and again: where training was interrupted makes no difference."""
    return tf.data.Dataset.from_tensors(({"x": FEATURES[:8]}, LABELS[:8])).repeat()


def serving_input_fn():
    x = tf1.placeholder(tf.float32, [None, 4], name="x")
    return tf.estimator.export.ServingInputReceiver({"x": x}, {"x": x})


def adam_model_fn(features, labels, mode):
    """One dense layer in TF1 style, trained with Adam, which has slots and scalars of its own."""
    with tf1.variable_scope("layer"):
        w = tf1.get_variable("w", [4, 3], initializer=tf1.glorot_uniform_initializer(seed=1))
        b = tf1.get_variable("b", [3], initializer=tf1.zeros_initializer())
    predictions = {"y": tf.matmul(features["x"], w) + b}
    if mode == tf.estimator.ModeKeys.PREDICT:
        return tf.estimator.EstimatorSpec(
            mode,
            predictions=predictions,
            export_outputs={"serving_default": tf.estimator.export.PredictOutput(predictions)},
        )
    loss = tf.reduce_mean(tf.square(predictions["y"] - labels))
    optimizer = tf1.train.AdamOptimizer(0.1)
    train_op = optimizer.minimize(loss, global_step=tf1.train.get_global_step())
    return tf.estimator.EstimatorSpec(mode, predictions=predictions, loss=loss, train_op=train_op)


def guide_model_fn(features, labels, mode):
    """The migration guide's: adds 2 to the variable `var` in every step."""
    del features, labels
    step = tf1.train.get_or_create_global_step()
    v = tf1.get_variable("var", [], tf.float32, initializer=tf1.constant_initializer(0))
    return tf.estimator.EstimatorSpec(
        mode,
        predictions=v,
        train_op=tf.group(v.assign_add(2), step.assign_add(1)),
        loss=tf.constant(1.0),
    )


def guide_input_fn():
    return tf.data.Dataset.from_tensor_slices(([1, 2, 3], [4, 5, 6]))


def make_estimator(model_fn, model_dir, *, warm_start_from=None, params=None, **config):
    """An Estimator whose random initial values are always the same."""
    run_config = tf.estimator.RunConfig(tf_random_seed=1, log_step_count_steps=None, **config)
    return tf.estimator.Estimator(
        model_fn, str(model_dir), run_config, params, warm_start_from=warm_start_from
    )


def keys(prefix):
    """The keys of a checkpoint, as plain TensorFlow lists them."""
    return {key for key, _ in tf.train.list_variables(str(prefix))}


def values(prefix):
    """{name: array} of a checkpoint of any format, read by plain TensorFlow."""
    # In `ram://`, TensorFlow takes a prefix for a directory.
    is_ram = str(prefix).startswith("ram://")
    load = tf1.train.NewCheckpointReader if is_ram else tf.train.load_checkpoint
    reader = load(str(prefix))
    dtypes = reader.get_variable_to_dtype_map()
    found = {}
    for key in reader.get_variable_to_shape_map():
        if key == "_CHECKPOINTABLE_OBJECT_GRAPH" or key == "save_counter" + VALUE:
            continue
        name = key
        if key == "step" + VALUE:
            name = "global_step"
        elif key.endswith(VALUE):
            name = key[: -len(VALUE)].partition("/")[2].replace(".S", "/")
        # An iterator's state is a variant, for which numpy has no type.
        array = reader.get_tensor(key) if dtypes[key] != tf.variant else np.array("a variant")
        if name in found:
            np.testing.assert_array_equal(found[name], array)
        found[name] = array
    return found


def assert_equal_values(first, second):
    """Bit for bit, names included."""
    assert sorted(first) == sorted(second)
    for name, value in first.items():
        assert value.dtype == second[name].dtype, name
        np.testing.assert_array_equal(value, second[name], err_msg=name)


def listed(model_dir):
    """The names of the checkpoints that a directory's state file lists, the oldest first."""
    state = tf.train.get_checkpoint_state(str(model_dir))
    return [os.path.basename(path) for path in state.all_model_checkpoint_paths]


def snapshot(directory):
    """{path below the directory: (size, time of change)} of all its files."""
    found = {}
    for folder, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(folder, name)
            stat = os.stat(path)
            found[os.path.relpath(path, directory)] = (stat.st_size, stat.st_mtime_ns)
    return found
