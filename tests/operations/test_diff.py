"""What diff says of checkpoints that TensorFlow wrote, in all pairs of formats."""

from __future__ import annotations

import itertools
import math
import os

import damage
import jobs
import numpy as np
import pytest
import tensorflow as tf

from estimator_ckpt import CheckpointArgumentError, CheckpointNotFoundError, convert, diff
from estimator_ckpt.checkpoint import open_checkpoint

FORMATS = ("tf1", "tf2", "dual")


@pytest.fixture
def save(tmp_path):
    """Writes a name-based checkpoint: save("a", {name: value}, {name: [slices]})."""

    def save(base, tensors, slices=None):
        names, parts, values = [], [], []
        for name, value in tensors.items():
            for part in (slices or {}).get(name, [""]):
                names.append(name)
                parts.append(part)
                tensor = tf.convert_to_tensor(value)
                if part:
                    start, size = (int(n) for n in part.split(" ")[-1].split(":")[0].split(","))
                    tensor = tensor[start : start + size]
                values.append(tensor)
        prefix = str(tmp_path / base)
        tf.raw_ops.SaveV2(prefix=prefix, tensor_names=names, shape_and_slices=parts, tensors=values)
        return prefix

    return save


def kinds(difference):
    return {change.name: change.kind for change in difference.changes}


@pytest.mark.parametrize(("first", "second"), list(itertools.product(FORMATS, FORMATS)))
def test_a_checkpoint_equals_itself_in_any_format(make_checkpoint, first, second):
    a, values = make_checkpoint(f"a/{first}", first)
    b, _ = make_checkpoint(f"b/{second}", second)
    for with_values in (False, True):
        found = diff(a, b, values=with_values)
        assert found.same, found.changes
        assert found.equal == len(values)
        assert found.formats == (first, second)


@pytest.mark.parametrize(("first", "second"), [("tf1", "tf2"), ("dual", "tf1"), ("tf2", "dual")])
def test_only_what_changed_is_told_and_by_how_much(make_checkpoint, first, second):
    a, values = make_checkpoint("a/ckpt", first)
    changed = {
        "dnn/kernel": values["dnn/kernel"] + 0.5,
        "bfloat16": values["bfloat16"] * 2,
        "complex": values["complex"] + 3j,
        "global_step": tf.constant(17, tf.int64),
        "bool": tf.constant([True, True]),
        "string": tf.constant([[b"seed"], [b"!"]]),
        "name with spaces/größe.x": values["name with spaces/größe.x"] + [0.0, 1.0, 0.0],
    }
    b, _ = make_checkpoint("b/ckpt", second, replace=changed)
    assert kinds(diff(a, b)) == dict.fromkeys(changed, "values")
    found = {change.name: change for change in diff(a, b, values=True).changes}
    assert found.keys() == changed.keys()
    for name in changed.keys() - {"string"}:
        old, new = (
            np.asarray(each[name]).astype(np.complex128) for each in (values, {**values, **changed})
        )
        apart = np.abs(old - new)
        assert found[name].max_difference == pytest.approx(apart.max(), rel=1e-12)
        assert found[name].mean_difference == pytest.approx(apart.mean(), rel=1e-12)
    assert found["string"].max_difference is None


def test_added_removed_shape_and_dtype(save):
    a = save("a", {"gone": [1.0], "shape": [1.0, 2.0], "type": [1.0], "same": [1.0]})
    b = save("b", {"new": [2.0, 3.0], "shape": [[1.0, 2.0]], "type": [1], "same": [1.0]})
    for values in (False, True):
        found = diff(a, b, values=values)
        assert kinds(found) == {
            "gone": "removed",
            "new": "added",
            "shape": "shape",
            "type": "dtype",
        }
        assert [change.kind for change in found.changes] == ["removed", "added", "shape", "dtype"]
        shape, dtype = found.changes[2:]
        assert (shape.shape, shape.new_shape) == ((2,), (1, 2))
        assert (dtype.dtype, dtype.new_dtype) == ("float32", "int32")
        assert dtype.max_difference == (0.0 if values else None)


def test_what_has_the_same_bytes_under_another_name_is_renamed(save):
    zeros = [0.0, 0.0]
    a = save("a", {"x/w": [1.0], "x/b": zeros, "x/w/Adam": zeros, "x/u": zeros, "e": tf.zeros([0])})
    b = save("b", {"y/w": [1.0], "y/b": zeros, "y/w/Adam": zeros, "f": tf.zeros([0]), "z": [1]})
    found = diff(a, b)
    renamed = {change.name: change.new_name for change in found.changes if change.new_name}
    # Equal bytes are told apart by how the names end; all empty tensors have equal bytes.
    assert renamed == {"x/w": "y/w", "x/b": "y/b", "x/w/Adam": "y/w/Adam"}
    others = {"x/u": "removed", "e": "removed", "f": "added", "z": "added"}
    assert kinds(found) == {**dict.fromkeys(renamed, "renamed"), **others}
    swapped = diff(b, a)
    assert {
        change.new_name: change.name for change in swapped.changes if change.new_name
    } == renamed


def test_rules_give_the_first_one_the_names_of_the_second(save):
    a = save("a", {"x/w": [1.0], "x/w/Adam": [2.0]})
    b = save("b", {"y/w": [1.0], "y/w/Adam": [2.5]})
    found = diff(a, b, rename={"x/": "y/"})
    assert (found.equal, kinds(found)) == (1, {"y/w/Adam": "values"})
    with pytest.raises(CheckpointArgumentError, match="matches no variable"):
        diff(a, b, rename={"z/": "y/"})


def test_what_is_within_the_tolerance_is_equal(save):
    a = save("a", {"w": [1.0, 2.0], "v": [1.0, 2.0], "n": [5], "same": [1.0]})
    b = save("b", {"w": [1.0, 2.25], "v": [1.0, 2.5], "n": [6], "same": [1.0]})
    found = diff(a, b, tolerance=0.25)
    assert kinds(found) == {"v": "values", "n": "values"}
    assert (found.equal, found.within_tolerance) == (2, 1)
    assert diff(a, b, tolerance=1).same
    assert diff(a, b, values=True).equal == 1
    for wrong in (-1.0, math.nan):
        with pytest.raises(CheckpointArgumentError, match="should be 0 or more"):
            diff(a, b, tolerance=wrong)


def test_not_a_number_infinity_and_zeros_of_either_sign(save):
    nan, inf = math.nan, math.inf
    a = save("a", {"nan": [nan, 1.0], "lost": [nan, 1.0], "inf": [inf, 1.0], "zero": [0.0]})
    b = save("b", {"nan": [nan, 1.5], "lost": [0.0, 1.0], "inf": [inf, -inf], "zero": [-0.0]})
    assert kinds(diff(a, b)) == dict.fromkeys(("nan", "lost", "inf", "zero"), "values")
    found = diff(a, b, values=True, tolerance=100)
    by_name = {change.name: change for change in found.changes}
    assert by_name.keys() == {"lost", "inf"}
    assert math.isnan(by_name["lost"].max_difference)
    assert by_name["inf"].max_difference == inf
    assert found.within_tolerance == 2


def test_integers_are_compared_exactly(save):
    a = save("a", {"n": tf.constant([2**62, -(2**63), 2**53], tf.int64)})
    b = save("b", {"n": tf.constant([2**62, -(2**63), 2**53 + 1], tf.int64)})
    (change,) = diff(a, b, values=True).changes
    assert change.max_difference == 1
    c = save("c", {"n": tf.constant([2**62, 2**63 - 1, 2**53], tf.int64)})
    (change,) = diff(a, c, values=True).changes
    assert change.max_difference == float(2**64 - 1)


def test_parts_are_compared_by_the_index_if_they_are_alike_or_rows(save):
    values = np.arange(24, dtype=np.float32).reshape(6, 4)
    halves = {"w": ["6 4 0,3:0,4", "6 4 3,3:0,4"]}
    thirds = {"w": ["6 4 0,2:0,4", "6 4 2,2:0,4", "6 4 4,2:0,4"]}
    a = save("a", {"w": values}, halves)
    assert diff(a, save("b", {"w": values}, halves)).same
    other = values + np.eye(6, 4, dtype=np.float32)
    assert kinds(diff(a, save("c", {"w": other}, halves))) == {"w": "values"}
    for slices in (thirds, None):
        same = save("d", {"w": values}, slices)
        assert diff(a, same).same
        assert kinds(diff(a, save("f", {"w": other}, slices))) == {"w": "values"}
        assert diff(a, same, values=True).same
        (change,) = diff(a, save("e", {"w": other}, slices), values=True).changes
        assert (change.kind, change.max_difference) == ("values", 1.0)
        assert change.mean_difference == pytest.approx(4 / 24)


@pytest.mark.parametrize("to", FORMATS)
def test_without_values_no_shard_is_read(make_checkpoint, tmp_path, to):
    a, values = make_checkpoint("a/ckpt", to)
    b, _ = make_checkpoint(
        "b/ckpt", to, replace={"dnn/kernel": values["dnn/kernel"] + 1, "new": tf.constant(1.0)}
    )
    before = diff(a, b)
    assert kinds(before) == {"dnn/kernel": "values", "new": "added"}
    damage.zero_shards(a)
    damage.zero_shards(b)
    assert diff(a, b) == before


def test_only_what_is_wanted_is_compared(save):
    a = save("a", {"x": [1.0], "y": [1.0], "gone": [3.0]})
    b = save("b", {"x": [2.0], "y": [2.0], "new": [4.0]})
    assert kinds(diff(a, b, wanted=lambda name: name in ("x", "new"))) == {
        "x": "values",
        "new": "added",
    }


def test_a_model_dir_an_index_and_a_saved_model_are_compared(tmp_path):
    estimator = jobs.make_estimator(jobs.adam_model_fn, tmp_path / "job")
    estimator.train(jobs.input_fn, steps=2)
    exported = estimator.export_saved_model(str(tmp_path), jobs.serving_input_fn)
    prefix = estimator.latest_checkpoint()
    assert diff(tmp_path / "job", f"{prefix}.index").same
    found = diff(prefix, exported.decode())
    assert {change.kind for change in found.changes} <= {"removed"}
    assert found.equal > 0


def test_third_party_checkpoints(third_party, tmp_path):
    folder = third_party / "chicago_taxi_model_dir"
    found = diff(folder / "model.ckpt-999", folder / "model.ckpt-1000", values=True)
    step = next(change for change in found.changes if change.name == "global_step")
    assert (step.kind, step.max_difference) == ("values", 1.0)
    for name in (
        "chicago_taxi_model_dir",
        "babyweight_keras_object",
        "bert_lite_object/bert_lite_tf2.ckpt",
    ):
        source = third_party / name
        target = tmp_path / os.path.basename(name)
        convert(source, target, to="tf1" if "taxi" not in name else "tf2")
        assert diff(source, target).same


def test_memory_and_progress(large_checkpoint):
    a, b = large_checkpoint("a", 0), large_checkpoint("b", 1)
    told = []
    found = diff(a, b, values=True, progress=lambda *each: told.append(each))
    assert len(found.changes) == 4
    total = sum(entry.size for entry in open_checkpoint(b).index.entries.values())
    assert told[-1] == (b, total, total)
    for change in found.changes:
        old, new = (tf.train.load_variable(each, change.name) for each in (a, b))
        assert change.max_difference == np.abs(old.astype(float) - new).max()


def test_nothing_there_is_an_error(save, tmp_path):
    with pytest.raises(CheckpointNotFoundError):
        diff(save("a", {"w": 1.0}), tmp_path / "absent")


def test_another_file_system(save):
    a = save("a", {"w": [1.0]})
    folder = "ram://different"
    tf.io.gfile.makedirs(folder)
    tf.raw_ops.SaveV2(
        prefix=f"{folder}/b", tensor_names=["w"], shape_and_slices=[""], tensors=[[3.0]]
    )
    (change,) = diff(a, f"{folder}/b", values=True).changes
    assert change.max_difference == 2.0
