"""Warm starts of new models from old checkpoints of any kind."""

import os

import jobs
import numpy as np
import tensorflow as tf
from eager import eagerly
from scenarios import Job, conformance_test, scenario

from estimator_ckpt import convert, warm_start_settings

tf1 = tf.compat.v1
_GROUP = "Warm start"


def _source(job, how=None, model_fn=jobs.adam_model_fn, name="source"):
    """The model_dir of an old job of 3 steps; the scenarios share it, as they only read it."""
    how = how or job.how
    folder = job.folder.parent / f"{name}-{how}"
    if not folder.exists():
        Job(how, folder).train(model_fn, steps=3)
    return folder / "job"


def _model_fn(scope="layer", extra=False, rate=0.0, partitions=None, kernel="w"):
    """A layer of other initial values; by default its training changes nothing of it."""

    def model_fn(features, labels, mode):
        partitioner = partitions and tf1.fixed_size_partitioner(partitions)
        with tf1.variable_scope(scope, partitioner=partitioner):
            w = tf1.get_variable(kernel, [4, 3], initializer=tf1.constant_initializer(9))
            b = tf1.get_variable("b", [3], initializer=tf1.constant_initializer(9))
        y = tf.matmul(features["x"], tf.convert_to_tensor(w)) + tf.convert_to_tensor(b)
        if extra:
            y += tf1.get_variable("extra", [3], initializer=tf1.constant_initializer(5))
        loss = tf.reduce_mean(tf.square(y - labels))
        train_op = tf1.train.AdamOptimizer(rate).minimize(loss, tf1.train.get_global_step())
        return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=train_op)

    return model_fn


def _plain(source, patterns=None, renamed=None, vocab=None):
    """TensorFlow's own settings."""
    patterns = [".*"] if patterns is None else patterns
    return tf.estimator.WarmStartSettings(
        tf.train.latest_checkpoint(str(source)) or str(source), patterns, vocab, renamed
    )


def _warm_started(job, model_fn, raw, ours, sources=None):
    """The values after one step, the same from each source.

    Args:
      job: raw or wrapped.
      model_fn: of the new job.
      raw: called with a source; returns the settings of the raw job.
      ours: the same for a wrapped one.
      sources: by default the raw job's checkpoint, and that of one wrapped as this job is.
    """
    if sources is None:
        sources = [_source(job, how) for how in dict.fromkeys(["raw", job.how])]
    found = []
    for number, source in enumerate(sources):
        settings = (raw if job.how == "raw" else ours)(source)
        model_dir = job.folder / f"new-{number}"
        job.train(model_fn, steps=1, model_dir=model_dir, warm_start_from=settings)
        found.append(job.values(model_dir))
    for values in found[1:]:
        jobs.assert_equal_values(values, found[0])
    return found[0]


def _assert_taken(job, values, names=("layer/w", "layer/b")):
    """Makes sure that the observation shows a warm start at all."""
    old = jobs.values(tf.train.latest_checkpoint(str(_source(job))))
    for new_name, old_name in zip(names, ("layer/w", "layer/b")):
        np.testing.assert_array_equal(values[new_name], old[old_name])


@scenario(_GROUP)
def equal_names(job):
    """Equal names, from TF1, TF2 and dual: without slots and step."""
    values = _warm_started(job, _model_fn(), _plain_trainables, warm_start_settings)
    _assert_taken(job, values)
    return values


def _plain_trainables(source):
    return _plain(source, patterns=".*")  # a string: of the trainable variables only


@scenario(_GROUP)
def plain_settings_and_paths(job):
    """TensorFlow's own WarmStartSettings, and a path in their place, on a wrapped job."""
    found = []
    for number, settings in enumerate([_plain_trainables(_source(job)), str(_source(job))]):
        model_dir = job.folder / str(number)
        job.train(_model_fn(), steps=1, model_dir=model_dir, warm_start_from=settings)
        found.append(job.values(model_dir))
        _assert_taken(job, found[-1])
    return found


@scenario(_GROUP)
def new_variables(job):
    """A model with a variable more than the checkpoint: that one keeps its initial value."""
    values = _warm_started(
        job, _model_fn(extra=True), lambda source: _plain(source, "layer/"), warm_start_settings
    )
    _assert_taken(job, values)
    return values


@scenario(_GROUP)
def some_variables(job):
    """Some variables only, chosen by a pattern."""
    return _warm_started(
        job,
        _model_fn(),
        lambda source: _plain(source, "layer/w"),
        lambda source: warm_start_settings(source, include="layer/w"),
    )


@scenario(_GROUP)
def one_renamed_variable(job):
    """One variable has another name; the others still have theirs."""
    values = _warm_started(
        job,
        _model_fn(kernel="kernel"),
        lambda source: _plain(source, ".*", {"layer/kernel": "layer/w"}),
        lambda source: warm_start_settings(source, rename={"layer/w": "layer/kernel"}),
    )
    _assert_taken(job, values, ("layer/kernel", "layer/b"))
    return values


@scenario(_GROUP)
def changed_scopes(job):
    """All variables are in another scope."""
    names = {"tower/dense/w": "layer/w", "tower/dense/b": "layer/b"}
    values = _warm_started(
        job,
        _model_fn(scope="tower/dense"),
        lambda source: _plain(source, ".*", names),
        lambda source: warm_start_settings(source, rename={"layer/": "tower/dense/"}),
    )
    _assert_taken(job, values, list(names))
    return values


@scenario(
    _GROUP,
    raw="fails: at least two variables have the same name",
    raw_fails=True,
    right=lambda: {"taken": ["layer/b", "layer/w"], "step": 1},
)
def overlapping_patterns(job):
    """Patterns that match the same variable twice."""
    values = _warm_started(
        job,
        _model_fn(),
        lambda source: _plain(source, ["layer/w", "layer/.*"]),
        lambda source: warm_start_settings(source, include="layer/w|layer/.*"),
    )
    taken = [name for name in ("layer/b", "layer/w") if not np.all(values[name] == 9)]
    return {"taken": taken, "step": values["global_step"]}


@scenario(_GROUP)
def with_slots_and_step(job):
    """With slots and step: goes on exactly as the old job would."""
    values = _warm_started(
        job,
        jobs.adam_model_fn,
        lambda source: _plain(source, [".*"]),
        lambda source: warm_start_settings(source, with_slots=True, with_step=True),
    )
    job.train(jobs.adam_model_fn, steps=4, model_dir=job.folder / "at-once")
    jobs.assert_equal_values(values, job.values(job.folder / "at-once"))
    return values


@scenario(_GROUP)
def with_slots_in_changed_scopes(job):
    """With slots and step into another scope: slots follow their variables."""
    pairs = {f"new/{name}": f"layer/{name}" for name in ("w", "b")}
    slots = {
        f"{new}/{slot}": f"{old}/{slot}"
        for new, old in pairs.items()
        for slot in ("Adam", "Adam_1")
    }
    return _warm_started(
        job,
        _model_fn(scope="new", rate=0.1),
        lambda source: _plain(source, [".*"], {**pairs, **slots}),
        lambda source: warm_start_settings(
            source, rename={"layer/": "new/"}, with_slots=True, with_step=True
        ),
    )


@scenario(_GROUP)
def trained_on_and_not_warm_started_again(job):
    """Repeated train calls go on from the model_dir and don't warm-start again."""
    found = []
    make = _plain_trainables if job.how == "raw" else warm_start_settings
    estimator = job.estimator(_model_fn(rate=0.1), warm_start_from=make(_source(job)))
    for _ in range(2):
        estimator.train(jobs.same_batch_input_fn, steps=1)
        found.append(job.values())
    # So does an Estimator that is made anew with the same settings.
    job.train(_model_fn(rate=0.1), steps=1, warm_start_from=make(_source(job)))
    found.append(job.values())
    assert [values["global_step"] for values in found] == [1, 2, 3]
    return found


@scenario(_GROUP)
def from_an_eager_checkpoint(job):
    """From a checkpoint that TF2 code wrote, of named variables below objects."""
    old = jobs.values(tf.train.latest_checkpoint(str(_source(job, "raw"))))
    sources = [_source(job, "raw")]
    if job.how != "raw":
        with eagerly():
            w, b = (tf.Variable(old[name], name=name) for name in ("layer/w", "layer/b"))
            layer = tf.train.Checkpoint(kernel=w, bias=b)
            root = tf.train.Checkpoint(net=tf.train.Checkpoint(layer=layer))
            sources = [root.save(str(job.folder / "eager" / "ckpt"))]
    values = _warm_started(job, _model_fn(), _plain_trainables, warm_start_settings, sources)
    _assert_taken(job, values)
    return values


def _keras_weights(job):
    """A checkpoint that a Keras model wrote with the old job's values; by name for a raw job."""
    old = jobs.values(tf.train.latest_checkpoint(str(_source(job, "raw"))))
    if job.how == "raw":
        with tf.Graph().as_default(), tf1.Session() as session:
            tf1.get_variable("dense/kernel", initializer=old["layer/w"])
            tf1.get_variable("dense/bias", initializer=old["layer/b"])
            session.run(tf1.global_variables_initializer())
            return tf1.train.Saver().save(session, str(job.folder / "keras"))
    with eagerly():
        dense, head = (tf.keras.layers.Dense(3, name=name) for name in ("dense", "head"))
        model = tf.keras.Sequential([tf.keras.Input([4], name="x"), dense, head])
        dense.set_weights([old["layer/w"], old["layer/b"]])
        model.save_weights(str(job.folder / "keras" / "weights"), save_format="tf")
    return str(job.folder / "keras" / "weights")


@scenario(_GROUP)
def from_keras_weights(job):
    """From the weights that a Keras model wrote, under other names."""
    names = {"layer/w": "dense/kernel", "layer/b": "dense/bias"}
    values = _warm_started(
        job,
        _model_fn(),
        lambda source: _plain(source, ".*", names),
        lambda source: warm_start_settings(source, rename={old: new for new, old in names.items()}),
        [_keras_weights(job)],
    )
    _assert_taken(job, values)
    return values


def _partitioned_source(job, how):
    return _source(job, how, _model_fn(rate=0.1, partitions=2), "partitioned")


@scenario(_GROUP)
def from_partitioned_variables(job):
    """From partitioned variables into whole ones, and into another number of parts."""
    found = {}
    for parts in (None, 3):
        model_dir = job.folder / str(parts)
        found[str(parts)] = _warm_started(
            Job(job.how, model_dir),
            _model_fn(partitions=parts),
            _plain_trainables,
            warm_start_settings,
            [_partitioned_source(job, how) for how in dict.fromkeys(["raw", job.how])],
        )
    jobs.assert_equal_values(found["None"], found["3"])
    assert not np.any(found["3"]["layer/w"] == 9)
    return found


@scenario(_GROUP)
def into_partitioned_variables(job):
    """From whole variables into partitioned ones, in another scope."""
    values = _warm_started(
        job,
        _model_fn(scope="new", partitions=2),
        lambda source: _plain(source, ".*", {"new/w": "layer/w", "new/b": "layer/b"}),
        lambda source: warm_start_settings(source, rename={"layer/": "new/"}),
    )
    _assert_taken(job, values, ("new/w", "new/b"))
    return values


@scenario(_GROUP)
def from_an_exported_saved_model(job):
    """From a SavedModel that the old job has exported."""
    sources = []
    for how in dict.fromkeys(["raw", job.how]):
        old = Job(how, job.folder).estimator(jobs.adam_model_fn, _source(job, how))
        path = old.export_saved_model(str(job.folder / f"out-{how}"), jobs.serving_input_fn)
        sources.append(os.fsdecode(path))
    values = _warm_started(
        job,
        _model_fn(),
        lambda source: _plain(os.path.join(source, "variables", "variables"), ".*"),
        warm_start_settings,
        sources,
    )
    _assert_taken(job, values)
    return values


@scenario(_GROUP)
def from_a_tf2_saved_model(job):
    """From a SavedModel that TF2 code has saved."""
    sources = [_source(job, "raw")]
    if job.how != "raw":
        old = jobs.values(tf.train.latest_checkpoint(str(sources[0])))
        with eagerly():
            module = tf.Module()
            module.net = [tf.Variable(old[name], name=name) for name in ("layer/w", "layer/b")]
            tf.saved_model.save(module, str(job.folder / "saved"))
        sources = [job.folder / "saved"]
    values = _warm_started(job, _model_fn(), _plain_trainables, warm_start_settings, sources)
    _assert_taken(job, values)
    return values


def _words_model_fn(words, scope, partitions=None):
    """An embedding of a row for each word."""

    def model_fn(features, labels, mode):
        partitioner = partitions and tf1.fixed_size_partitioner(partitions)
        with tf1.variable_scope(scope, partitioner=partitioner):
            table = tf1.get_variable(
                "emb", [words, 3], initializer=tf1.random_normal_initializer(seed=3)
            )
        rows = tf1.nn.embedding_lookup(table, tf.range(words), partition_strategy="div")
        loss = tf.reduce_mean(tf.square(rows)) + 0.0 * tf.reduce_sum(labels)
        train_op = tf1.train.GradientDescentOptimizer(0.0).minimize(
            loss, tf1.train.get_global_step()
        )
        return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=train_op)

    return model_fn


def _vocabularies(job):
    paths = []
    for name, words in (("old", "a b c d"), ("new", "d also a c new")):
        path = job.folder / f"{name}.txt"
        path.write_text("\n".join(words.split()) + "\n")
        paths.append(str(path))
    return tf.estimator.VocabInfo(
        new_vocab=paths[1],
        new_vocab_size=5,
        num_oov_buckets=0,
        old_vocab=paths[0],
        backup_initializer=tf1.ones_initializer(),
    )


@scenario(_GROUP)
def vocabularies_are_remapped(job):
    """An embedding whose vocabulary has changed: rows follow their words, in a new scope, too."""
    sources = [
        _source(job, how, _words_model_fn(4, "words"), "words")
        for how in dict.fromkeys(["raw", job.how])
    ]
    info = _vocabularies(job)
    found = []
    for scope, partitions in (("words", None), ("terms", None), ("words", 2)):
        new = f"{scope}/emb"
        found.append(
            _warm_started(
                Job(job.how, job.folder / f"{scope}-{partitions}"),
                _words_model_fn(5, scope, partitions),
                lambda source, new=new: _plain(source, ".*", {new: "words/emb"}, {new: info}),
                lambda source, new=new: warm_start_settings(
                    source, rename={"words/emb": new}, vocab_info={new: info}
                ),
                sources,
            )[new]
        )
    old = jobs.values(tf.train.latest_checkpoint(str(sources[0])))["words/emb"]
    for table in found:
        np.testing.assert_array_equal(table, [old[3], [1] * 3, old[0], old[2], [1] * 3])
    return found


@scenario(_GROUP)
def from_a_converted_checkpoint(job):
    """From an old checkpoint after `convert` into each format."""
    path = tf.train.latest_checkpoint(str(_source(job, "raw")))
    sources = [path]
    if job.how != "raw":
        sources = [
            convert(path, job.folder / to / "model.ckpt-3", to=to).prefix
            for to in ("tf1", "tf2", "dual")
        ]
    values = _warm_started(job, _model_fn(), _plain_trainables, warm_start_settings, sources)
    _assert_taken(job, values)
    return values


test_scenario = conformance_test(__name__)
