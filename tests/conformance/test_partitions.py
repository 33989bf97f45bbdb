"""Partitioned variables: one name for the whole of each, which fits any other number of parts."""

import jobs
import numpy as np
import tensorflow as tf
from scenarios import conformance_test, scenario, v1_behavior

import estimator_ckpt

tf1 = tf.compat.v1
GROUP = "Partitioned variables"
WORDS = np.array(["a", "b", "c", "d", "e", "f"])


def _columns():
    """An embedding and a number for the deep part, the word itself for the wide part."""
    column = tf.feature_column
    word = column.categorical_column_with_vocabulary_list("word", list(WORDS))
    return {
        "deep": [column.embedding_column(word, 4), column.numeric_column("x", [2])],
        "wide": [word, column.numeric_column("x", [2])],
    }


def _words_input_fn():
    features = {"word": WORDS, "x": jobs.FEATURES[:6, :2]}
    return tf.data.Dataset.from_tensors((features, jobs.LABELS[:6, :1])).repeat()


def _canned(kind, version, parts=None, optimizer=None):
    """A canned estimator; those of version 1 partition their variables, be it into one part."""
    api = (tf1 if version == 1 else tf).estimator
    columns = _columns()
    given = {} if parts is None else {"input_layer_partitioner": _parts_of_rows(parts)}
    if kind == "DNN":
        if optimizer is not None:
            given["optimizer"] = optimizer
        return api.DNNRegressor([4], columns["deep"], batch_norm=True, **given)
    if kind == "Linear":
        return api.LinearRegressor(columns["wide"])
    return api.DNNLinearCombinedRegressor(
        linear_feature_columns=columns["wide"],
        dnn_feature_columns=columns["deep"],
        dnn_hidden_units=[4],
        batch_norm=True,
        **given,
    )


def _parts_of_rows(parts):
    """Partitions matrices by rows, and leaves vectors whole."""
    fixed = tf1.fixed_size_partitioner(parts)

    def partitioner(shape, **others):
        return fixed(shape, **others) if len(shape) > 1 and shape[0] >= parts else [1] * len(shape)

    return partitioner


def _canned_job(job, kind, version, parts=(None, None), model_dir=None, optimizer=None):
    for number in parts:
        canned = _canned(kind, version, number, optimizer)
        estimator = job.estimator(canned.model_fn, model_dir)
        estimator.train(_words_input_fn, steps=2)
    # TensorFlow itself leaves the part in the names of some slots.
    assert not [name for name in job.values(model_dir) if name.endswith("part_0")]
    return {
        "values": job.values(model_dir),
        "metrics": estimator.evaluate(_words_input_fn, steps=1),
    }


@scenario(GROUP, slow=True)
def canned_dnn(job):
    """DNNRegressor of version 1, with embedding columns and batch norm."""
    return _canned_job(job, "DNN", 1)


@scenario(GROUP, slow=True)
def canned_dnn_2(job):
    """DNNRegressor of version 2, with embedding columns and batch norm."""
    return _canned_job(job, "DNN", 2)


@scenario(GROUP, slow=True)
def canned_linear(job):
    """LinearRegressor of version 1, whose Ftrl has slots."""
    return _canned_job(job, "Linear", 1)


@scenario(GROUP, slow=True)
def canned_linear_2(job):
    """LinearRegressor of version 2."""
    return _canned_job(job, "Linear", 2)


@scenario(GROUP, slow=True)
def canned_combined(job):
    """DNNLinearCombinedRegressor of version 1, with two optimizers."""
    return _canned_job(job, "DNNLinearCombined", 1)


@scenario(GROUP, slow=True)
def canned_combined_2(job):
    """DNNLinearCombinedRegressor of version 2, with two optimizers."""
    return _canned_job(job, "DNNLinearCombined", 2)


@scenario(GROUP, slow=True)
def canned_with_other_parts(job):
    """A canned DNN whose embedding has 1, 3, 2 and again 1 parts."""
    # With SGD: TensorFlow cuts the names of these slots too short for another number of parts.
    sgd = tf1.train.GradientDescentOptimizer(0.1)
    return _canned_job(job, "DNN", 1, parts=(None, 3, 2, None), optimizer=sgd)


@scenario(GROUP, slow=True)
def canned_with_slots_in_parts(job):
    """A canned DNN whose embedding and slots have 3 parts, before and after a conversion."""
    canned = _canned("DNN", 1, 3)
    estimator = job.estimator(canned.model_fn)
    estimator.train(_words_input_fn, steps=2)
    folder = job.folder / "converted"
    prefix = str(folder / "model.ckpt-2")
    to = "tf1" if job.how == "tf2" else "dual"
    estimator_ckpt.convert(estimator.latest_checkpoint(), prefix, to=to)
    tf1.train.update_checkpoint_state(str(folder), prefix)
    converted = job.estimator(canned.model_fn, folder)
    metrics = []
    for each in (estimator, converted):
        each.train(_words_input_fn, steps=2)
        metrics.append(each.evaluate(_words_input_fn, steps=1))
    assert metrics[0] == metrics[1]
    return metrics


@scenario(GROUP, slow=True)
def canned_warm_start(job):
    """A canned DNN warm-started from one with other parts."""
    source = job.folder / "source"
    job.estimator(_canned("DNN", 1, 2).model_fn, source).train(_words_input_fn, steps=2)
    settings = str(source)
    if job.how != "raw":
        # A path alone, as above, stands for the trainable variables.
        settings = estimator_ckpt.warm_start_settings(source, include="^(?!.*moving)")
    found = []
    for parts in (None, 3):
        model_dir = job.folder / str(parts)
        canned = _canned("DNN", 1, parts, tf1.train.GradientDescentOptimizer(0.1))
        estimator = job.estimator(canned.model_fn, model_dir, warm_start_from=settings)
        estimator.train(_words_input_fn, steps=1)
        found.append(job.values(model_dir))
    return found


def _model_fn(parts, columns=3):
    """Adam's job with its matrix in parts by rows; the slots are in parts then too."""

    def model_fn(features, labels, mode):
        partitioner = None if parts is None else _parts_of_rows(parts)
        with tf1.variable_scope("layer", partitioner=partitioner):
            w = tf1.get_variable("w", [4, columns], initializer=tf1.ones_initializer())
            b = tf1.get_variable("b", [columns], initializer=tf1.zeros_initializer())
        y = (tf.matmul(features["x"], tf.convert_to_tensor(w)) + b)[:, :3]
        loss = tf.reduce_mean(tf.square(y - labels))
        optimizer = tf1.train.AdamOptimizer(0.1)
        train_op = optimizer.minimize(loss, global_step=tf1.train.get_global_step())
        return tf.estimator.EstimatorSpec(mode, predictions=y, loss=loss, train_op=train_op)

    return model_fn


@scenario(GROUP)
def parts_change(job):
    """Whole, then 3 parts, 2 parts and whole again: the values are those of a job without parts."""
    for parts in (None, 3, 2, None):
        estimator = job.train(_model_fn(parts), steps=2)
    job.train(_model_fn(None), steps=8, model_dir=job.folder / "whole")
    values = job.values()
    assert values["layer/w/Adam"].shape == (4, 3)
    jobs.assert_equal_values(values, job.values(job.folder / "whole"))
    evaluated = job.estimator(_model_fn(4)).evaluate(jobs.same_batch_input_fn, steps=1)
    return values, evaluated, estimator.evaluate(jobs.same_batch_input_fn, steps=1)


@scenario(GROUP)
def parts_of_columns(job):
    """Parts by columns, of a variable in parts by rows."""

    def by_columns(features, labels, mode):
        with tf1.variable_scope("", partitioner=tf1.fixed_size_partitioner(3, axis=1)):
            w = tf1.get_variable("layer/w", [4, 3], initializer=tf1.zeros_initializer())
        loss = tf.reduce_sum(tf.convert_to_tensor(w))
        return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=tf.no_op())

    job.train(_model_fn(2), steps=2)
    found = job.estimator(by_columns).evaluate(jobs.same_batch_input_fn, steps=1)
    assert np.isclose(found["loss"], np.sum(job.values()["layer/w"]))
    return found


@scenario(GROUP, slow=True)
def parts_in_a_warm_start(job):
    """3 parts warm-started into 2 and into a whole, slots and step too."""
    job.train(_model_fn(3), steps=2)
    found = []
    for parts in (2, None):
        settings = estimator_ckpt.warm_start_settings(
            job.model_dir, with_slots=True, with_step=True
        )
        model_dir = job.folder / str(parts)
        job.train(_model_fn(parts), steps=2, model_dir=model_dir, warm_start_from=settings)
        found.append(job.values(model_dir))
    job.train(_model_fn(3), steps=2)
    for values in found:
        jobs.assert_equal_values(values, job.values())
    return found


@scenario(GROUP, slow=True)
def parts_in_a_conversion(job):
    """3 parts, converted to each format, and resumed with 2 parts and as a whole."""
    job.train(_model_fn(3), steps=2)
    source = tf.train.latest_checkpoint(str(job.model_dir))
    readable = ["tf1", "dual"] if job.how == "raw" else ["tf1", "dual", "tf2"]
    found = []
    for to in readable:
        for parts in (2, None):
            folder = job.folder / f"{to}-{parts}"
            prefix = str(folder / "model.ckpt-2")
            estimator_ckpt.convert(source, prefix, to=to)
            tf1.train.update_checkpoint_state(str(folder), prefix)
            jobs.assert_equal_values(job.values(folder), job.values())
            job.train(_model_fn(parts), steps=2, model_dir=folder)
            found.append(job.values(folder))
    for values in found[1:]:
        jobs.assert_equal_values(values, found[0])
    return found[0]


def _error_of_another_shape(job, saved, restored):
    """Trains with 3 columns, then with 5; returns whether the error says it all."""
    model_dir = job.folder / f"{saved}-{restored}"
    job.train(_model_fn(saved), steps=1, model_dir=model_dir)
    try:
        job.train(_model_fn(restored, columns=5), steps=1, model_dir=model_dir)
    except tf.errors.InvalidArgumentError as error:
        return "'layer/w': it is float32 (4, 5) here, and float32 (4, 3) in the checkpoint" in str(
            error
        )
    return False


@scenario(
    GROUP,
    raw=(
        "fails without the name of the variable"
        if v1_behavior()
        else "restores the old shape without an error"
    ),
    right=lambda: [True] * 4,
    slow=True,
)
def another_shape(job):
    """Another shape, whole or in parts: an error that names the variable and both shapes."""
    return [
        _error_of_another_shape(job, *parts)
        for parts in ((None, None), (None, 2), (2, None), (2, 3))
    ]


test_scenario = conformance_test(__name__, options=("async", "links"))
