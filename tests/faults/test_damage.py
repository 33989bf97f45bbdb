"""Damaged checkpoints: `verify` tells, what reads them refuses, and nothing crashes or swells."""

from __future__ import annotations

import gc
import os
import pathlib
import subprocess
import sys
import tracemalloc

import crafted
import damage
import numpy as np
import pytest
import tensorflow as tf

import estimator_ckpt
from estimator_ckpt import (
    CheckpointNotFoundError,
    DamagedCheckpointError,
    average,
    cast,
    convert,
    describe,
    diff,
    doctor,
    export_checkpoint,
    rename,
    restore,
    verify,
    warm_start_settings,
)
from estimator_ckpt.bundle.index import BundleIndex, Extent, TensorEntry, TensorPart, encode_index
from estimator_ckpt.bundle.protos import TrackableObjectGraph
from estimator_ckpt.bundle.strings import string_scalar
from estimator_ckpt.checkpoint import open_checkpoint
from estimator_ckpt.checkpoint.arrays import read_array
from estimator_ckpt.live.data_loss import DamagedTensorError

tf1 = tf.compat.v1
FORMATS = ("tf1", "dual")
VALUES = {
    "global_step": np.int64(2**31 + 5),  # of a size that is read from the data file
    "w": np.float32([1, 2]),
    "w/Adam": np.float32([3, 4]),
    "words": np.array([b"ab", b""], dtype=object),
}
IMPOSSIBLE = crafted.impossible()


def write(prefix, to, values=VALUES, parts=True):
    """A small checkpoint that shares no file; its tensors by TensorFlow, and in two shards."""
    folder = pathlib.Path(f"{prefix}-made")
    folder.mkdir(parents=True)
    written = [str(folder / name) for name in "ab"]
    tf.raw_ops.SaveV2(
        prefix=written[0],
        tensor_names=list(values),
        shape_and_slices=[""] * len(values),
        tensors=[tf.constant(value) for value in values.values()],
    )
    rows = tf.reshape(tf.range(4.0), [4, 1]) * values["w"][0]
    tf.raw_ops.SaveV2(
        prefix=written[1],
        tensor_names=["p", "p"],
        shape_and_slices=["4 1 0,3:-", "4 1 3,1:-"],
        tensors=[rows[:3], rows[3:]],
    )
    merged = str(folder / "merged")
    tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=written, destination_prefix=merged)
    convert(merged, prefix, to=to, copy=True)
    return str(prefix)


@pytest.fixture(params=FORMATS)
def prefix(request, tmp_path):
    write(tmp_path / "sound" / "ckpt", request.param)
    return write(tmp_path / "damaged" / "ckpt", request.param)


def read_all(prefix):
    """Reads every tensor."""
    opened = open_checkpoint(prefix)
    return {key: read_array(opened, entry) for key, entry in opened.index.entries.items()}


def readers(folder):
    """What reads the index of a checkpoint, by its prefix, and writes below a folder."""
    target = str(folder / "out" / "ckpt")
    sound = str(folder / "sound" / "ckpt")
    return {
        "read": read_all,
        "describe": describe,
        "convert": lambda prefix: convert(prefix, target, to="tf2"),
        "rename": lambda prefix: rename(prefix, target, {"w": "v"}),
        "average": lambda prefix: average([sound, prefix], target),
        "cast": lambda prefix: cast(prefix, target, to="bfloat16"),
        "export": lambda prefix: export_checkpoint(prefix, target + ".npz"),
        "diff": lambda prefix: diff(prefix, prefix),
        "restore": lambda prefix: restore({"w": tf.Variable([0.0, 0.0])}, prefix),
        "warm start": warm_start_settings,
    }


def variables():
    names = {"w": [0.0, 0.0], "w/Adam": [0.0, 0.0], "p": [[0.0]] * 4}
    return {name: tf.Variable(value, name=name) for name, value in names.items()}


def refused(call, *args, names=""):
    """Makes sure that a call raises DamagedCheckpointError, and that it names a file."""
    with pytest.raises(DamagedCheckpointError) as raised:
        call(*args)
    assert names in str(raised.value)
    return str(raised.value)


def files_below(folder):
    return sorted(str(path) for path in pathlib.Path(folder).rglob("*") if path.is_file())


@pytest.mark.parametrize("change", [0x01, 0x80, 0xFF])
def test_every_flipped_byte_of_an_index_is_told_and_refused(prefix, change):
    path = pathlib.Path(prefix + ".index")
    sound, entries = path.read_bytes(), open_checkpoint(prefix).index
    unread = 0
    for at, byte in enumerate(sound):
        path.write_bytes(sound[:at] + bytes((byte ^ change,)) + sound[at + 1 :])
        try:
            opened = open_checkpoint(prefix)
        except DamagedCheckpointError as error:
            assert str(path) in str(error)
            found = verify(prefix)
            assert not found.ok and found.findings[0].file in (str(path), *damage.shards(prefix))
        else:  # padding, and a block that no reader looks at
            assert opened.index == entries
            unread += 1
    assert unread < 60


@pytest.mark.parametrize("name", [*readers(pathlib.Path()), "verify"])
def test_whatever_reads_an_index_refuses_a_damaged_one(prefix, tmp_path, name):
    path = pathlib.Path(prefix + ".index")
    sound = path.read_bytes()
    for at in range(0, len(sound) // 2, 29):
        path.write_bytes(sound[:at] + bytes((sound[at] ^ 0x10,)) + sound[at + 1 :])
        if name == "verify":
            assert str(path) in {finding.file for finding in verify(prefix).findings}
        else:
            refused(readers(tmp_path)[name], prefix, names=str(path))
    assert not (tmp_path / "out").exists() or files_below(tmp_path / "out") == []


def test_an_index_cut_at_every_length_is_told_and_refused(prefix):
    path = pathlib.Path(prefix + ".index")
    sound = path.read_bytes()
    for size in range(len(sound)):
        path.write_bytes(sound[:size])
        refused(open_checkpoint, prefix, names=str(path))
        assert str(path) in {finding.file for finding in verify(prefix).findings}


def test_every_flipped_byte_of_a_shard_is_told_and_refused(prefix, tmp_path):
    entries = open_checkpoint(prefix).index.entries
    sound = read_all(prefix)
    for number, path in enumerate(damage.shards(prefix)):
        for at in range(os.path.getsize(path)):
            damage.flip(path, at, at % 8)
            (finding,) = verify(prefix).findings
            assert (finding.file, bool(finding.tensor)) == (path, True)
            refused(read_all, prefix, names=path)
            opened = open_checkpoint(prefix)
            for key, entry in entries.items():
                hit = any(
                    place.shard_id == number and 0 <= at - place.offset < place.size
                    for place in entry.stored
                )
                if hit:
                    refused(read_array, opened, entry, names=path)
                else:
                    np.testing.assert_array_equal(read_array(opened, entry), sound[key])
            damage.flip(path, at, at % 8)
    assert verify(prefix).ok


def test_a_shard_cut_at_every_length_is_told_and_refused(prefix):
    for path in damage.shards(prefix):
        sound = pathlib.Path(path).read_bytes()
        for size in range(len(sound)):
            pathlib.Path(path).write_bytes(sound[:size])
            refused(open_checkpoint, prefix, names=path)
            assert {finding.file for finding in verify(prefix).findings} == {path}
        pathlib.Path(path).write_bytes(sound)
    assert verify(prefix).ok


def test_missing_shards_are_told_and_refused(prefix, tmp_path):
    for path in damage.shards(prefix):
        os.rename(path, path + ".away")
        for name, read in readers(tmp_path).items():
            refused(read, prefix, names=path), name
        assert {finding.file for finding in verify(prefix).findings} == {path}
        os.rename(path + ".away", path)


def test_swapped_shards_are_told_and_refused(prefix):
    paths = damage.shards(prefix)
    contents = [pathlib.Path(path).read_bytes() for path in paths]
    longest = max(map(len, contents))
    for path, content in zip(paths, contents[1:] + contents[:1]):
        pathlib.Path(path).write_bytes(content.ljust(longest, b"\0"))  # so that none is too short
    assert len(verify(prefix).findings) >= len(VALUES)
    refused(read_all, prefix, names=prefix)


def test_shards_of_another_checkpoint_are_told_and_refused(prefix, tmp_path):
    to = describe(prefix).format
    other = {**VALUES, "w": np.float32([7, 2]), "words": np.array([b"", b"cd"], dtype=object)}
    foreign = write(tmp_path / "other" / "ckpt", to, other)
    for path, theirs in zip(damage.shards(prefix), damage.shards(foreign)):
        os.replace(theirs, path)
    found = {finding.tensor for finding in verify(prefix).findings}
    assert found == {"w", "words", "p (part 0)", "p (part 1)"}
    refused(read_all, prefix, names=prefix)


def test_a_damaged_tensor_is_refused_by_what_reads_it_and_names_the_file(prefix, tmp_path):
    opened = open_checkpoint(prefix)
    for key in ("w", "p"):
        place = opened.index.entries[key].stored[0]
        path = opened.shard_paths[place.shard_id]
        damage.flip(path, place.offset)
        readers_of_it = readers(tmp_path)
        for name in ("read", "average", "cast", "export"):
            refused(readers_of_it[name], prefix, names=path)
        refused(restore, variables(), prefix, names=prefix)
        with tf.Graph().as_default(), tf1.Session() as session:
            for name, value in {"w": [0.0, 0.0], "p": [[0.0]] * 4}.items():
                tf1.get_variable(name, initializer=value)
            saver = estimator_ckpt.CheckpointSaver("dual")
            saver.build()
            refused(saver.restore, session, prefix, names=prefix)
        damage.flip(path, place.offset)
    assert verify(prefix).ok
    assert files_below(tmp_path / "out") == []


def test_a_damaged_object_graph_is_told_and_refused(tmp_path):
    prefix = write(tmp_path / "ckpt", "dual")
    opened = open_checkpoint(prefix)
    entry = opened.index.entries["_CHECKPOINTABLE_OBJECT_GRAPH"]
    path = opened.shard_paths[entry.shard_id]
    root = tf.train.Checkpoint(var_list=variables())
    for at in range(entry.offset, entry.offset + entry.size):
        damage.flip(path, at, at % 8)
        refused(restore, root, prefix, names=path)
        assert {finding.file for finding in verify(prefix).findings} == {path}
        damage.flip(path, at, at % 8)


def test_a_damaged_step_is_told_and_refused(prefix):
    opened = open_checkpoint(prefix)
    entry = opened.index.entries["global_step"]
    path = opened.shard_paths[entry.shard_id]
    assert describe(prefix).step == VALUES["global_step"]
    damage.flip(path, entry.offset)
    refused(describe, prefix, names=path)
    assert [finding.tensor for finding in verify(prefix).findings] == ["global_step"]
    assert doctor(os.path.dirname(prefix)) is not None


def test_every_damage_to_a_state_file_is_no_more_than_an_error(prefix):
    folder = pathlib.Path(prefix).parent
    path = folder / "checkpoint"
    sound = b'model_checkpoint_path: "ckpt"\nall_model_checkpoint_paths: "ckpt"\n'
    damaged = [sound[:size] for size in range(len(sound))]
    damaged += [
        sound[:at] + bytes((byte ^ change,)) + sound[at + 1 :]
        for at, byte in enumerate(sound)
        for change in (0x01, 0x80, 0xFF, byte)  # the last gives a zero
    ]
    for content in damaged:
        path.write_bytes(content)
        try:
            assert open_checkpoint(folder).prefix == str(folder / "ckpt")
        except (DamagedCheckpointError, CheckpointNotFoundError) as error:
            assert str(folder) in str(error)
        doctor(folder)


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_an_index_that_claims_the_impossible_costs_nothing(tmp_path, name):
    prefix = write(tmp_path / "ckpt", "tf1")
    write(tmp_path / "sound" / "ckpt", "tf1")
    pathlib.Path(prefix + ".index").write_bytes(IMPOSSIBLE[name])
    for reader in readers(tmp_path).values():
        message = refused(reader, prefix, names=prefix + ".")
        assert len(message) < 1000
    found = verify(prefix)
    assert not found.ok and found.findings[0].file.startswith(prefix + ".")
    for read in (open_checkpoint, verify):
        assert memory_of(read, prefix) < 10 * 2**20 + 10 * len(IMPOSSIBLE[name])


def memory_of(read, prefix):
    """The most memory that a call has at once."""
    gc.collect()
    tracemalloc.start()
    try:
        read(prefix)
    except DamagedCheckpointError:
        pass
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return peak


def test_an_index_that_claims_the_impossible_gets_no_memory(tmp_path):
    """As above, where the system would refuse what no library asks for: snappy's buffers, too."""
    for number, data in enumerate(IMPOSSIBLE.values()):
        (tmp_path / f"{number}.index").write_bytes(data)
    code = f"""
import pathlib, resource
from estimator_ckpt import CheckpointError, verify
from estimator_ckpt.checkpoint import arrays, open_checkpoint
used = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + {200 * 2**20}, used + {200 * 2**20}))
for path in sorted(pathlib.Path({str(tmp_path)!r}).glob("*.index")):
    assert not verify(path).ok
    try:
        open_checkpoint(path)
    except CheckpointError:
        continue
    raise SystemExit(f"{{path}} was opened")
"""
    if not os.path.exists("/proc/self/statm"):
        pytest.skip("only Linux says how much memory a process has")
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=900)
    assert ran.returncode == 0, ran.stderr[-2000:]


def test_parts_that_do_not_make_up_a_huge_whole_cost_nothing(tmp_path):
    prefix = str(tmp_path / "ckpt")
    part = TensorPart((Extent(0, 3), Extent(0, 1)), TensorEntry(1, (3, 1), size=12))
    index = BundleIndex({"w": TensorEntry(1, (2**40, 1), parts=(part,))})
    pathlib.Path(prefix + ".index").write_bytes(encode_index(index))
    pathlib.Path(prefix + ".data-00000-of-00001").write_bytes(bytes(12))
    assert "parts don't make up the whole" in refused(read_all, prefix, names=prefix)


def graph(**child):
    made = TrackableObjectGraph()
    made.nodes.add().children.add(local_name="var_list", **child)
    return made.SerializeToString()


# An empty one is none: tests/estimator/test_saver.py.
@pytest.mark.parametrize("data", [b"\xff", graph(node_id=5), graph(node_id=-1)])
def test_an_object_graph_that_refers_to_nothing_is_refused(tmp_path, data):
    prefix = str(tmp_path / "ckpt")
    encoded, entry = string_scalar(data, 0, 0)
    index = BundleIndex({"_CHECKPOINTABLE_OBJECT_GRAPH": entry})
    pathlib.Path(prefix + ".index").write_bytes(encode_index(index))
    pathlib.Path(prefix + ".data-00000-of-00001").write_bytes(encoded)
    refused(restore, tf.train.Checkpoint(var_list=variables()), prefix, names=prefix)


def test_who_catches_tensorflow_s_error_goes_on_to_catch_it():
    error = DamagedTensorError("what is wrong")
    assert isinstance(error, DamagedCheckpointError)
    assert isinstance(error, tf.errors.DataLossError)
    assert "what is wrong" in str(error)
