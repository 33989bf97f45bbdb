"""What convert makes of checkpoints that TensorFlow wrote, judged by TensorFlow."""

import os

import jobs
import numpy as np
import pytest
import tensorflow as tf

from estimator_ckpt import CheckpointArgumentError, convert, describe
from estimator_ckpt.checkpoint import open_checkpoint

tf1 = tf.compat.v1
VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"


def _save(variables, prefix):
    return tf1.train.Saver(variables).save(None, str(prefix))


def _index_bytes(prefix):
    with open(f"{prefix}.index", "rb") as file:
        return file.read()


@pytest.fixture
def partitioned(tmp_path):
    """A name-based checkpoint with a variable in three parts, and its whole value."""
    value = np.arange(30, dtype=np.float32).reshape(10, 3)

    def initializer(shape, dtype, partition_info):
        rows = value[partition_info.var_offset[0] :][: shape[0]]
        return tf.constant(rows, dtype)

    with tf.Graph().as_default():
        with tf1.variable_scope("", partitioner=tf1.fixed_size_partitioner(3)):
            tf1.get_variable("dnn/kernel", [10, 3], initializer=initializer)
        tf1.train.get_or_create_global_step()
        with tf1.Session() as session:
            session.run(tf1.global_variables_initializer())
            return tf1.train.Saver().save(session, str(tmp_path / "parts")), value


def test_the_chicago_taxi_model_dir_goes_to_tf2_and_dual_and_back(third_party, tmp_path):
    source = third_party / "chicago_taxi_model_dir"
    tf2 = convert(source, tmp_path / "tf2", to="tf2")
    dual = convert(source, tmp_path / "dual", to="dual")
    assert len(tf2.keys) == 60
    assert len(dual.keys) == 120
    assert len({row.source for row in dual.keys}) == 60
    for report in (tf2, dual):
        assert report.bytes_copied == 0
        assert report.bytes_linked == os.path.getsize(
            source / "model.ckpt-1000.data-00000-of-00001"
        )
        assert report.dropped == ()
    original = jobs.values(source / "model.ckpt-1000")
    assert len(original) == 60
    for name in ("tf2", "dual"):
        jobs.assert_equal_values(original, jobs.values(tmp_path / name))
        back = convert(tmp_path / name, tmp_path / f"{name}-back", to="tf1")
        assert len(back.keys) == 60
        assert _index_bytes(back.prefix) == _index_bytes(source / "model.ckpt-1000")


def test_a_converted_model_dir_loads_eagerly_and_consumes_every_value(third_party, tmp_path):
    source = third_party / "chicago_taxi_model_dir"
    original = jobs.values(source / "model.ckpt-1000")
    step = original.pop("global_step")
    for to in ("tf2", "dual"):
        convert(source, tmp_path / to, to=to)
        variables = {name: tf.Variable(tf.zeros_like(value)) for name, value in original.items()}
        checkpoint = tf.train.Checkpoint(var_list=variables, step=tf.Variable(0, dtype=tf.int64))
        checkpoint.restore(str(tmp_path / to)).assert_consumed()
        assert checkpoint.step.numpy() == step == 1000
        for name, value in original.items():
            np.testing.assert_array_equal(variables[name].numpy(), value)


def test_data_files_are_the_same_files(tmp_path):
    source = _save([tf.Variable([1.0, 2.0], name="a")], tmp_path / "source")
    convert(source, tmp_path / "target", to="tf2")
    before = os.stat(f"{source}.data-00000-of-00001")
    assert os.path.samestat(before, os.stat(tmp_path / "target.data-00000-of-00002"))


def test_copy_makes_independent_files_and_tells_progress(tmp_path):
    source = _save([tf.Variable([1.0, 2.0], name="a")], tmp_path / "source")
    calls = []
    report = convert(
        source, tmp_path / "target", to="tf1", copy=True, progress=lambda *call: calls.append(call)
    )
    target = str(tmp_path / "target.data-00000-of-00001")
    assert (report.bytes_linked, report.bytes_copied) == (0, 8)
    assert calls == [(target, 8, 8)]
    assert not os.path.samefile(target, f"{source}.data-00000-of-00001")


def test_partitioned_variables_keep_working_under_their_new_name(partitioned, tmp_path):
    source, value = partitioned
    convert(source, tmp_path / "tf2", to="tf2")
    reader = tf.train.load_checkpoint(str(tmp_path / "tf2"))
    np.testing.assert_array_equal(reader.get_tensor("var_list/dnn.Skernel" + VALUE), value)
    variable = tf.Variable(tf.zeros([10, 3]))
    step = tf.Variable(1, dtype=tf.int64)
    checkpoint = tf.train.Checkpoint(var_list={"dnn/kernel": variable}, step=step)
    checkpoint.restore(str(tmp_path / "tf2")).assert_consumed()
    np.testing.assert_array_equal(variable.numpy(), value)
    convert(tmp_path / "tf2", tmp_path / "tf1", to="tf1")
    assert _index_bytes(tmp_path / "tf1") == _index_bytes(source)


def test_several_shards_stay_several_shards(tmp_path):
    staged = [str(tmp_path / f"part-{number}") for number in range(3)]
    for number, prefix in enumerate(staged):
        tf.raw_ops.SaveV2(
            prefix=prefix,
            tensor_names=[f"v{number}"],
            shape_and_slices=[""],
            tensors=[tf.fill([number + 1], float(number))],
        )
    source = str(tmp_path / "source")
    tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=staged, destination_prefix=source)
    assert open_checkpoint(source).index.num_shards == 3
    convert(source, tmp_path / "tf2", to="tf2")
    assert open_checkpoint(tmp_path / "tf2").index.num_shards == 4
    jobs.assert_equal_values(jobs.values(source), jobs.values(tmp_path / "tf2"))
    convert(tmp_path / "tf2", tmp_path / "tf1", to="tf1")
    assert _index_bytes(tmp_path / "tf1") == _index_bytes(source)


@pytest.mark.parametrize("to", ["tf2", "dual"])
def test_every_dtype_survives(tmp_path, to):
    values = {
        "bfloat16": tf.cast([1.5, -2.0], tf.bfloat16),
        "bool": tf.constant([True, False]),
        "complex128": tf.constant([1 + 2j], tf.complex128),
        "complex64": tf.constant([1 + 2j], tf.complex64),
        "empty": tf.zeros([0, 4]),
        "float16": tf.constant([0.5], tf.float16),
        "float64": tf.constant([0.1], tf.float64),
        "int8": tf.constant([-1], tf.int8),
        "scalar": tf.constant(7, tf.int64),
        "string": tf.constant([b"a", b"", b"\x00\xff"]),
        "uint16": tf.constant([65535], tf.uint16),
        "uint64": tf.constant([2**63], tf.uint64),
    }
    source = str(tmp_path / "source")
    tf.raw_ops.SaveV2(
        prefix=source,
        tensor_names=list(values),
        shape_and_slices=[""] * len(values),
        tensors=list(values.values()),
    )
    convert(source, tmp_path / "there", to=to)
    reader = tf.train.load_checkpoint(str(tmp_path / "there"))
    for name, value in values.items():
        found = reader.get_tensor(f"var_list/{name}{VALUE}")
        assert found.dtype == value.dtype.as_numpy_dtype or name == "string"
        np.testing.assert_array_equal(found, value.numpy(), err_msg=name)
    convert(tmp_path / "there", tmp_path / "back", to="tf1")
    assert _index_bytes(tmp_path / "back") == _index_bytes(source)


@pytest.mark.parametrize(
    "name", ["a.b", "a..Sb", "x/.ATTRIBUTESx/y", "with space", "ünïcode/ä", ".S", "a/b.S/c.", "0"]
)
def test_names_are_escaped_as_tensorflow_escapes_them(tmp_path, name):
    source = str(tmp_path / "source")
    tf.raw_ops.SaveV2(
        prefix=source, tensor_names=[name], shape_and_slices=[""], tensors=[tf.constant(5.0)]
    )
    convert(source, tmp_path / "tf2", to="tf2")
    variable = tf.Variable(0.0)
    tf.train.Checkpoint(var_list={name: variable}).restore(str(tmp_path / "tf2")).assert_consumed()
    assert variable.numpy() == 5
    convert(tmp_path / "tf2", tmp_path / "back", to="tf1")
    assert _index_bytes(tmp_path / "back") == _index_bytes(source)


def test_the_container_and_the_place_of_the_step_can_be_chosen(tmp_path):
    step = tf.Variable(3, dtype=tf.int64, name="global_step")
    source = _save([step, tf.Variable(1.0, name="a")], tmp_path / "source")
    convert(source, tmp_path / "default", to="tf2")
    convert(source, tmp_path / "named", to="tf2", container="vars", step="iterations")
    convert(source, tmp_path / "inside", to="tf2", container="vars", step=None)
    common = {GRAPH, "save_counter" + VALUE}
    assert jobs.keys(tmp_path / "default") - common == {"var_list/a" + VALUE, "step" + VALUE}
    assert jobs.keys(tmp_path / "named") - common == {"vars/a" + VALUE, "iterations" + VALUE}
    assert jobs.keys(tmp_path / "inside") - common == {"vars/a" + VALUE, "vars/global_step" + VALUE}


def test_an_object_based_source_keeps_its_layout_in_a_dual_checkpoint(tmp_path):
    dense = tf.keras.layers.Dense(2)
    dense.build([None, 3])
    source = tf.train.Checkpoint(layer=dense).save(str(tmp_path / "source"))
    convert(source, tmp_path / "dual", to="dual")
    assert jobs.keys(source) < jobs.keys(tmp_path / "dual")
    assert {"kernel", "bias"} < jobs.keys(tmp_path / "dual")
    other = tf.keras.layers.Dense(2)
    other.build([None, 3])
    tf.train.Checkpoint(layer=other).restore(str(tmp_path / "dual")).assert_consumed()
    np.testing.assert_array_equal(other.kernel.numpy(), dense.kernel.numpy())
    convert(tmp_path / "dual", tmp_path / "tf2", to="tf2")
    assert _index_bytes(tmp_path / "tf2") == _index_bytes(source)


def test_lists_get_their_names_from_the_object_graph(tmp_path):
    variables = [tf.Variable(float(n), name=name) for n, name in enumerate(("a", "b", "scoped/c"))]
    source = tf.train.Checkpoint(variables=variables).save(str(tmp_path / "source"))
    convert(source, tmp_path / "tf1", to="tf1")
    assert jobs.values(tmp_path / "tf1") == {"a": 0, "b": 1, "scoped/c": 2}


def test_slots_of_a_keras_optimizer_get_their_own_names(third_party, tmp_path):
    source = third_party / "babyweight_keras_object" / "babyweight"
    report = convert(source, tmp_path / "tf1", to="tf1")
    names = {row.target for row in report.keys}
    assert len(names) == len(report.keys) == 38
    assert [row.key for row in report.dropped] == [GRAPH]
    reader = tf.train.load_checkpoint(str(source))
    converted = tf.train.load_checkpoint(str(tmp_path / "tf1"))
    for row in report.keys:
        np.testing.assert_array_equal(
            reader.get_tensor(row.source), converted.get_tensor(row.target)
        )


def test_variables_of_equal_names_are_called_by_their_paths_which_is_said(tmp_path):
    variables = [tf.Variable(1.0), tf.Variable(2.0)]
    source = tf.train.Checkpoint(variables=variables).save(str(tmp_path / "source"))
    report = convert(source, tmp_path / "tf1", to="tf1")
    assert jobs.values(tmp_path / "tf1") == {"variables/0": 1.0, "variables/1": 2.0}
    (note,) = [note for note in report.notes if note.startswith("called by their paths")]
    assert "'variables/0' (another tensor is called 'Variable', too)" in note


def test_a_step_that_meets_another_key_is_refused(tmp_path):
    source = str(tmp_path / "source")
    tf.raw_ops.SaveV2(
        prefix=source,
        tensor_names=["a", "global_step"],
        shape_and_slices=["", ""],
        tensors=[tf.constant(5.0), tf.constant(1, tf.int64)],
    )
    with pytest.raises(CheckpointArgumentError, match="save_counter"):
        convert(source, tmp_path / "tf2", to="tf2", step="save_counter")


def test_python_state_is_dropped_with_its_reason(tmp_path):
    class State(tf.train.experimental.PythonState):
        def serialize(self):
            return "state"

        def deserialize(self, value):
            del value

    variable = tf.Variable(1.0, name="a")
    checkpoint = tf.train.Checkpoint(state=State(), a=variable)
    source = checkpoint.save(str(tmp_path / "source"))
    report = convert(source, tmp_path / "tf1", to="tf1")
    reasons = {row.key: row.reason for row in report.dropped}
    key = next(key for key in jobs.keys(source) if key.startswith("state/"))
    assert "Python state" in reasons[key]
    assert jobs.keys(tmp_path / "tf1") == {"a"}


def test_tables_are_named_as_a_saver_names_them(tmp_path):
    table = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, -1)
    table.insert(["x"], [7])
    checkpoint = tf.train.Checkpoint(var_list={"t": table, "a": tf.Variable(1.0)})
    source = checkpoint.save(str(tmp_path / "source"))
    convert(source, tmp_path / "tf1", to="tf1")
    assert jobs.keys(tmp_path / "tf1") == {"a", "t-keys", "t-values"}
    with tf.Graph().as_default(), tf1.Session() as session:
        table = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, -1, name="t")
        value = table.lookup(tf.constant(["x"]))
        saveables = tf1.get_collection(tf1.GraphKeys.SAVEABLE_OBJECTS)
        tf1.train.Saver(saveables).restore(session, str(tmp_path / "tf1"))
        assert session.run(value) == [7]


def test_overwriting_replaces_a_checkpoint_and_keeps_its_old_shards_until_the_next(tmp_path):
    old = _save([tf.Variable(1.0, name="a")], tmp_path / "old")
    new = _save([tf.Variable(2.0, name="a")], tmp_path / "new")
    convert(old, tmp_path / "target", to="tf2")
    convert(new, tmp_path / "target", to="tf2", overwrite=True)
    assert jobs.values(tmp_path / "target") == {"a": 2}
    assert jobs.values(old) == {"a": 1}
    old_shards = [f"target.data-0000{n}-of-00002" for n in range(2)]
    new_shards = [f"target.data-0000{n}-of-00003" for n in range(3)]
    found = sorted(path.name for path in tmp_path.glob("target.data-*"))
    assert found == sorted([*old_shards, *new_shards])
    for name in old_shards:
        os.utime(tmp_path / name, (1, 1))
    convert(new, tmp_path / "next", to="tf2")
    assert sorted(path.name for path in tmp_path.glob("target.data-*")) == new_shards
    assert jobs.values(tmp_path / "target") == {"a": 2}


def test_ram_file_system_is_written_by_copying(tmp_path):
    source = _save([tf.Variable([1.0, 2.0], name="a")], tmp_path / "source")
    report = convert(source, "ram://convert/there", to="dual", overwrite=True)
    assert (report.bytes_linked, report.bytes_copied) == (0, 8)
    restored = tf.raw_ops.RestoreV2(
        prefix="ram://convert/there",
        tensor_names=["a", "var_list/a" + VALUE],
        shape_and_slices=["", ""],
        dtypes=[tf.float32, tf.float32],
    )
    np.testing.assert_array_equal(restored, [[1, 2], [1, 2]])
    convert("ram://convert/there", tmp_path / "back", to="tf1")
    np.testing.assert_array_equal(jobs.values(tmp_path / "back")["a"], [1, 2])
    assert describe("ram://convert/there").format == "dual"


def test_an_object_that_holds_its_own_variables_is_no_container_of_names(tmp_path):
    with tf.name_scope("dense"):
        held = tf.train.Checkpoint(kernel=tf.Variable(1.0, name="kernel"))
    source = tf.train.Checkpoint(net=held).save(str(tmp_path / "source"))
    assert [row.name for row in describe(source).variables] == ["dense/kernel"]
    convert(source, tmp_path / "tf1", to="tf1")
    assert jobs.values(tmp_path / "tf1") == {"dense/kernel": 1}
