"""What killed processes leave: removed if it is certainly nobody's, else left alone."""

from __future__ import annotations

import errno
import os
import shutil
import struct
import subprocess
import time

import pytest

from estimator_ckpt.checkpoint import BundleWriter, Shard, open_checkpoint, publish
from estimator_ckpt.checkpoint.arrays import read_array
from estimator_ckpt.checkpoint.leftovers import remove_leftovers
from estimator_ckpt.checkpoint.publishing import remove_checkpoint
from estimator_ckpt.errors import CheckpointExistsError, CheckpointWriteError
from estimator_ckpt.storage import files, staging

OLD, NEW = {"w": [1.0, 2.0]}, {"w": [3.0, 4.0, 5.0]}
SHARD = "ckpt.data-00000-of-00001"


@pytest.fixture(scope="module")
def gone():
    """Names a staged file as a process that has ended would have."""
    with subprocess.Popen(["true"]) as process:
        pass

    def name(path):
        beginning, _, end = staging.staging_name(str(path)).rpartition(f"-{os.getpid()}-")
        return f"{beginning}-{process.pid}-{end}"

    return name


@pytest.fixture(scope="module")
def save():
    """Writes a checkpoint of one data file: save(prefix, {name: values})."""

    def save(prefix, tensors):
        with BundleWriter(str(prefix)) as writer:
            for name, values in tensors.items():
                data = struct.pack(f"<{len(values)}f", *values)
                writer.put(name, writer.append(1, (len(values),), [data]))
            writer.commit()

    return save


@pytest.fixture(scope="module")
def values():
    """Reads all tensors of a checkpoint, {key: list}; their checksums are checked."""

    def values(prefix):
        checkpoint = open_checkpoint(prefix)
        entries = checkpoint.index.entries
        return {key: read_array(checkpoint, entry).tolist() for key, entry in entries.items()}

    return values


@pytest.fixture
def unfinished(save, tmp_path, gone):
    """A directory in which a process was killed when it had placed data files, but no index."""
    save(tmp_path / "ckpt", NEW)
    os.rename(tmp_path / "ckpt.index", gone(tmp_path / "ckpt.index"))
    time.sleep(0.02)  # to another tick of the file system's clock
    return tmp_path


@pytest.fixture
def again(unfinished, save):
    """Does the same as the process that was killed."""
    (unfinished / "source").mkdir()
    save(unfinished / "source" / "ckpt", NEW)
    source = open_checkpoint(unfinished / "source" / "ckpt")
    shards = [Shard(path=source.shard_paths[0])]
    return lambda **options: publish(str(unfinished / "ckpt"), source.index, shards, **options)


def names(directory):
    return sorted(os.listdir(directory))


def test_staged_files_and_directories_of_a_process_that_is_gone_are_removed(tmp_path, gone, caplog):
    (tmp_path / "checkpoint").write_bytes(b"state")
    state = gone(tmp_path / "checkpoint")
    shutil.copy(tmp_path / "checkpoint", state)
    folder = tmp_path / gone("model.ckpt-2")
    folder.mkdir()
    (folder / "model.ckpt-2.data-00000-of-00001").write_bytes(b"half")
    remove_leftovers(str(tmp_path))
    assert names(tmp_path) == ["checkpoint"]
    assert f"Removing '{state}'" in caplog.text


def test_what_this_process_and_others_stage_stays(tmp_path):
    kept = [tmp_path / "a.staging-0123abcd", tmp_path / "b.staging-00000000-7-0123456789ab"]
    kept.append(tmp_path / os.path.basename(staging.staging_name("ckpt.index")))
    for path in kept:
        path.write_bytes(b"")
    remove_leftovers(str(tmp_path))
    assert len(names(tmp_path)) == len(kept)


def test_data_files_of_an_unfinished_checkpoint_are_removed_with_its_index(unfinished):
    (unfinished / "other.data-00000-of-00001").write_bytes(b"not of this one")
    (unfinished / "ckpt.data-00000-of-00002").write_bytes(b"not of this one either")
    remove_leftovers(str(unfinished))
    assert names(unfinished) == ["ckpt.data-00000-of-00002", "other.data-00000-of-00001"]


def test_the_checkpoint_that_was_to_be_replaced_stays(unfinished, save, values):
    (staged,) = unfinished.glob("*.staging-*")
    kept = staged.read_bytes()
    save(unfinished / "ckpt", OLD)  # in one data file, as the unfinished one
    staged.write_bytes(kept)
    remove_leftovers(str(unfinished))
    assert names(unfinished) == [SHARD, "ckpt.index"]
    assert values(unfinished / "ckpt") == OLD


def test_nothing_is_removed_that_a_damaged_index_may_name(unfinished):
    (unfinished / "ckpt.index").write_bytes(b"damaged")
    remove_leftovers(str(unfinished))
    assert names(unfinished) == [SHARD, "ckpt.index"]


def test_an_index_that_was_not_finished_has_no_data_files(unfinished):
    (staged,) = unfinished.glob("*.staging-*")
    staged.write_bytes(staged.read_bytes()[:20])
    remove_leftovers(str(unfinished))
    assert names(unfinished) == [SHARD]


def test_data_files_that_another_process_has_just_made_stay(unfinished, monkeypatch):
    rename = files.rename

    def overtaken(old, new):
        rename(old, new)
        time.sleep(0.02)
        os.remove(unfinished / SHARD)
        (unfinished / SHARD).write_bytes(b"newer")

    monkeypatch.setattr(files, "rename", overtaken)
    remove_leftovers(str(unfinished))
    assert names(unfinished) == [SHARD]


@pytest.mark.parametrize("clock", ["rough", "renames keep the time"])
def test_data_files_that_another_process_has_staged_an_index_for_stay(
    unfinished, monkeypatch, clock
):
    (staged,) = unfinished.glob("*.staging-*")
    mine = staging.staging_name(str(unfinished / "ckpt.index"))
    shutil.copy(staged, mine)
    set_clock(monkeypatch, clock)
    remove_leftovers(str(unfinished))
    assert names(unfinished) == [SHARD, os.path.basename(mine)]


def set_clock(monkeypatch, kind):
    """Gives the file system a clock of whole hours, or one that a rename leaves alone."""
    changed = files.modified if "rename" in kind else files.changed
    unit = 1 if "rename" in kind else 3600
    monkeypatch.setattr(files, "changed", lambda path: changed(path) // unit * unit)


@pytest.mark.parametrize("clock", ["rough", "renames keep the time"])
def test_a_killed_command_can_be_run_again_whatever_the_clock(
    unfinished, again, values, monkeypatch, clock
):
    (staged,) = unfinished.glob("*.staging-*")
    os.utime(unfinished / SHARD, (staged.stat().st_mtime + 5,) * 2)  # it comes after the index
    set_clock(monkeypatch, clock)
    again()
    assert values(unfinished / "ckpt") == NEW
    assert names(unfinished) == [SHARD, "ckpt.index", "source"]


@pytest.mark.parametrize("target", ["ckpt.index", "checkpoint"])
def test_of_a_link_that_is_called_like_something_staged_only_the_link_is_removed(
    tmp_path, gone, save, target
):
    (tmp_path / "elsewhere").mkdir()
    save(tmp_path / "elsewhere" / "ckpt", NEW)
    (tmp_path / SHARD).write_bytes(b"precious")
    os.symlink(tmp_path / "elsewhere" / "ckpt.index", gone(tmp_path / target))
    remove_leftovers(str(tmp_path))
    assert names(tmp_path) == [SHARD, "elsewhere"]
    assert names(tmp_path / "elsewhere") == [SHARD, "ckpt.index"]


def test_what_can_t_be_removed_is_said_and_tried_again(unfinished, monkeypatch, caplog):
    def refused(path):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    with monkeypatch.context() as patch:
        patch.setattr(files, "remove", refused)
        remove_leftovers(str(unfinished))
    assert "can't be removed: [Errno 13]" in caplog.text
    assert len(names(unfinished)) == 2
    remove_leftovers(str(unfinished))
    assert names(unfinished) == []


@pytest.fixture
def untold(unfinished):
    """The same, where boot and process namespace are hidden; the name of the staged index."""
    (staged,) = unfinished.glob("*.staging-*")
    return staged.rename(unfinished / f"ckpt.index.staging-00000000-7-{'0' * 24}")


def test_a_killed_command_can_be_run_again(unfinished, again, values):
    again()
    assert values(unfinished / "ckpt") == NEW
    assert names(unfinished) == [SHARD, "ckpt.index", "source"]


def test_a_killed_command_can_be_run_again_where_it_can_t_be_told_to_be_gone(
    unfinished, untold, again, values
):
    again()
    assert values(unfinished / "ckpt") == NEW
    with pytest.raises(CheckpointExistsError):
        again()
    again(overwrite=True)
    assert values(unfinished / "ckpt") == NEW
    # What may be of another, who is still at work, stays.
    assert {SHARD, untold.name} < set(names(unfinished))


def test_one_that_was_only_slow_is_not_overwritten(unfinished, untold, again, values, monkeypatch):
    check = files.require_writable

    def overtaken(prefix):  # when the target has been found free, and before it is written
        check(prefix)
        os.rename(untold, unfinished / "ckpt.index")

    monkeypatch.setattr(files, "require_writable", overtaken)
    before = (unfinished / SHARD).stat().st_ino
    with pytest.raises(CheckpointWriteError, match="exists; give another target"):
        again()
    assert names(unfinished) == [SHARD, "ckpt.index", "source"]
    assert (unfinished / SHARD).stat().st_ino == before
    assert values(unfinished / "ckpt") == NEW


def test_a_removal_that_is_interrupted_is_gone_on_with(save, tmp_path, monkeypatch):
    save(tmp_path / "ckpt", NEW)

    def interrupted(path):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(files, "remove", interrupted)
        with pytest.raises(KeyboardInterrupt):
            remove_checkpoint(str(tmp_path / "ckpt"))
    assert not (tmp_path / "ckpt.index").exists()
    assert (tmp_path / SHARD).exists()
    remove_leftovers(str(tmp_path))
    assert names(tmp_path) == []


def test_a_directory_that_is_not_there_has_none(tmp_path):
    remove_leftovers(str(tmp_path / "absent"))
