"""rename, drop and ema on checkpoints of each format, judged by TensorFlow."""

import jobs
import numpy as np
import pytest
import tensorflow as tf

from estimator_ckpt import CheckpointArgumentError, convert, describe, wrap_model_fn
from estimator_ckpt.conversion.editing import drop, ema, rename

tf1 = tf.compat.v1


@pytest.fixture(params=["tf1", "tf2", "dual"])
def source(request, tmp_path):
    model_fn = jobs.adam_model_fn
    if request.param != "tf1":
        model_fn = wrap_model_fn(model_fn, checkpoint_format=request.param)
    jobs.make_estimator(model_fn, tmp_path / "job").train(jobs.input_fn, steps=2)
    return tmp_path / "job"


def _assert_consumed(prefix):
    """Loads a checkpoint that has an object graph into objects of its own names."""
    values = jobs.values(prefix)
    step = tf.Variable(0, dtype=tf.int64)
    held = {n: tf.Variable(tf.zeros_like(v)) for n, v in values.items() if n != "global_step"}
    tf.train.Checkpoint(var_list=held, step=step).restore(str(prefix)).assert_consumed()
    for name, variable in held.items():
        np.testing.assert_array_equal(variable.numpy(), values[name])


def test_renaming_keeps_format_values_and_slots(source, tmp_path):
    target = tmp_path / "renamed"
    old = jobs.values(tf.train.latest_checkpoint(str(source)))
    report = rename(source, target, {"layer/w": "tower/kernel", "layer/": "tower/"})
    assert report.format == describe(source).format
    assert report.bytes_copied == 0
    new = jobs.values(target)
    expected = {
        name.replace("layer/w", "tower/kernel").replace("layer/", "tower/"): value
        for name, value in old.items()
    }
    jobs.assert_equal_values(new, expected)
    if report.format != "tf1":
        _assert_consumed(target)


def test_dropping_slots_leaves_the_model_and_says_what_went(source, tmp_path):
    target = tmp_path / "small"
    report = drop(source, target, slots=True)
    assert set(jobs.values(target)) == {"layer/w", "layer/b", "global_step"}
    asked = [row for row in report.dropped if row.reason.startswith("asked for")]
    assert len(asked) == (12 if report.format == "dual" else 6)  # each by both of its keys
    if report.format != "tf1":
        _assert_consumed(target)


def test_a_dry_run_says_the_same_and_writes_nothing(source, tmp_path):
    before = jobs.snapshot(tmp_path)
    dry = drop(source, tmp_path / "small", ["/Adam"], dry_run=True)
    assert jobs.snapshot(tmp_path) == before
    wet = drop(source, tmp_path / "small", ["/Adam"])
    assert dry.keys == wet.keys
    assert dry.dropped == wet.dropped
    assert (dry.bytes_linked, dry.bytes_written) == (0, 0)
    assert wet.bytes_linked > 0


@pytest.mark.parametrize("to", ["tf1", "tf2", "dual"])
def test_averages_take_the_place_of_variables(tmp_path, to):
    with tf.Graph().as_default(), tf1.Session() as session:
        w = tf1.get_variable("w", initializer=1.0)
        average = tf.train.ExponentialMovingAverage(0.5)
        apply = average.apply([w])
        session.run(tf1.global_variables_initializer())
        session.run(w.assign(3.0))
        session.run(apply)
        tf1.train.Saver().save(session, str(tmp_path / "saved"))
    convert(tmp_path / "saved", tmp_path / "source", to=to)
    report = ema(tmp_path / "source", tmp_path / "averaged")
    assert jobs.values(tmp_path / "source") == {"w": 3, "w/ExponentialMovingAverage": 2}
    assert jobs.values(tmp_path / "averaged") == {"w": 2}
    assert report.format == to
    if to != "tf1":
        w = tf.Variable(0.0)
        restored = tf.train.Checkpoint(var_list={"w": w}).restore(str(tmp_path / "averaged"))
        restored.assert_consumed()
        assert w.numpy() == 2


def test_objects_of_another_layout_lose_what_is_dropped_and_nothing_else(tmp_path):
    dense = tf.keras.layers.Dense(2)
    dense.build([None, 3])
    optimizer = tf.keras.optimizers.legacy.Adam()
    optimizer.apply_gradients([(tf.ones_like(v), v) for v in dense.trainable_variables])
    source = tf.train.Checkpoint(layer=dense, optimizer=optimizer).save(str(tmp_path / "source"))
    drop(source, tmp_path / "small", ["^Adam/"])
    assert jobs.keys(tmp_path / "small") == {
        "_CHECKPOINTABLE_OBJECT_GRAPH",
        "layer/bias" + jobs.VALUE,
        "layer/kernel" + jobs.VALUE,
        "save_counter" + jobs.VALUE,
    }
    other = tf.keras.layers.Dense(2)
    other.build([None, 3])
    fresh = tf.keras.optimizers.legacy.Adam()
    restored = tf.train.Checkpoint(layer=other, optimizer=fresh).restore(str(tmp_path / "small"))
    restored.assert_existing_objects_matched()
    np.testing.assert_array_equal(other.kernel.numpy(), dense.kernel.numpy())
    fresh.apply_gradients([(tf.ones_like(v), v) for v in other.trainable_variables])


def test_new_names_for_objects_of_another_layout_want_a_container(tmp_path):
    layer = tf.train.Checkpoint(inner=tf.train.Checkpoint(v=tf.Variable(1.0, name="v")))
    source = tf.train.Checkpoint(model=layer).save(str(tmp_path / "source"))
    with pytest.raises(CheckpointArgumentError, match="give a container"):
        rename(source, tmp_path / "renamed", {"v": "w"})
    rename(source, tmp_path / "renamed", {"v": "w"}, container="vars")
    assert "vars/w" + jobs.VALUE in jobs.keys(tmp_path / "renamed")


@pytest.mark.parametrize("change", [rename, lambda *args: convert(*args[:2], rename=args[2])])
def test_variables_beside_a_table_get_new_names_and_the_table_keeps_its_place(tmp_path, change):
    def objects(names):
        table = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, -1)
        variables = {name: tf.Variable(0.0, name=name) for name in names}
        return tf.train.Checkpoint(
            var_list=variables, step=tf.Variable(0, dtype=tf.int64), words=table
        )

    saved = objects(["d/w", "d/w/Momentum"])
    saved.words.insert(tf.constant(["a"]), tf.constant([5], tf.int64))
    for number, variable in enumerate(saved.var_list.values()):
        variable.assign(number + 1.0)
    source = saved.save(str(tmp_path / "source"))
    report = change(source, tmp_path / "renamed", {"/": "root/"})
    (note,) = report.notes
    assert note.startswith("2 tensors of objects that are no variables, such as 'words/")
    loaded = objects(["root/d/w", "root/d/w/Momentum"])
    loaded.restore(str(tmp_path / "renamed")).assert_consumed()
    assert [float(each) for each in loaded.var_list.values()] == [1.0, 2.0]
    assert loaded.words.lookup(tf.constant("a")).numpy() == 5
    rename(tmp_path / "renamed", tmp_path / "back", {"root/": ""})
    assert jobs.values(tmp_path / "back") == jobs.values(source)
    assert jobs.keys(tmp_path / "back") == jobs.keys(source)


def test_convert_renames_and_drops_on_the_way(source, tmp_path):
    report = convert(
        source, tmp_path / "out", to="tf1", rename={"layer/": "l/"}, drop=["/Adam", "_power$"]
    )
    assert jobs.keys(tmp_path / "out") == {"l/w", "l/b", "global_step"}
    assert report.format == "tf1"


def test_unmatched_rules_are_refused_and_nothing_is_written(source, tmp_path):
    before = jobs.snapshot(tmp_path)
    with pytest.raises(CheckpointArgumentError, match="near names"):
        rename(source, tmp_path / "x", {"layer/v": "y"})
    with pytest.raises(CheckpointArgumentError, match="matches no variable"):
        drop(source, tmp_path / "x", ["nothing"])
    with pytest.raises(CheckpointArgumentError, match="there is no average"):
        ema(source, tmp_path / "x")
    assert jobs.snapshot(tmp_path) == before


@pytest.mark.parametrize(
    "edit",
    [
        lambda source, target: convert(source, target, exclude="bias"),
        lambda source, target: drop(source, target, ["bias"]),
        lambda source, target: convert(source, target, to="dual", exclude="bias"),
    ],
)
def test_a_weight_beside_one_container_is_taken_for_no_step(tmp_path, edit):
    module = tf.Module()
    module.dense = tf.Module()
    module.dense.kernel, module.dense.bias = tf.Variable([1.0, 2.0]), tf.Variable([3.0])
    module.table = tf.Variable([4.0, 5.0, 6.0])
    source = tf.train.Checkpoint(module).write(str(tmp_path / "source"))
    edit(source, tmp_path / "target")
    for variable in (module.dense.kernel, module.table):
        variable.assign(tf.zeros_like(variable))
    tf.train.Checkpoint(module).read(str(tmp_path / "target")).expect_partial()
    assert module.dense.kernel.numpy().tolist() == [1, 2]
    assert module.table.numpy().tolist() == [4, 5, 6]
