"""What describe says of checkpoints of each format."""

import jobs

from estimator_ckpt import describe, wrap_model_fn


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


def test_a_checkpoint_without_names_is_described_by_its_keys(third_party):
    description = describe(third_party / "int64_multiply_object" / "variables")
    assert [row.name for row in description.variables] == [
        "v1/.ATTRIBUTES/VARIABLE_VALUE",
        "v2/.ATTRIBUTES/VARIABLE_VALUE",
    ]
    assert description.step is None
