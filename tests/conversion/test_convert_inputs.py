"""What a user gets wrong: which error it is, what it says, and that no file is left behind."""

from __future__ import annotations

import os
import shutil

import pytest
import tensorflow as tf

import estimator_ckpt
from estimator_ckpt import (
    CheckpointArgumentError,
    CheckpointError,
    CheckpointExistsError,
    CheckpointNotFoundError,
    CheckpointWriteError,
    DamagedCheckpointError,
    NameClashError,
)

tf1 = tf.compat.v1
SHARD = ".data-00000-of-00001"


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory):
    """`tf1/model.ckpt-7` with a state file, and `tf2/clash-1` whose two variables are both `w`."""
    folder = tmp_path_factory.mktemp("checkpoints")
    (folder / "tf1").mkdir()
    with tf1.Graph().as_default(), tf1.Session() as session:
        tf1.get_variable("dnn/kernel", initializer=[[1.0, 2.0]])
        tf1.get_variable("global_step", initializer=tf.constant(7, tf.int64))
        session.run(tf1.global_variables_initializer())
        saver = tf1.train.Saver(save_relative_paths=True)
        saver.save(session, str(folder / "tf1" / "model.ckpt"), global_step=7)
    variables = [tf.Variable(1.0, name="w"), tf.Variable(2.0, name="w")]
    tf.train.Checkpoint(a=variables[0], b=variables[1]).write(str(folder / "tf2" / "clash-1"))
    return folder


@pytest.fixture
def work(checkpoints, tmp_path):
    """A copy, to damage."""
    return shutil.copytree(checkpoints, tmp_path / "work")


def tree(folder):
    """Every file with its bytes, and every directory."""
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def edit(path, change):
    data = bytearray(path.read_bytes())
    change(data)
    path.write_bytes(data)


# Each mistake changes the folder as needed and returns the source, the target, further arguments,
# the class of the error, and texts that the message has: what was found, expected, and what to do.


def a_prefix_that_does_not_exist(work):
    source = work / "tf1" / "model.ckpt-8"
    right = work / "tf1" / "model.ckpt-7"
    return source, None, {}, CheckpointNotFoundError, (f"no checkpoint '{source}'", f"'{right}'")


def a_directory_that_does_not_exist(work):
    source = work / "tf0" / "model.ckpt-7"
    texts = (f"no checkpoint '{source}'", f"directory '{work / 'tf0'}' does not exist")
    return source, None, {}, CheckpointNotFoundError, texts


def an_index_as_target(work):
    target = work / "new" / "ckpt"
    texts = ("called like one file of a checkpoint", f"give the new one's prefix: '{target}'")
    return work / "tf1", f"{target}.index", {}, CheckpointArgumentError, texts


def a_shard_as_target(work):
    target = work / "new" / "ckpt"
    texts = ("called like one file of a checkpoint", f"give the new one's prefix: '{target}'")
    return work / "tf1", f"{target}{SHARD}", {}, CheckpointArgumentError, texts


def a_shard_as_prefix(work):
    prefix = work / "tf1" / "model.ckpt-7"
    texts = ("is one file of a checkpoint", f"give the checkpoint's prefix: '{prefix}'")
    return f"{prefix}{SHARD}", None, {}, CheckpointNotFoundError, texts


def a_directory_without_checkpoints(work):
    (work / "empty").mkdir()
    texts = (f"'{work / 'empty'}'", "no state file 'checkpoint'", "no checkpoint in")
    return work / "empty", None, {}, CheckpointNotFoundError, texts


def a_directory_whose_latest_checkpoint_is_gone(work):
    os.remove(work / "tf1" / "model.ckpt-7.index")
    texts = (f"state file of '{work / 'tf1'}' names", "model.ckpt-7", "does not exist")
    return work / "tf1", None, {}, CheckpointNotFoundError, texts


def a_missing_shard(work):
    shard = work / "tf1" / f"model.ckpt-7{SHARD}"
    shard.unlink()
    texts = (f"lacks its data file '{shard}'", "copy all files of a checkpoint")
    return work / "tf1", None, {}, DamagedCheckpointError, texts


def a_short_shard(work):
    shard = work / "tf1" / f"model.ckpt-7{SHARD}"
    os.truncate(shard, 15)
    texts = (f"'{shard}' has 15 bytes", "needs 16", "restore it from a copy")
    return work / "tf1", None, {}, DamagedCheckpointError, texts


def a_flipped_byte_in_the_index(work):
    index = work / "tf1" / "model.ckpt-7.index"
    edit(index, lambda data: data.__setitem__(20, data[20] ^ 0xFF))
    texts = (f"index '{index}' is damaged", "wrong checksum", "restore it from a copy")
    return work / "tf1", None, {}, DamagedCheckpointError, texts


def a_truncated_index(work):
    index = work / "tf1" / "model.ckpt-7.index"
    os.truncate(index, 60)
    texts = (f"index '{index}' is damaged", "not with the magic number", "restore it from a copy")
    return work / "tf1", None, {}, DamagedCheckpointError, texts


def an_empty_index(work):
    index = work / "tf1" / "model.ckpt-7.index"
    index.write_bytes(b"")
    texts = (f"index '{index}' is damaged", "it has 0 bytes", "restore it from a copy")
    return work / "tf1", None, {}, DamagedCheckpointError, texts


def a_damaged_state_file(work):
    (work / "tf1" / "checkpoint").write_bytes(b"no such field: 1")
    texts = (f"state file '{work / 'tf1' / 'checkpoint'}' can't be parsed",)
    return work / "tf1", None, {}, DamagedCheckpointError, texts


def a_target_that_exists(work):
    target = work / "tf2" / "clash-1"
    texts = (f"'{target}' exists", "give another target", "overwrite=True")
    return work / "tf1", target, {}, CheckpointExistsError, texts


def a_target_whose_data_files_exist(work):
    target = work / "tf2" / "clash-1"
    os.remove(f"{target}.index")
    texts = (f"'{target}{SHARD}'", "without an index", "remove them", "overwrite=True")
    return work / "tf1", target, {}, CheckpointExistsError, texts


def a_target_that_is_the_source(work):
    prefix = work / "tf1" / "model.ckpt-7"
    texts = (f"'{prefix}'", "both source and target", "give another target")
    return work / "tf1", prefix, {"overwrite": True}, CheckpointArgumentError, texts


def a_target_in_a_file(work):
    target = work / "tf1" / "checkpoint" / "ckpt"
    texts = (f"can't write to the directory '{target.parent}'", "give a target where files can be")
    return work / "tf1", target, {}, CheckpointWriteError, texts


def a_directory_that_cannot_be_made(work):
    target = work / "tf1" / "checkpoint" / "new" / "ckpt"
    texts = (f"can't write to the directory '{target.parent}'", "give a target where files can be")
    return work / "tf1", target, {}, CheckpointWriteError, texts


def names_that_clash(work):
    source = work / "tf2" / "clash-1"  # of which both variables are called `w`
    rules = {"a": "w", "b": "w"}
    texts = ("'a' and 'b' would both be called 'w'", "give them different names")
    return source, None, {"to": "tf1", "rename": rules}, NameClashError, texts


def a_container_that_every_checkpoint_has(work):
    texts = ("container='save_counter'", "also has 'save_counter'", "another name")
    return work / "tf1", None, {"container": "save_counter"}, CheckpointArgumentError, texts


def one_attribute_for_variables_and_step(work):
    texts = ("container='step' and step='step'", "another name")
    return work / "tf1", None, {"container": "step"}, CheckpointArgumentError, texts


def an_unknown_format(work):
    return (
        work / "tf1",
        None,
        {"to": "TF2"},
        CheckpointArgumentError,
        ("'TF2'", "'tf1', 'tf2' or 'dual'"),
    )


MISTAKES = [
    a_prefix_that_does_not_exist,
    a_directory_that_does_not_exist,
    an_index_as_target,
    a_shard_as_target,
    a_shard_as_prefix,
    a_directory_without_checkpoints,
    a_directory_whose_latest_checkpoint_is_gone,
    a_missing_shard,
    a_short_shard,
    a_flipped_byte_in_the_index,
    a_truncated_index,
    an_empty_index,
    a_damaged_state_file,
    a_target_that_exists,
    a_target_whose_data_files_exist,
    a_target_that_is_the_source,
    a_target_in_a_file,
    a_directory_that_cannot_be_made,
    names_that_clash,
    a_container_that_every_checkpoint_has,
    one_attribute_for_variables_and_step,
    an_unknown_format,
]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
def test_a_mistake_is_explained_and_leaves_nothing(work, mistake):
    source, target, arguments, error_class, texts = mistake(work)
    before = tree(work)
    with pytest.raises(CheckpointError) as error:
        estimator_ckpt.convert(
            source, target or work / "new" / "ckpt", **{"to": "dual", **arguments}
        )
    assert type(error.value) is error_class
    for text in texts:
        assert text in str(error.value)
    assert tree(work) == before


def test_a_mistake_does_not_stand_in_the_way_of_the_next_try(work):
    target = work / "new" / "ckpt"
    with pytest.raises(CheckpointNotFoundError):
        estimator_ckpt.convert(work / "tf1" / "model.ckpt-8", target, to="tf2")
    report = estimator_ckpt.convert(work / "tf1" / "model.ckpt-7", target, to="tf2")
    assert report.prefix == str(target)
    assert tf.train.load_variable(str(target), "step/.ATTRIBUTES/VARIABLE_VALUE") == 7


def test_what_may_be_overwritten_stays_whole_where_the_source_is_bad(work):
    target = work / "tf2" / "clash-1"
    a_short_shard(work)
    before = tree(work)
    with pytest.raises(DamagedCheckpointError):
        estimator_ckpt.convert(work / "tf1", target, to="tf2", overwrite=True)
    assert tree(work) == before
