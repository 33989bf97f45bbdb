"""The migration guide's rows on the TF2 side, with the guide's values."""

import jobs
import numpy as np
import pytest
import tensorflow as tf

import estimator_ckpt

tf1 = tf.compat.v1
VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
COUNTER = "save_counter" + VALUE


@pytest.fixture
def tf1_checkpoint(tmp_path):
    with tf.Graph().as_default(), tf1.Session() as session:
        a, b, c = (tf1.get_variable(name, []) for name in ("a", "b", "scoped/c"))
        session.run([a.assign(1), b.assign(2), c.assign(3)])
        return tf1.train.Saver().save(session, str(tmp_path / "tf1-ckpt"))


@pytest.fixture(params=["tf1", "tf2", "dual"])
def any_checkpoint(request, tf1_checkpoint, tmp_path):
    """The guide's checkpoint in each format."""
    estimator_ckpt.convert(tf1_checkpoint, tmp_path / "any", to=request.param)
    return str(tmp_path / "any")


def _eager_variables():
    a = tf.Variable(0.0, name="a")
    b = tf.Variable(0.0, name="b")
    with tf.name_scope("scoped"):
        c = tf.Variable(0.0, name="c")
    return a, b, c


def _numbers(variables):
    return [float(variable.numpy()) for variable in variables]


def test_row_3_keys_of_a_list_of_variables(tmp_path):
    variables = [tf.Variable(value, name=name) for value, name in ((5.0, "a"), (6.0, "b"))]
    with tf.name_scope("scoped"):
        variables.append(tf.Variable(7.0, name="c"))
    prefix = tf.train.Checkpoint(variables=variables).save(str(tmp_path / "tf2-ckpt"))
    description = estimator_ckpt.describe(prefix)
    assert {row.key for row in description.variables} == {
        f"variables/{number}{VALUE}" for number in range(3)
    }
    assert {row.name for row in description.variables} == {"a", "b", "scoped/c"}
    assert set(description.other_keys) == {COUNTER, GRAPH}


def test_row_4_keys_follow_from_structure(tmp_path):
    a, b, c = tf.Variable(0.0), tf.Variable(0.0), tf.Variable(0.0)
    module = tf.Module()
    module.d = tf.Variable(0.0)
    root = tf.train.Checkpoint(v={"a": a, "b": b}, c=c, module=module)
    prefix = root.save(str(tmp_path / "root-tf2-ckpt"))
    assert {row.key for row in estimator_ckpt.describe(prefix).variables} == {
        key + VALUE for key in ("v/a", "v/b", "c", "module/d")
    }
    assert estimator_ckpt.structure_diff(prefix, root).compatible


def test_row_5_a_saver_loads_and_saves_in_eager_mode(any_checkpoint, tmp_path):
    variables = _eager_variables()
    estimator_ckpt.restore({v.name.split(":")[0]: v for v in variables}, any_checkpoint)
    assert _numbers(variables) == [1, 2, 3]
    path = tf1.train.Saver(variables).save(None, str(tmp_path / "again"))
    assert jobs.keys(path) == {"a", "b", "scoped/c"}


def test_row_6_a_tf1_file_loads_by_name_also_into_a_second_variable(tf1_checkpoint):
    variables = [*_eager_variables(), tf.Variable(0.0, name="scoped/c")]
    report = estimator_ckpt.restore(tf.train.Checkpoint(variables=variables), tf1_checkpoint)
    assert _numbers(variables) == [1, 2, 3, 3]
    assert {row.by for row in report.restored} == {"name"}


def test_row_6_variables_without_a_value_are_reported_not_left_silently(tf1_checkpoint):
    variables = [*_eager_variables(), tf.Variable(9.0, name="scoped/d")]
    checkpoint = tf.train.Checkpoint(variables=variables)
    with pytest.raises(estimator_ckpt.VariableMismatchError) as raised:
        estimator_ckpt.restore(checkpoint, tf1_checkpoint)
    assert "nothing called 'scoped/d'; near is 'scoped/c'" in str(raised.value)
    assert _numbers(variables) == [0, 0, 0, 9]
    report = estimator_ckpt.restore(checkpoint, tf1_checkpoint, strict=False)
    assert [row.name for row in report.unmatched] == ["variables/3" + VALUE]
    assert _numbers(variables) == [1, 2, 3, 9]


FORMS = {
    "root": lambda graph: {"/": "new_scope/"},
    "scope": lambda graph: {"scoped/": "new_scope/scoped/", "a": "new_scope/a", "b": "new_scope/b"},
    "names": lambda graph: {name: f"new_scope/{name}" for name in ("a", "b", "scoped/c")},
    "variables": lambda graph: {
        name: graph[f"new_scope/{name}"] for name in ("a", "b", "scoped/c")
    },
}


@pytest.mark.parametrize("form", FORMS)
def test_row_7_assignment_maps_in_all_forms_on_all_formats(any_checkpoint, form):
    with tf.Graph().as_default(), tf1.Session() as session:
        with tf1.variable_scope("new_scope"):
            a, b, c = (tf1.get_variable(name, []) for name in ("a", "b", "scoped/c"))
        graph = {v.op.name: v for v in tf1.global_variables()}
        mapping = estimator_ckpt.assignment_map(any_checkpoint, FORMS[form](graph))
        tf1.train.init_from_checkpoint(any_checkpoint, mapping)
        session.run(tf1.global_variables_initializer())
        assert session.run([a, b, c]) == [1, 2, 3]


@pytest.mark.parametrize("to", ["tf1", "tf2", "dual"])
def test_row_7_a_list_of_partitions(tmp_path, to):
    value = np.arange(6, dtype=np.float32).reshape(6, 1)
    tf1.train.Saver([tf.Variable(value, name="w")]).save(None, str(tmp_path / "whole"))
    estimator_ckpt.convert(tmp_path / "whole", tmp_path / "any", to=to)
    with tf.Graph().as_default(), tf1.Session() as session:
        with tf1.variable_scope("p", partitioner=tf1.fixed_size_partitioner(2)):
            w = tf1.get_variable("w", [6, 1])
        for new in (list(w), "p/w"):
            mapping = estimator_ckpt.assignment_map(tmp_path / "any", {"w": new})
            tf1.train.init_from_checkpoint(str(tmp_path / "any"), mapping)
            session.run(tf1.global_variables_initializer())
            np.testing.assert_array_equal(session.run(tf.convert_to_tensor(w)), value)


def test_row_7_what_is_on_neither_side_is_said(any_checkpoint):
    with tf.Graph().as_default():
        tf1.get_variable("scoped/d", [])
        with pytest.raises(estimator_ckpt.VariableMismatchError, match="near names are scoped/c"):
            estimator_ckpt.assignment_map(any_checkpoint, {"/": "/"})
        with pytest.raises(estimator_ckpt.VariableMismatchError, match="the graph has no variable"):
            estimator_ckpt.assignment_map(any_checkpoint, {"a": "e"})
        with pytest.raises(estimator_ckpt.CheckpointArgumentError, match="mixes a scope"):
            estimator_ckpt.assignment_map(any_checkpoint, {"scoped/": "scoped/d"})


@pytest.mark.parametrize("eager", [True, False])
def test_row_8_names_to_variables_eagerly_and_in_a_session(any_checkpoint, eager):
    names = ("a", "b", "scoped/c")
    if eager:
        held = {name: tf.Variable(0.0) for name in names}
        estimator_ckpt.restore(held, any_checkpoint)
        assert _numbers(held.values()) == [1, 2, 3]
        return
    with tf.Graph().as_default(), tf1.Session() as session:
        with tf1.variable_scope("new_scope"):
            held = {name: tf1.get_variable(name, []) for name in names}
        estimator_ckpt.restore(held, any_checkpoint)
        assert session.run(list(held.values())) == [1, 2, 3]


def test_row_9_load_checkpoint_and_assign_by_hand(any_checkpoint):
    keys = {row.name: row.key for row in estimator_ckpt.describe(any_checkpoint).variables}
    reader = tf.train.load_checkpoint(any_checkpoint)
    assert [reader.get_tensor(keys[name]) for name in ("a", "b", "scoped/c")] == [1, 2, 3]


def test_row_10_one_checkpoint_object_while_names_change(tmp_path):
    with tf.Graph().as_default(), tf1.Session() as session:
        a, b, c = (
            tf1.get_variable(name, [], initializer=tf1.constant_initializer(value))
            for name, value in (("a", 1), ("b", 2), ("scoped/c", 3))
        )
        session.run(tf1.global_variables_initializer())
        prefix = tf.train.Checkpoint(unscoped=[a, b], scoped=[c]).save(str(tmp_path / "tf2-ckpt"))
    with tf.Graph().as_default(), tf1.Session() as session:
        names = ("a_different_name", "b_different_name", "different_scope/c")
        a, b, c = (tf1.get_variable(name, []) for name in names)
        report = estimator_ckpt.restore(tf.train.Checkpoint(unscoped=[a, b], scoped=[c]), prefix)
        assert session.run([a, b, c]) == [1, 2, 3]
        assert {row.by for row in report.restored} == {"object"}
    a, b, c = (tf.Variable(0.0) for _ in range(3))
    checkpoint = tf.train.Checkpoint(unscoped=[a, b], scoped=[c])
    report = estimator_ckpt.restore(checkpoint, prefix)
    assert _numbers((a, b, c)) == [1, 2, 3]
    assert not report.left
    assert not report.unmatched


def test_row_11_incompatible_structures_are_told_before_loading(tmp_path):
    a, b = tf.Variable(1.0, name="var_a"), tf.Variable(2.0, name="var_b")
    prefix = tf.train.Checkpoint(foo=[a, b]).save(str(tmp_path / "ckpt"))
    assert estimator_ckpt.structure_diff(prefix, tf.train.Checkpoint(foo=[a, b])).compatible
    swapped = estimator_ckpt.structure_diff(prefix, tf.train.Checkpoint(foo=[b, a]))
    assert [(row.kind, row.key) for row in swapped.rows] == [
        ("other variable", "foo/0" + VALUE),
        ("other variable", "foo/1" + VALUE),
    ]
    assert "'var_b' here, saved from 'var_a'" in swapped.rows[0].detail
    other = estimator_ckpt.structure_diff(prefix, tf.train.Checkpoint(bar=[a, b]))
    assert [row.kind for row in other.rows] == ["only in target"] * 2 + ["only in checkpoint"] * 2
    assert _numbers((a, b)) == [1, 2]


def _model():
    return tf.keras.Sequential([tf.keras.layers.Dense(2, name="d1"), tf.keras.layers.Dense(1)])


@pytest.fixture
def trained(tmp_path):
    model = _model()
    model.build([None, 3])
    return model, str(tmp_path)


def test_row_14_values_wait_for_a_model_that_is_not_built(trained):
    model, folder = trained
    prefix = tf.train.Checkpoint(model).write(folder + "/weights")
    fresh = _model()
    report = estimator_ckpt.restore(fresh, prefix)
    assert report.deferred
    assert len(report.left) == 4
    np.testing.assert_array_equal(fresh(tf.ones([1, 3])), model(tf.ones([1, 3])))


def test_row_14_the_model_as_root_and_below_a_root_differ_and_a_hint_says_so(trained):
    model, folder = trained
    prefix = tf.train.Checkpoint(model=model).save(folder + "/below")
    diff = estimator_ckpt.structure_diff(prefix, model)
    assert not diff.compatible
    assert "tf.train.Checkpoint(model=target)" in diff.hint
    other = _model()
    other.build([None, 3])
    estimator_ckpt.restore(tf.train.Checkpoint(model=other), prefix)
    np.testing.assert_array_equal(other(tf.ones([1, 3])), model(tf.ones([1, 3])))


def test_row_14_weights_saved_by_keras_load(trained):
    model, folder = trained
    model.save_weights(folder + "/keras")
    other = _model()
    other.build([None, 3])
    report = estimator_ckpt.restore(other, folder + "/keras")
    assert len(report.restored) == 4
    np.testing.assert_array_equal(other(tf.ones([1, 3])), model(tf.ones([1, 3])))


def test_row_14_a_tf1_checkpoint_loads_into_a_keras_model_by_name_and_by_rules(trained, tmp_path):
    model, _ = trained
    by_name = {v.name.split(":")[0]: v for v in model.variables}
    tf1.train.Saver(by_name).save(None, str(tmp_path / "same"))
    old = {name.replace("d1/", "tower/first/"): v for name, v in by_name.items()}
    tf1.train.Saver(old).save(None, str(tmp_path / "old"))
    for prefix, rename in (("same", None), ("old", {"tower/first/": "d1/"})):
        other = tf.keras.models.clone_model(model)
        other.build([None, 3])
        estimator_ckpt.restore(other, tmp_path / prefix, rename=rename)
        np.testing.assert_array_equal(other(tf.ones([1, 3])), model(tf.ones([1, 3])))


def test_row_14_a_tf1_checkpoint_loads_into_a_layer_that_tracks_tf1_variables(tf1_checkpoint):
    class Layer(tf.keras.layers.Layer):
        @tf1.keras.utils.track_tf1_style_variables
        def call(self, x):
            a = tf1.get_variable("a", [])
            with tf1.variable_scope("scoped"):
                return x * a + tf1.get_variable("c", [])

    layer = Layer()
    layer(tf.constant(0.0))
    estimator_ckpt.restore(layer, tf1_checkpoint)
    assert layer(tf.constant(2.0)).numpy() == 5


def test_row_15_tf1_in_tf2_both_ways(tmp_path):
    saved = [tf.Variable(1.0, name="a"), tf.Variable(2.0, name="b")]
    with tf.name_scope("scoped"):
        saved.append(tf.Variable(3.0, name="c"))
    path = tf1.train.Saver(saved).save(None, str(tmp_path / "tf1-ckpt-saved-in-eager"))
    assert jobs.keys(path) == {"a", "b", "scoped/c"}
    variables = _eager_variables()
    estimator_ckpt.restore({v.name.split(":")[0]: v for v in variables}, path)
    assert _numbers(variables) == [1, 2, 3]
