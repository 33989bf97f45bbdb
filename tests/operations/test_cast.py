"""Casts, as `tf.cast` makes them, in checkpoints that TensorFlow wrote and reads."""

from __future__ import annotations

import os
import tracemalloc

import jobs
import numpy as np
import pytest
import tensorflow as tf

from estimator_ckpt import (
    CheckpointArgumentError,
    CheckpointExistsError,
    DamagedCheckpointError,
    cast,
)
from estimator_ckpt.checkpoint import open_checkpoint

FLOAT32 = {"dnn/kernel", "dnn/kernel/Adam", "empty", "name with spaces/größe.x", "parts", "scalar"}
NUMBERS = np.array(
    [
        *(0.0, -0.0, 1.0, -1.5, np.pi, np.inf, -np.inf),
        *(65504.0, 65519.9, 65520.0, 1e5, -1e5),  # float16 ends at 65504
        *(3.4e38, 3.3961775e38, 3.4028235e38),  # bfloat16 ends below float32
        *(1e-8, 6e-8, 1e-40, -1e-45),
        *(1.00390625, 1.01171875, 1.00048828125, 1.00146484375),  # ties of both types
    ],
    np.float32,
)


def raw(prefix, name):
    """The bytes of a tensor as TensorFlow reads it."""
    return np.asarray(tf.train.load_variable(str(prefix), name)).tobytes()


def write(prefix, tensors):
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=list(tensors),
        shape_and_slices=[""] * len(tensors),
        tensors=list(tensors.values()),
    )
    return prefix


@pytest.mark.parametrize("to", ["bfloat16", "float16"])
def test_values_are_those_of_tensorflow_and_overflows_are_counted(tmp_path, to):
    source = write(tmp_path / "source", {"w": tf.constant(NUMBERS)})
    report = cast(source, tmp_path / "short", to=to)
    expected = tf.cast(NUMBERS, to).numpy()
    assert raw(tmp_path / "short", "w") == expected.tobytes()
    (row,) = report.cast
    assert (row.name, row.old_dtype, row.new_dtype, row.shape) == ("w", "float32", to, (23,))
    assert row.overflows == np.sum(np.isinf(expected) & np.isfinite(NUMBERS)) > 1
    assert row.underflows == np.sum((expected == 0) & (NUMBERS != 0)) > 0
    assert (report.bytes_before, report.bytes_after) == (92, 46)


@pytest.mark.parametrize("to", ["bfloat16", "float16"])
def test_a_nan_stays_one(tmp_path, to):
    source = write(tmp_path / "source", {"w": tf.constant([np.nan, -np.nan, 1.0])})
    report = cast(source, tmp_path / "short", to=to)
    found = tf.train.load_variable(str(tmp_path / "short"), "w").astype(np.float32)
    assert np.isnan(found).tolist() == [True, True, False]
    assert report.cast[0].overflows == 0


@pytest.mark.parametrize("short", ["bfloat16", "float16"])
def test_widening_is_exact(tmp_path, short):
    values = tf.cast(NUMBERS, short)
    source = write(tmp_path / "source", {"w": values})
    report = cast(source, tmp_path / "wide", to="float32")
    assert raw(tmp_path / "wide", "w") == tf.cast(values, tf.float32).numpy().tobytes()
    assert (report.cast[0].overflows, report.cast[0].underflows) == (0, 0)


@pytest.mark.parametrize("format_", ["tf1", "tf2", "dual"])
@pytest.mark.parametrize("to", ["bfloat16", "float16"])
def test_only_float32_is_cast_in_each_format(make_checkpoint, tmp_path, format_, to):
    prefix, values = make_checkpoint("source", format_)
    # As float16, TensorFlow can read these parts, but not put them together.
    exclude = "^parts$" if to == "float16" else None
    changed = FLOAT32 - {"parts"} if exclude else FLOAT32
    report = cast(prefix, tmp_path / "out" / "short", to=to, exclude=exclude)
    assert report.format == format_
    assert {row.name for row in report.cast} == changed
    assert {row.name for row in report.kept} == values.keys() - changed
    assert all(row.reason for row in report.kept)
    old, new = open_checkpoint(prefix).index, open_checkpoint(tmp_path / "out" / "short").index
    assert new.entries.keys() == old.entries.keys()
    found = jobs.values(tmp_path / "out" / "short")
    if "name with spaces/größe..x" in found:
        found["name with spaces/größe.x"] = found.pop("name with spaces/größe..x")
    for name, value in values.items():
        expected = tf.cast(value, to) if name in changed else value
        np.testing.assert_array_equal(found[name], expected.numpy(), err_msg=name)
    assert report.bytes_written == sum(
        os.path.getsize(path) for path in (tmp_path / "out").iterdir()
    )
    sizes = {name: entry.bytes for name, entry in new.entries.items()}
    if format_ == "tf1":
        assert report.bytes_after == sum(sizes.values())


@pytest.mark.parametrize("format_", ["tf2", "dual"])
def test_it_loads_into_objects_of_the_new_type(make_checkpoint, tmp_path, format_):
    prefix, values = make_checkpoint("source", format_)
    cast(prefix, tmp_path / "short", to="bfloat16")
    variables = {
        name: tf.Variable(tf.zeros_like(tf.cast(value, "bfloat16") if name in FLOAT32 else value))
        for name, value in values.items()
    }
    checkpoint = tf.train.Checkpoint(step=variables.pop("global_step"), var_list=variables)
    checkpoint.restore(str(tmp_path / "short")).assert_consumed()
    expected = tf.cast(values["parts"], tf.bfloat16).numpy()
    np.testing.assert_array_equal(variables["parts"].numpy(), expected)


def test_keys_of_a_dual_checkpoint_share_their_bytes_and_parts_stay_parts(
    make_checkpoint, tmp_path
):
    prefix, _ = make_checkpoint("source", "dual")
    cast(prefix, tmp_path / "short", to="bfloat16")
    entries = open_checkpoint(tmp_path / "short").index.entries
    assert entries["dnn/kernel"] == entries["var_list/dnn.Skernel" + jobs.VALUE]
    assert entries["parts"] == entries["var_list/parts" + jobs.VALUE]
    assert entries["parts"].dtype_name == "bfloat16"
    assert [part.entry.shape for part in entries["parts"].parts] == [(4, 2), (2, 2)]


def test_parts_as_float16_are_for_a_saver_of_the_same_parts(make_checkpoint, tmp_path):
    prefix, values = make_checkpoint("source")
    cast(prefix, tmp_path / "short", to="float16")
    (part,) = tf.raw_ops.RestoreV2(
        prefix=str(tmp_path / "short"),
        tensor_names=["parts"],
        shape_and_slices=["6 2 4,2:-"],
        dtypes=[tf.float16],
    )
    np.testing.assert_array_equal(part, tf.cast(values["parts"][4:], tf.float16))
    dual, _ = make_checkpoint("dual", "dual")
    with pytest.raises(CheckpointArgumentError, match="'parts' is in 2 parts"):
        cast(dual, tmp_path / "other", to="float16")


def test_back_and_forth_gives_the_same_files(make_checkpoint, tmp_path):
    prefix, _ = make_checkpoint("source", "dual")
    cast(prefix, tmp_path / "short", to="bfloat16", include="dnn")
    cast(tmp_path / "short", tmp_path / "wide", to="float32", include="dnn")
    cast(tmp_path / "wide", tmp_path / "again", to="bfloat16", include="dnn")
    for suffix in (".index", ".data-00000-of-00001"):
        first, second = (tmp_path / f"{name}{suffix}" for name in ("short", "again"))
        assert first.read_bytes() == second.read_bytes()


def test_patterns_choose_and_the_rest_says_why(make_checkpoint, tmp_path):
    prefix, _ = make_checkpoint("source")
    report = cast(
        prefix, tmp_path / "short", to="float16", include=["kernel", "scalar"], exclude="/Adam$"
    )
    assert [row.name for row in report.cast] == ["dnn/kernel", "scalar"]
    reasons = {row.name: row.reason for row in report.kept}
    assert reasons["dnn/kernel/Adam"] == "not asked for (include, exclude)"
    assert reasons["double"] == "only float32 is cast to float16"
    assert reasons["global_step"] == "the global step"


def test_progress_reaches_the_total(make_checkpoint, tmp_path):
    prefix, _ = make_checkpoint("source", "dual")
    calls = []
    cast(prefix, tmp_path / "short", to="bfloat16", progress=lambda *call: calls.append(call))
    path, done, total = calls[-1]
    assert (path, done) == (str(tmp_path / "short"), total)


def test_what_can_not_be_cast_is_refused(make_checkpoint, tmp_path):
    prefix, _ = make_checkpoint("source")
    before = jobs.snapshot(tmp_path)
    for settings, message in (
        ({"to": "int8"}, "must be 'bfloat16', 'float16' or 'float32', not 'int8'"),
        ({"to": "float16", "include": "("}, "no regular expression"),
        ({"to": "float16", "include": "nothing"}, "matches no variable"),
        ({"to": "float16", "include": "step"}, "nothing to cast to float16"),
        ({"to": "float32", "include": "kernel"}, "bfloat16 or float16"),
    ):
        with pytest.raises(CheckpointArgumentError, match=message):
            cast(prefix, tmp_path / "out" / "short", **settings)
    with pytest.raises(CheckpointArgumentError, match="both source and target"):
        cast(prefix, prefix, to="float16", overwrite=True)
    other, _ = make_checkpoint("other")
    after = {name: value for name, value in jobs.snapshot(tmp_path).items() if "other" not in name}
    assert after == before
    with pytest.raises(CheckpointExistsError):
        cast(prefix, other, to="float16")
    cast(prefix, other, to="float16", overwrite=True)


@pytest.mark.parametrize("name", ["dnn/kernel", "string", "double"])
def test_damage_is_found_and_nothing_left_behind(make_checkpoint, tmp_path, name):
    prefix, _ = make_checkpoint("source")
    opened = open_checkpoint(prefix)
    entry = opened.index.entries[name]
    with open(opened.shard_paths[entry.shard_id], "r+b") as file:
        file.seek(entry.offset + entry.size - 1)
        file.write(b"\xfe")
    before = jobs.snapshot(tmp_path)
    with pytest.raises(DamagedCheckpointError, match=f"'{name}'"):
        cast(prefix, tmp_path / "short", to="float16")
    assert jobs.snapshot(tmp_path) == before


def test_shared_bytes_without_names_stay_shared(tmp_path):
    variable = tf.Variable([1e6, 1.0], name="v")
    pair = tf.train.Checkpoint(a=tf.train.Checkpoint(w=variable), b=tf.Variable([2.0], name="v"))
    source = pair.write(str(tmp_path / "source"))
    report = cast(source, tmp_path / "short", to="float16")
    assert [row.overflows for row in report.cast] == [1, 0]
    assert raw(tmp_path / "short", "a/w" + jobs.VALUE) == np.array([np.inf, 1], "f2").tobytes()


def test_a_remote_target(make_checkpoint):
    prefix, values = make_checkpoint("source")
    cast(prefix, "ram://cast/short", to="bfloat16")
    (found,) = tf.raw_ops.RestoreV2(
        prefix="ram://cast/short",
        tensor_names=["dnn/kernel"],
        shape_and_slices=[""],
        dtypes=[tf.bfloat16],
    )
    np.testing.assert_array_equal(found, tf.cast(values["dnn/kernel"], tf.bfloat16))
    assert len(tf.io.gfile.listdir("ram://cast")) == 2
    tf.io.gfile.rmtree("ram://cast")


def test_memory_is_bounded_by_pieces(large_checkpoint, tmp_path):
    source = large_checkpoint("source")
    tracemalloc.start()
    try:
        cast(source, tmp_path / "short", to="bfloat16")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert os.path.getsize(f"{tmp_path / 'short'}.data-00000-of-00001") == 8 << 20
    assert peak < 4 << 20  # less than one tensor of four
    expected = tf.cast(tf.train.load_variable(source, "v3"), tf.bfloat16)
    assert raw(tmp_path / "short", "v3") == expected.numpy().tobytes()
