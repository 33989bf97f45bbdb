"""The Saver on its own, without an Estimator."""

import jobs
import numpy as np
import pytest
import tensorflow as tf

from estimator_ckpt import (
    CheckpointSaver,
    DamagedCheckpointError,
    VariableMismatchError,
    convert,
    describe,
    doctor,
)
from estimator_ckpt.checkpoint import open_checkpoint
from estimator_ckpt.naming import OBJECT_GRAPH_KEY

tf1 = tf.compat.v1


@pytest.fixture
def session():
    with tf.Graph().as_default(), tf1.Session() as session:
        yield session


def _variables(session, **values):
    made = [
        tf1.get_variable(name.replace("__", "/"), initializer=np.float32(value))
        for name, value in values.items()
    ]
    session.run(tf1.global_variables_initializer())
    return made


def _saver(checkpoint_format="dual", **options):
    saver = CheckpointSaver(checkpoint_format, **options)
    saver.build()
    return saver


def test_each_format_has_its_keys(session, tmp_path):
    _variables(session, scope__a=1)
    objects = {"var_list/scope.Sa" + jobs.VALUE, "_CHECKPOINTABLE_OBJECT_GRAPH"}
    expected = {"tf1": {"scope/a"}, "tf2": objects, "dual": objects | {"scope/a"}}
    for checkpoint_format, keys in expected.items():
        path = _saver(checkpoint_format).save(session, str(tmp_path / checkpoint_format))
        assert jobs.keys(path) == keys


def test_nothing_but_the_checkpoint_is_left(session, tmp_path):
    _variables(session, a=1)
    _saver(sharded=True).save(session, str(tmp_path / "model"), global_step=3)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "checkpoint",
        "model-3.data-00000-of-00001",
        "model-3.index",
        "model-3.meta",
    ]


def test_saving_a_step_again_replaces_it_at_once(session, tmp_path):
    (a,) = _variables(session, a=1)
    saver = _saver()
    prefix = str(tmp_path / "model")
    for value in (1, 2, 3):
        session.run(a.assign(value))
        saver.save(session, prefix)
        assert jobs.values(prefix) == {"a": value}
        # And those of the one before, which readers may need.
        assert len(list(tmp_path.glob("model.data-*"))) <= 1 + 2
        assert open_checkpoint(prefix).index.num_shards <= 2


def test_a_failed_save_leaves_the_old_checkpoint_and_no_staging(session, tmp_path, monkeypatch):
    (a,) = _variables(session, a=1)
    saver = _saver()
    prefix = saver.save(session, str(tmp_path / "model"))
    before = jobs.snapshot(tmp_path)

    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("estimator_ckpt.storage.files.rename", refuse)
    session.run(a.assign(2))
    with pytest.raises(OSError, match="No space left"):
        saver.save(session, prefix)
    assert jobs.snapshot(tmp_path) == before
    assert jobs.values(prefix) == {"a": 1}


def test_it_restores_what_a_plain_saver_and_a_plain_checkpoint_wrote(session, tmp_path):
    a, b = _variables(session, a=1, scope__b=2)
    by_name = tf1.train.Saver().save(session, str(tmp_path / "tf1"))
    with session.as_default():
        checkpoint = tf.train.Checkpoint(var_list={"a": a, "scope/b": b})
        by_object = checkpoint.write(str(tmp_path / "tf2"))
        other = tf.train.Checkpoint(x=tf.train.Checkpoint(y=[a, b])).write(str(tmp_path / "other"))
    saver = _saver(var_list=[a, b])
    for prefix in (by_name, by_object, other):
        session.run([a.assign(0), b.assign(0)])
        saver.restore(session, prefix)
        assert session.run([a, b]) == [1, 2]


def test_a_plain_saver_restores_what_it_wrote(session, tmp_path):
    (a,) = _variables(session, a=1)
    plain = tf1.train.Saver([a])
    for checkpoint_format in ("tf1", "dual"):
        path = _saver(checkpoint_format, var_list=[a]).save(
            session, str(tmp_path / checkpoint_format)
        )
        session.run(a.assign(0))
        plain.restore(session, path)
        assert session.run(a) == 1


def test_a_name_map_is_kept(session, tmp_path):
    (a,) = _variables(session, a=5)
    saver = _saver(var_list={"other/name": a})
    path = saver.save(session, str(tmp_path / "model"))
    assert {"other/name", "var_list/other.Sname" + jobs.VALUE} < jobs.keys(path)
    session.run(a.assign(0))
    saver.restore(session, path)
    assert session.run(a) == 5


def test_what_is_missing_on_either_side_is_listed_with_near_names(session, tmp_path):
    _variables(session, dense__kernel=1, same=2)
    path = tf1.train.Saver().save(session, str(tmp_path / "model"))
    with tf.Graph().as_default(), tf1.Session() as other:
        _variables(other, dense_1__kernel=1, same=2)
        with pytest.raises(VariableMismatchError) as raised:
            _saver().restore(other, path)
    message = str(raised.value)
    assert "lacks 1 of the 2 variables of the graph: 'dense_1/kernel' (near: 'dense/kernel')" in (
        message
    )
    assert "It has 1 that the graph lacks: dense/kernel" in message
    assert "warm_start_settings" in message
    assert isinstance(raised.value, tf.errors.NotFoundError)  # as TensorFlow raises here


@pytest.mark.parametrize("use_resource", [True, False])
def test_another_shape_is_an_error_that_names_variable_and_shapes(tmp_path, use_resource):
    for shape, expected in (
        ([2, 3], None),
        ([3, 2], "'w': it is float32 (3, 2) here, and float32 (2, 3) in the checkpoint"),
    ):
        with tf.Graph().as_default(), tf1.Session() as session:
            tf1.get_variable("w", shape, use_resource=use_resource)
            saver = _saver()
            if expected is None:
                session.run(tf1.global_variables_initializer())
                saver.save(session, str(tmp_path / "model"))
                continue
            with pytest.raises(VariableMismatchError) as raised:
                saver.restore(session, str(tmp_path / "model"))
            assert expected in str(raised.value)
            assert isinstance(raised.value, tf.errors.InvalidArgumentError)


def test_reshape_is_still_possible_when_asked_for(session, tmp_path):
    tf1.get_variable("w", initializer=np.arange(6, dtype=np.float32).reshape(2, 3))
    session.run(tf1.global_variables_initializer())
    path = _saver().save(session, str(tmp_path / "model"))
    with tf.Graph().as_default(), tf1.Session() as other:
        w = tf1.get_variable("w", [3, 2])
        _saver(reshape=True).restore(other, path)
        np.testing.assert_array_equal(other.run(w), np.arange(6).reshape(3, 2))


@pytest.mark.parametrize(("saved", "restored"), [(None, 3), (3, None), (3, 2), (2, 3)])
@pytest.mark.parametrize("checkpoint_format", ["tf1", "tf2", "dual"])
def test_partitioned_variables_fit_any_other_partition(
    tmp_path, saved, restored, checkpoint_format
):
    def make(parts, initializer):
        partitioner = tf1.fixed_size_partitioner(parts) if parts else None
        with tf1.variable_scope("", partitioner=partitioner):
            return tf1.get_variable("w", [7, 2], initializer=initializer)

    with tf.Graph().as_default(), tf1.Session() as session:
        w = tf.convert_to_tensor(make(saved, tf1.random_uniform_initializer()))
        session.run(tf1.global_variables_initializer())
        expected = session.run(w)
        path = _saver(checkpoint_format, sharded=True).save(session, str(tmp_path / "model"))
    names = {"tf1": {"w"}, "tf2": {"var_list/w" + jobs.VALUE}}
    wanted = names.get(checkpoint_format, names["tf1"] | names["tf2"])
    assert jobs.keys(path) - {"_CHECKPOINTABLE_OBJECT_GRAPH"} == wanted
    with tf.Graph().as_default(), tf1.Session() as session:
        w = tf.convert_to_tensor(make(restored, tf1.zeros_initializer()))
        _saver(sharded=True).restore(session, path)
        np.testing.assert_array_equal(session.run(w), expected)


def test_tables_are_saved_and_restored(tmp_path):
    def graph():
        table = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, -1, name="t")
        return table, table.lookup(tf.constant(["x"]))

    for checkpoint_format in ("tf1", "tf2", "dual"):
        with tf.Graph().as_default(), tf1.Session() as session:
            table, _ = graph()
            session.run(table.insert(tf.constant(["x"]), tf.constant([7], tf.int64)))
            path = _saver(checkpoint_format).save(session, str(tmp_path / checkpoint_format))
        with tf.Graph().as_default(), tf1.Session() as session:
            _, value = graph()
            _saver().restore(session, path)
            assert session.run(value) == [7]


def test_a_damaged_checkpoint_is_named_before_anything_is_restored(session, tmp_path):
    (a,) = _variables(session, a=1)
    path = _saver().save(session, str(tmp_path / "model"))
    shard = tmp_path / "model.data-00000-of-00001"
    shard.write_bytes(shard.read_bytes()[:2])
    session.run(a.assign(9))
    with pytest.raises(DamagedCheckpointError, match="cut short"):
        _saver().restore(session, path)
    assert session.run(a) == 9


def test_what_is_no_checkpoint_is_refused_as_tensorflow_refuses_it(session, tmp_path):
    _variables(session, a=1)
    with pytest.raises(ValueError, match="not a valid checkpoint"):
        _saver().restore(session, str(tmp_path / "nothing"))
    with pytest.raises(ValueError, match="when it is None"):
        _saver().restore(session, None)


def test_a_directory_that_does_not_exist_is_refused_as_tensorflow_refuses_it(session, tmp_path):
    _variables(session, a=1)
    with pytest.raises(ValueError, match="doesn't exist, can't save"):
        _saver(sharded=True).save(session, str(tmp_path / "no" / "model"))


def test_monitored_training_session_uses_the_scaffold(tmp_path):
    from estimator_ckpt import checkpoint_scaffold

    def run(steps):
        with tf.Graph().as_default():
            step = tf1.train.get_or_create_global_step()
            a = tf1.get_variable("a", initializer=0.0)
            train = tf.group(a.assign_add(2), step.assign_add(1))
            with tf1.train.MonitoredTrainingSession(
                checkpoint_dir=str(tmp_path), scaffold=checkpoint_scaffold()
            ) as session:
                for _ in range(steps):
                    session.run(train)
                return session.run(a)

    assert run(2) == 4
    assert run(2) == 8
    assert {"a", "var_list/a" + jobs.VALUE} < jobs.keys(tf.train.latest_checkpoint(str(tmp_path)))


def test_what_was_recovered_from_another_directory_is_not_deleted(tmp_path):
    # As a worker under MultiWorkerMirroredStrategy, which is not the chief, resumes.
    chiefs, own = tmp_path / "job", tmp_path / "job/tmp_worker_0"
    own.mkdir(parents=True)
    with tf.Graph().as_default(), tf1.Session() as session:
        tf1.get_variable("v", [], initializer=tf1.zeros_initializer())
        session.run(tf1.global_variables_initializer())
        first, second = (CheckpointSaver("dual", max_to_keep=2) for _ in range(2))
        first.build()
        second.build()
        for step in (1, 2):
            first.save(session, str(chiefs / "model.ckpt"), global_step=step)
        second.recover_last_checkpoints(first.last_checkpoints)
        for step in (2, 3, 4):
            second.save(session, str(own / "model.ckpt"), global_step=step)
    assert sorted(path.name for path in chiefs.glob("*.index")) == [
        "model.ckpt-1.index",
        "model.ckpt-2.index",
    ]
    assert jobs.listed(own) == ["model.ckpt-3", "model.ckpt-4"]


@pytest.mark.parametrize("checkpoint_format", ["dual", "tf2"])
def test_a_plain_saver_of_the_meta_graph_writes_an_ordinary_tf1_checkpoint(
    tmp_path, checkpoint_format
):
    with tf.Graph().as_default(), tf1.Session() as session:
        tf1.get_variable("w", initializer=[1.0, 2.0])
        saver = CheckpointSaver(checkpoint_format)
        saver.build()
        session.run(tf1.global_variables_initializer())
        prefix = saver.save(session, str(tmp_path / "job"))
    assert OBJECT_GRAPH_KEY in dict(tf.train.list_variables(prefix))
    with tf.Graph().as_default(), tf1.Session() as session:
        plain = tf1.train.import_meta_graph(prefix + ".meta")
        session.run(tf1.global_variables_initializer())
        again = plain.save(session, str(tmp_path / "plain"))
    assert tf.train.list_variables(again) == [("w", [2])]


def test_an_empty_object_graph_is_none(tmp_path):
    """As the ops of an earlier version wrote it where nobody fed them."""
    prefix = str(tmp_path / "model")
    tf.raw_ops.SaveV2(
        prefix=prefix,
        tensor_names=["w", OBJECT_GRAPH_KEY],
        shape_and_slices=["", ""],
        tensors=[tf.constant([1.0, 2.0]), tf.constant(b"")],
    )
    assert describe(prefix).format == "tf1"
    (row,) = doctor(tmp_path).checkpoints
    assert (row.format, row.tf2_checkpoint) == ("tf1", "by name")
    report = convert(prefix, tmp_path / "tf1", to="tf1")
    assert [dropped.key for dropped in report.dropped] == [OBJECT_GRAPH_KEY]
    assert "empty object graph" in report.dropped[0].reason
    convert(prefix, tmp_path / "tf2", to="tf2")
    checkpoint = tf.train.Checkpoint(var_list={"w": tf.Variable([0.0, 0.0])})
    checkpoint.restore(str(tmp_path / "tf2")).expect_partial()
    np.testing.assert_array_equal(checkpoint.var_list["w"], [1.0, 2.0])


def test_many_variables_are_restored_by_several_reads(session, tmp_path, monkeypatch):
    monkeypatch.setattr("estimator_ckpt.estimator.saver_ops._MANY", 5)
    values = {f"v{number}": number for number in (3, 1, 4, 5, 9, 2, 6)}
    made = _variables(session, **values)
    saver = _saver()
    reads = [each for each in session.graph.get_operations() if each.type == "RestoreV2"]
    assert sum(len(each.outputs) for each in reads) == 7
    assert len(reads) == 4
    for checkpoint_format in ("tf1", "tf2", "dual"):
        path = _saver(checkpoint_format).save(session, str(tmp_path / checkpoint_format))
        session.run([each.assign(0.0) for each in made])
        saver.restore(session, path)
        assert session.run(made) == list(values.values())
