"""What a killed run has left undone in the TF1 directory, and what the next one does about it."""

from __future__ import annotations

import os
import shutil

import jobs
import pytest
import tensorflow as tf

from estimator_ckpt import Tf1CheckpointSaverHook, convert, wrap_model_fn
from estimator_ckpt.checkpoint.opening import read_state, write_state
from estimator_ckpt.estimator.tf1_copies import retention
from estimator_ckpt.estimator.tf1_copies.retention import CheckpointDirectory, Retention
from estimator_ckpt.operations.doctor import doctor

tf1 = tf.compat.v1


def later_model_fn(features, labels, mode):
    """Goes on a step later than it has saved, as a chief does whose parameter servers go on."""
    spec = jobs.adam_model_fn(features, labels, mode)
    step = tf1.train.get_global_step()
    local = tf.group(tf1.train.Scaffold.default_local_init_op(), step.assign_add(1))
    return spec._replace(scaffold=tf1.train.Scaffold(local_init_op=local))


@pytest.fixture
def dirs(tmp_path):
    return tmp_path / "job", tmp_path / "job" / "tf1"


def train(job, max_steps, keep=5, model_fn=later_model_fn, **settings):
    wrapped = wrap_model_fn(model_fn, tf1_dir=str(job / "tf1"), **settings)
    estimator = jobs.make_estimator(
        wrapped, job, save_checkpoints_steps=2, keep_checkpoint_max=keep
    )
    estimator.train(jobs.input_fn, max_steps=max_steps)
    return jobs.listed(job)


def unlist(directory, *names):
    """Takes checkpoints out of the state file, as if the run had been killed before it."""
    _, listed = read_state(str(directory))
    kept = [each for each in listed if os.path.basename(each) not in names]
    write_state(str(directory), kept[-1], kept)


def remove(directory, *names):
    for name in names:
        for path in directory.glob(f"{name}.*"):
            path.unlink()


def indexes(directory):
    return sorted(path.stem for path in directory.glob("*.index"))


def assert_equal(job, emitted, names):
    assert jobs.listed(emitted) == names
    assert indexes(emitted) == sorted(names)
    for name in names:
        jobs.assert_equal_values(jobs.values(emitted / name), jobs.values(job / name))
    assert doctor(emitted).healthy


@pytest.mark.parametrize("async_save", [False, True])
def test_what_was_saved_and_not_emitted_is_linked_and_said(dirs, caplog, async_save):
    job, emitted = dirs
    *_, last = train(job, 5)
    unlist(emitted, last)
    remove(emitted, last)
    names = train(job, 9, async_save=async_save)
    assert last in names
    assert_equal(job, emitted, names)
    assert f"'{emitted}' now gets {last}, which an earlier run has saved" in caplog.text
    assert (emitted / f"{last}.data-00000-of-00001").stat().st_nlink == 2


def test_what_was_emitted_and_not_listed_is_listed_and_said(dirs, caplog):
    job, emitted = dirs
    *_, last = train(job, 5)
    unlist(emitted, last)
    before = (emitted / f"{last}.index").stat().st_ino
    names = train(job, 9)
    assert_equal(job, emitted, names)
    assert (emitted / f"{last}.index").stat().st_ino == before
    assert f"'{emitted}' now lists {last}, which an earlier run has put there" in caplog.text


def test_what_was_not_listed_is_removed_in_its_turn(dirs):
    """Also where the job itself has removed it by then, as one does that keeps one checkpoint."""
    job, emitted = dirs
    (last,) = train(job, 5, keep=1)
    unlist_all = emitted / "checkpoint"
    unlist_all.unlink()
    (newest,) = train(job, 9, keep=1)
    assert newest != last
    assert_equal(job, emitted, [newest])


def test_what_would_not_be_kept_is_not_linked(dirs):
    job, emitted = dirs
    hook = Tf1CheckpointSaverHook(str(emitted), keep_max=2)
    wrapped = wrap_model_fn(jobs.adam_model_fn)
    estimator = jobs.make_estimator(wrapped, job, save_checkpoints_steps=2)
    estimator.train(jobs.input_fn, steps=6)
    estimator.train(jobs.input_fn, steps=2, hooks=[hook])
    assert jobs.listed(job) == [f"model.ckpt-{step}" for step in (0, 2, 4, 6, 8)]
    assert_equal(job, emitted, ["model.ckpt-6", "model.ckpt-8"])


def test_a_directory_that_begins_late_gets_what_the_job_has(dirs):
    job, emitted = dirs
    jobs.make_estimator(jobs.adam_model_fn, job, save_checkpoints_steps=2).train(
        jobs.input_fn, steps=6
    )
    names = train(job, 8, model_fn=jobs.adam_model_fn)
    assert_equal(job, emitted, names)


def test_a_hook_of_its_own_pace_links_nothing_that_is_not_of_it(dirs):
    job, emitted = dirs
    estimator = jobs.make_estimator(jobs.adam_model_fn, job, save_checkpoints_steps=1)
    estimator.train(jobs.input_fn, steps=3)
    hook = Tf1CheckpointSaverHook(str(emitted), save_steps=2)
    estimator.train(jobs.input_fn, steps=3, hooks=[hook])
    assert jobs.listed(emitted) == [f"model.ckpt-{step}" for step in (3, 5, 6)]


def test_what_others_put_there_stays_and_is_said(dirs, caplog):
    job, emitted = dirs
    train(job, 5, keep=2)
    convert(job, emitted / "mine-1", to="tf1")
    convert(job, emitted / "model.ckpt-0", to="tf1")  # older than what is listed
    names = train(job, 11, keep=2)
    assert jobs.listed(emitted) == names
    assert indexes(emitted) == sorted([*names, "mine-1", "model.ckpt-0"])
    assert f"In '{emitted}' lies model.ckpt-0, mine-1, which is not listed" in caplog.text


def test_what_was_there_before_the_job_is_nobody_s_to_remove(dirs):
    job, emitted = dirs
    other = emitted.parent.parent / "other"
    train(other, 1)
    emitted.mkdir(parents=True)
    convert(other, emitted / "model.ckpt-2", to="tf1")  # no step of this job
    names = train(job, 9, keep=1)
    assert jobs.listed(emitted) == names
    assert indexes(emitted) == sorted([*names, "model.ckpt-2"])


def test_what_can_t_be_made_is_said_and_training_goes_on(dirs, caplog):
    job, emitted = dirs
    *_, last = train(job, 5)
    unlist(emitted, last)
    remove(emitted, last)
    os.truncate(next(job.glob("model.ckpt-3.data-*")), 10)
    names = train(job, 7)
    assert jobs.listed(emitted)[-1] == names[-1]
    shutil.rmtree(emitted)
    names = train(job, 9)
    assert f"'model.ckpt-3' can't be put into '{emitted}'" in caplog.text
    assert jobs.listed(emitted) == [name for name in names if name != "model.ckpt-3"]


class Killed(BaseException):
    """In place of a kill."""


def test_what_a_killed_run_was_about_to_remove_is_removed(dirs, monkeypatch):
    job, emitted = dirs
    train(job, 3, keep=2)
    with monkeypatch.context() as patch:

        def killed(prefix):
            raise Killed

        patch.setattr(retention, "_try_to_remove", killed)
        with pytest.raises(Killed):
            train(job, 9, keep=2)
    assert len(indexes(emitted)) == 3
    assert len(jobs.listed(emitted)) == 2  # the state file comes first
    assert tf.train.latest_checkpoint(str(emitted))  # which plain TensorFlow reads
    names = train(job, 13, keep=2)
    assert_equal(job, emitted, names)


def test_a_directory_that_is_removed_while_the_job_runs_is_made_anew(dirs, caplog):
    job, emitted = dirs

    class Removes(tf1.train.SessionRunHook):
        def after_run(self, run_context, run_values):
            if emitted.exists() and not removed:
                removed.append(shutil.rmtree(emitted))

    removed = []
    wrapped = wrap_model_fn(jobs.adam_model_fn, tf1_dir=str(emitted))
    estimator = jobs.make_estimator(wrapped, job, save_checkpoints_steps=2)
    estimator.train(jobs.input_fn, steps=4, hooks=[Removes()])
    assert removed
    assert f"'{emitted}' was removed; it is made anew" in caplog.text
    assert_equal(job, emitted, jobs.listed(job))


def test_a_job_whose_directory_another_one_has_claimed_trains_on_and_removes_nothing(
    dirs, caplog, tmp_path
):
    job, emitted = dirs
    shutil_copy = tmp_path / "other"

    class AnotherJob(tf1.train.SessionRunHook):
        def after_run(self, run_context, run_values):
            if not taken:
                wrapped = wrap_model_fn(
                    jobs.adam_model_fn, tf1_dir=str(emitted), tf1_take_over=True
                )
                with tf.Graph().as_default():
                    jobs.make_estimator(wrapped, shutil_copy).train(jobs.input_fn, steps=1)
                taken.append(jobs.snapshot(emitted))

    taken = []
    wrapped = wrap_model_fn(jobs.adam_model_fn, tf1_dir=str(emitted))
    estimator = jobs.make_estimator(wrapped, job, save_checkpoints_steps=1, keep_checkpoint_max=1)
    estimator.train(jobs.input_fn, steps=4, hooks=[AnotherJob()])
    assert jobs.listed(job) == ["model.ckpt-4"]
    assert jobs.snapshot(emitted) == taken[0]
    assert f"another job has claimed '{emitted}' since, from '{shutil_copy}'" in caplog.text
    assert f"'{emitted}' lacks" in caplog.text


@pytest.mark.parametrize("spelling", ["../victim/model.ckpt-10", "{absolute}", "sub/model.ckpt-10"])
@pytest.mark.parametrize("where", ["listed", "latest", "not kept"])
def test_only_what_lies_in_the_directory_is_removed(tmp_path, caplog, spelling, where):
    directory, victim = tmp_path / "tf1", tmp_path / "victim"
    if spelling.startswith("sub"):
        victim = directory / "sub"
    source = tmp_path / "source"
    jobs.make_estimator(jobs.adam_model_fn, source).train(jobs.input_fn, steps=1)
    for folder, name in ((victim, "model.ckpt-10"), (directory, "model.ckpt-11")):
        convert(source, folder / name, to="tf1")
    named = spelling.format(absolute=victim / "model.ckpt-10")
    state = f'model_checkpoint_path: "{named if where == "latest" else "model.ckpt-11"}"\n'
    if where == "not kept":
        state = f'# not kept: ["{named}", 7, "..", ""]\n# not kept: [\n' + state
    else:
        state += f'all_model_checkpoint_paths: "{named}"\n'
    (directory / "checkpoint").write_text(state)
    before = jobs.snapshot(victim)
    kept = CheckpointDirectory(str(directory), Retention(keep_max=1))
    for step in (12, 13):
        convert(source, directory / f"model.ckpt-{step}", to="tf1")
        kept.add(str(directory / f"model.ckpt-{step}"))
    assert jobs.snapshot(victim) == before
    assert jobs.listed(directory) == ["model.ckpt-13"]
    assert ("which does not lie there" in caplog.text) == (where != "not kept")


def test_a_directory_that_was_moved_keeps_what_its_state_file_names_by_the_old_path(tmp_path):
    source, old = tmp_path / "source", tmp_path / "old"
    jobs.make_estimator(jobs.adam_model_fn, source).train(jobs.input_fn, steps=1)
    convert(source, old / "model.ckpt-1", to="tf1")
    path = old / "model.ckpt-1"
    (old / "checkpoint").write_text(
        f'model_checkpoint_path: "{path}"\nall_model_checkpoint_paths: "{path}"\n'
    )
    moved = old.rename(tmp_path / "moved")
    assert CheckpointDirectory(str(moved), Retention()).names == ["model.ckpt-1"]


def test_what_is_put_there_again_after_its_removal_is_not_removed_for_that(tmp_path):
    source, directory = tmp_path / "source", tmp_path / "tf1"
    jobs.make_estimator(jobs.adam_model_fn, source).train(jobs.input_fn, steps=1)
    kept = CheckpointDirectory(str(directory), Retention(keep_max=1))
    for step in (1, 2):
        convert(source, directory / f"model.ckpt-{step}", to="tf1")
        kept.add(str(directory / f"model.ckpt-{step}"))
    assert indexes(directory) == ["model.ckpt-2"]
    assert 'not kept: ["model.ckpt-1"]' in (directory / "checkpoint").read_text()
    convert(source, directory / "model.ckpt-1", to="tf1")
    os.utime(directory / "checkpoint", (1, 1))
    convert(source, directory / "model.ckpt-3", to="tf1")
    CheckpointDirectory(str(directory), Retention(keep_max=1)).add(str(directory / "model.ckpt-3"))
    assert indexes(directory) == ["model.ckpt-1", "model.ckpt-3"]
