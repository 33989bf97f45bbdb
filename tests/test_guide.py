"""The migration guide's rows, with the guide's values; the numbers are those of its sections."""

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
    """The guide's name-based checkpoint: a=1, b=2, scoped/c=3, saved in a Session."""
    with tf.Graph().as_default():
        a, b, c = (tf1.get_variable(name, []) for name in ("a", "b", "scoped/c"))
        with tf1.Session() as session:
            session.run([a.assign(1), b.assign(2), c.assign(3)])
            return tf1.train.Saver().save(session, str(tmp_path / "tf1-ckpt"))


@pytest.fixture
def tf2_checkpoint(tmp_path):
    """The guide's object-based checkpoint of the same, saved with var_list={name: variable}."""
    with tf.Graph().as_default():
        for name, value in (("a", 1), ("b", 2), ("scoped/c", 3)):
            tf1.get_variable(name, [], initializer=tf1.constant_initializer(value))
        with tf1.Session() as session:
            session.run(tf1.global_variables_initializer())
            names = {v.name.split(":")[0]: v for v in tf1.global_variables()}
            checkpoint = tf.train.Checkpoint(var_list=names)
            with session.as_default():
                return checkpoint.save(str(tmp_path / "tf2-ckpt"))


def _restored_by_name(prefix):
    with tf.Graph().as_default():
        variables = [
            tf1.get_variable(name, [], initializer=tf1.constant_initializer(0))
            for name in ("a", "b", "scoped/c")
        ]
        with tf1.Session() as session:
            tf1.train.Saver(variables).restore(session, prefix)
            return session.run(variables)


def test_row_1_describe_lists_what_print_checkpoint_does(tf1_checkpoint):
    description = estimator_ckpt.describe(tf1_checkpoint, values=True)
    assert [(row.key, row.shape, row.dtype, row.values.mean) for row in description.variables] == [
        ("a", (), "float32", 1),
        ("b", (), "float32", 2),
        ("scoped/c", (), "float32", 3),
    ]


def test_row_2_keys_of_a_name_based_checkpoint_are_names(tf1_checkpoint):
    description = estimator_ckpt.describe(tf1_checkpoint)
    assert description.format == "tf1"
    assert {row.key for row in description.variables} == {"a", "b", "scoped/c"}
    assert description.other_keys == ()


def test_row_12_an_unwrapped_estimator_saves_by_name(tmp_path):
    estimator = jobs.make_estimator(jobs.guide_model_fn, tmp_path)
    estimator.train(jobs.guide_input_fn, steps=1)
    assert jobs.keys(tmp_path) == {"var", "global_step"}
    assert jobs.values(tmp_path) == {"var": 2, "global_step": 1}


def test_row_13_a_wrapped_estimator_saves_the_guides_three_keys(tmp_path):
    jobs.make_estimator(jobs.guide_model_fn, tmp_path / "tf1").train(jobs.guide_input_fn, steps=1)
    wrapped = estimator_ckpt.wrap_model_fn(jobs.guide_model_fn, checkpoint_format="tf2")
    estimator = jobs.make_estimator(
        wrapped, tmp_path / "tf2", warm_start_from=str(tmp_path / "tf1")
    )
    estimator.train(jobs.guide_input_fn, steps=1)
    assert jobs.keys(tmp_path / "tf2") == {"var_list/var" + VALUE, "step" + VALUE, GRAPH}
    assert estimator.get_variable_value("var_list/var" + VALUE) == 4
    assert estimator.get_variable_value("step" + VALUE) == 1


def test_row_13_the_step_is_carried_over_when_asked_for(tmp_path):
    jobs.make_estimator(jobs.guide_model_fn, tmp_path / "tf1").train(jobs.guide_input_fn, steps=2)
    settings = estimator_ckpt.warm_start_settings(tmp_path / "tf1", with_step=True)
    wrapped = estimator_ckpt.wrap_model_fn(jobs.guide_model_fn)
    estimator = jobs.make_estimator(wrapped, tmp_path / "tf2", warm_start_from=settings)
    # `var` is trainable, so it is warm-started in any case.
    estimator.train(jobs.guide_input_fn, steps=1)
    assert estimator.get_variable_value("var") == 6
    assert estimator.get_variable_value("global_step") == 3


def test_row_16_a_tf2_checkpoint_saved_in_a_session_is_told_and_named(tf2_checkpoint):
    description = estimator_ckpt.describe(tf2_checkpoint)
    assert description.format == "tf2"
    assert {row.name: row.key for row in description.variables} == {
        "a": "var_list/a" + VALUE,
        "b": "var_list/b" + VALUE,
        "scoped/c": "var_list/scoped.Sc" + VALUE,
    }


def test_row_16_a_tf2_checkpoint_loads_in_a_session(tf2_checkpoint):
    with tf.Graph().as_default(), tf1.Session() as session:
        held = {name: tf1.get_variable(name, []) for name in ("a", "b", "scoped/c")}
        report = estimator_ckpt.restore(tf.train.Checkpoint(var_list=held), tf2_checkpoint)
        assert session.run(list(held.values())) == [1, 2, 3]
        assert not report.left


def test_row_17_tf1_to_tf2_loads_with_the_guides_container(tf1_checkpoint, tmp_path):
    target = str(tmp_path / "converted")
    report = estimator_ckpt.convert(tf1_checkpoint, target, to="tf2", container="vars")
    assert report.prefix == target
    assert jobs.keys(target) == {
        "vars/a" + VALUE,
        "vars/b" + VALUE,
        "vars/scoped.Sc" + VALUE,
        COUNTER,
        GRAPH,
    }
    assert tf.train.load_variable(target, COUNTER) == 1
    variables = {name: tf.Variable(0.0) for name in ("a", "b", "scoped/c")}
    tf.train.Checkpoint(vars=variables).restore(target).assert_consumed()
    assert [variable.numpy() for variable in variables.values()] == [1, 2, 3]


def test_row_18_tf2_to_tf1_loads_with_a_saver(tf2_checkpoint, tmp_path):
    target = str(tmp_path / "converted")
    report = estimator_ckpt.convert(tf2_checkpoint, target, to="tf1")
    assert jobs.keys(target) == {"a", "b", "scoped/c"}
    assert _restored_by_name(target) == [1, 2, 3]
    assert {row.key for row in report.dropped} == {COUNTER, GRAPH}


def test_row_19_training_saves_both_formats_at_every_step(tmp_path):
    tf1_dir, model_dir = tmp_path / "tf1", tmp_path / "model"
    wrapped = estimator_ckpt.wrap_model_fn(
        jobs.guide_model_fn, checkpoint_format="tf2", tf1_dir=str(tf1_dir)
    )
    estimator = jobs.make_estimator(wrapped, model_dir, save_checkpoints_steps=1)
    estimator.train(jobs.guide_input_fn, steps=3)
    assert jobs.listed(tf1_dir) == jobs.listed(model_dir) == [f"model.ckpt-{n}" for n in range(4)]
    for step in range(4):
        by_name = jobs.values(tf1_dir / f"model.ckpt-{step}")
        by_object = jobs.values(model_dir / f"model.ckpt-{step}")
        assert by_name == by_object == {"var": 2 * step, "global_step": step}
        assert jobs.keys(tf1_dir / f"model.ckpt-{step}") == {"var", "global_step"}


def test_values_stay_bit_for_bit_through_both_conversions(tf1_checkpoint, tmp_path):
    estimator_ckpt.convert(tf1_checkpoint, tmp_path / "2", to="tf2")
    estimator_ckpt.convert(tmp_path / "2", tmp_path / "1", to="tf1")
    jobs.assert_equal_values(jobs.values(tf1_checkpoint), jobs.values(tmp_path / "1"))
    assert np.float32(3) == jobs.values(tmp_path / "1")["scoped/c"]
