"""One directory of TF1 checkpoints, one job."""

from __future__ import annotations

import shutil

import jobs
import pytest
import tensorflow as tf

from estimator_ckpt import Tf1CheckpointListener, wrap_model_fn
from estimator_ckpt.errors import CheckpointArgumentError
from estimator_ckpt.estimator.tf1_copies.ownership import OWNER_FILE, claim


@pytest.fixture
def job(tmp_path):
    (tmp_path / "job").mkdir()
    return tmp_path / "job"


def directory(path):
    path.mkdir(parents=True, exist_ok=True)
    return str(path)


@pytest.mark.parametrize("inside", [True, False])
def test_a_job_that_is_restarted_is_known_again(job, inside):
    emitted = job / "tf1" if inside else job.parent / "tf1"
    claim(str(emitted), str(job))
    written = (emitted / OWNER_FILE).read_bytes()
    claim(str(emitted), str(job))
    assert (emitted / OWNER_FILE).read_bytes() == written


def test_relative_paths_and_symbolic_links_name_the_same_job(job, tmp_path, monkeypatch):
    claim(str(tmp_path / "tf1"), str(job))
    (tmp_path / "link").symlink_to(job)
    claim(str(tmp_path / "tf1"), str(tmp_path / "link"))
    monkeypatch.chdir(tmp_path)
    claim("tf1", "job")


def test_another_job_is_refused_and_told_what_to_do(job, tmp_path):
    emitted = str(tmp_path / "tf1")
    claim(emitted, str(job))
    with pytest.raises(CheckpointArgumentError) as error:
        claim(emitted, directory(tmp_path / "other"))
    message = str(error.value)
    assert f"the job in '{emitted}/../job'" in message or f"the job in '{job}'" in message
    assert f"this one saves in '{tmp_path}/other'" in message
    assert f"remove '{emitted}/{OWNER_FILE}'" in message
    claim(emitted, str(job))


def test_a_job_that_was_moved_with_its_directory_is_known_again(job, tmp_path):
    claim(str(job / "tf1"), str(job))
    job.rename(tmp_path / "moved")
    directory(job)  # another job, where it was
    claim(str(tmp_path / "moved" / "tf1"), str(tmp_path / "moved"))


def test_a_job_that_was_moved_away_from_its_directory_keeps_it(job, tmp_path):
    emitted = str(tmp_path / "tf1")
    claim(emitted, str(job))
    job.rename(tmp_path / "moved")
    claim(emitted, str(tmp_path / "moved"))
    with pytest.raises(CheckpointArgumentError):
        claim(emitted, directory(job))


def test_a_copy_of_a_job_is_another_job(job, tmp_path):
    claim(str(job / "tf1"), str(job))
    claim(str(tmp_path / "tf1"), str(job))
    copy = tmp_path / "copy"
    shutil.copytree(job, copy)
    claim(str(copy / "tf1"), str(copy))  # what it has in itself was copied, too
    with pytest.raises(CheckpointArgumentError):
        claim(str(tmp_path / "tf1"), str(copy))


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'"text"', b"\xff", b'{"model_dir": 7}'])
def test_what_can_t_be_understood_is_written_anew_and_said(job, tmp_path, caplog, content):
    emitted = tmp_path / "tf1"
    emitted.mkdir()
    (emitted / OWNER_FILE).write_bytes(content)
    claim(str(emitted), str(job))
    assert f"'{emitted}/{OWNER_FILE}' can't be understood" in caplog.text
    with pytest.raises(CheckpointArgumentError):
        claim(str(emitted), directory(tmp_path / "other"))


@pytest.mark.parametrize("same", ["job", "job/", "job/../job", "link"])
def test_where_the_job_itself_saves_is_refused_under_any_name(job, tmp_path, same):
    (tmp_path / "link").symlink_to(job)
    with pytest.raises(CheckpointArgumentError, match="a directory of their own"):
        claim(f"{tmp_path}/{same}", str(job))
    assert list(job.iterdir()) == []


def test_remote_directories_have_owners_too():
    for name in ("job", "other", "tf1"):
        tf.io.gfile.makedirs(f"ram://owners/{name}")
    claim("ram://owners/tf1", "ram://owners/job")
    claim("ram://owners/tf1", "ram://owners/job/")
    with pytest.raises(CheckpointArgumentError, match=r"the job in 'ram://owners/job'"):
        claim("ram://owners/tf1", "ram://owners/other")
    tf.io.gfile.rmtree("ram://owners")


def test_a_second_job_stops_before_it_has_removed_anything(tmp_path):
    emitted = str(tmp_path / "tf1")
    for name in ("first", "first"):
        wrapped = wrap_model_fn(jobs.adam_model_fn, tf1_dir=emitted)
        jobs.make_estimator(wrapped, tmp_path / name).train(jobs.input_fn, steps=1)
    before = jobs.snapshot(emitted)
    listener = Tf1CheckpointListener(emitted)
    second = jobs.make_estimator(jobs.adam_model_fn, tmp_path / "second")
    with pytest.raises(CheckpointArgumentError, match="Give each job a directory of its own"):
        second.train(jobs.input_fn, steps=1, saving_listeners=[listener])
    assert jobs.snapshot(emitted) == before
