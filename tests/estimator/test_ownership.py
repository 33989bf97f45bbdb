"""One directory of TF1 checkpoints, one job."""

from __future__ import annotations

import json
import shutil

import jobs
import pytest
import tensorflow as tf

from estimator_ckpt import Tf1CheckpointListener, wrap_model_fn
from estimator_ckpt.errors import CheckpointArgumentError, CheckpointWriteError
from estimator_ckpt.estimator.tf1_copies import ownership
from estimator_ckpt.estimator.tf1_copies.ownership import (
    IDENTITY_FILE,
    OWNER_FILE,
    claim,
    renew,
)


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
    written = json.loads((emitted / OWNER_FILE).read_bytes())
    identity = (job / IDENTITY_FILE).read_bytes()
    claim(str(emitted), str(job))
    again = json.loads((emitted / OWNER_FILE).read_bytes())
    assert again.pop("run") != written.pop("run")
    assert again == written
    assert (job / IDENTITY_FILE).read_bytes() == identity


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
    assert "is another one" in message
    assert "Which of them is to have the directory?" in message
    assert "tf1_take_over=True (--tf1_take_over;" in message
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
    with pytest.raises(CheckpointArgumentError, match=r"is a copy of it: .* Which of them"):
        claim(str(tmp_path / "tf1"), str(copy))
    # What it has in itself was copied, too; they share nothing.
    copied = claim(str(copy / "tf1"), str(copy))
    assert copied.is_known
    assert copied.job != claim(str(job / "tf1"), str(job)).job
    assert renew(copied)


@pytest.mark.parametrize("inside", [True, False])
def test_a_copy_that_is_killed_when_it_gets_an_identity_has_its_directory(
    tmp_path, monkeypatch, inside
):
    below = "job/tf1" if inside else "tf1"
    original, copy = tmp_path / "original", tmp_path / "copy"
    directory(original / "job")
    claim(str(original / below), str(original / "job"))
    shutil.copytree(original, copy)
    with monkeypatch.context() as patch:

        def killed(claimed):
            raise KeyboardInterrupt

        patch.setattr(ownership, "_write_owner", killed)
        with pytest.raises(KeyboardInterrupt):
            claim(str(copy / below), str(copy / "job"))
    copied = claim(str(copy / below), str(copy / "job"))
    assert copied.job != claim(str(original / below), str(original / "job")).job
    assert claim(str(copy / below), str(copy / "job")).job == copied.job
    with pytest.raises(CheckpointArgumentError):  # it has no claim to the other's for that
        claim(str(original / below), str(copy / "job"))


def test_a_copy_gets_the_directory_if_it_is_told_to_take_it(job, tmp_path):
    emitted = str(tmp_path / "tf1")
    first = claim(emitted, str(job))
    copy = str(shutil.copytree(job, tmp_path / "copy"))
    second = claim(emitted, copy, take_over=True)
    assert renew(second)
    with pytest.raises(CheckpointWriteError, match=f"from '{copy}', so nothing of '{job}'"):
        renew(first)
    # The copy has it for good, and the question is now for the first.
    claim(emitted, copy)
    with pytest.raises(CheckpointArgumentError, match="is a copy of it"):
        claim(emitted, str(job))


def test_another_job_under_the_same_path_is_refused(job, tmp_path):
    """As two containers see it, each with a directory of its own under one path."""
    emitted = str(tmp_path / "tf1")
    first = claim(emitted, str(job))
    job.rename(tmp_path / "of the first container")
    directory(job)
    for _ in range(2):
        with pytest.raises(CheckpointArgumentError, match="is another one"):
            claim(emitted, str(job))
    second = claim(emitted, str(job), take_over=True)
    assert second.job != first.job
    with pytest.raises(CheckpointWriteError, match="another job has claimed"):
        renew(first)


def test_two_runs_of_one_job_are_told_apart(job, tmp_path):
    """Or of a job and its copy, where neither sees the other's model_dir."""
    emitted = str(tmp_path / "tf1")
    first = claim(emitted, str(job))
    second = claim(emitted, str(job))
    with pytest.raises(CheckpointWriteError, match="another run of this job has claimed"):
        renew(first)
    assert renew(second)


def test_a_directory_that_was_removed_is_claimed_anew_unless_another_was_faster(job, tmp_path):
    emitted = tmp_path / "tf1"
    claimed = claim(str(emitted), str(job))
    shutil.rmtree(emitted)
    assert not renew(claimed)
    assert renew(claimed)
    shutil.rmtree(emitted)
    claim(str(emitted), directory(tmp_path / "other"))
    with pytest.raises(CheckpointWriteError, match="another job has claimed"):
        renew(claimed)


@pytest.mark.parametrize("moved", [True, False])
def test_a_directory_from_before_jobs_had_identities_is_known_by_its_place(job, tmp_path, moved):
    emitted = tmp_path / "tf1"
    emitted.mkdir()
    (emitted / OWNER_FILE).write_text(json.dumps({"model_dir": str(job), "from_here": "../job"}))
    with pytest.raises(CheckpointArgumentError):
        claim(str(emitted), directory(tmp_path / "other"))
    if moved:
        job = job.rename(tmp_path / "moved")
    claimed = claim(str(emitted), str(job))
    assert claimed.is_known
    assert json.loads((emitted / OWNER_FILE).read_text())["job"] == claimed.job


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
    with pytest.raises(CheckpointArgumentError, match=r"the job in 'ram://owners/job/'"):
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
    with pytest.raises(CheckpointArgumentError, match="give this one a directory of its own"):
        second.train(jobs.input_fn, steps=1, saving_listeners=[listener])
    assert jobs.snapshot(emitted) == before
