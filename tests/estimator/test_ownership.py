"""One directory of TF1 checkpoints, one job."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import jobs
import pytest
import tensorflow as tf

from estimator_ckpt import Tf1CheckpointListener, wrap_model_fn
from estimator_ckpt.checkpoint import ownership
from estimator_ckpt.checkpoint.ownership import (
    IDENTITY_FILE,
    OWNER_FILE,
    claim,
    renew,
)
from estimator_ckpt.errors import CheckpointArgumentError, CheckpointWriteError


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
    with pytest.raises(CheckpointArgumentError, match=r"the job in 'ram://owners/job'"):
        claim("ram://owners/tf1", "ram://owners/other")
    tf.io.gfile.rmtree("ram://owners")


LAYOUTS = {"inside": ("job", "job/tf1"), "beside": ("job", "tf1"), "far": ("a/b/job", "x/tf1")}
COPIES = {
    "cp -a": lambda source, target: subprocess.check_call(["cp", "-a", source, target]),
    "cp -rL": lambda source, target: subprocess.check_call(["cp", "-rL", source, target]),
    "tar": lambda source, target: subprocess.check_call(
        f"mkdir '{target}' && tar -C '{source}' -c . | tar -C '{target}' -x", shell=True
    ),
    "rsync": lambda source, target: subprocess.check_call(["rsync", "-a", f"{source}/", target]),
}


def forget(emitted, *fields):
    """Makes the owner's file one of an earlier version."""
    path = os.path.join(emitted, OWNER_FILE)
    with tf.io.gfile.GFile(path) as file:
        found = json.loads(file.read())
    for field in fields:
        found.pop(field, None)
    tf.io.gfile.remove(path)
    with tf.io.gfile.GFile(path, "w") as file:
        file.write(json.dumps(found))


@pytest.fixture(params=LAYOUTS)
def layout(request):
    return LAYOUTS[request.param]


@pytest.fixture(params=["local", "ram"])
def root(request, tmp_path):
    """Where a bucket, or a folder, can be copied to another one."""
    if request.param == "local":
        yield str(tmp_path)
        return
    yield f"ram://owners/{tmp_path.name}"
    tf.io.gfile.rmtree(f"ram://owners/{tmp_path.name}")


def copied(source, target):
    """Copies a folder, wherever it is."""
    for folder, _, names in tf.io.gfile.walk(source):
        below = target + folder.rstrip("/")[len(source) :]
        tf.io.gfile.makedirs(below)
        for name in names:
            tf.io.gfile.copy(os.path.join(folder, name), os.path.join(below, name))


def pair(folder, layout):
    return tuple(f"{folder}/{below}" for below in layout)


def claimed_pair(folder, layout):
    """A job that has a directory: (model_dir, directory)."""
    model_dir, emitted = pair(folder, layout)
    tf.io.gfile.makedirs(model_dir)
    claim(emitted, model_dir)
    return model_dir, emitted


@pytest.mark.parametrize("fields", [(), ("directory",), ("directory", "from_here")])
def test_a_bucket_or_folder_that_was_copied_is_known_as_a_copy(root, layout, fields):
    model_dir, emitted = claimed_pair(f"{root}/old", layout)
    forget(emitted, *fields)
    copied(f"{root}/old", f"{root}/new")
    new_dir, new_emitted = pair(f"{root}/new", layout)
    new = claim(new_emitted, new_dir)
    old = claim(emitted, model_dir)
    assert new.is_known and old.is_known and new.job != old.job
    assert renew(new) and renew(old)
    assert claim(new_emitted, new_dir).job == new.job
    for one, other in ((model_dir, new_emitted), (new_dir, emitted)):
        with pytest.raises(CheckpointArgumentError, match="tf1_take_over=True"):
            claim(other, one)


def test_a_copy_to_other_places_is_known_as_a_copy(root):
    model_dir, emitted = claimed_pair(f"{root}/old", LAYOUTS["inside"])
    copied(model_dir, f"{root}/new/deep/job")
    copied(emitted, f"{root}/elsewhere")
    assert claim(f"{root}/elsewhere", f"{root}/new/deep/job").job != claim(emitted, model_dir).job


def test_a_bucket_that_was_moved_is_the_same_job(root, layout):
    model_dir, emitted = claimed_pair(f"{root}/old", layout)
    before = claim(emitted, model_dir).job
    copied(f"{root}/old", f"{root}/new")
    tf.io.gfile.rmtree(f"{root}/old")
    new_dir, new_emitted = pair(f"{root}/new", layout)
    assert claim(new_emitted, new_dir).job == before


def test_a_copy_from_a_store_to_the_disk_and_back_is_known_as_a_copy(tmp_path, layout):
    bucket = f"ram://owners/{tmp_path.name}"
    first = claimed_pair(f"{bucket}/old", layout)
    copied(f"{bucket}/old", f"{tmp_path}/disk")
    disk = pair(f"{tmp_path}/disk", layout)
    jobs_seen = [claim(disk[1], disk[0]).job]
    copied(f"{tmp_path}/disk", f"{bucket}/again")
    again = pair(f"{bucket}/again", layout)
    jobs_seen += [claim(again[1], again[0]).job, claim(first[1], first[0]).job]
    assert len(set(jobs_seen)) == 3
    tf.io.gfile.rmtree(bucket)


@pytest.mark.parametrize("tool", COPIES)
def test_whatever_copies_a_job_the_copy_has_its_directory(tmp_path, layout, tool):
    if shutil.which(tool.split()[0]) is None:
        pytest.skip(f"{tool.split()[0]} is not installed")
    model_dir, emitted = claimed_pair(f"{tmp_path}/old", layout)
    COPIES[tool](f"{tmp_path}/old", f"{tmp_path}/new")
    (tmp_path / "new").rename(tmp_path / "renamed")
    new_dir, new_emitted = pair(f"{tmp_path}/renamed", layout)
    assert claim(new_emitted, new_dir).job != claim(emitted, model_dir).job


def test_a_copy_of_the_model_dir_alone_is_asked_whose_the_directory_is(root):
    model_dir, emitted = claimed_pair(f"{root}/old", LAYOUTS["beside"])
    copied(model_dir, f"{root}/old/copy")
    for _ in range(2):
        with pytest.raises(CheckpointArgumentError, match="is a copy of it"):
            claim(emitted, f"{root}/old/copy")
    assert claim(emitted, f"{root}/old/copy", take_over=True).is_known


def test_a_copy_of_the_directory_alone_is_the_job_s_own(root):
    model_dir, emitted = claimed_pair(f"{root}/old", LAYOUTS["beside"])
    copied(emitted, f"{root}/new/tf1")
    tf.io.gfile.makedirs(f"{root}/new/job")
    with pytest.raises(CheckpointArgumentError, match="is another one"):
        claim(f"{root}/new/tf1", f"{root}/new/job")
    assert claim(f"{root}/new/tf1", model_dir).job == claim(emitted, model_dir).job


def test_the_first_job_does_not_get_the_directory_of_its_copy(root, layout):
    model_dir, _ = claimed_pair(f"{root}/old", layout)
    copied(f"{root}/old", f"{root}/new")
    with pytest.raises(CheckpointArgumentError, match="tf1_take_over=True"):
        claim(pair(f"{root}/new", layout)[1], model_dir)


def test_a_directory_that_was_moved_away_from_its_job_is_not_a_copys(root):
    """The job may be about to be told the new place."""
    _, emitted = claimed_pair(f"{root}/old", LAYOUTS["beside"])
    copied(f"{root}/old", f"{root}/new")
    tf.io.gfile.rmtree(emitted)
    copied(f"{root}/new/tf1", f"{root}/far/away/tf1")
    with pytest.raises(CheckpointArgumentError, match="is a copy of it"):
        claim(f"{root}/far/away/tf1", f"{root}/new/job")


def test_a_job_whose_first_place_can_t_be_reached_is_asked_and_knows_why(tmp_path, caplog):
    model_dir, emitted = claimed_pair(str(tmp_path), LAYOUTS["beside"])
    path = tmp_path / "tf1" / OWNER_FILE
    found = json.loads(path.read_text())
    found.update(model_dir="nosuch://bucket/job", directory="nosuch://bucket/tf1")
    path.write_text(json.dumps(found))
    assert claim(emitted, model_dir).is_known  # it lies where the directory has it beside itself
    found.pop("from_here")
    path.write_text(json.dumps(found))
    with pytest.raises(CheckpointArgumentError, match="tf1_take_over=True"):
        claim(emitted, model_dir)
    assert "'nosuch://bucket/job', where this job or another one was, can't be reached" in (
        caplog.text
    )
    assert claim(emitted, model_dir, take_over=True).is_known


@pytest.mark.slow
@pytest.mark.parametrize("inside", [True, False])
def test_a_copied_job_and_the_first_one_train_on_and_leave_the_other_alone(tmp_path, inside):
    def train(folder, steps):
        emitted = "job/tf1" if inside else "tf1"
        wrapped = wrap_model_fn(jobs.adam_model_fn, tf1_dir=f"{folder}/{emitted}")
        estimator = jobs.make_estimator(wrapped, folder / "job", keep_checkpoint_max=2)
        estimator.train(jobs.input_fn, steps=steps)

    old, new = tmp_path / "old", tmp_path / "new"
    train(old, 2)
    train(old, 2)
    subprocess.check_call(["cp", "-a", old, new])
    for trained, other in ((new, old), (old, new), (new, old)):
        before = jobs.snapshot(other)
        for _ in range(2):
            train(trained, 2)
        assert jobs.snapshot(other) == before
        for below in ("job", "job/tf1" if inside else "tf1"):
            assert len(list((trained / below).glob("model.ckpt-*.index"))) == 2


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


@pytest.mark.parametrize("found", ['"tf1"', "7", "[1, null]", "{}", "null"])
def test_what_else_an_identity_may_say_is_no_directory(tmp_path, found):
    job = tmp_path / "job"
    job.mkdir()
    (job / IDENTITY_FILE).write_text(f'{{"job": "0123", "directories": {found}}}')
    assert ownership.directories_of(str(job)) == []
    claim(str(tmp_path / "tf1"), str(job))
    claim(str(tmp_path / "other"), str(job))
    claim(str(job / "tf1"), str(job))
    here = os.path.realpath(tmp_path)
    assert ownership.directories_of(str(job)) == [f"{here}/tf1", f"{here}/other"]
