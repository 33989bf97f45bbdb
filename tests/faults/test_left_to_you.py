"""What `docs/faults.md` leaves to the reader, and what happens to those who don't heed it."""

from __future__ import annotations

import logging
import os
import shutil

import jobs
import pytest
import tensorflow as tf

from estimator_ckpt import convert, verify, wrap_model_fn
from estimator_ckpt.cli import main as command_line
from estimator_ckpt.errors import CheckpointNotFoundError, CheckpointWriteError
from estimator_ckpt.estimator.saver import CheckpointSaver
from estimator_ckpt.operations.doctor import doctor
from estimator_ckpt.storage import files

tf1 = tf.compat.v1
SHARD = ".data-00000-of-00001"


def train(job, max_steps, model_fn=jobs.adam_model_fn, hooks=(), keep=5, **settings):
    wrapped = wrap_model_fn(model_fn, tf1_dir=str(job / "tf1"), **settings)
    estimator = jobs.make_estimator(
        wrapped, job, save_checkpoints_steps=2, keep_checkpoint_max=keep
    )
    estimator.train(jobs.input_fn, max_steps=max_steps, hooks=list(hooks))


def unlist_newest(directory):
    """As if the job had been killed before its newest checkpoint was there."""
    *kept, newest = jobs.listed(directory)
    paths = [str(directory / name) for name in kept]
    tf1.train.update_checkpoint_state(str(directory), paths[-1], paths)
    for path in directory.glob(f"{newest}.*"):
        path.unlink()


def test_a_job_that_has_nothing_left_to_train_builds_no_model_and_convert_makes_what_is_missing(
    tmp_path,
):
    job, emitted = tmp_path / "job", tmp_path / "job" / "tf1"
    train(job, 2)
    unlist_newest(emitted)
    built = []

    def model_fn(features, labels, mode):
        built.append(mode)
        return jobs.adam_model_fn(features, labels, mode)

    train(job, 2, model_fn)
    assert built == []
    assert jobs.listed(emitted) == ["model.ckpt-0"]
    name = "model.ckpt-2"
    assert command_line.main(["convert", str(job / name), str(emitted / name), "--to=tf1"]) == 0
    jobs.assert_equal_values(jobs.values(emitted / name), jobs.values(job / name))


class At(tf1.train.SessionRunHook):
    """Calls a function after so many steps."""

    def __init__(self, **functions):
        self._functions = {int(name[1:]): function for name, function in functions.items()}
        self._steps = 0

    def after_run(self, run_context, run_values):
        self._steps += 1
        self._functions.get(self._steps, lambda: None)()


@pytest.mark.parametrize("below", [".", "tf1"])
def test_an_old_checkpoint_that_can_t_be_removed_is_said_and_in_tf1_dir_tried_again(
    tmp_path, caplog, below
):
    directory = tmp_path / "job" / below
    old = directory / f"model.ckpt-0{SHARD}"
    found = []

    def make_immovable():  # no system removes a directory as if it were a file
        old.unlink()
        old.mkdir()

    def make_movable():
        found.append(jobs.listed(directory)[0] == "model.ckpt-2" and old.is_dir())
        old.rmdir()
        old.touch()

    hooks = [At(_3=make_immovable, _5=make_movable)]
    with caplog.at_level(logging.WARNING):
        train(tmp_path / "job", 8, hooks=hooks, keep=2)
    assert found == [True]
    said = [each for each in caplog.messages if str(old) in each and "s a directory" in each]
    assert len(said) == 1
    assert jobs.listed(directory) == ["model.ckpt-6", "model.ckpt-8"]
    left = {path.name for path in directory.glob("model.ckpt-0.*")}
    assert left == ({old.name} if below == "." else set())
    assert left <= {each.subject for each in doctor(directory).findings}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a job, of two steps, and one of its checkpoints converted."""
    folder = tmp_path_factory.mktemp("trained")
    train(folder / "job", 2)
    convert(folder / "job" / "model.ckpt-2", folder / "converted" / "model.ckpt-2", to="tf2")
    return folder


@pytest.fixture
def linked(trained, tmp_path):
    """The same data file under three names: the job's, in `tf1_dir`, and converted."""
    found = []
    for below in ("job", "job/tf1", "converted"):
        (tmp_path / below).mkdir(parents=True)
        for path in (trained / below).glob("model.ckpt-2.*"):
            os.link(path, tmp_path / below / path.name)
        found.append(tmp_path / below / f"model.ckpt-2{SHARD}")
    assert len({path.stat().st_ino for path in found}) == 1
    unshared = shutil.copyfile(found[0], tmp_path / "unshared")
    os.replace(unshared, found[0])  # of the module's files
    for path in found[1:]:
        path.unlink()
        os.link(found[0], path)
    return found


def are_sound(shards):
    return [verify(str(path)[: -len(SHARD)]).ok for path in shards]


def test_who_writes_into_a_data_file_damages_all_that_it_is_linked_to(linked):
    assert are_sound(linked) == [True] * 3
    with open(linked[0], "r+b") as file:
        file.write(b"\xff" * 8)
    assert are_sound(linked) == [False] * 3


def test_who_copies_onto_a_data_file_does_too(linked, tmp_path):
    other = tmp_path / "other"
    other.write_bytes(bytes(linked[0].stat().st_size))
    shutil.copyfile(other, linked[2])
    assert are_sound(linked) == [False] * 3


def test_copying_to_a_new_name_and_renaming_is_safe(linked, tmp_path):
    other = tmp_path / "other"
    other.write_bytes(bytes(linked[0].stat().st_size))
    os.replace(other, linked[2])
    assert are_sound(linked) == [True, True, False]


def test_deleting_a_name_is_safe(linked):
    for path in linked[1:]:
        path.unlink()
    assert are_sound(linked[:1]) == [True]


def test_of_two_jobs_in_one_model_dir_each_unlists_what_the_other_has_saved(tmp_path):
    with tf.Graph().as_default(), tf1.Session() as session:
        variable = tf1.get_variable("v", initializer=1.0)
        session.run(variable.initializer)
        savers = [CheckpointSaver("dual", max_to_keep=5) for _ in range(2)]
        for saver in savers:
            saver.build()
        found = []
        for step in range(1, 5):
            savers[step % 2].save(session, str(tmp_path / "model.ckpt"), step)
            found.append([int(name.rpartition("-")[2]) for name in jobs.listed(tmp_path)])
    assert found == [[1], [2], [1, 3], [2, 4]]


def found_in(directory):
    """What a reader finds: nothing, a whole checkpoint, or an incomplete one."""
    try:
        return "whole" if verify(str(directory / "model.ckpt-2")).ok else "incomplete"
    except CheckpointNotFoundError:
        return "none"


@pytest.mark.parametrize(
    ("order", "expected"),
    [((".index", SHARD), ["incomplete", "whole"]), ((SHARD, ".index"), ["none", "whole"])],
)
def test_an_index_that_is_copied_first_is_of_an_incomplete_checkpoint(
    trained, tmp_path, order, expected
):
    found = []
    for suffix in order:
        shutil.copy(trained / "job" / f"model.ckpt-2{suffix}", tmp_path)
        found.append(found_in(tmp_path))
    assert found == expected


@pytest.mark.parametrize(
    ("order", "expected"),
    [((SHARD, ".index"), ["incomplete", "none"]), ((".index", SHARD), ["none", "none"])],
)
def test_a_data_file_that_is_removed_first_leaves_an_incomplete_checkpoint(
    trained, tmp_path, order, expected
):
    for suffix in order:
        shutil.copy(trained / "job" / f"model.ckpt-2{suffix}", tmp_path)
    found = []
    for suffix in order:
        (tmp_path / f"model.ckpt-2{suffix}").unlink()
        found.append(found_in(tmp_path))
    assert found == expected


@pytest.fixture
def lose_what_is_staged(monkeypatch):
    """Has somebody remove what is staged right before it gets its name."""
    rename = files.rename

    def lost(source, target):
        if ".staging-" in source:
            os.remove(source)
        rename(source, target)

    monkeypatch.setattr(files, "rename", lost)


def test_a_command_whose_staged_file_is_removed_fails_and_leaves_nothing(
    trained, tmp_path, lose_what_is_staged
):
    with pytest.raises(CheckpointWriteError, match="No such file"):
        convert(trained / "job", tmp_path / "model.ckpt-2", to="tf1")
    assert os.listdir(tmp_path) == []
    assert are_sound([trained / "job" / f"model.ckpt-2{SHARD}"]) == [True]


def test_a_job_whose_staged_file_is_removed_stops(trained, tmp_path, lose_what_is_staged):
    job = shutil.copytree(trained / "job", tmp_path / "job")
    with pytest.raises(CheckpointWriteError, match="No such file"):
        train(job, 4)
    assert jobs.listed(job) == ["model.ckpt-0", "model.ckpt-2"]
    assert doctor(job).healthy


def test_what_a_power_cut_takes_is_told_and_the_checkpoint_before_is_there(trained, tmp_path):
    job = shutil.copytree(trained / "job", tmp_path / "job")
    newest = job / f"model.ckpt-2{SHARD}"
    for content in (b"", bytes(newest.stat().st_size)):  # as file systems leave it
        newest.unlink()
        newest.write_bytes(content)
        assert are_sound([newest, job / f"model.ckpt-0{SHARD}"]) == [False, True]
