"""A warm start that reads many tensors at once takes what TensorFlow's takes, and says the same."""

import logging
import random

import jobs
import numpy as np
import pytest
import tensorflow as tf

from estimator_ckpt import warm_start_settings, wrap_model_fn
from estimator_ckpt.estimator.warm_start_at_once import read_at_once

tf1 = tf.compat.v1
TYPES = (tf.float32, tf.float64, tf.int32, tf.int64, tf.bfloat16, tf.bool)


def _names(generator):
    scopes = ["a", "a/b", "tower", "tower/deep/er"]
    return [f"{generator.choice(scopes)}/v{number}" for number in range(generator.randint(1, 12))]


def _random_model(generator):
    """Rows of (name, shape, dtype, parts, whether it is trainable)."""
    rows = []
    for name in _names(generator):
        shape = [generator.randint(1, 5) for _ in range(generator.randint(0, 3))]
        parts = generator.choice([1, 1, 2, 3]) if shape else 1
        parts = min(parts, shape[0]) if shape else 1
        rows.append((name, shape, generator.choice(TYPES), parts, generator.random() < 0.7))
    return rows


def _save(folder, rows, generator):
    """A name-based checkpoint of these variables, each with other values; and its other formats."""
    values = np.random.default_rng(generator.randrange(1 << 30))
    with tf.Graph().as_default(), tf1.Session() as session:
        for name, shape, dtype, parts, _ in rows:
            value = tf.cast(values.integers(0, 100, shape), dtype)
            partitioner = tf1.fixed_size_partitioner(parts) if parts > 1 else None

            def initializer(shape, dtype, partition_info=None, value=value):
                return _part(value, shape, partition_info)

            tf1.get_variable(name, shape, dtype, initializer=initializer, partitioner=partitioner)
        session.run(tf1.global_variables_initializer())
        prefix = tf1.train.Saver().save(session, str(folder / "tf1"), write_state=False)
    return prefix


def _part(value, shape, info):
    return value if info is None else tf.slice(value, info.var_offset, shape)


def _build(rows, generator):
    """The same model, or one whose variables have other parts; initialized to zeros."""
    for name, shape, dtype, _, trainable in rows:
        parts = generator.choice([1, 2]) if shape and shape[0] > 1 else 1
        partitioner = tf1.fixed_size_partitioner(parts) if parts > 1 else None
        tf1.get_variable(
            name,
            shape,
            dtype,
            initializer=tf1.zeros_initializer(),
            trainable=trainable,
            partitioner=partitioner,
        )


def _random_settings(generator, rows):
    """Arguments of `warm_start` as a function of the graph: patterns, names, variables, None."""
    names = [row[0] for row in rows]
    kind = generator.choice(["pattern", "none", "patterns", "variables", "renamed", "shared"])
    if kind == "pattern":
        return lambda: (generator.choice([".*", "tower", "a/b", "nothing"]), None, None)
    if kind == "none":
        return lambda: (None, None, None)
    if kind == "patterns":
        chosen = generator.sample(names, generator.randint(1, len(names)))
        return lambda: (chosen, None, None)
    if kind == "variables":
        return lambda: (tf1.global_variables()[:: generator.choice([1, 2])], None, None)
    alike = {}
    for name, shape, dtype, _, _ in rows:
        alike.setdefault((tuple(shape), dtype), []).append(name)
    renamed = {}
    for group in alike.values():
        others = (
            generator.sample(group, len(group)) if kind == "renamed" else group[:1] * len(group)
        )
        renamed.update(zip(group, others))
    if generator.random() < 0.1:
        renamed["not/there"] = names[0]  # which is an error
    return lambda: ([".*"], None, renamed)


def _outcome(prefix, rows, settings, seed, at_once, caplog):
    """What a warm start leaves in the variables, its error, and what TensorFlow says of it."""
    generator = random.Random(seed)
    caplog.clear()
    with tf.Graph().as_default() as graph, tf1.Session() as session:
        _build(rows, generator)
        if at_once:
            read_at_once(graph)
        error = None
        try:
            with caplog.at_level(logging.DEBUG, logger="tensorflow"):
                tf1.train.warm_start(prefix, *settings(generator))
        except ValueError as raised:
            error = str(raised)
        logged = [each.getMessage() for each in caplog.records if each.name == "tensorflow"]
        reads = sum(each.type == "RestoreV2" for each in graph.get_operations())
        values = None
        if error is None:
            session.run(tf1.global_variables_initializer())
            held = session.run({each.name: each for each in tf1.global_variables()})
            values = {name: (value.dtype, value.tobytes()) for name, value in held.items()}
    return (values, error, logged), reads


@pytest.fixture(params=[True, False], ids=["resource", "reference"])
def kind_of_variables(request):
    before = tf1.resource_variables_enabled()
    (tf1.enable_resource_variables if request.param else tf1.disable_resource_variables)()
    yield
    (tf1.enable_resource_variables if before else tf1.disable_resource_variables)()


@pytest.mark.parametrize("seed", range(8))
def test_values_errors_and_log_are_those_of_tensorflow(kind_of_variables, seed, tmp_path, caplog):
    generator = random.Random(seed)
    rows = _random_model(generator)
    prefix = _save(tmp_path, rows, generator)
    make = _random_settings(generator, rows)
    state = generator.getstate()

    def settings(_):
        generator.setstate(state)
        return make()

    theirs, their_reads = _outcome(prefix, rows, settings, seed, False, caplog)
    ours, our_reads = _outcome(prefix, rows, settings, seed, True, caplog)
    assert theirs[2]
    assert ours == theirs
    assert our_reads <= their_reads


def _reads(graph):
    return [each for each in graph.get_operations() if each.type == "RestoreV2"]


def _plain_settings(source):
    return tf.estimator.WarmStartSettings(str(source), ".*")


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings", [str, _plain_settings, warm_start_settings], ids=["path", "TensorFlow's", "ours"]
)
def test_a_wrapped_job_reads_its_warm_start_at_once(settings, tmp_path):
    source = tmp_path / "source"
    jobs.make_estimator(jobs.adam_model_fn, source).train(jobs.input_fn, steps=3)
    seen = []
    for at_once in (False, True):
        seen.append(_Start())
        estimator = jobs.make_estimator(
            wrap_model_fn(jobs.adam_model_fn, warm_start_at_once=at_once),
            tmp_path / str(at_once),
            warm_start_from=settings(source),
        )
        estimator.train(jobs.input_fn, steps=1, hooks=seen[-1:])
    old = jobs.values(tf.train.latest_checkpoint(str(source)))
    for each in seen:
        jobs.assert_equal_values(each.values, {name: old[name] for name in each.values})
    assert seen[1].reads == 1 < seen[0].reads


class _Start(tf.estimator.SessionRunHook):
    """Takes down what a job begins with."""

    def after_create_session(self, session, coord):
        names = [each.name for each in _reads(session.graph)]
        self.reads = sum("checkpoint_initializer" in name for name in names)
        self.values = session.run({each.op.name: each for each in tf1.trainable_variables()})


def _saved(tmp_path, **values):
    with tf.Graph().as_default(), tf1.Session() as session:
        for name, value in values.items():
            tf1.get_variable(name, initializer=tf.constant(value))
        session.run(tf1.global_variables_initializer())
        return tf1.train.Saver().save(session, str(tmp_path / "source"), write_state=False)


def test_what_has_a_vocabulary_is_remapped_as_ever_which_is_logged(tmp_path, caplog):
    prefix = _saved(tmp_path, table=[[1.0], [2.0], [3.0]], other=[7.0])
    for name, words in {"old": "abc", "new": "cxa"}.items():
        (tmp_path / name).write_text("\n".join(words))
    vocab = tf.estimator.VocabInfo(str(tmp_path / "new"), 3, 0, str(tmp_path / "old"))
    with tf.Graph().as_default() as graph, tf1.Session() as session:
        table = tf1.get_variable("table", [3, 1])
        other = tf1.get_variable("other", [1])
        read_at_once(graph)
        with caplog.at_level(logging.INFO):
            tf1.train.warm_start(prefix, ".*", {"table": vocab})
        session.run(tf1.global_variables_initializer())
        assert session.run(table).ravel().tolist() == [3, 0, 1]
        assert session.run(other).tolist() == [7]
    assert "'table' is remapped by its vocabulary" in caplog.text


def test_mirrored_variables_are_read_one_by_one_which_is_logged(tmp_path, caplog):
    prefix = _saved(tmp_path, one=[1.0, 2.0], two=[3.0])
    with tf.Graph().as_default() as graph:
        strategy = tf.distribute.MirroredStrategy(["/cpu:0"])
        with strategy.scope(), tf1.Session() as session:
            one, two = tf1.get_variable("one", [2]), tf1.get_variable("two", [1])
            read_at_once(graph)
            with caplog.at_level(logging.INFO):
                tf1.train.warm_start(prefix)
            session.run(tf1.global_variables_initializer())
            values = [session.run(strategy.experimental_local_results(each)) for each in (one, two)]
    assert [each[0].tolist() for each in values] == [[1, 2], [3]]
    assert "2 are read one by one" in caplog.text
    assert "MirroredVariable" in caplog.text


def test_other_graphs_are_left_alone(tmp_path):
    prefix = _saved(tmp_path, one=[1.0], two=[2.0], three=[3.0])
    counts = []
    for at_once in (True, False):
        with tf.Graph().as_default() as graph:
            for name in ("one", "two", "three"):
                tf1.get_variable(name, [1])
            if at_once:
                read_at_once(graph)
            tf1.train.warm_start(prefix)
            counts.append(len(_reads(graph)))
    assert counts == [1, 3]


def test_what_fails_is_told_as_ever(tmp_path):
    prefix = _saved(tmp_path, one=[1.0])
    with tf.Graph().as_default() as graph:
        tf1.get_variable("two", [1])
        read_at_once(graph)
        with pytest.raises(ValueError, match="Tensor two is not found"):
            tf1.train.warm_start(prefix)
        tf1.train.init_from_checkpoint(prefix, {"one": tf1.get_variable("one", [1])})
    assert len(_reads(graph)) == 1
