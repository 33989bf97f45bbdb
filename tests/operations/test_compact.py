"""compact, and compact= of what leaves something out: the same tensors, and no other bytes."""

from __future__ import annotations

import glob
import json
import os
import tracemalloc

import numpy as np
import pytest
import tensorflow as tf
from command_line import command, on_terminal

from estimator_ckpt import (
    CheckpointArgumentError,
    CheckpointExistsError,
    DamagedCheckpointError,
    compact,
    convert,
    convert_all,
    describe,
    verify,
)
from estimator_ckpt.checkpoint import open_checkpoint
from estimator_ckpt.conversion.editing import drop, ema, rename

__all__ = ["command", "on_terminal"]

FORMATS = ["tf1", "tf2", "dual"]


def data_bytes(prefix):
    """The size of all data files of a checkpoint."""
    return sum(map(os.path.getsize, glob.glob(f"{glob.escape(str(prefix))}.data-*")))


def read(prefix):
    """{key: array}, as TensorFlow reads them; it checks their checksums."""
    reader = tf.train.load_checkpoint(str(prefix))
    return {key: reader.get_tensor(key) for key in reader.get_variable_to_shape_map()}


def assert_same(prefix, other):
    expected, found = read(other), read(prefix)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value, err_msg=key)
        assert np.asarray(found[key]).dtype == np.asarray(value).dtype


def layout(prefix):
    """Which keys share bytes, and which have which parts."""
    entries = open_checkpoint(prefix).index.entries
    places = {}
    for key, entry in entries.items():
        if entry.bytes:
            places.setdefault(tuple((e.shard_id, e.offset) for e in entry.stored), []).append(key)
    parts = {key: [part.extents for part in entry.parts] for key, entry in entries.items()}
    return sorted(map(sorted, places.values())), parts


@pytest.mark.parametrize("to", FORMATS)
def test_what_was_dropped_takes_no_room_any_more(make_checkpoint, tmp_path, to):
    prefix, _ = make_checkpoint("source", to)
    dropped = drop(prefix, tmp_path / "small", ["^dnn/kernel", "^string$"])
    assert dropped.bytes_unused >= 40 * 7 * 4 * 2
    report = compact(tmp_path / "small", tmp_path / "packed")
    assert_same(tmp_path / "packed", tmp_path / "small")
    assert layout(tmp_path / "packed") == layout(tmp_path / "small")
    assert report.format == describe(tmp_path / "packed").format == to
    assert report.keys == len(open_checkpoint(tmp_path / "small").index.entries)
    assert report.dropped == ()
    index = os.path.getsize(tmp_path / "packed.index")
    assert report.bytes_after == data_bytes(tmp_path / "packed") + index
    assert report.bytes_before == data_bytes(tmp_path / "small") + os.path.getsize(
        tmp_path / "small.index"
    )
    # Exactly what the report of drop said is gone.
    unused = data_bytes(tmp_path / "small") - data_bytes(tmp_path / "packed")
    assert unused == dropped.bytes_unused
    assert verify(tmp_path / "packed").ok


@pytest.mark.parametrize("to", FORMATS)
def test_what_is_all_in_use_stays_as_large_as_it_is(make_checkpoint, tmp_path, to):
    prefix, _ = make_checkpoint("source", to)
    compact(prefix, tmp_path / "packed")
    assert_same(tmp_path / "packed", prefix)
    assert data_bytes(tmp_path / "packed") == data_bytes(prefix)


@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize(
    "change",
    [
        lambda source, target, **options: drop(source, target, ["dnn"], **options),
        lambda source, target, **options: convert(source, target, drop=["dnn"], **options),
        lambda source, target, **options: convert(source, target, include="dnn", **options),
        lambda source, target, **options: convert(source, target, exclude="dnn", **options),
        lambda source, target, **options: convert(source, target, to="dual", **options),
        lambda source, target, **options: rename(source, target, {"dnn/": "net/"}, **options),
        lambda source, target, **options: ema(source, target, **options),
    ],
)
def test_compact_at_once_is_the_same_without_the_bytes_that_are_not_used(
    make_checkpoint, tmp_path, to, change
):
    averages = {"scalar/ExponentialMovingAverage": tf.constant(3.0)}
    prefix, _ = make_checkpoint("source", to, replace=averages)
    linked = change(prefix, tmp_path / "linked")
    dry = change(prefix, tmp_path / "packed", compact=True, dry_run=True)
    assert not glob.glob(str(tmp_path / "packed*"))
    packed = change(prefix, tmp_path / "packed", compact=True)
    assert_same(tmp_path / "packed", tmp_path / "linked")
    assert layout(tmp_path / "packed") == layout(tmp_path / "linked")
    assert packed.keys == dry.keys == linked.keys
    assert packed.dropped == dry.dropped == linked.dropped
    assert (packed.bytes_linked, packed.bytes_copied, packed.bytes_unused) == (0, 0, 0)
    assert packed.bytes_written == data_bytes(tmp_path / "packed") + os.path.getsize(
        tmp_path / "packed.index"
    )
    assert data_bytes(tmp_path / "packed") == data_bytes(tmp_path / "linked") - linked.bytes_unused


def test_a_dry_run_of_drop_says_how_much_would_be_unused(make_checkpoint, tmp_path):
    prefix, _ = make_checkpoint("source")
    dry = drop(prefix, tmp_path / "small", ["dnn"], dry_run=True)
    assert dry.bytes_unused == drop(prefix, tmp_path / "small", ["dnn"]).bytes_unused > 0


def test_filters_choose_as_those_of_convert(make_checkpoint, tmp_path):
    prefix, _ = make_checkpoint("source", "dual")
    report = compact(prefix, tmp_path / "packed", include="dnn", exclude="Adam")
    convert(prefix, tmp_path / "converted", include="dnn", exclude="Adam")
    assert_same(tmp_path / "packed", tmp_path / "converted")
    assert {row.key for row in report.dropped} > {"scalar", "parts", "dnn/kernel/Adam"}
    assert report.keys == len(open_checkpoint(tmp_path / "packed").index.entries)
    with pytest.raises(CheckpointArgumentError, match="matches no variable"):
        compact(prefix, tmp_path / "other", include="nothing")


def test_objects_without_names_are_compacted_too(tmp_path):
    twins = [tf.Variable([1.0], name="w"), tf.Variable([2.0], name="w")]
    tf.train.Checkpoint(a=twins[0], b=twins[1]).write(str(tmp_path / "twins"))
    compact(tmp_path / "twins", tmp_path / "packed")
    for twin in twins:
        twin.assign([0.0])
    tf.train.Checkpoint(a=twins[0], b=twins[1]).read(str(tmp_path / "packed")).assert_consumed()
    assert [float(twin[0]) for twin in twins] == [1.0, 2.0]


def test_a_wrong_checksum_is_found_and_nothing_is_written(make_checkpoint, tmp_path):
    prefix, _ = make_checkpoint("source")
    entry = open_checkpoint(prefix).index.entries["dnn/kernel"]
    path = open_checkpoint(prefix).shard_paths[entry.shard_id]
    with open(path, "r+b") as file:
        file.seek(entry.offset)
        file.write(b"\xff\xff")
    before = sorted(os.listdir(tmp_path))
    for write in (compact, lambda source, target: convert(source, target, compact=True)):
        with pytest.raises(DamagedCheckpointError, match=r"dnn/kernel|checksum"):
            write(prefix, tmp_path / "packed")
    assert sorted(os.listdir(tmp_path)) == before


def test_what_is_there_stays_unless_it_may_be_replaced(make_checkpoint, tmp_path):
    prefix, _ = make_checkpoint("source")
    other, _ = make_checkpoint("other", seed=1)
    before = read(other)
    with pytest.raises(CheckpointExistsError):
        compact(prefix, other)
    np.testing.assert_array_equal(read(other)["dnn/kernel"], before["dnn/kernel"])
    compact(prefix, other, overwrite=True)
    assert_same(other, prefix)


def test_tensors_are_never_in_memory_as_a_whole(large_checkpoint, tmp_path):
    prefix = large_checkpoint("large")  # 16 MiB
    seen = []
    tracemalloc.start()
    compact(prefix, tmp_path / "packed", progress=lambda *progress: seen.append(progress[1:]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 << 20
    assert seen[-1] == (16 << 20, 16 << 20)
    assert len(seen) > 16
    assert_same(tmp_path / "packed", prefix)


def test_a_whole_folder_is_compacted_at_once(make_checkpoint, tmp_path):
    for step in (1, 2):
        make_checkpoint(f"job/ckpt-{step}", step=step)
    tf.compat.v1.train.update_checkpoint_state(
        str(tmp_path / "job"), "ckpt-2", ["ckpt-1", "ckpt-2"]
    )
    reports = convert_all(tmp_path / "job", tmp_path / "new", to="tf2", exclude="dnn", compact=True)
    assert [report.bytes_unused for report in reports] == [0, 0]
    assert data_bytes(tmp_path / "new" / "ckpt-1") < data_bytes(tmp_path / "job" / "ckpt-1")


def test_the_commands_say_what_room_there_is(command, make_checkpoint, tmp_path, on_terminal):
    prefix, _ = make_checkpoint("source")
    arguments = ("drop", prefix, tmp_path / "small", "--pattern=dnn")
    unused = json.loads(command(*arguments, "--json").out)["bytes_unused"]
    assert f"bytes_unused\t{unused}\n" in command(*arguments, "--overwrite").out
    ran = command("compact", tmp_path / "small", tmp_path / "packed")
    assert ran.code == 0, ran.err
    facts = dict(line.split("\t")[:2] for line in ran.out.splitlines())
    assert int(facts["bytes_before"]) - int(facts["bytes_after"]) >= unused
    packed = command(*arguments[:2], tmp_path / "at_once", "--pattern=dnn", "--compact", "-v")
    assert packed.code == 0 and "bytes_unused\t0\n" in packed.out
    on_terminal(80)
    assert (
        "of the data files are not used (--compact leaves them out)"
        in command(*arguments, "--dry-run", "--overwrite").out
    )
    assert "->" in command("compact", tmp_path / "small", tmp_path / "packed2").out
