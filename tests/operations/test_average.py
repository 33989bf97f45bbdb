"""Averages, against numpy's float64 mean, of checkpoints that TensorFlow wrote and reads."""

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
    CheckpointNotFoundError,
    DamagedCheckpointError,
    VariableMismatchError,
    average,
    describe,
    wrap_model_fn,
)
from estimator_ckpt.checkpoint import BundleWriter, open_checkpoint
from estimator_ckpt.storage import files

FLOATING = ("bfloat16", "dnn/kernel", "dnn/kernel/Adam", "double", "empty", "half", "parts")
ALL_FLOATING = {*FLOATING, "complex", "name with spaces/größe.x", "scalar"}


def mean(tensors):
    arrays = [np.asarray(tensor.numpy()) for tensor in tensors]
    wide = np.complex128 if arrays[0].dtype.kind == "c" else np.float64
    return np.mean([array.astype(wide) for array in arrays], axis=0).astype(arrays[0].dtype)


def assert_is_mean(prefix, sources, newest):
    found = jobs.values(prefix)
    found["name with spaces/größe.x"] = found.pop(
        "name with spaces/größe..x", found.get("name with spaces/größe.x")
    )
    assert found.keys() == sources[0].keys()
    for name, value in found.items():
        tensors = [source[name] for source in sources]
        expected = mean(tensors) if name in ALL_FLOATING else sources[newest][name].numpy()
        np.testing.assert_array_equal(np.asarray(value), expected, err_msg=name)
        assert np.asarray(value).dtype == np.asarray(expected).dtype, name


@pytest.mark.parametrize("to", ["tf1", "tf2", "dual"])
def test_it_is_the_mean_of_floats_and_the_newest_of_all_else(make_checkpoint, tmp_path, to):
    made = [make_checkpoint(f"ckpt-{step}", to, step, step) for step in (30, 10, 20)]
    prefixes, sources = zip(*made)
    report = average(prefixes, tmp_path / "out" / "mean")
    assert (report.format, report.step, report.newest) == (to, 30, prefixes[0])
    assert report.sources == prefixes
    assert set(report.averaged) == ALL_FLOATING
    assert set(report.kept) == {"bool", "global_step", "string"}
    assert_is_mean(tmp_path / "out" / "mean", sources, 0)
    size = sum(os.path.getsize(each) for each in (tmp_path / "out").iterdir())
    assert report.bytes_written == size


@pytest.mark.parametrize("to", ["tf2", "dual"])
def test_the_layout_is_kept_and_loads_as_objects(make_checkpoint, tmp_path, to):
    made = [make_checkpoint(f"ckpt-{step}", to, step, step) for step in (1, 2)]
    average([prefix for prefix, _ in made], tmp_path / "mean")
    new, old = open_checkpoint(tmp_path / "mean").index, open_checkpoint(made[1][0]).index
    assert new.entries.keys() == old.entries.keys()
    variables = {name: tf.Variable(tf.zeros_like(value)) for name, value in made[0][1].items()}
    step = variables.pop("global_step")
    checkpoint = tf.train.Checkpoint(var_list=variables, step=step)
    checkpoint.restore(str(tmp_path / "mean")).assert_consumed()
    assert step.numpy() == 2
    expected = mean([made[0][1]["parts"], made[1][1]["parts"]])
    np.testing.assert_array_equal(variables["parts"].numpy(), expected)


def test_keys_of_a_dual_checkpoint_share_their_bytes(make_checkpoint, tmp_path):
    prefixes = [make_checkpoint(f"ckpt-{step}", "dual", step, step)[0] for step in (1, 2)]
    average(prefixes, tmp_path / "mean")
    entries = open_checkpoint(tmp_path / "mean").index.entries
    assert entries["dnn/kernel"] == entries["var_list/dnn.Skernel" + jobs.VALUE]
    data = os.path.getsize(f"{tmp_path / 'mean'}.data-00000-of-00001")
    described = describe(tmp_path / "mean")
    graph = entries["_CHECKPOINTABLE_OBJECT_GRAPH"].size
    assert data == described.bytes + graph + 8  # and save_counter


def test_parts_stay_parts(make_checkpoint, tmp_path):
    prefixes = [make_checkpoint(f"ckpt-{step}", "tf1", step, step)[0] for step in (1, 2)]
    average(prefixes, tmp_path / "mean")
    parts = open_checkpoint(tmp_path / "mean").index.entries["parts"].parts
    assert [part.extents for part in parts] == [((0, 4), (0, -1)), ((4, 2), (0, -1))]


@pytest.mark.parametrize(
    "other_cuts", [[""], ["6 2 0,2:-", "6 2 2,4:-"], ["6 2 -:0,1", "6 2 -:1,1"]]
)
def test_formats_and_parts_may_differ(tmp_path, other_cuts):
    values = [tf.random.normal([6, 2], seed=seed) for seed in (1, 2)]
    cut = {
        "": lambda value: value,
        "6 2 0,2:-": lambda value: value[:2],
        "6 2 2,4:-": lambda value: value[2:],
        "6 2 -:0,1": lambda value: value[:, :1],
        "6 2 -:1,1": lambda value: value[:, 1:],
    }
    for number, cuts in enumerate((["6 2 0,2:-", "6 2 2,4:-"], other_cuts)):
        tf.raw_ops.SaveV2(
            prefix=str(tmp_path / f"c{number}"),
            tensor_names=["w"] * len(cuts),
            shape_and_slices=cuts,
            tensors=[cut[each](values[number]) for each in cuts],
        )
    for order in (("c0", "c1"), ("c1", "c0")):
        average([tmp_path / name for name in order], tmp_path / "mean", overwrite=True)
        found = tf.train.load_variable(str(tmp_path / "mean"), "w")
        np.testing.assert_array_equal(found, mean(values))


def test_checkpoints_of_different_formats_match_by_name(make_checkpoint, tmp_path):
    old, first = make_checkpoint("old", "tf1", 1, 1)
    new, second = make_checkpoint("new", "dual", 2, 2)
    report = average([old, new], tmp_path / "mean")
    assert report.format == "dual"
    assert_is_mean(tmp_path / "mean", [first, second], 1)


def test_the_last_of_a_model_dir(tmp_path):
    wrapped = wrap_model_fn(jobs.adam_model_fn)
    job = tmp_path / "job"
    jobs.make_estimator(wrapped, job, save_checkpoints_steps=2).train(jobs.input_fn, steps=8)
    prefixes = [str(job / name) for name in jobs.listed(job)]
    report = average(job, tmp_path / "mean", last=2)
    assert report.sources == tuple(prefixes[-2:])
    assert report.step == 8
    sources = [jobs.values(prefix) for prefix in prefixes[-2:]]
    found = jobs.values(tmp_path / "mean")
    for name in ("layer/w", "layer/w/Adam", "beta1_power"):
        both = [tf.constant(source[name]) for source in sources]
        np.testing.assert_array_equal(found[name], mean(both))
    with pytest.raises(CheckpointNotFoundError, match=f"lists {len(prefixes)} checkpoints, not 9"):
        average(job, tmp_path / "other", last=9)


def test_infinities_and_nans_are_results(tmp_path):
    rows = [[np.inf, np.inf, np.nan, 65504.0], [np.inf, -np.inf, 1.0, 65504.0]]
    for number, row in enumerate(rows):
        tf.raw_ops.SaveV2(
            prefix=str(tmp_path / f"c{number}"),
            tensor_names=["w"],
            shape_and_slices=[""],
            tensors=[tf.constant(row, tf.float16)],
        )
    average([tmp_path / "c0", tmp_path / "c1"], tmp_path / "mean")
    found = tf.train.load_variable(str(tmp_path / "mean"), "w")
    np.testing.assert_array_equal(found, np.array([np.inf, np.nan, np.nan, 65504], np.float16))


def test_one_checkpoint_is_its_own_average(make_checkpoint, tmp_path):
    prefix, source = make_checkpoint("one")
    average([prefix], tmp_path / "mean")
    assert_is_mean(tmp_path / "mean", [source], 0)


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        ({"dnn/kernel": tf.zeros([2])}, r"'dnn/kernel' as float32 \[2\] instead of float32 \[40"),
        ({"half": tf.zeros([4])}, r"'half' as float32 \[4\] instead of float16 \[4\]"),
        ({"more": tf.zeros([4])}, "the first also has 'more'"),
        ({f"v{n}": tf.zeros([]) for n in range(9)}, "'v4'; and 4 more differences"),
    ],
)
def test_differences_are_named(make_checkpoint, tmp_path, replaced, message):
    old, _ = make_checkpoint("old", step=1, replace=replaced)
    new, _ = make_checkpoint("new", step=2)
    before = jobs.snapshot(tmp_path)
    with pytest.raises(VariableMismatchError, match=message):
        average([old, new], tmp_path / "out" / "mean")
    assert jobs.snapshot(tmp_path) == before


def test_a_missing_variable_is_named(make_checkpoint, tmp_path):
    old, _ = make_checkpoint("old", step=1)
    new, _ = make_checkpoint("new", step=2, replace={"more": tf.zeros([])})
    with pytest.raises(VariableMismatchError, match=r"old' and '.*the first lacks 'more'"):
        average([old, new], tmp_path / "mean")


def test_what_can_not_be_averaged_is_refused(make_checkpoint, tmp_path):
    prefix, _ = make_checkpoint("one")
    other, _ = make_checkpoint("other")
    with pytest.raises(CheckpointArgumentError, match="alone is nothing to average"):
        average(prefix, tmp_path / "mean")
    with pytest.raises(CheckpointArgumentError, match="nothing to average"):
        average([], tmp_path / "mean")
    with pytest.raises(CheckpointArgumentError, match="given twice"):
        average([prefix, prefix], tmp_path / "mean")
    with pytest.raises(CheckpointArgumentError, match="both source and target"):
        average([prefix, other], prefix, overwrite=True)
    with pytest.raises(CheckpointArgumentError, match="for one model_dir"):
        average([prefix, other], tmp_path / "mean", last=2)
    with pytest.raises(CheckpointExistsError):
        average([prefix], other)


def test_damage_in_any_of_them_is_found_and_nothing_left_behind(make_checkpoint, tmp_path):
    prefixes = [make_checkpoint(f"ckpt-{step}", step=step)[0] for step in (1, 2)]
    opened = open_checkpoint(prefixes[0])
    entry = opened.index.entries["dnn/kernel"]
    with open(opened.shard_paths[entry.shard_id], "r+b") as file:
        file.seek(entry.offset)
        file.write(b"\xff")
    before = jobs.snapshot(tmp_path)
    with pytest.raises(DamagedCheckpointError, match="'dnn/kernel'"):
        average(prefixes, tmp_path / "mean")
    assert jobs.snapshot(tmp_path) == before


def test_third_party_keras_objects_average_with_themselves(third_party, tmp_path):
    source = third_party / "babyweight_keras_object" / "babyweight"
    average([source], tmp_path / "mean")
    old, new = (tf.train.load_checkpoint(str(p)) for p in (source, tmp_path / "mean"))
    shapes = old.get_variable_to_shape_map()
    assert new.get_variable_to_shape_map() == shapes
    for key in shapes:
        np.testing.assert_array_equal(new.get_tensor(key), old.get_tensor(key))


def test_remote_checkpoints(make_checkpoint):
    made = [make_checkpoint(f"ckpt-{step}", "dual", step, step) for step in (1, 2)]
    for prefix, _ in made:
        for path in files.glob(*os.path.split(prefix + "*")):
            if os.path.basename(path).startswith(os.path.basename(prefix) + "."):
                files.write(f"ram://average/{os.path.basename(path)}", files.read(path))
    average(["ram://average/ckpt-1", "ram://average/ckpt-2"], "ram://average/new/mean")
    (found,) = tf.raw_ops.RestoreV2(
        prefix="ram://average/new/mean",
        tensor_names=["dnn/kernel"],
        shape_and_slices=[""],
        dtypes=[tf.float32],
    )
    np.testing.assert_array_equal(found, mean([values["dnn/kernel"] for _, values in made]))
    tf.io.gfile.rmtree("ram://average")


def test_memory_is_bounded_by_pieces(large_checkpoint, tmp_path):
    prefixes = [large_checkpoint(f"c{seed}", seed) for seed in range(3)]
    tracemalloc.start()
    try:
        average(prefixes, tmp_path / "mean")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert os.path.getsize(f"{tmp_path / 'mean'}.data-00000-of-00001") == 16 << 20
    assert peak < 4 << 20  # less than one tensor, of three checkpoints with four
    sources = [tf.train.load_variable(prefix, "v3") for prefix in prefixes]
    expected = np.mean([source.astype(np.float64) for source in sources], axis=0)
    found = tf.train.load_variable(str(tmp_path / "mean"), "v3")
    np.testing.assert_array_equal(found, expected.astype(np.float32))


def test_progress_reaches_the_total_of_what_is_taken(make_checkpoint, tmp_path):
    prefixes = [make_checkpoint(f"ckpt-{step}", "dual", step, step)[0] for step in (1, 2)]
    calls = []
    average(prefixes, tmp_path / "m", exclude="string", progress=lambda *call: calls.append(call))
    path, done, total = calls[-1]
    assert (path, done) == (str(tmp_path / "m"), total)


@pytest.mark.slow
def test_a_tensor_over_2_gb(tmp_path):
    rows, columns = 520, 1 << 20  # 2.03 GiB of float32
    tracemalloc.start()
    try:
        for name, value in (("c1", 1.0), ("c2", 3.0)):
            row = np.full(columns, value, np.float32).tobytes()
            with BundleWriter(str(tmp_path / name)) as writer:
                writer.put("w", writer.append(1, (rows, columns), (row for _ in range(rows))))
                writer.commit()
        average([tmp_path / "c1", tmp_path / "c2"], tmp_path / "mean")
        _, peak = tracemalloc.get_traced_memory()
        (end,) = tf.raw_ops.RestoreV2(
            prefix=str(tmp_path / "mean"),
            tensor_names=["w"],
            shape_and_slices=[f"{rows} {columns} {rows - 1},1:-"],
            dtypes=[tf.float32],
        )
    finally:
        tracemalloc.stop()
        for path in tmp_path.glob("*.data-*"):  # pytest would keep them
            path.unlink()
    assert peak < 100 << 20
    np.testing.assert_array_equal(end, np.full([1, columns], 2, np.float32))
