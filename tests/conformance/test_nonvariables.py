"""Non-variables: tables, iterators and generators go on where they were, or start anew, as raw."""

import jobs
import tensorflow as tf
from scenarios import conformance_test, scenario

from estimator_ckpt.live.tensorflow_internals import BulkSaverBuilder

tf1 = tf.compat.v1
GROUP = "Non-variables"


def _numbers_input_fn():
    """Batches 0, 1, 2, ... to 99."""
    return tf.data.Dataset.range(100).map(lambda n: {"n": tf.reshape(n, [1])})


def _model_fn(add, measures=None):
    """Writes `add(features)`, one number a step, into the variable `seen` at the step's place."""

    def model_fn(features, labels, mode):
        del labels
        step = tf1.train.get_or_create_global_step()
        seen = tf1.get_variable("seen", [16], tf.float32, tf1.zeros_initializer(), trainable=False)
        number = tf.cast(tf.reshape(add(features, step, mode), []), tf.float32)
        with tf.control_dependencies([number]):
            written = tf1.assign_add(seen, number * tf.one_hot(step, 16))
        with tf.control_dependencies([written]):
            train_op = tf1.assign_add(step, 1)
        return tf.estimator.EstimatorSpec(
            mode,
            loss=tf.reduce_sum(seen),
            train_op=train_op,
            predictions={"n": features["n"]},
            eval_metric_ops=measures() if measures and mode == "eval" else None,
        )

    return model_fn


def _train_twice(job, model_fn, hooks=None):
    for _ in range(2):
        estimator = job.estimator(model_fn)
        estimator.train(_numbers_input_fn, steps=3, hooks=hooks and hooks(estimator))
    return estimator


def _observed(job, estimator):
    return job.values(), estimator.evaluate(_numbers_input_fn, steps=1)


def _table_job(job, make_table):
    """Each step puts its number into a table, and notes how many the table has."""
    made = []

    def add(features, step, mode):
        table = make_table()
        made[:] = [table]
        if mode != tf.estimator.ModeKeys.TRAIN:
            return table.size()
        key = tf.reshape(step, [1])
        with tf.control_dependencies([table.insert(key, 10 * (features["n"] + 1))]):
            return table.size() * 100 + table.lookup(key)[0]

    def measures():
        found = made[0].lookup(tf.range(4, dtype=tf.int64))
        return {f"of {n}": tf1.metrics.mean(found[n]) for n in range(4)}

    values, metrics = _observed(job, _train_twice(job, _model_fn(add, measures)))
    assert values["seen"][3] // 100 == 4  # what the first run put in is still there
    assert (metrics["of 0"], metrics["of 3"]) == (10, 10)
    return values, metrics


def _mutable_table():
    return tf.lookup.experimental.MutableHashTable(tf.int64, tf.int64, -1, name="counts")


@scenario(GROUP)
def mutable_hash_table(job):
    """A MutableHashTable is saved and restored."""
    return _table_job(job, _mutable_table)


@scenario(GROUP)
def dense_hash_table(job):
    """A DenseHashTable is saved and restored."""

    def make():
        return tf.lookup.experimental.DenseHashTable(
            tf.int64, tf.int64, -1, empty_key=-1, deleted_key=-2, name="counts"
        )

    return _table_job(job, make)


def _own_table(step, collect):
    """A table of raw ops, which no collection knows unless `collect`, and how many it has."""
    table = tf.raw_ops.MutableHashTableV2(
        key_dtype=tf.int64, value_dtype=tf.int64, shared_name="own"
    )
    if collect:
        tf1.add_to_collection(tf1.GraphKeys.SAVEABLE_OBJECTS, _Contents(table))
    key = tf.reshape(step, [1])
    put = tf.raw_ops.LookupTableInsertV2(table_handle=table, keys=key, values=key)
    with tf.control_dependencies([put]):
        return tf.raw_ops.LookupTableSizeV2(table_handle=table)


class _Contents(BulkSaverBuilder.SaveableObject):
    """What a table has, as a user's own SaveableObject."""

    def __init__(self, table):
        tensors = tf.raw_ops.LookupTableExportV2(
            table_handle=table, Tkeys=tf.int64, Tvalues=tf.int64
        )
        specs = [
            BulkSaverBuilder.SaveSpec(tensor, "", f"own/contents/{part}")
            for part, tensor in zip(("k", "v"), tensors)
        ]
        super().__init__(table, specs, "own/contents")

    def restore(self, restored_tensors, restored_shapes):
        del restored_shapes
        keys, values = restored_tensors
        return tf.raw_ops.LookupTableImportV2(table_handle=self.op, keys=keys, values=values)


@scenario(GROUP)
def table_in_no_collection(job):
    """A table that is in no collection starts empty."""
    model_fn = _model_fn(lambda features, step, mode: _own_table(step, collect=False))
    values, metrics = _observed(job, _train_twice(job, model_fn))
    assert list(values["seen"][:6]) == [1, 2, 3, 1, 2, 3]
    return values, metrics


@scenario(GROUP)
def saveable_of_ones_own(job):
    """A SaveableObject of the user's own in SAVEABLE_OBJECTS is saved and restored."""
    model_fn = _model_fn(lambda features, step, mode: _own_table(step, collect=True))
    values, metrics = _observed(job, _train_twice(job, model_fn))
    assert list(values["seen"][:6]) == [1, 2, 3, 4, 5, 6]
    return values, metrics


def _iterator_job(job, collect):
    """A second pipeline, made in the model_fn, gives 0, 1, 4, 9, ..."""

    def add(features, step, mode):
        del features, step
        squares = tf.data.Dataset.range(100).map(lambda n: n * n)
        iterator = tf1.data.make_one_shot_iterator(squares)
        if mode == tf.estimator.ModeKeys.TRAIN and collect:
            saveable = tf.data.experimental.make_saveable_from_iterator(iterator)
            tf1.add_to_collection(tf1.GraphKeys.SAVEABLE_OBJECTS, saveable)
        return iterator.get_next()

    return _observed(job, _train_twice(job, _model_fn(add)))


@scenario(GROUP)
def saveable_iterator(job):
    """A saveable iterator in SAVEABLE_OBJECTS goes on where it was."""
    values, metrics = _iterator_job(job, collect=True)
    assert list(values["seen"][:6]) == [0, 1, 4, 9, 16, 25]
    return values, metrics


@scenario(GROUP)
def iterator_in_no_collection(job):
    """An iterator in no collection starts anew."""
    values, metrics = _iterator_job(job, collect=False)
    assert list(values["seen"][:6]) == [0, 1, 4, 0, 1, 4]
    return values, metrics


@scenario(GROUP)
def input_pipeline_hook(job):
    """CheckpointInputPipelineHook: the input goes on where it was; without it, it starts anew."""

    def add(features, step, mode):
        del step, mode
        return features["n"]

    model_fn = _model_fn(add)
    _train_twice(job, model_fn, lambda e: [tf.data.experimental.CheckpointInputPipelineHook(e)])
    went_on = job.values()
    assert list(went_on["seen"][:6]) == [0, 1, 2, 3, 4, 5]
    files = sorted(path.name for path in job.model_dir.glob("*.index"))
    job.estimator(model_fn).train(_numbers_input_fn, steps=2)
    assert list(job.values()["seen"][6:8]) == [0, 1]
    return went_on, files, job.checkpoints(), job.values()


@scenario(GROUP)
def static_tables(job):
    """Static and vocabulary tables: made anew in every run, and not saved."""

    def add(features, step, mode):
        del mode
        initializer = tf.lookup.KeyValueTensorInitializer(
            tf.range(8, dtype=tf.int64), 2 * tf.range(8, dtype=tf.int64)
        )
        static = tf.lookup.StaticHashTable(initializer, -1)
        words = tf.lookup.KeyValueTensorInitializer(
            ["0", "1", "2"], tf.range(3, dtype=tf.int64), value_dtype=tf.int64
        )
        vocabulary = tf.lookup.StaticVocabularyTable(words, num_oov_buckets=2)
        found = vocabulary.lookup(tf.strings.as_string(features["n"]))
        return static.lookup(step) + 100 * found[0]

    values, metrics = _observed(job, _train_twice(job, _model_fn(add)))
    assert sorted(values) == ["global_step", "seen"]
    assert list(values["seen"][:6]) == [0, 102, 204, 6, 108, 210]
    return values, metrics


@scenario(GROUP)
def local_variables(job):
    """Local variables are not saved: they start anew in every run."""

    def add(features, step, mode):
        del features, step, mode
        local = tf1.get_local_variable("local", [], initializer=tf1.zeros_initializer())
        return tf1.assign_add(local, 1.0)

    values, metrics = _observed(job, _train_twice(job, _model_fn(add)))
    assert list(values["seen"][:6]) == [1, 2, 3, 1, 2, 3]
    return values, metrics


@scenario(GROUP)
def random_generator(job):
    """A `tf.random.Generator` gives the numbers that come next."""

    def add(features, step, mode):
        del features, step, mode
        return tf.random.Generator.from_seed(7).uniform([])

    _train_twice(job, _model_fn(add))
    at_once = job.estimator(_model_fn(add), job.folder / "at-once")
    at_once.train(_numbers_input_fn, steps=6)
    jobs.assert_equal_values(job.values(), job.values(job.folder / "at-once"))
    return job.values()


test_scenario = conformance_test(__name__)
