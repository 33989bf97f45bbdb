"""Putting a checkpoint in its place: all of it or nothing, the old or the new."""

from __future__ import annotations

import errno
import os

import pytest
import tensorflow as tf

from estimator_ckpt.bundle import BundleIndex
from estimator_ckpt.bundle.strings import int64_scalar
from estimator_ckpt.checkpoint import Shard, open_checkpoint, publish
from estimator_ckpt.checkpoint.publishing import find_equal
from estimator_ckpt.errors import (
    CheckpointError,
    CheckpointExistsError,
    CheckpointWriteError,
)
from estimator_ckpt.storage import files

NEW = {"w": [3.0, 4.0, 5.0]}
OLD = {"w": [1.0, 2.0]}


@pytest.fixture
def source(save, tmp_path):
    """The checkpoint that is to be published."""
    (tmp_path / "source").mkdir()
    save(tmp_path / "source" / "ckpt", NEW)
    return open_checkpoint(tmp_path / "source" / "ckpt")


@pytest.fixture
def target(tmp_path):
    (tmp_path / "target").mkdir()
    return str(tmp_path / "target" / "ckpt")


@pytest.fixture
def existing(save, target):
    """The target, with a checkpoint that has its prefix."""
    save(target, OLD)
    return target


def refuse(code):
    def refused(*_, **__):
        raise OSError(code, os.strerror(code))

    return refused


def shards_of(checkpoint):
    return [Shard(path=path) for path in checkpoint.shard_paths]


def listing(prefix):
    return sorted(os.path.basename(path) for path in files.glob(os.path.dirname(prefix), "*"))


def test_a_checkpoint_is_linked_to_its_new_place(source, target, values):
    cost = publish(target, source.index, shards_of(source))
    assert values(target) == NEW
    assert listing(target) == ["ckpt.data-00000-of-00001", "ckpt.index"]
    assert os.path.samefile(f"{target}.data-00000-of-00001", source.shard_paths[0])
    index_size = os.path.getsize(f"{target}.index")
    assert (cost.linked, cost.copied, cost.written) == (12, 0, index_size)


def test_the_directory_is_made(source, tmp_path, values):
    target = str(tmp_path / "new" / "directory" / "ckpt")
    publish(target, source.index, shards_of(source))
    assert values(target) == NEW


def test_new_bytes_become_a_shard_of_their_own(source, target, values):
    data, entry = int64_scalar(7, 1, 0)
    index = BundleIndex({**source.index.entries, "n": entry})
    cost = publish(target, index, [*shards_of(source), Shard(data=data)])
    assert values(target) == {**NEW, "n": 7}
    assert open_checkpoint(target).index.num_shards == 2
    assert cost.linked == 12
    assert cost.written == 8 + os.path.getsize(f"{target}.index")


def test_a_moved_shard_leaves_its_old_place(source, target, values):
    cost = publish(target, source.index, [Shard(path=source.shard_paths[0], move=True)])
    assert values(target) == NEW
    assert not os.path.exists(source.shard_paths[0])
    assert cost.linked == 12


def test_a_checkpoint_without_tensors_has_one_empty_shard(target):
    publish(target, BundleIndex({}), [])
    assert listing(target) == ["ckpt.data-00000-of-00001", "ckpt.index"]
    assert tf.train.list_variables(target) == []


@pytest.mark.parametrize("code", ["EXDEV", "EPERM"])
def test_where_there_are_no_links_shards_are_copied(source, target, values, monkeypatch, code):
    monkeypatch.setattr(os, "link", refuse(getattr(errno, code)))
    told = []
    cost = publish(
        target, source.index, shards_of(source), progress=lambda *said: told.append(said)
    )
    assert values(target) == NEW
    assert os.stat(source.shard_paths[0]).st_nlink == 1
    assert (cost.linked, cost.copied) == (0, 12)
    assert told == [(f"{target}.data-00000-of-00001", 12, 12)]


def test_a_copy_can_be_asked_for(source, target, values):
    assert publish(target, source.index, shards_of(source), copy=True).copied == 12
    assert values(target) == NEW
    assert os.stat(source.shard_paths[0]).st_nlink == 1


def test_a_target_that_exists_is_refused(source, existing, values):
    before = listing(existing)
    with pytest.raises(CheckpointExistsError, match=f"'{existing}' exists; .*overwrite=True"):
        publish(existing, source.index, shards_of(source))
    assert values(existing) == OLD
    assert listing(existing) == before


def test_data_files_without_an_index_are_refused(source, existing):
    os.remove(f"{existing}.index")
    with pytest.raises(CheckpointExistsError, match=r"without an index, such as '.*of-00001'"):
        publish(existing, source.index, shards_of(source))
    assert listing(existing) == ["ckpt.data-00000-of-00001"]


NEXT = {"w": [6.0]}
REPLACED = "ckpt.data-00000-of-00001"


def test_a_checkpoint_is_replaced_and_its_data_stays_until_the_next(source, existing, values):
    publish(existing, source.index, shards_of(source), overwrite=True)
    assert values(existing) == NEW
    # The old shard's name was taken, so there are two now, the second of them empty.
    assert listing(existing) == [
        REPLACED,
        "ckpt.data-00000-of-00002",
        "ckpt.data-00001-of-00002",
        "ckpt.index",
    ]
    assert os.path.getsize(f"{existing}.data-00001-of-00002") == 0


@pytest.mark.parametrize("times", [1, 2])
def test_who_has_the_old_index_open_reads_on(source, existing, times):
    reader = tf.train.load_checkpoint(existing)  # it has read the index, and no data yet
    publish(existing, source.index, shards_of(source), overwrite=True)
    if times == 2:  # a reader that has to be refused is told so, and gets no other's bytes
        publish(existing, source.index, shards_of(source), overwrite=True)
        with pytest.raises((tf.errors.OpError, ValueError)):
            reader.get_tensor("w")
    else:
        assert reader.get_tensor("w").tolist() == OLD["w"]


def test_replacing_again_and_again_takes_the_room_of_two(source, existing, values):
    for expected in (2, 1, 2, 1, 2):
        publish(existing, source.index, shards_of(source), overwrite=True)
        assert open_checkpoint(existing).index.num_shards == expected
        assert len(listing(existing)) == 1 + 1 + 2
        assert values(existing) == NEW


def test_the_next_checkpoint_in_the_directory_removes_what_was_replaced(
    source, existing, values, save
):
    publish(existing, source.index, shards_of(source), overwrite=True)
    age(existing, REPLACED)
    save(f"{os.path.dirname(existing)}/tensorflows", NEXT)
    publish(f"{os.path.dirname(existing)}/next", source.index, shards_of(source))
    assert REPLACED not in listing(existing)
    assert values(existing) == values(f"{os.path.dirname(existing)}/next") == NEW
    assert values(f"{os.path.dirname(existing)}/tensorflows") == NEXT


def age(prefix, name):
    """Makes a file older than it is, as the clock of a file system ticks slowly."""
    os.utime(os.path.join(os.path.dirname(prefix), name), (1.0, 1.0))


@pytest.mark.parametrize(
    "reason", ["newer", "staged for", "index damaged", "index gone", "data gone"]
)
def test_data_files_that_may_be_needed_stay(source, existing, reason):
    publish(existing, source.index, shards_of(source), overwrite=True)
    age(existing, REPLACED)
    if reason == "newer":  # as what TensorFlow, or a copy, is just putting there
        os.utime(f"{os.path.dirname(existing)}/{REPLACED}")
    elif reason == "staged for":  # by a process of another machine
        staged = f"{existing}.index.staging-01234567-1-0123456789ab"
        files.write(staged, files.read(f"{source.prefix}.index"))
    elif reason == "index damaged":
        files.write_atomically(f"{existing}.index", b"damaged")
    elif reason == "index gone":
        os.remove(f"{existing}.index")
    else:
        os.remove(f"{existing}.data-00001-of-00002")
    publish(f"{os.path.dirname(existing)}/next", source.index, shards_of(source))
    assert REPLACED in listing(existing)


def test_what_is_there_byte_for_byte_is_known(source, existing):
    assert find_equal(source.prefix, source.index, shards_of(source))
    assert not find_equal(existing, source.index, shards_of(source))
    assert not find_equal(existing + "-none", source.index, shards_of(source))
    publish(existing, source.index, shards_of(source), overwrite=True, copy=True)
    assert find_equal(existing, source.index, shards_of(source))  # padded with an empty one
    assert find_equal(source.prefix, source.index, shards_of(source), linked=True)
    assert not find_equal(existing, source.index, shards_of(source), linked=True)
    (shard,) = source.shard_paths
    bytes_there = files.read(shard)
    changed = bytes([bytes_there[0] ^ 1]) + bytes_there[1:]
    assert find_equal(existing, source.index, [Shard(data=bytes_there)])
    assert not find_equal(existing, source.index, [Shard(data=changed)])
    files.write_atomically(shard, changed)  # of one size, and the index doesn't tell
    assert not find_equal(existing, source.index, shards_of(source))
    files.write_atomically(shard, bytes_there)
    renamed = BundleIndex({"other": source.index.entries["w"]})
    assert not find_equal(existing, renamed, shards_of(source))
    os.remove(f"{existing}.data-00000-of-00002")
    assert not find_equal(existing, source.index, shards_of(source))


def test_a_checkpoint_can_replace_itself(existing, values):
    checkpoint = open_checkpoint(existing)
    publish(existing, checkpoint.index, shards_of(checkpoint), overwrite=True)
    assert values(existing) == OLD


def test_the_old_checkpoint_is_whole_until_the_index_is_renamed(
    source, existing, values, monkeypatch
):
    seen = []
    rename = files.rename

    def watched(old, new):
        seen.append((values(existing), os.path.basename(new)))
        rename(old, new)

    monkeypatch.setattr(files, "rename", watched)
    publish(existing, source.index, shards_of(source), overwrite=True)
    assert seen == [(OLD, "ckpt.index")]
    assert values(existing) == NEW


@pytest.mark.parametrize("step", ["rename", "try_link", "new_file", "size"])
@pytest.mark.parametrize("code", ["ENOSPC", "EIO"])
def test_a_refused_step_leaves_the_old_checkpoint_and_nothing_else(
    source, existing, values, monkeypatch, step, code
):
    before = listing(existing)
    with monkeypatch.context() as patch:
        patch.setattr(files, step, refuse(getattr(errno, code)))
        with pytest.raises(CheckpointWriteError) as error:
            publish(existing, source.index, shards_of(source), overwrite=True)
    assert os.strerror(getattr(errno, code)) in str(error.value)
    assert f"can't write the checkpoint '{existing}'" in str(error.value)
    assert values(existing) == OLD
    assert values(source.prefix) == NEW
    assert listing(existing) == before


def test_a_copy_that_runs_out_of_space_leaves_nothing(source, target, monkeypatch):
    def stopped(source_path, target_path, progress=None):
        files.write(target_path, b"half")
        refuse(errno.ENOSPC)()

    monkeypatch.setattr(files, "copy", stopped)
    with pytest.raises(CheckpointWriteError, match="No space left on device; nothing was left"):
        publish(target, source.index, shards_of(source), copy=True)
    assert listing(target) == []


def test_an_interrupt_leaves_the_old_checkpoint_and_nothing_else(
    source, existing, values, monkeypatch
):
    before = listing(existing)

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(files, "rename", interrupted)
        with pytest.raises(KeyboardInterrupt):
            publish(existing, source.index, shards_of(source), overwrite=True)
    assert values(existing) == OLD
    assert listing(existing) == before


@pytest.mark.parametrize("copy", [False, True])
def test_the_files_of_a_process_that_was_faster_stay(source, target, values, monkeypatch, copy):
    check = files.require_writable

    def overtaken(prefix):  # when the target has been found free, and before it is written
        monkeypatch.setattr(files, "require_writable", check)
        publish(target, source.index, shards_of(source))

    monkeypatch.setattr(files, "require_writable", overtaken)
    with pytest.raises(CheckpointWriteError, match="File exists"):
        publish(target, source.index, shards_of(source), copy=copy)
    assert values(target) == NEW
    assert listing(target) == ["ckpt.data-00000-of-00001", "ckpt.index"]


@pytest.mark.parametrize("trouble", [OSError(errno.EIO, "I/O error"), KeyboardInterrupt()])
def test_trouble_after_the_index_is_renamed_leaves_the_new_checkpoint(
    source, existing, values, monkeypatch, trouble
):
    renamed = []
    rename = files.rename

    def watched(old, new):
        rename(old, new)
        renamed.append(new)

    def sync(path):
        if renamed:
            raise trouble

    with monkeypatch.context() as patch:
        patch.setattr(files, "rename", watched)
        patch.setattr(files, "sync_directory", sync)
        try:
            publish(existing, source.index, shards_of(source), overwrite=True)
        except (CheckpointError, KeyboardInterrupt):
            pass
    assert renamed
    assert values(existing) == NEW


def test_a_directory_that_is_not_writable_is_refused(source, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    target = str(tmp_path / "file" / "ckpt")
    with pytest.raises(
        CheckpointWriteError, match=f"can't write to the directory '{tmp_path}/file'"
    ):
        publish(target, source.index, shards_of(source))
    assert (tmp_path / "file").read_bytes() == b""


@pytest.mark.parametrize("overwrite", [False, True])
def test_another_file_system_gets_copies(source, overwrite, save):
    folder = f"ram://publish_{overwrite}"
    tf.io.gfile.makedirs(folder)
    if overwrite:
        save(f"{folder}/ckpt", OLD)
    cost = publish(f"{folder}/ckpt", source.index, shards_of(source), overwrite=overwrite)
    assert (cost.linked, cost.copied) == (0, 12)
    # tf.train.load_checkpoint doesn't look for files on ram://, the op does.
    (value,) = tf.raw_ops.RestoreV2(
        prefix=f"{folder}/ckpt", tensor_names=["w"], shape_and_slices=[""], dtypes=[tf.float32]
    )
    assert value.numpy().tolist() == NEW["w"]
    count = 2 if overwrite else 1
    shards = {f"ckpt.data-{number:05d}-of-{count:05d}" for number in range(count)}
    shards.add(REPLACED)  # what was replaced, or the one
    assert set(tf.io.gfile.listdir(folder)) == {*shards, "ckpt.index"}
    with pytest.raises(CheckpointExistsError):
        publish(f"{folder}/ckpt", source.index, shards_of(source))


def test_another_file_system_s_refusal_is_a_write_error(source, monkeypatch):
    tf.io.gfile.makedirs("ram://publish_refused")

    def refused(*_, **__):
        raise tf.errors.PermissionDeniedError(None, None, "403 Forbidden")

    monkeypatch.setattr(tf.io.gfile, "GFile", refused)
    with pytest.raises(CheckpointWriteError, match="403 Forbidden"):
        publish("ram://publish_refused/ckpt", source.index, shards_of(source))
    assert tf.io.gfile.listdir("ram://publish_refused") == []


def test_the_index_is_staged_before_any_data_file_so_that_it_tells_whose_they_are(
    source, target, monkeypatch
):
    seen = []
    link = files.try_link

    def watched(old, new):
        seen.extend(listing(target))
        return link(old, new)

    monkeypatch.setattr(files, "try_link", watched)
    publish(target, source.index, shards_of(source))
    (staged,) = seen
    assert staged.startswith("ckpt.index.staging-")


def test_a_new_data_file_never_takes_an_existing_one_s_place(target, monkeypatch):
    data, entry = int64_scalar(7, 0, 0)
    stage = files.stage

    def overtaken(path, encoded):
        files.write(f"{target}.data-00000-of-00001", b"of another process")
        return stage(path, encoded)

    monkeypatch.setattr(files, "stage", overtaken)
    with pytest.raises(CheckpointWriteError, match="File exists"):
        publish(target, BundleIndex({"n": entry}), [Shard(data=data)])
    assert files.read(f"{target}.data-00000-of-00001") == b"of another process"
    assert listing(target) == ["ckpt.data-00000-of-00001"]


def test_what_can_t_be_undone_is_said(source, target, monkeypatch, caplog):
    with monkeypatch.context() as patch:
        patch.setattr(files, "rename", refuse(errno.EIO))
        patch.setattr(files, "remove", refuse(errno.EACCES))
        with pytest.raises(CheckpointWriteError) as error:
            publish(target, source.index, shards_of(source))
    assert "Input/output error; remove what was left behind: [" in str(error.value)
    for name in listing(target):
        assert f"{name}'" in str(error.value)
        assert f"{name}' is of no use any more, but can't be removed" in caplog.text


def test_all_is_on_the_disk_before_it_is_committed(source, target, monkeypatch):
    done = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)

        def watched(*arguments, real=real, name=name):
            real(*arguments)
            done.append(name)

        monkeypatch.setattr(os, name, watched)
    publish(target, source.index, shards_of(source), copy=True)
    # The index, the copy, the directory with both; then the new name, and the directory again.
    assert done == ["fsync", "fsync", "fsync", "replace", "fsync"]
