"""What is done in which thread while training goes on, and where nothing can be."""

from __future__ import annotations

import gc
import logging
import threading

import jobs
import pytest
import tensorflow as tf

from estimator_ckpt import wrap_model_fn
from estimator_ckpt.estimator.background.hooks import AsyncCheckpointSaverHook
from estimator_ckpt.estimator.saver import CheckpointSaver

tf1 = tf.compat.v1
MODES = tf.estimator.ModeKeys


@pytest.mark.parametrize("async_save", [False, True])
def test_a_listener_finds_what_comes_before_it_done(tmp_path, async_save):
    """The order: files, state file, retention, the TF1 checkpoint, listeners."""
    seen, threads = [], set()

    class Looks(tf1.train.CheckpointSaverListener):
        def after_save(self, session, global_step_value):
            threads.add(threading.current_thread() is threading.main_thread())
            found = []
            for directory in (tmp_path, tmp_path / "tf1"):
                there = sorted(path.stem for path in directory.glob("*.index"))
                assert there == jobs.listed(directory)
                found.append(there)
            seen.append(found)

    wrapped = wrap_model_fn(
        jobs.adam_model_fn,
        tf1_dir=str(tmp_path / "tf1"),
        async_save=async_save,
        saving_listeners=[Looks()],
    )
    estimator = jobs.make_estimator(
        wrapped, tmp_path, save_checkpoints_steps=2, keep_checkpoint_max=2
    )
    estimator.train(jobs.same_batch_input_fn, steps=6)
    pairs = [(0,), (0, 2), (2, 4), (4, 6)]
    assert seen == [[[f"model.ckpt-{step}" for step in pair]] * 2 for pair in pairs]
    assert threads == {not async_save}


@pytest.mark.parametrize("async_save", [False, True])
def test_an_evaluation_is_in_the_same_thread_and_early_stopping_hears_of_it_later(
    tmp_path, async_save
):
    """The evaluation of step 4 waits for step 6, if it can: training goes on beside it."""
    evaluated, reached = threading.Event(), threading.Event()
    threads, steps = [], []

    class Evaluates(tf1.train.SessionRunHook):
        def begin(self):
            threads.append(threading.current_thread() is threading.main_thread())
            assert not async_save or reached.wait(600)

        def end(self, session):
            evaluated.set()

    class Counts(tf1.train.SessionRunHook):
        def begin(self):
            self._step = tf1.train.get_global_step()

        def after_run(self, run_context, run_values):
            steps.append(int(run_context.session.run(self._step)))
            if steps[-1] == 6:
                reached.set()
                assert evaluated.wait(600)

    estimator = jobs.make_estimator(
        wrap_model_fn(jobs.adam_model_fn, async_save=async_save), tmp_path, save_checkpoints_steps=4
    )
    stopping = tf.estimator.experimental.make_early_stopping_hook(
        estimator, evaluated.is_set, run_every_secs=None, run_every_steps=1
    )
    tf.estimator.train_and_evaluate(
        estimator,
        tf.estimator.TrainSpec(jobs.same_batch_input_fn, 100, hooks=[Counts(), stopping]),
        tf.estimator.EvalSpec(jobs.same_batch_input_fn, 1, hooks=[Evaluates()], throttle_secs=0),
    )
    assert set(threads) == {not async_save}
    # It is done before step 5 begins, if training stands still meanwhile.
    assert steps[-1] in (range(6, 100) if async_save else (4, 5))


def test_memory_is_taken_for_one_more_copy(tmp_path):
    size = 64 << 20
    with tf.Graph().as_default():
        variable = tf1.get_variable("v", [size // 4], initializer=tf1.ones_initializer())
        saver = CheckpointSaver("dual")
        saver.async_save = True
        saver.build()
        with tf1.Session() as session:
            session.run(variable.initializer)
            gc.collect()  # what earlier tests had must not go while this is measured
            gc.disable()
            try:
                start = reset_most_memory()
                saver.save_in_background(session, str(tmp_path / "ckpt"))
                saver.wait()
                most = most_memory() - start
            finally:
                gc.enable()
    assert 0.9 * size < most < 1.5 * size


def reset_most_memory():
    """Has Linux begin to count anew; returns the bytes that this process has in memory now."""
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        pytest.skip("this system does not count that")
    return most_memory()


def most_memory():
    with open("/proc/self/status") as lines:
        (line,) = (line for line in lines if line.startswith("VmHWM:"))
    return int(line.split()[1]) << 10


def test_a_saver_of_a_class_of_the_jobs_own_saves_while_training_stands_still(tmp_path, caplog):
    threads = []

    class OwnSaver(tf1.train.Saver):
        def save(self, *args, **kwargs):
            threads.append(threading.current_thread())
            return super().save(*args, **kwargs)

    def model_fn(features, labels, mode):
        spec = jobs.adam_model_fn(features, labels, mode)
        return spec._replace(scaffold=tf1.train.Scaffold(saver=OwnSaver()))

    estimator = jobs.make_estimator(wrap_model_fn(model_fn, async_save=True), tmp_path)
    with caplog.at_level(logging.WARNING):
        estimator.train(jobs.same_batch_input_fn, steps=2)
    assert threads == [threading.main_thread()] * 2
    assert jobs.listed(tmp_path) == ["model.ckpt-0", "model.ckpt-2"]
    said = [each for each in caplog.messages if "in spite of async_save" in each]
    assert len(said) == 1 and "its saver, a OwnSaver, is of its own kind" in said[0]


@pytest.mark.parametrize("use_tpu", [True, False])
def test_a_tpu_estimator_with_tpus_saves_as_it_does_without(tmp_path, caplog, use_tpu):
    def model_fn(features, labels, mode, params):
        spec = jobs.adam_model_fn(features, labels, mode)
        return tf1.estimator.tpu.TPUEstimatorSpec(mode, loss=spec.loss, train_op=spec.train_op)

    config = tf.estimator.RunConfig(str(tmp_path), save_checkpoints_steps=2)
    features, labels = {"x": jobs.FEATURES[:8]}, jobs.LABELS[:8]
    with tf.Graph().as_default(), caplog.at_level(logging.WARNING):
        tf1.train.create_global_step()
        spec = wrap_model_fn(model_fn, async_save=True)(
            {"x": tf.constant(features["x"])},
            tf.constant(labels),
            MODES.TRAIN,
            params={"use_tpu": use_tpu},
            config=config,
        )
    hooks = [type(hook) for hook in spec.training_hooks or ()]
    assert (AsyncCheckpointSaverHook in hooks) != use_tpu
    said = [each for each in caplog.messages if "async_save has no effect on a TPUEst" in each]
    assert len(said) == use_tpu
