"""What describe says of checkpoints of each format."""

import damage
import jobs
import numpy as np
import pytest
import tensorflow as tf

from estimator_ckpt import describe, wrap_model_fn
from estimator_ckpt.operations import tree, values


def test_all_formats_have_the_same_rows_but_for_their_keys(tmp_path):
    described = {}
    for to in ("tf1", "tf2", "dual"):
        model_fn = jobs.adam_model_fn
        if to != "tf1":
            model_fn = wrap_model_fn(model_fn, checkpoint_format=to)
        jobs.make_estimator(model_fn, tmp_path / to).train(jobs.input_fn, steps=2)
        described[to] = describe(tmp_path / to)
        assert described[to].format == to
        assert described[to].step == 2
        assert described[to].num_shards == 1
        assert described[to].bytes == sum(row.bytes for row in described[to].variables)
    plain = [(row.name, row.shape, row.dtype, row.slot_of) for row in described["tf1"].variables]
    for to in ("tf2", "dual"):
        rows = described[to].variables
        assert [(row.name, row.shape, row.dtype, row.slot_of) for row in rows] == plain
    assert ("layer/w/Adam_1", (4, 3), "float32", "layer/w") in plain
    assert described["dual"].variables[0].key == "beta1_power"
    assert described["tf2"].variables[0].key == "var_list/beta1_power" + jobs.VALUE


def test_slots_of_a_keras_checkpoint_are_told_from_their_keys(third_party):
    source = third_party / "babyweight_keras_object" / "babyweight"
    description = describe(source)
    slots = [row for row in description.variables if "/.OPTIMIZER_SLOT/" in row.key]
    assert {row.key for row in slots} == {k for k in jobs.keys(source) if ".OPTIMIZER_SLOT" in k}
    names = {row.name for row in description.variables}
    assert all(row.slot_of in names for row in slots)


def test_a_checkpoint_without_names_is_described_by_its_paths(third_party):
    description = describe(third_party / "int64_multiply_object" / "variables")
    assert [row.name for row in description.variables] == ["v1", "v2"]
    assert description.step is None


def summary_of(array):
    wide = np.abs(array) if array.dtype.kind == "c" else array.astype(np.float64)
    finite = wide[np.isfinite(wide)].astype(np.float64)
    return finite.min(), finite.max(), finite.mean(), finite.std()


@pytest.mark.parametrize("to", ["tf1", "tf2", "dual"])
def test_values_are_summed_up_as_numpy_does(make_checkpoint, to):
    prefix, tensors = make_checkpoint("ckpt", to)
    rows = {row.name: row for row in describe(prefix, values=True).variables}
    assert rows.keys() == tensors.keys()
    for name, tensor in tensors.items():
        found = rows[name].values
        if name == "string":
            assert found is None
        elif name == "empty":
            assert found == values.ValueSummary(None, None, None, None, 0, 0, 0)
        else:
            expected = summary_of(np.asarray(tensor))
            numbers = (found.min, found.max, found.mean, found.std)
            np.testing.assert_allclose(numbers, expected, rtol=1e-6, atol=1e-12, err_msg=name)


def test_values_of_many_pieces_with_what_is_not_finite(tmp_path):
    array = np.random.RandomState(0).randn(1000, 1000).astype(np.float32) + 1000
    array[::7, ::11] = 0
    array[5, :10] = np.nan
    array[6, :3] = np.inf
    array[7, :4] = -np.inf
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "ckpt"),
        tensor_names=["w", "i"],
        shape_and_slices=["", ""],
        tensors=[array, tf.constant([-(2**63), 2**63 - 1, 0], tf.int64)],
    )
    told = []
    described = describe(tmp_path / "ckpt", values=True, progress=lambda *each: told.append(each))
    rows = {row.name: row.values for row in described.variables}
    assert (rows["w"].nan, rows["w"].inf) == (10, 7)
    assert rows["w"].zeros == int((array == 0).sum())
    expected = summary_of(array)
    numbers = (rows["w"].min, rows["w"].max, rows["w"].mean, rows["w"].std)
    np.testing.assert_allclose(numbers, expected, rtol=1e-9)
    assert (rows["i"].min, rows["i"].max, rows["i"].zeros) == (-(2**63), 2**63 - 1, 1)
    assert told[-1][1:] == (array.nbytes + 24,) * 2


def test_only_wanted_values_are_read(make_checkpoint):
    prefix, _ = make_checkpoint("ckpt")
    rows = describe(prefix, values=lambda name: name == "scalar").variables
    assert [row.name for row in rows if row.values] == ["scalar"]


@pytest.mark.parametrize("to", ["tf1", "tf2", "dual"])
def test_without_values_no_shard_is_read(make_checkpoint, to):
    prefix, _ = make_checkpoint("ckpt", to)
    before = describe(prefix)
    assert before.step == 10
    damage.zero_shards(prefix)
    assert describe(prefix) == before


def test_variables_of_a_scope_stand_together(tmp_path):
    names = ["a-b", "a/w", "a/w/Adam", "a", "a.c", "b/w"]
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "ckpt"),
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[tf.constant(1.0)] * len(names),
    )
    order = [row.name for row in describe(tmp_path / "ckpt").variables]
    assert order == ["a", "a/w", "a/w/Adam", "a-b", "a.c", "b/w"]


def drawn(node, depth=0):
    lines = [(depth, node.label, node.variables, node.elements)]
    return lines + [line for child in node.children for line in drawn(child, depth + 1)]


def test_a_tree_has_scopes_with_subtotals(make_checkpoint):
    prefix, tensors = make_checkpoint("ckpt")
    root = tree.tree(describe(prefix))
    lines = drawn(root)
    assert lines[0] == (0, prefix, len(tensors), sum(int(tf.size(t)) for t in tensors.values()))
    at = lines.index((1, "dnn/", 2, 560))
    # A slot is below its variable, which is counted with it.
    assert lines[at + 1 : at + 3] == [(2, "kernel", 2, 560), (3, "Adam", 1, 280)]
    assert (1, "name with spaces/", 1, 3) in lines
    assert root.bytes == describe(prefix).bytes


def test_a_tree_of_an_object_based_checkpoint_has_its_objects(make_checkpoint, third_party):
    prefix, _ = make_checkpoint("ckpt", "tf2")
    labels = [line[1] for line in drawn(tree.tree(describe(prefix))) if line[0] == 1]
    assert labels == ["step", "var_list/"]
    keras = tree.tree(describe(third_party / "babyweight_keras_object"))
    assert {"layer_with_weights-0/", "optimizer/"} <= {node.label for node in keras.children}
    assert keras.variables == 38
