"""Readers that have a checkpoint open when its step is saved again, as after each restart."""

from __future__ import annotations

import os
import shutil

import jobs
import numpy as np
import pytest
import tensorflow as tf

from estimator_ckpt import wrap_model_fn
from estimator_ckpt.errors import DamagedCheckpointError
from estimator_ckpt.operations.doctor import doctor

tf1 = tf.compat.v1
NAME = "model.ckpt-2"


@pytest.fixture
def job(tmp_path):
    """A model_dir with a TF1 directory, after two steps."""
    train(tmp_path / "job", 2)
    return tmp_path / "job"


def train(job, steps, hooks=(), **settings):
    wrapped = wrap_model_fn(jobs.adam_model_fn, tf1_dir=str(job / "tf1"), **settings)
    estimator = jobs.make_estimator(wrapped, job, save_checkpoints_steps=2)
    estimator.train(jobs.input_fn, steps=steps, hooks=list(hooks))


class ChangeOnce(tf1.train.CheckpointSaverListener):
    """Changes a variable before the first save, so that the step is saved with another value."""

    def begin(self):
        (variable,) = (each for each in tf1.global_variables() if each.op.name == "layer/b")
        self._changes = [variable.assign_add([1.0, 1.0, 1.0])]

    def before_save(self, session, step):
        while self._changes:
            session.run(self._changes.pop())


def files_of(directory):
    return {
        name: (os.stat(directory / name).st_ino, (directory / name).read_bytes())
        for name in os.listdir(directory)
        if name.startswith(NAME + ".") and not name.endswith(".meta")
    }


def open_readers(job):
    """Readers that have read the index and no data yet, with the values that they have to find."""
    prefixes = [str(directory / NAME) for directory in (job, job / "tf1")]
    return [(tf.train.load_checkpoint(prefix), jobs.values(prefix)) for prefix in prefixes]


def read_on(readers):
    for reader, values in readers:
        found = {name: reader.get_tensor(name) for name in values}
        jobs.assert_equal_values(found, values)


@pytest.mark.parametrize("async_save", [False, True])
def test_what_is_there_unchanged_is_not_saved_again(job, async_save):
    before = [files_of(directory) for directory in (job, job / "tf1")]
    readers = open_readers(job)
    train(job, 2, async_save=async_save)
    assert [files_of(directory) for directory in (job, job / "tf1")] == before
    read_on(readers)


@pytest.mark.parametrize("async_save", [False, True])
def test_who_has_the_old_index_open_reads_on(job, async_save):
    values = jobs.values(job / NAME)["layer/b"]
    readers = open_readers(job)
    late = open_readers(job)
    read = []

    class ReadOn(tf1.train.SessionRunHook):
        def after_run(self, run_context, run_values):
            if not read:  # the step may be saved again by now, and the next one is not yet
                read.append(read_on(readers))

    train(job, 2, [ReadOn()], async_save=async_save, saving_listeners=[ChangeOnce()])
    assert read
    for directory in (job, job / "tf1"):
        np.testing.assert_allclose(jobs.values(directory / NAME)["layer/b"], values + 1)
        # In bounded room: the next save removed what was replaced.
        assert len(list(directory.glob(f"{NAME}.data-*"))) == 2
        assert doctor(directory).healthy
    for reader, _ in late:  # those that wait until then get an error, and no other values
        with pytest.raises((tf.errors.OpError, ValueError)):
            reader.get_tensor("layer/b")


def test_doctor_says_what_lies_there_after_a_save_that_replaced_one(job):
    train(job, 2, [Stop()], saving_listeners=[ChangeOnce()])
    for directory in (job, job / "tf1"):
        replaced = f"{NAME}.data-00000-of-00001"
        assert (directory / replaced).exists()
        diagnosis = doctor(directory)
        assert diagnosis.healthy
        (note,) = (each for each in diagnosis.findings if each.subject == replaced)
        assert note.severity == "note"
        assert "saved again since" in note.problem


class Stop(tf1.train.SessionRunHook):
    """Ends the job before its first step, as a kill would."""

    def before_run(self, run_context):
        run_context.request_stop()
        raise tf.errors.OutOfRangeError(None, None, "there is no more input")


@pytest.mark.parametrize("wraps", [True, False])
def test_a_job_goes_on_from_a_raw_save_that_was_killed_between_data_and_index(job, tmp_path, wraps):
    raw = shutil.copytree(job, tmp_path / "raw")
    jobs.make_estimator(jobs.adam_model_fn, raw).train(jobs.input_fn, steps=1)
    # TensorFlow renames the data file, then writes the index. The data has no object graph.
    data = f"{NAME}.data-00000-of-00001"
    shutil.copy(raw / data, job / data)
    assert any(each.severity == "error" for each in doctor(job).findings)  # tf2 can't read it
    if wraps:
        train(job, 2)
    else:
        estimator = jobs.make_estimator(jobs.adam_model_fn, job)
        estimator.train(jobs.input_fn, steps=2)
    assert doctor(job).healthy
    straight = tmp_path / "straight"
    train(straight, 2)
    train(straight, 2)
    jobs.assert_equal_values(jobs.values(job), jobs.values(straight))


@pytest.mark.parametrize("size", [195, 0])
def test_a_job_is_refused_whose_variables_are_cut_short(job, size):
    os.truncate(job / f"{NAME}.data-00000-of-00001", size)
    with pytest.raises(DamagedCheckpointError, match="it was cut short"):
        train(job, 2)


@pytest.mark.parametrize("options", [{}, {"checkpoint_format": "tf2"}, {"async_save": True}])
def test_what_is_emitted_of_a_step_that_is_saved_again_has_its_values(job, options):
    train(job, 2, saving_listeners=[ChangeOnce()], **options)
    saved, emitted = (jobs.values(directory / NAME) for directory in (job, job / "tf1"))
    named = {name.partition("/.ATTR")[0].rpartition("var_list/")[2]: v for name, v in saved.items()}
    np.testing.assert_array_equal(emitted["layer/b"], named.get("layer/b", named.get("layer.Sb")))
    assert doctor(job / "tf1").healthy
