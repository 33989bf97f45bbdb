"""Name-based checkpoints beside those of a job, wrapped and not."""

import os

import jobs
import pytest
import tensorflow as tf

from estimator_ckpt import (
    CheckpointArgumentError,
    Tf1CheckpointListener,
    Tf1CheckpointSaverHook,
    wrap_model_fn,
)

tf1 = tf.compat.v1


@pytest.fixture
def dirs(tmp_path):
    return tmp_path / "job", tmp_path / "tf1"


@pytest.fixture(params=["raw", "tf2", "dual"])
def model_fn(request):
    if request.param == "raw":
        return jobs.adam_model_fn
    return wrap_model_fn(jobs.adam_model_fn, checkpoint_format=request.param)


def _inodes(directory):
    return {
        os.stat(path).st_ino for path in directory.glob("*.data-*") if os.stat(path).st_size > 0
    }


def _assert_equal_at_every_step(job, emitted):
    names = jobs.listed(emitted)
    for name in names:
        by_name = jobs.values(emitted / name)
        assert jobs.keys(emitted / name) == set(by_name)
        jobs.assert_equal_values(by_name, jobs.values(job / name))
        with tf.Graph().as_default(), tf1.Session() as session:
            for key, value in by_name.items():
                tf1.get_variable(key, value.shape, value.dtype)
            tf1.train.Saver().restore(session, str(emitted / name))
    return names


def test_tf1_dir_emits_each_checkpoint_and_writes_no_tensor_twice(dirs):
    job, emitted = dirs
    wrapped = wrap_model_fn(jobs.adam_model_fn, tf1_dir=str(emitted))
    jobs.make_estimator(wrapped, job, save_checkpoints_steps=2).train(jobs.input_fn, steps=5)
    names = _assert_equal_at_every_step(job, emitted)
    assert names == jobs.listed(job) == [f"model.ckpt-{n}" for n in (0, 2, 4, 5)]
    assert _inodes(job) == _inodes(emitted)


def test_a_listener_emits_each_checkpoint_and_writes_no_tensor_twice(dirs, model_fn):
    job, emitted = dirs
    jobs.make_estimator(model_fn, job, save_checkpoints_steps=2).train(
        jobs.input_fn, steps=5, saving_listeners=[Tf1CheckpointListener(str(emitted))]
    )
    names = _assert_equal_at_every_step(job, emitted)
    assert names == jobs.listed(job) == [f"model.ckpt-{n}" for n in (0, 2, 4, 5)]
    assert _inodes(job) == _inodes(emitted)


def test_a_hook_emits_each_checkpoint_the_final_one_included(dirs, model_fn):
    job, emitted = dirs
    jobs.make_estimator(model_fn, job, save_checkpoints_steps=2).train(
        jobs.input_fn, steps=5, hooks=[Tf1CheckpointSaverHook(str(emitted))]
    )
    names = _assert_equal_at_every_step(job, emitted)
    assert names == jobs.listed(job) == [f"model.ckpt-{n}" for n in (0, 2, 4, 5)]
    assert _inodes(emitted) == _inodes(job)


def test_a_hook_of_the_spec_links_every_checkpoint_of_an_unwrapped_job(dirs):
    job, emitted = dirs

    def model_fn(features, labels, mode):
        spec = jobs.adam_model_fn(features, labels, mode)
        return spec._replace(training_hooks=[Tf1CheckpointSaverHook(str(emitted))])

    jobs.make_estimator(model_fn, job, save_checkpoints_steps=2).train(jobs.input_fn, steps=5)
    assert _assert_equal_at_every_step(job, emitted) == jobs.listed(job)
    assert _inodes(job) == _inodes(emitted)


def test_a_hook_can_have_a_pace_of_its_own(dirs, model_fn):
    job, emitted = dirs
    hook = Tf1CheckpointSaverHook(str(emitted), save_steps=3)
    jobs.make_estimator(model_fn, job, save_checkpoints_steps=2).train(
        jobs.input_fn, steps=8, hooks=[hook]
    )
    assert jobs.listed(emitted) == [f"model.ckpt-{n}" for n in (0, 3, 6, 8)]
    assert jobs.listed(job) == [f"model.ckpt-{n}" for n in (0, 2, 4, 6, 8)]
    for name in ("model.ckpt-0", "model.ckpt-6", "model.ckpt-8"):
        jobs.assert_equal_values(jobs.values(emitted / name), jobs.values(job / name))
    assert jobs.values(emitted / "model.ckpt-3")["global_step"] == 3


def test_the_jobs_own_saving_is_undisturbed(dirs):
    job, emitted = dirs
    plain = emitted.parent / "plain"
    for model_dir, hooks in ((plain, []), (job, [Tf1CheckpointSaverHook(str(emitted))])):
        estimator = jobs.make_estimator(jobs.adam_model_fn, model_dir, save_checkpoints_steps=2)
        estimator.train(jobs.input_fn, steps=5, hooks=hooks)
    assert jobs.listed(job) == jobs.listed(plain)
    for name in jobs.listed(plain):
        jobs.assert_equal_values(jobs.values(plain / name), jobs.values(job / name))


def test_the_directory_keeps_its_own_number_across_runs(dirs):
    job, emitted = dirs
    for _ in range(2):
        estimator = jobs.make_estimator(jobs.adam_model_fn, job, save_checkpoints_steps=1)
        hook = Tf1CheckpointSaverHook(str(emitted), keep_max=2)
        estimator.train(jobs.input_fn, steps=2, hooks=[hook])
    assert jobs.listed(emitted) == ["model.ckpt-3", "model.ckpt-4"]
    assert len(list(emitted.glob("*.index"))) == 2
    assert len(jobs.listed(job)) == 5


@pytest.mark.parametrize("how", ["hooks", "saving_listeners"])
def test_a_job_that_keeps_all_checkpoints_emits_and_links_them_too(dirs, model_fn, how):
    job, emitted = dirs
    make = Tf1CheckpointSaverHook if how == "hooks" else Tf1CheckpointListener
    estimator = jobs.make_estimator(model_fn, job, save_checkpoints_steps=1, keep_checkpoint_max=0)
    for _ in range(2):
        estimator.train(jobs.input_fn, steps=2, **{how: [make(str(emitted), keep_max=0)]})
    assert jobs.listed(emitted) == [f"model.ckpt-{step}" for step in range(5)]
    assert _inodes(job) == _inodes(emitted)


def test_a_moved_directory_still_works(dirs):
    job, emitted = dirs
    wrapped = wrap_model_fn(jobs.adam_model_fn, tf1_dir=str(emitted))
    jobs.make_estimator(wrapped, job).train(jobs.input_fn, steps=1)
    moved = emitted.rename(emitted.parent / "moved")
    assert tf.train.latest_checkpoint(str(moved)) == str(moved / "model.ckpt-1")
    assert jobs.values(tf.train.latest_checkpoint(str(moved)))["global_step"] == 1


def test_a_saver_that_only_the_scaffold_has_can_be_given(dirs):
    job, emitted = dirs

    def model_fn(features, labels, mode):
        spec = jobs.adam_model_fn(features, labels, mode)
        saver = tf1.train.Saver(sharded=True)
        hook = Tf1CheckpointSaverHook(str(emitted), saver=saver)
        return spec._replace(scaffold=tf1.train.Scaffold(saver=saver), training_chief_hooks=[hook])

    jobs.make_estimator(model_fn, job).train(jobs.input_fn, steps=2)
    assert _assert_equal_at_every_step(job, emitted) == jobs.listed(job)
    assert _inodes(job) == _inodes(emitted)


def test_a_saver_that_is_not_found_is_said_and_the_hook_writes_at_its_own_pace(dirs, caplog):
    job, emitted = dirs

    def model_fn(features, labels, mode):
        spec = jobs.adam_model_fn(features, labels, mode)
        return spec._replace(scaffold=tf1.train.Scaffold(saver=tf1.train.Saver(sharded=True)))

    hook = Tf1CheckpointSaverHook(str(emitted), save_steps=2)
    jobs.make_estimator(model_fn, job).train(jobs.input_fn, steps=3, hooks=[hook])
    assert "give the hook saver=..." in caplog.text
    assert jobs.listed(emitted) == [f"model.ckpt-{n}" for n in (0, 2, 3)]
    jobs.assert_equal_values(jobs.values(emitted / "model.ckpt-3"), jobs.values(job))


def test_the_jobs_own_directory_is_refused(dirs):
    job, _ = dirs
    wrapped = wrap_model_fn(jobs.adam_model_fn, tf1_dir=str(job))
    with pytest.raises(CheckpointArgumentError, match="a directory of their own"):
        jobs.make_estimator(wrapped, job).train(jobs.input_fn, steps=1)


def test_two_paces_are_refused():
    with pytest.raises(CheckpointArgumentError, match="give one of them"):
        Tf1CheckpointSaverHook("tf1", save_steps=1, save_secs=1)
