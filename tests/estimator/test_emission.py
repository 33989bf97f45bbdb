"""What becomes of training when TF1 checkpoints can't be emitted."""

from __future__ import annotations

import errno
import os

import jobs
import pytest
import tensorflow as tf

from estimator_ckpt import Tf1CheckpointListener, Tf1CheckpointSaverHook, convert, wrap_model_fn
from estimator_ckpt.errors import CheckpointArgumentError, CheckpointWriteError
from estimator_ckpt.estimator.saver import CheckpointSaver
from estimator_ckpt.storage import files


@pytest.fixture
def dirs(tmp_path):
    return tmp_path / "job", tmp_path / "tf1"


@pytest.fixture
def refuse_links(monkeypatch):
    """Has the file system refuse links for the checkpoints of some steps."""

    link = os.link

    def refuse(*steps):
        def refused(source, target):
            if any(f"ckpt-{step}." in source for step in steps):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            link(source, target)

        monkeypatch.setattr(os, "link", refused)

    return refuse


def emitting(emitted, how, **settings):
    """A model_fn and arguments of `train` that emit into a directory, each its own way."""
    if how == "wrapped":
        renamed = {f"tf1_{name}": value for name, value in settings.items()}
        return wrap_model_fn(jobs.adam_model_fn, tf1_dir=str(emitted), **renamed), {}
    if how == "hook":
        hook = Tf1CheckpointSaverHook(str(emitted), **settings)
        return jobs.adam_model_fn, {"hooks": [hook]}
    listener = Tf1CheckpointListener(str(emitted), **settings)
    return jobs.adam_model_fn, {"saving_listeners": [listener]}


@pytest.mark.parametrize("how", ["wrapped", "hook", "listener"])
def test_training_goes_on_and_says_what_is_missing_and_how_to_make_it(
    dirs, refuse_links, caplog, how
):
    job, emitted = dirs
    refuse_links(1, 2)
    model_fn, arguments = emitting(emitted, how)
    estimator = jobs.make_estimator(model_fn, job, save_checkpoints_steps=1)
    estimator.train(jobs.input_fn, max_steps=3, **arguments)
    assert jobs.listed(job) == [f"model.ckpt-{step}" for step in range(4)]
    assert jobs.listed(emitted) == ["model.ckpt-0", "model.ckpt-3"]
    assert "No space left on device" in caplog.text
    remedy = f"estimator-ckpt convert {job}/model.ckpt-1 {emitted}/model.ckpt-1 --to=tf1"
    assert remedy in caplog.text
    assert f"can be written to '{emitted}' again" in caplog.text
    assert f"'{emitted}' lacks model.ckpt-1, model.ckpt-2" in caplog.text
    refuse_links()
    convert(job / "model.ckpt-1", emitted / "model.ckpt-1", to="tf1", overwrite=True)


@pytest.mark.parametrize("how", ["wrapped", "hook", "listener"])
def test_what_is_still_missing_at_the_end_is_said(dirs, refuse_links, caplog, how):
    job, emitted = dirs
    refuse_links(1)
    model_fn, arguments = emitting(emitted, how)
    jobs.make_estimator(model_fn, job).train(jobs.input_fn, max_steps=1, **arguments)
    assert f"'{emitted}' lacks model.ckpt-1; " in caplog.text
    assert "--to=tf1 --all --overwrite" in caplog.text
    assert "again" not in caplog.text


@pytest.mark.parametrize("how", ["wrapped", "hook", "listener"])
def test_training_stops_if_that_is_wanted(dirs, refuse_links, how):
    job, emitted = dirs
    refuse_links(1)
    model_fn, arguments = emitting(emitted, how, on_error="stop")
    with pytest.raises(CheckpointWriteError, match="No space left on device"):
        jobs.make_estimator(model_fn, job).train(jobs.input_fn, max_steps=1, **arguments)
    assert jobs.listed(job) == ["model.ckpt-0", "model.ckpt-1"]
    assert jobs.listed(emitted) == ["model.ckpt-0"]


def test_the_job_s_own_save_stops_training(tmp_path, monkeypatch):
    rename = files.rename

    def refused(source, target):
        if target.endswith("ckpt-1.index"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        rename(source, target)

    monkeypatch.setattr(files, "rename", refused)
    estimator = jobs.make_estimator(wrap_model_fn(jobs.adam_model_fn), tmp_path)
    with pytest.raises(CheckpointWriteError, match="Input/output error"):
        estimator.train(jobs.input_fn, max_steps=1)
    assert jobs.listed(tmp_path) == ["model.ckpt-0"]
    assert jobs.values(tmp_path)["global_step"] == 0


def test_an_emission_of_its_own_that_fails_can_t_be_made_later(dirs, monkeypatch, caplog):
    job, emitted = dirs
    rename = files.rename

    def refused(source, target):
        if target == f"{emitted}/model.ckpt-2.index":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        rename(source, target)

    monkeypatch.setattr(files, "rename", refused)
    hook = Tf1CheckpointSaverHook(str(emitted), save_steps=2)
    estimator = jobs.make_estimator(jobs.adam_model_fn, job)
    estimator.train(jobs.input_fn, max_steps=5, hooks=[hook])
    assert "it can't be made later" in caplog.text
    assert jobs.listed(emitted) == [f"model.ckpt-{step}" for step in (0, 4, 5)]


@pytest.mark.parametrize("kind", [tf.errors.AbortedError, tf.errors.UnavailableError])
def test_a_lost_session_is_for_tensorflow_to_recover(dirs, monkeypatch, kind):
    job, emitted = dirs
    write = CheckpointSaver.write
    lost = []

    def aborted(saver, session, prefix, snapshot=None):
        if prefix.startswith(str(emitted)) and not lost:
            lost.append(prefix)
            raise kind(None, None, "the parameter server is gone")
        write(saver, session, prefix, snapshot)

    monkeypatch.setattr(CheckpointSaver, "write", aborted)
    hook = Tf1CheckpointSaverHook(str(emitted), save_steps=2)
    estimator = jobs.make_estimator(wrap_model_fn(jobs.adam_model_fn), job)
    estimator.train(jobs.same_batch_input_fn, max_steps=5, hooks=[hook])
    assert len(lost) == 1
    assert jobs.listed(emitted)[-1] == "model.ckpt-5"  # in a new session, from the last checkpoint


def test_copies_in_place_of_links_are_said(dirs, monkeypatch, caplog):
    job, emitted = dirs

    def refused(source, target):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "link", refused)
    wrapped = wrap_model_fn(jobs.adam_model_fn, tf1_dir=str(emitted))
    jobs.make_estimator(wrapped, job).train(jobs.input_fn, max_steps=1)
    assert jobs.listed(emitted) == ["model.ckpt-0", "model.ckpt-1"]
    assert caplog.text.count(f"no hard links from '{job}' to '{emitted}'") == 1


@pytest.mark.parametrize("make", [Tf1CheckpointSaverHook, Tf1CheckpointListener])
def test_other_wishes_are_refused(make):
    with pytest.raises(CheckpointArgumentError, match="on_error='ignore'"):
        make("tf1", on_error="ignore")


def test_other_wishes_are_refused_before_anything_is_built():
    with pytest.raises(CheckpointArgumentError, match="tf1_on_error='ignore'"):
        wrap_model_fn(jobs.adam_model_fn, tf1_on_error="ignore")
    with pytest.raises(CheckpointArgumentError, match="tf1_on_error='ignore'"):
        wrap_model_fn(tf1_on_error="ignore")


@pytest.mark.parametrize("sync_data", [False, True])
def test_tensors_are_flushed_before_the_checkpoint_appears_if_that_is_wanted(
    tmp_path, monkeypatch, sync_data
):
    flushed = []
    sync = files.sync

    def watched(path):
        sync(path)
        flushed.append((os.path.basename(path), os.path.exists(tmp_path / "model.ckpt-1.index")))

    monkeypatch.setattr(files, "sync", watched)
    wrapped = wrap_model_fn(jobs.adam_model_fn, sync_data=sync_data)
    jobs.make_estimator(wrapped, tmp_path).train(jobs.input_fn, max_steps=1)
    shard = ("model.ckpt-1.data-00000-of-00001", False)
    assert (shard in flushed) == sync_data
    assert ("checkpoint", True) in flushed


@pytest.mark.parametrize("settings", [{}, {"checkpoint_format": "tf2"}, {"async_save": True}])
def test_a_save_reads_the_index_that_tensorflow_wrote_and_no_other(dirs, monkeypatch, settings):
    read = files.read
    indices = []

    def noted(path, *arguments, **options):
        if path.endswith(".index"):
            indices.append(path)
        return read(path, *arguments, **options)

    class BeginsToCount(tf.compat.v1.train.CheckpointSaverListener):
        def before_save(self, session, global_step_value):
            if global_step_value == 3:
                monkeypatch.setattr(files, "read", noted)

    job, emitted = dirs
    wrapped = wrap_model_fn(jobs.adam_model_fn, tf1_dir=str(emitted), **settings)
    jobs.make_estimator(wrapped, job, save_checkpoints_steps=1).train(
        jobs.input_fn, max_steps=3, saving_listeners=[BeginsToCount()]
    )
    assert jobs.listed(emitted)[-1] == "model.ckpt-3"
    # What is saved in the background is written from memory, and its index made there.
    assert len(indices) == (0 if settings.get("async_save") else 1), indices
