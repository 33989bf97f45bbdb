"""Finding and opening a checkpoint, and what is said where there is none."""

from __future__ import annotations

import os
import pathlib

import pytest
import tensorflow as tf

from estimator_ckpt.bundle import BundleIndex, encode_index
from estimator_ckpt.checkpoint import find_prefix, open_checkpoint
from estimator_ckpt.checkpoint.opening import existing_shards, read_state, shard_path, write_state
from estimator_ckpt.errors import CheckpointNotFoundError, DamagedCheckpointError

SHARD = ".data-00000-of-00001"


@pytest.fixture
def model_dir(save, tmp_path):
    """A directory with two checkpoints and a state file, as an Estimator leaves it."""
    path = tmp_path / "model_dir"
    path.mkdir()
    for step in (10, 20):
        save(path / f"model.ckpt-{step}", {"w": [1.0, 2.0], "global_step": step})
    tf.compat.v1.train.update_checkpoint_state(
        str(path), "model.ckpt-20", ["model.ckpt-10", "model.ckpt-20"]
    )
    return path


def test_a_prefix_is_opened(model_dir):
    checkpoint = open_checkpoint(model_dir / "model.ckpt-10")
    assert checkpoint.prefix == str(model_dir / "model.ckpt-10")
    assert set(checkpoint.index.entries) == {"w", "global_step"}
    assert checkpoint.shard_paths == (str(model_dir / f"model.ckpt-10{SHARD}"),)


def test_the_bytes_of_a_tensor_are_read(model_dir):
    checkpoint = open_checkpoint(model_dir / "model.ckpt-10")
    data = checkpoint.read_bytes(checkpoint.index.entries["global_step"])
    assert int.from_bytes(data, "little") == 10


def test_a_directory_stands_for_the_checkpoint_that_tensorflow_takes(model_dir):
    assert find_prefix(str(model_dir)) == tf.train.latest_checkpoint(str(model_dir))
    assert find_prefix(model_dir) == str(model_dir / "model.ckpt-20")


def test_a_directory_of_the_current_one_is_found(model_dir, monkeypatch):
    monkeypatch.chdir(model_dir)
    assert find_prefix("model.ckpt-10") == "model.ckpt-10"
    assert find_prefix(".") == os.path.join(".", "model.ckpt-20")


def test_a_moved_directory_is_understood(model_dir, tmp_path, caplog):
    absolute = [str(model_dir / f"model.ckpt-{step}") for step in (10, 20)]
    tf.compat.v1.train.update_checkpoint_state(str(model_dir), absolute[1], absolute)
    moved = model_dir.rename(tmp_path / "moved")
    assert find_prefix(moved) == str(moved / "model.ckpt-20")
    assert "model_dir/model.ckpt-20" in caplog.text


def test_a_saved_model_stands_for_its_variables(tmp_path):
    module = tf.Module()
    module.v = tf.Variable(1.0)
    tf.saved_model.save(module, str(tmp_path / "export"))
    assert find_prefix(tmp_path / "export") == str(tmp_path / "export" / "variables" / "variables")


def test_a_prefix_may_have_an_empty_basename(save, tmp_path):
    save(f"{tmp_path}/", {"w": 1.0})
    assert (tmp_path / ".index").exists()
    assert set(open_checkpoint(tmp_path).index.entries) == {"w"}
    assert set(open_checkpoint(f"{tmp_path}/").index.entries) == {"w"}


@pytest.mark.parametrize("base", ["model.ckpt-10", "", "a.index"])
def test_the_path_of_an_index_stands_for_its_checkpoint(model_dir, save, base):
    save(f"{model_dir}/{base}", {"w": [1.0, 2.0]})
    assert open_checkpoint(f"{model_dir}/{base}.index").prefix == f"{model_dir}/{base}"


@pytest.mark.parametrize("suffix", [SHARD, ".meta"])
def test_one_file_of_a_checkpoint_is_refused_with_the_right_prefix(model_dir, suffix):
    (model_dir / "model.ckpt-10.meta").write_bytes(b"")
    prefix = str(model_dir / "model.ckpt-10")
    with pytest.raises(CheckpointNotFoundError, match=f"give the checkpoint's prefix: '{prefix}'"):
        open_checkpoint(prefix + suffix)


def test_a_wrong_prefix_is_refused_with_the_ones_that_exist(model_dir):
    with pytest.raises(CheckpointNotFoundError) as error:
        open_checkpoint(model_dir / "model.ckpt-30")
    assert str(error.value).startswith(f"there is no checkpoint '{model_dir / 'model.ckpt-30'}'")
    assert f"there is '{model_dir / 'model.ckpt-20'}'" in str(error.value)


def test_only_names_that_are_near_are_suggested(model_dir, save):
    save(model_dir / "unlike", {"w": 1.0})
    with pytest.raises(CheckpointNotFoundError) as error:
        open_checkpoint(model_dir / "model.ckpt-30")
    assert "unlike" not in str(error.value)


def test_not_finding_is_a_file_not_found_error_too(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"directory .* does not exist"):
        open_checkpoint(tmp_path / "absent" / "ckpt")


def test_a_directory_without_checkpoints_is_refused(tmp_path):
    with pytest.raises(CheckpointNotFoundError) as error:
        open_checkpoint(tmp_path)
    assert "has no state file 'checkpoint', and is no SavedModel" in str(error.value)
    assert f"there is no checkpoint in '{tmp_path}'" in str(error.value)


def test_a_directory_without_state_file_names_its_checkpoints(model_dir):
    (model_dir / "checkpoint").unlink()
    with pytest.raises(CheckpointNotFoundError, match=r"there is '.*/model.ckpt-[12]0'"):
        open_checkpoint(model_dir)


def test_a_state_file_that_names_nothing_is_refused(model_dir):
    write_state(str(model_dir), str(model_dir / "model.ckpt-99"), [])
    with pytest.raises(CheckpointNotFoundError, match=r"names '.*model.ckpt-99'.*not exist"):
        open_checkpoint(model_dir)


@pytest.mark.parametrize("text", [b"model_checkpoint_path: nonsense\n", b"\xff\xfe"])
def test_a_damaged_state_file_is_said_to_be_one(model_dir, text):
    (model_dir / "checkpoint").write_bytes(text)
    with pytest.raises(DamagedCheckpointError, match=r"the state file '.*' can't be parsed"):
        open_checkpoint(model_dir)


def test_a_damaged_index_is_named(model_dir):
    path = model_dir / "model.ckpt-10.index"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(
        DamagedCheckpointError, match=f"the index '{path}' is damaged: .*restore it"
    ):
        open_checkpoint(model_dir / "model.ckpt-10")


def test_a_missing_shard_is_named(model_dir):
    path = model_dir / f"model.ckpt-10{SHARD}"
    path.unlink()
    with pytest.raises(DamagedCheckpointError, match=f"lacks its data file '{path}'"):
        open_checkpoint(model_dir / "model.ckpt-10")


def test_a_short_shard_is_named_with_both_sizes(model_dir):
    path = model_dir / f"model.ckpt-10{SHARD}"
    size = path.stat().st_size
    os.truncate(path, size - 1)
    message = f"'{path}' has {size - 1} bytes, but the index needs {size}"
    with pytest.raises(DamagedCheckpointError, match=message):
        open_checkpoint(model_dir / "model.ckpt-10")


def test_a_shard_that_no_tensor_needs_may_be_absent(model_dir):
    """As TensorFlow, which opens a shard when it reads a tensor of it."""
    (model_dir / "empty.index").write_bytes(encode_index(BundleIndex({}, 1)))
    assert open_checkpoint(model_dir / "empty").index.entries == {}
    assert tf.train.list_variables(str(model_dir / "empty")) == []


def test_the_state_file_is_read_as_tensorflow_reads_it(model_dir):
    latest, listed = read_state(str(model_dir))
    theirs = tf.train.get_checkpoint_state(str(model_dir))
    assert latest == theirs.model_checkpoint_path
    assert list(listed) == list(theirs.all_model_checkpoint_paths)
    assert read_state(str(model_dir.parent)) == (None, ())


@pytest.mark.parametrize("base", ["model.ckpt-1", 'quo"te', "größe", "back\\slash"])
def test_the_state_file_is_written_as_tensorflow_reads_it(tmp_path, base):
    prefixes = [str(tmp_path / base), str(tmp_path / f"{base}-later")]
    write_state(str(tmp_path), prefixes[1], prefixes)
    theirs = tf.train.get_checkpoint_state(str(tmp_path))
    assert theirs.model_checkpoint_path == prefixes[1]
    assert list(theirs.all_model_checkpoint_paths) == prefixes
    assert read_state(str(tmp_path)) == (prefixes[1], tuple(prefixes))
    assert str(tmp_path) not in (tmp_path / "checkpoint").read_text()


def test_existing_shards_are_those_of_just_this_prefix(tmp_path):
    prefix = tmp_path / "ckpt[1]*"
    ours = [f"{prefix}{SHARD}", f"{prefix}.data-00001-of-00002"]
    others = [
        f"{prefix}{SHARD}{SHARD}",
        f"{prefix}.data-1-of-2{SHARD}",
        f"{prefix}-2{SHARD}",
        tmp_path / f"ckpt1x{SHARD}",
        f"{prefix}{SHARD}.staging",
    ]
    for path in (*ours, *others):
        pathlib.Path(path).write_bytes(b"")
    assert existing_shards(str(prefix)) == ours


def test_shards_are_named_as_tensorflow_names_them(save, merge, tmp_path):
    for number in range(2):
        save(tmp_path / f"part{number}", {f"v{number}": 1.0})
    merge([tmp_path / "part0", tmp_path / "part1"], tmp_path / "ckpt")
    for number in range(2):
        assert os.path.exists(shard_path(str(tmp_path / "ckpt"), number, 2))


@pytest.mark.parametrize("whole", [True, False])
def test_a_checkpoint_on_another_file_system_is_opened(save, whole):
    folder = f"ram://checkpoint_{whole}"
    tf.io.gfile.makedirs(folder)
    save(f"{folder}/ckpt-1", {"w": [1.0, 2.0]})
    write_state(folder, f"{folder}/ckpt-1", [f"{folder}/ckpt-1"])
    if whole:
        assert open_checkpoint(folder).prefix == f"{folder}/ckpt-1"
        return
    tf.io.gfile.remove(f"{folder}/ckpt-1{SHARD}")
    with pytest.raises(DamagedCheckpointError, match="lacks its data file 'ram://"):
        open_checkpoint(folder)


def test_a_link_that_leads_nowhere_is_called_that(tmp_path):
    (tmp_path / "dangling.index").symlink_to(tmp_path / "nowhere.index")
    with pytest.raises(CheckpointNotFoundError, match="index' is a link that leads nowhere"):
        find_prefix(tmp_path / "dangling")
    with pytest.raises(CheckpointNotFoundError, match="there is no checkpoint in"):
        find_prefix(tmp_path / "danglin")


def test_a_state_file_that_is_no_text_is_called_that(tmp_path):
    (tmp_path / "checkpoint").write_bytes(b"\xff\xfe\0garbage")
    with pytest.raises(DamagedCheckpointError, match=r"can't be parsed: \S"):
        find_prefix(tmp_path)
