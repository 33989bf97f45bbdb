"""Warm starts from checkpoints of any format, into models that differ."""

import jobs
import numpy as np
import pytest
import tensorflow as tf

from estimator_ckpt import (
    CheckpointArgumentError,
    CheckpointNotFoundError,
    NameClashError,
    VariableMismatchError,
    warm_start_settings,
    wrap_model_fn,
)

tf1 = tf.compat.v1


def _model_fn(scope="layer", extra=False, shape=(4, 3)):
    """A model_fn whose variables are called as asked for, initialized to other values."""

    def model_fn(features, labels, mode):
        with tf1.variable_scope(scope):
            w = tf1.get_variable("w", shape, initializer=tf1.constant_initializer(9))
            b = tf1.get_variable("b", [3], initializer=tf1.constant_initializer(9))
        y = tf.matmul(features["x"], w)[:, :3] + b
        if extra:
            y += tf1.get_variable("extra", [3], initializer=tf1.constant_initializer(5))
        loss = tf.reduce_mean(tf.square(y - labels))
        # A learning rate of zero: what is saved is what was warm-started.
        optimizer = tf1.train.AdamOptimizer(0.0)
        train_op = optimizer.minimize(loss, global_step=tf1.train.get_global_step())
        return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=train_op)

    return model_fn


@pytest.fixture(params=["tf1", "tf2", "dual"])
def source(request, tmp_path):
    model_fn = jobs.adam_model_fn
    if request.param != "tf1":
        model_fn = wrap_model_fn(model_fn, checkpoint_format=request.param)
    jobs.make_estimator(model_fn, tmp_path / "source").train(jobs.input_fn, steps=3)
    return tmp_path / "source"


def _warm_started(tmp_path, model_fn, settings, steps=1, wrap=True):
    estimator = jobs.make_estimator(
        wrap_model_fn(model_fn) if wrap else model_fn, tmp_path / "new", warm_start_from=settings
    )
    estimator.train(jobs.input_fn, steps=steps)
    return jobs.values(tf.train.latest_checkpoint(str(tmp_path / "new")))


def test_equal_names_are_taken_over_without_slots_and_step(source, tmp_path):
    old = jobs.values(tf.train.latest_checkpoint(str(source)))
    new = _warm_started(tmp_path, _model_fn(), warm_start_settings(source))
    np.testing.assert_array_equal(new["layer/w"], old["layer/w"])
    np.testing.assert_array_equal(new["layer/b"], old["layer/b"])
    assert new["global_step"] == 1
    np.testing.assert_allclose(new["beta1_power"], 0.9**2, rtol=1e-6)  # from one step


def test_it_works_on_an_unwrapped_model_fn(source, tmp_path):
    old = jobs.values(tf.train.latest_checkpoint(str(source)))
    new = _warm_started(tmp_path, _model_fn(), warm_start_settings(source), wrap=False)
    np.testing.assert_array_equal(new["layer/w"], old["layer/w"])


def test_slots_and_step_are_taken_over_when_asked_for(source, tmp_path):
    settings = warm_start_settings(source, with_slots=True, with_step=True)
    wrapped = wrap_model_fn(jobs.adam_model_fn)
    for model_dir, start in ((source, None), (tmp_path / "new", settings)):
        estimator = jobs.make_estimator(wrapped, model_dir, warm_start_from=start)
        estimator.train(jobs.input_fn, steps=2)
    found = [
        jobs.values(tf.train.latest_checkpoint(str(path))) for path in (source, tmp_path / "new")
    ]
    assert found[0]["global_step"] == 5
    jobs.assert_equal_values(*found)


def test_renamed_scopes_and_names(source, tmp_path):
    old = jobs.values(tf.train.latest_checkpoint(str(source)))
    settings = warm_start_settings(
        source, rename={"layer/b": "tower/dense/b", "layer/": "tower/dense/"}
    )
    new = _warm_started(tmp_path, _model_fn(scope="tower/dense"), settings)
    np.testing.assert_array_equal(new["tower/dense/w"], old["layer/w"])
    np.testing.assert_array_equal(new["tower/dense/b"], old["layer/b"])


def test_slots_follow_their_renamed_variable(source, tmp_path):
    old = jobs.values(tf.train.latest_checkpoint(str(source)))
    settings = warm_start_settings(
        source, rename={"layer/w": "new/w", "layer/b": "new/b"}, with_slots=True
    )
    keys = settings.var_name_to_prev_var_name
    assert {"new/w", "new/w/Adam", "new/w/Adam_1", "new/b/Adam_1"} < set(keys)
    np.testing.assert_array_equal(
        tf.train.load_variable(settings.ckpt_to_initialize_from, keys["new/w/Adam"]),
        old["layer/w/Adam"],
    )


def test_variables_that_the_checkpoint_lacks_keep_their_initial_value(source, tmp_path, caplog):
    new = _warm_started(tmp_path, _model_fn(extra=True), warm_start_settings(source))
    np.testing.assert_array_equal(new["extra"], [5, 5, 5])
    assert "Warm-started 2 of 12 variables" in caplog.text
    assert "kept: the checkpoint lacks it" in caplog.text


def test_include_chooses_by_the_new_names(source, tmp_path):
    old = jobs.values(tf.train.latest_checkpoint(str(source)))
    settings = warm_start_settings(source, include="/w$", rename={"layer/": "new/"})
    new = _warm_started(tmp_path, _model_fn(scope="new"), settings)
    np.testing.assert_array_equal(new["new/w"], old["layer/w"])
    np.testing.assert_array_equal(new["new/b"], [9, 9, 9])


def test_a_second_train_call_goes_on_and_warm_starts_no_more(source, tmp_path):
    for expected in (1, 2):
        new = _warm_started(tmp_path, _model_fn(), warm_start_settings(source))
        assert new["global_step"] == expected


def test_a_partitioned_model_takes_a_whole_variable(source, tmp_path):
    def model_fn(features, labels, mode):
        with tf1.variable_scope("", partitioner=tf1.fixed_size_partitioner(2)):
            return _model_fn()(features, labels, mode)

    old = jobs.values(tf.train.latest_checkpoint(str(source)))
    new = _warm_started(tmp_path, model_fn, warm_start_settings(source))
    np.testing.assert_array_equal(new["layer/w"], old["layer/w"])


def test_a_saved_model_is_a_source(tmp_path):
    estimator = jobs.make_estimator(wrap_model_fn(jobs.adam_model_fn), tmp_path / "source")
    estimator.train(jobs.input_fn, steps=2)
    exported = estimator.export_saved_model(str(tmp_path / "export"), jobs.serving_input_fn)
    new = _warm_started(tmp_path, _model_fn(), warm_start_settings(exported.decode()))
    np.testing.assert_array_equal(new["layer/w"], estimator.get_variable_value("layer/w"))


def test_vocabularies_are_remapped(tmp_path):
    for name, words in (("old.txt", "a\nb\nc\n"), ("new.txt", "c\na\nd\nb\n")):
        (tmp_path / name).write_text(words)
    value = np.arange(6, dtype=np.float32).reshape(3, 2)
    with tf.Graph().as_default(), tf1.Session() as session:
        tf1.get_variable("emb", initializer=value)
        session.run(tf1.global_variables_initializer())
        tf1.train.Saver().save(session, str(tmp_path / "old" / "ckpt"))
    info = tf.estimator.VocabInfo(
        new_vocab=str(tmp_path / "new.txt"),
        new_vocab_size=4,
        num_oov_buckets=0,
        old_vocab=str(tmp_path / "old.txt"),
    )
    settings = warm_start_settings(tmp_path / "old", vocab_info={"emb": info})
    with tf.Graph().as_default(), tf1.Session() as session:
        emb = tf1.get_variable("emb", [4, 2])
        tf1.train.warm_start(*settings)
        session.run([tf1.global_variables_initializer(), tf1.tables_initializer()])
        np.testing.assert_array_equal(session.run(emb), [value[2], value[0], [0, 0], value[1]])


def test_another_shape_is_an_error_that_names_both(source, tmp_path):
    with pytest.raises(VariableMismatchError, match=r"'layer/w': it is float32 \(4, 5\) here, and"):
        _warm_started(tmp_path, _model_fn(shape=(4, 5)), warm_start_settings(source))


def test_nothing_that_fits_is_an_error(source, tmp_path):
    with pytest.raises(VariableMismatchError, match="nothing of the checkpoint"):
        _warm_started(tmp_path, _model_fn(scope="other"), warm_start_settings(source))


def test_bad_input_is_refused_at_once(source, tmp_path):
    with pytest.raises(CheckpointNotFoundError, match="there is no checkpoint"):
        warm_start_settings(tmp_path / "nothing")
    with pytest.raises(CheckpointArgumentError, match="no regular expression"):
        warm_start_settings(source, include="(")
    with pytest.raises(CheckpointArgumentError, match="matches no variable; near names"):
        warm_start_settings(source, rename={"layer/ww": "x"})
    with pytest.raises(CheckpointArgumentError, match="mixes a scope with a name"):
        warm_start_settings(source, rename={"layer/": "x"})
    with pytest.raises(NameClashError, match="would both be called 'layer/b'"):
        warm_start_settings(source, rename={"layer/w": "layer/b"})


def test_the_settings_are_warm_start_settings_and_readable(source):
    settings = warm_start_settings(source)
    assert isinstance(settings, tf.estimator.WarmStartSettings)
    assert set(settings.var_name_to_prev_var_name) >= {"layer/w", "layer/b", "global_step"}
