"""The Saver of a wrapped job, and the model_fn itself, in the hands of others."""

import logging
import pathlib
import threading

import jobs
import numpy as np
import pytest
import tensorflow as tf

from estimator_ckpt import CheckpointArgumentError, CheckpointSaver, wrap_model_fn

tf1 = tf.compat.v1
MODES = tf.estimator.ModeKeys


def eager_model_fn(features, labels, mode, params=None, units=3):
    """What people call eagerly in their unit tests."""
    kernel = tf1.get_variable("kernel", [4, units], initializer=tf1.ones_initializer())
    y = tf.matmul(features["x"], kernel) * (params or {}).get("factor", 1)
    if mode == MODES.PREDICT:
        return tf.estimator.EstimatorSpec(mode, predictions={"y": y})
    loss = tf.reduce_mean(tf.square(y - labels))
    step = tf1.train.get_or_create_global_step()
    train_op = step.assign_add(1)
    return tf.estimator.EstimatorSpec(mode, predictions={"y": y}, loss=loss, train_op=train_op)


@pytest.mark.parametrize("how", ["dual", "tf2", "async"])
@pytest.mark.parametrize("mode", [MODES.TRAIN, MODES.EVAL, MODES.PREDICT])
def test_a_wrapped_model_fn_works_eagerly_as_raw(how, mode):
    options = {"async_save": True} if how == "async" else {"checkpoint_format": how}
    features = {"x": jobs.FEATURES[:2]}
    found = []
    for model_fn in (eager_model_fn, wrap_model_fn(eager_model_fn, tf1_dir="tf1", **options)):
        calls = [
            model_fn(features, jobs.LABELS[:2], mode),
            model_fn(features=features, labels=jobs.LABELS[:2], mode=mode, params={"factor": 2}),
            model_fn(features, jobs.LABELS[:2], mode, {"factor": 3}, 3),  # also what has a default
            model_fn(features, jobs.LABELS[:2], mode, units=3),
        ]
        found.append(
            [
                (
                    spec.mode,
                    spec.predictions["y"].numpy(),
                    None if spec.loss is None else spec.loss.numpy(),
                    type(spec.scaffold),
                    getattr(spec.scaffold, "saver", None),
                    spec.training_hooks,
                    spec.training_chief_hooks,
                )
                for spec in calls
            ]
        )
        with pytest.raises(TypeError, match="nonsense"):
            model_fn(features, jobs.LABELS[:2], mode, nonsense=1)
    for raw, wrapped in zip(*found):
        for expected, each in zip(raw, wrapped):
            np.testing.assert_array_equal(each, expected)


def test_a_saver_is_refused_eagerly_in_one_sentence():
    with pytest.raises(CheckpointArgumentError, match=r"make it in a tf.Graph, or use tf.train.Ch"):
        CheckpointSaver("dual")


def test_a_path_object_is_a_path(tmp_path):
    with tf.Graph().as_default(), tf1.Session() as session:
        v = tf1.get_variable("v", initializer=4.0)
        session.run(v.initializer)
        saver = CheckpointSaver("dual")
        saver.build()
        path = saver.save(session, pathlib.Path(tmp_path) / "model", global_step=1)
        session.run(v.assign(0.0))
        saver.restore(session, pathlib.Path(path))
        assert path == str(tmp_path / "model-1")
        assert session.run(v) == 4


def _training_scaffold(make_saver=None, **options):
    def model_fn(features, labels, mode):
        spec = jobs.adam_model_fn(features, labels, mode)
        scaffold = tf1.train.Scaffold(saver=make_saver() if make_saver else None)
        return spec._replace(scaffold=scaffold)

    iterator = tf1.data.make_one_shot_iterator(jobs.same_batch_input_fn())
    tf1.train.get_or_create_global_step()
    features, labels = iterator.get_next()
    config = tf.estimator.RunConfig(model_dir="unused")
    return wrap_model_fn(model_fn, **options)(features, labels, MODES.TRAIN, config=config).scaffold


@pytest.mark.parametrize(
    "make_saver", [None, tf1.train.Saver, lambda: tf.train.Checkpoint(v=tf1.global_variables()[1])]
)
def test_the_checkpoint_of_a_scaffold_is_one_and_answers_as_the_saver(tmp_path, make_saver):
    with tf.Graph().as_default():
        scaffold = _training_scaffold(make_saver)
        checkpoint = scaffold.saver
        assert isinstance(checkpoint, tf.train.Checkpoint)
        assert checkpoint.last_checkpoints == []
        assert not hasattr(checkpoint, "no_such_thing")
        initialize = tf1.global_variables_initializer()
        scaffold.finalize()
        assert checkpoint.saver_def == scaffold.saver.saver_def is not None
        assert scaffold.saver.model_dir == "unused"
        with tf1.Session() as session:
            session.run(initialize)
            path = checkpoint.save(session, str(tmp_path / "model"), global_step=3)
            assert checkpoint.last_checkpoints == scaffold.saver.last_checkpoints == [path]
            (w,) = [v for v in tf1.global_variables() if v.op.name == "layer/w"]
            value = session.run(w)
            w.load(value * 0, session)
            checkpoint.restore(session, path)
            np.testing.assert_array_equal(session.run(w), value)
            checkpoint.restore(sess=session, save_path=path)
        with pytest.raises(TypeError, match="'sess' must be a Session"):
            checkpoint.save(None, "model")


def saver_def_model_fn(features, labels, mode):
    """Its saver has a SaverDef only, whose ops save all but one variable."""
    left_out = tf1.get_variable("left_out", initializer=3.0)
    spec = jobs.adam_model_fn(features, labels, mode)
    saved = [each for each in tf1.global_variables() if each is not left_out]
    saver = tf1.train.Saver(saver_def=tf1.train.Saver(saved, sharded=True).as_saver_def())
    starts = tf.group(tf1.train.Scaffold.default_local_init_op(), left_out.initializer)
    ready = tf1.report_uninitialized_variables(saved)
    scaffold = tf1.train.Scaffold(saver=saver, local_init_op=starts, ready_for_local_init_op=ready)
    return spec._replace(scaffold=scaffold)


@pytest.mark.parametrize("how", ["dual", "tf2", "async"])
def test_a_saver_made_of_a_saver_def_saves_what_that_says(tmp_path, how):
    options = {"async_save": True} if how == "async" else {"checkpoint_format": how}
    found = {}
    for way, model_fn in {
        "raw": saver_def_model_fn,
        "wrapped": wrap_model_fn(saver_def_model_fn, **options),
    }.items():
        estimator = jobs.make_estimator(model_fn, tmp_path / way)
        for _ in range(2):  # the second time it is restored
            estimator.train(jobs.same_batch_input_fn, steps=1)
        metrics = estimator.evaluate(jobs.same_batch_input_fn, steps=1)
        found[way] = (jobs.values(estimator.latest_checkpoint()), metrics)
    assert "left_out" not in found["raw"][0] and "layer/w/Adam" in found["raw"][0]
    jobs.assert_equal_values(found["wrapped"][0], found["raw"][0])
    assert found["wrapped"][1] == found["raw"][1]


def test_it_still_saves_and_restores_as_a_checkpoint(tmp_path):
    with tf.Graph().as_default():
        checkpoint = _training_scaffold().saver
        with tf1.Session() as session:
            session.run(tf1.global_variables_initializer())
            path = checkpoint.save(str(tmp_path / "ckpt"))
            assert path == str(tmp_path / "ckpt-1")
            status = checkpoint.restore(path)
            status.assert_consumed().run_restore_ops()
            assert tf.train.latest_checkpoint(str(tmp_path)) == path


class Failing(tf1.train.SessionRunHook):
    """Raises an exception of the user's own while a checkpoint is being written."""

    def __init__(self, error, is_raised):
        self.error = error
        self.is_raised = is_raised
        self.steps = 0

    def after_run(self, run_context, run_values):
        self.steps += 1
        if self.steps == 3:  # the checkpoint of the second step is being written
            self.is_raised.set()
            raise self.error


def _refusing_job(model_dir, monkeypatch, when=None):
    """A job that saves in the background, where all writes but the first are refused."""
    writes = []
    write = CheckpointSaver.write

    def refuse(*args):
        writes.append(args)
        if len(writes) == 1:
            return write(*args)
        assert when is None or when.wait(600)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(CheckpointSaver, "write", refuse)
    job = wrap_model_fn(jobs.adam_model_fn, async_save=True)
    return jobs.make_estimator(job, model_dir, save_checkpoints_steps=2)


def _train(estimator, hooks=()):
    estimator.train(jobs.same_batch_input_fn, steps=5, hooks=hooks)


class OwnError(Exception):
    pass


@pytest.mark.parametrize("error", [OwnError("mine"), KeyboardInterrupt("mine")])
def test_a_users_own_exception_is_raised_and_the_failed_save_is_told(
    tmp_path, monkeypatch, caplog, error
):
    is_raised = threading.Event()
    estimator = _refusing_job(tmp_path, monkeypatch, is_raised)
    with pytest.raises(type(error), match="mine"), caplog.at_level(logging.ERROR):
        _train(estimator, [Failing(error, is_raised)])
    assert "Besides what ends training" in caplog.text
    assert "No space left on device" in caplog.text


def test_a_failed_save_is_raised_also_while_the_caller_handles_another_exception(
    tmp_path, monkeypatch
):
    estimator = _refusing_job(tmp_path, monkeypatch)
    try:
        raise OwnError("the first try has failed")
    except OwnError:
        with pytest.raises(OSError, match="No space left"):
            _train(estimator)


def test_a_failed_save_is_raised_where_the_input_ends(tmp_path, monkeypatch):
    estimator = _refusing_job(tmp_path, monkeypatch)
    with pytest.raises(OSError, match="No space left"):
        estimator.train(lambda: jobs.same_batch_input_fn().take(2))


def test_wrong_arguments_are_told_before_a_save_in_the_background_is_waited_for(tmp_path):
    with tf.Graph().as_default(), tf1.Session() as session:
        v = tf1.get_variable("v", initializer=4.0)
        session.run(v.initializer)
        saver = CheckpointSaver("dual")
        saver.async_save = saver.saves_in_background = True
        saver.build()
        announced = []
        saver.before_save.append(lambda session, step: announced.append(step))
        for wrong, error in (
            ({"save_path": "a", "nonsense": 1}, TypeError),
            ({"save_path": "a", "latest_filename": "a/b"}, ValueError),
            ({"save_path": str(tmp_path / "no/place/m"), "global_step": 1}, ValueError),
        ):
            with pytest.raises(error):
                saver.save(session, **wrong)
        with pytest.raises(TypeError, match="nonsense"):
            saver.save_in_background(session, "a", nonsense=1)
        assert announced == []
        assert not saver.is_saving
