"""A wrapped model_fn in Estimator's place: signatures, Scaffolds, resuming, retention."""

import functools
import inspect
import re

import jobs
import numpy as np
import pytest
import tensorflow as tf

from estimator_ckpt import CheckpointArgumentError, describe, wrap_model_fn

tf1 = tf.compat.v1
MODES = tf.estimator.ModeKeys
VALUE = jobs.VALUE
GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"


def _spec(model_fn, mode):
    """Calls a model_fn as Estimator does, in a graph of its own."""
    with tf.Graph().as_default():
        tf1.train.get_or_create_global_step()
        features = {"x": tf.constant(jobs.FEATURES)}
        labels = None if mode == MODES.PREDICT else tf.constant(jobs.LABELS)
        return model_fn(
            features=features, labels=labels, mode=mode, config=tf.estimator.RunConfig()
        )


@pytest.mark.parametrize("checkpoint_format", ["dual", "tf2"])
def test_in_train_the_saver_is_a_checkpoint_until_it_is_finalized(checkpoint_format):
    wrapped = wrap_model_fn(jobs.adam_model_fn, checkpoint_format=checkpoint_format)
    spec = _spec(wrapped, MODES.TRAIN)
    assert isinstance(spec.scaffold, tf1.train.Scaffold)
    assert isinstance(spec.scaffold.saver, tf.train.Checkpoint)
    assert sorted(spec.scaffold.saver.var_list) == [
        "beta1_power",
        "beta2_power",
        "layer/b",
        "layer/b/Adam",
        "layer/b/Adam_1",
        "layer/w",
        "layer/w/Adam",
        "layer/w/Adam_1",
    ]
    assert spec.scaffold.saver.step.op.name == "global_step"
    with spec.loss.graph.as_default():
        spec.scaffold.finalize()
    assert isinstance(spec.scaffold.saver, tf1.train.Saver)


def test_in_predict_and_eval_a_saver_takes_the_place_that_tensorflow_would_freeze():
    wrapped = wrap_model_fn(jobs.adam_model_fn)
    assert isinstance(_spec(wrapped, MODES.PREDICT).scaffold.saver, tf1.train.Saver)
    assert _spec(wrapped, MODES.EVAL).scaffold.saver is None  # for InMemoryEvaluatorHook


def test_every_other_scaffold_field_stays():
    fields = {}

    def model_fn(features, labels, mode):
        spec = jobs.adam_model_fn(features, labels, mode)
        fields.update(
            init_op=tf1.global_variables_initializer(),
            init_feed_dict={},
            ready_op=tf.constant([], tf.string),
            ready_for_local_init_op=tf.constant([], tf.string),
            local_init_op=tf1.local_variables_initializer(),
            summary_op=tf.constant(""),
            local_init_feed_dict={},
        )
        return spec._replace(scaffold=tf1.train.Scaffold(init_fn=lambda *_: None, **fields))

    scaffold = _spec(wrap_model_fn(model_fn), MODES.TRAIN).scaffold
    assert scaffold.init_fn is not None
    for name, value in fields.items():
        assert getattr(scaffold, name) is value, name


def test_a_users_scaffold_class_stays():
    class Own(tf1.train.Scaffold):
        pass

    def model_fn(features, labels, mode):
        return jobs.adam_model_fn(features, labels, mode)._replace(scaffold=Own())

    assert isinstance(_spec(wrap_model_fn(model_fn), MODES.TRAIN).scaffold, Own)


def test_decorator_with_and_without_arguments():
    @wrap_model_fn
    def plain(features, labels, mode):
        """Says so."""
        return jobs.adam_model_fn(features, labels, mode)

    @wrap_model_fn(checkpoint_format="tf2")
    def configured(features, labels, mode):
        return jobs.adam_model_fn(features, labels, mode)

    assert plain.__name__ == "plain"
    assert plain.__doc__ == "Says so."
    for wrapped in (plain, configured):
        assert isinstance(_spec(wrapped, MODES.TRAIN).scaffold.saver, tf.train.Checkpoint)


def test_wrapping_twice_is_wrapping_once():
    once = wrap_model_fn(jobs.adam_model_fn)
    assert wrap_model_fn(once) is once


class _Model:
    model_fn = None


async def _async_model_fn(features, labels, mode):
    return jobs.adam_model_fn(features, labels, mode)


def _yielding_model_fn(features, labels, mode):
    yield jobs.adam_model_fn(features, labels, mode)


def _tf_keras():
    return pytest.importorskip("tf_keras")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda: tf.estimator.Estimator(jobs.adam_model_fn), "wrap its model_fn"),
        (
            lambda: tf.estimator.LinearRegressor([tf.feature_column.numeric_column("x")]),
            "wrap_model_fn(estimator.model_fn)",
        ),
        (lambda: _Model, "this is the class _Model"),
        (lambda: _Model(), "give the function that returns an EstimatorSpec"),
        (lambda: "model.py:model_fn", "this is 'model.py:model_fn'"),
        (lambda: 3, "this is 3"),
        (lambda: {"model_fn": jobs.adam_model_fn}, "give the function that returns"),
        (lambda: classmethod(jobs.adam_model_fn), "give the function that returns"),
        (lambda: jobs, "give the function that returns"),
        (lambda: _async_model_fn, "_async_model_fn, which returns no EstimatorSpec"),
        (lambda: _yielding_model_fn, "_yielding_model_fn, which returns no EstimatorSpec"),
        (
            lambda: functools.partial(_async_model_fn, labels=None),
            "_async_model_fn, which returns no EstimatorSpec",
        ),
        (
            lambda: _spec(wrap_model_fn(jobs.adam_model_fn), MODES.TRAIN),
            "this is the EstimatorSpec that one has returned; give the function",
        ),
        (
            lambda: tf.keras.Sequential(
                [tf.keras.Input([2]), tf.keras.layers.Dense(1)], name="net"
            ),
            "this is the Keras Sequential 'net'; give a function that calls it and returns an "
            "EstimatorSpec. To load a checkpoint into it, call restore(model, checkpoint)",
        ),
        (lambda: _tf_keras().Model(), "this is the Keras Model 'model"),
        (lambda: tf.keras.layers.Dense(1, name="out"), "this is the Keras Dense 'out'"),
    ],
)
@pytest.mark.parametrize("wrap", [wrap_model_fn, wrap_model_fn(checkpoint_format="tf2")])
def test_what_is_no_model_fn_is_refused_with_what_to_wrap(given, message, wrap):
    with pytest.raises(CheckpointArgumentError, match=re.escape(message)):
        wrap(given())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "saving dual"),
        ({"checkpoint_format": "tf2", "async_save": True}, "saving tf2 while training goes on"),
        ({"tf1_dir": "{}/tf1"}, "saving dual; TF1 checkpoints also into {}/tf1"),
    ],
)
def test_a_wrapped_job_says_once_what_it_saves(tmp_path, options, said, caplog):
    place = str(tmp_path / "job")
    options = {k: v.format(place) if isinstance(v, str) else v for k, v in options.items()}
    estimator = tf.estimator.Estimator(
        wrap_model_fn(jobs.adam_model_fn, **options), model_dir=place
    )
    with caplog.at_level("INFO"):
        for _ in range(2):
            estimator.train(jobs.input_fn, steps=1)
    records = [(each.levelname, each.getMessage()) for each in caplog.records]
    expected = [("INFO", said.format(place))]
    assert [each for each in records if each[1].startswith("saving ")] == expected


@pytest.mark.parametrize("mode", [MODES.TRAIN, MODES.EVAL, MODES.PREDICT])
def test_one_that_calls_a_wrapped_one_returns_its_spec_as_it_is(tmp_path, mode):
    inner = wrap_model_fn(jobs.adam_model_fn, tf1_dir=str(tmp_path / "tf1"))
    specs = []

    def outer_model_fn(features, labels, mode, config):
        specs.append(inner(features, labels, mode, config))
        return specs[0]

    outer = wrap_model_fn(outer_model_fn, checkpoint_format="tf2", tf1_dir=str(tmp_path / "other"))
    assert _spec(outer, mode) is specs[0]
    assert len(specs[0].training_chief_hooks) == (mode == MODES.TRAIN)


def test_the_signature_keeps_what_the_model_fn_takes():
    def without_labels(features, mode, params):
        del features, mode, params

    names = list(inspect.signature(wrap_model_fn(without_labels)).parameters)
    assert names == ["features", "mode", "params", "config"]


def test_an_estimator_takes_any_kind_of_model_fn(tmp_path):
    def with_params(params, mode, labels, features):
        assert params == {"a": 1}
        return jobs.adam_model_fn(features, labels, mode)

    class Model:
        def __call__(self, features, labels, mode, config):
            assert config.tf_random_seed == 1
            return jobs.adam_model_fn(features, labels, mode)

        def method(self, features, labels, mode):
            return jobs.adam_model_fn(features, labels, mode)

    def keyword_only(features, labels, *, mode):
        return jobs.adam_model_fn(features, labels, mode)

    def any_keyword(features, labels, **given):
        return jobs.adam_model_fn(features, labels, given["mode"])

    def extra(features, labels, mode, extra):
        assert extra == 3
        return jobs.adam_model_fn(features, labels, mode)

    class Static:
        @staticmethod
        def model_fn(features, labels, mode):
            return jobs.adam_model_fn(features, labels, mode)

        @classmethod
        def of_class(cls, features, labels, mode):
            return jobs.adam_model_fn(features, labels, mode)

    kinds = [
        with_params,
        Model(),
        Model().method,
        keyword_only,
        any_keyword,
        functools.partial(extra, extra=3),
        functools.partial(with_params, params={"a": 1}),
        functools.partial(functools.partial(extra), extra=3),
        lambda features, labels, mode: jobs.adam_model_fn(features, labels, mode),
        Static.model_fn,
        Static.of_class,
    ]
    for number, model_fn in enumerate(kinds):
        model_dir = tmp_path / str(number)
        params = {"a": 1} if model_fn is with_params else None
        estimator = jobs.make_estimator(wrap_model_fn(model_fn), model_dir, params=params)
        estimator.train(jobs.input_fn, steps=1)
        assert describe(model_dir).step == 1


@pytest.mark.parametrize("resumed", ["dual", "tf2"])
@pytest.mark.parametrize("direction", ["forward", "back"])
def test_five_and_five_steps_equal_ten_bit_for_bit(tmp_path, direction, resumed):
    raw = jobs.make_estimator(jobs.adam_model_fn, tmp_path / "raw")
    raw.train(jobs.input_fn, steps=5)
    raw.train(jobs.input_fn, steps=5)
    if direction == "back" and resumed == "tf2":
        resumed = "dual"  # by its nature, a tf2 checkpoint has no names for an unwrapped job
    wrapped = wrap_model_fn(jobs.adam_model_fn, checkpoint_format=resumed)
    order = [jobs.adam_model_fn, wrapped] if direction == "forward" else [wrapped]
    if direction == "back":
        order.append(jobs.adam_model_fn)
    for model_fn in order:
        jobs.make_estimator(model_fn, tmp_path / "both").train(jobs.input_fn, steps=5)
    found = jobs.values(tf.train.latest_checkpoint(str(tmp_path / "both")))
    jobs.assert_equal_values(jobs.values(raw.latest_checkpoint()), found)
    assert found["global_step"] == 10
    assert "layer/w/Adam_1" in found


@pytest.mark.parametrize("first", ["tf1", "tf2", "dual"])
def test_whatever_lies_in_the_model_dir_is_read_in_every_mode(tmp_path, first):
    writer = (
        jobs.adam_model_fn
        if first == "tf1"
        else wrap_model_fn(jobs.adam_model_fn, checkpoint_format=first)
    )
    jobs.make_estimator(writer, tmp_path / "job").train(jobs.input_fn, steps=3)
    before = jobs.snapshot(tmp_path / "job")
    estimator = jobs.make_estimator(wrap_model_fn(jobs.adam_model_fn), tmp_path / "job")
    path = str(tmp_path / "job" / "model.ckpt-3")
    assert estimator.evaluate(jobs.input_fn, steps=1)["global_step"] == 3
    assert estimator.evaluate(jobs.input_fn, steps=1, checkpoint_path=path)["global_step"] == 3
    predicted = next(estimator.predict(jobs.input_fn, checkpoint_path=path))["y"]
    values = jobs.values(path)
    np.testing.assert_allclose(
        predicted, jobs.FEATURES[0] @ values["layer/w"] + values["layer/b"], rtol=1e-5
    )
    exported = estimator.export_saved_model(str(tmp_path / "export"), jobs.serving_input_fn)
    serve = tf.saved_model.load(exported.decode()).signatures["serving_default"]
    served = serve(x=tf.constant(jobs.FEATURES[:1]))["y"][0]
    np.testing.assert_allclose(served, predicted, rtol=1e-5)
    after = jobs.snapshot(tmp_path / "job")
    assert {name: after[name] for name in before} == before


def test_an_export_is_the_one_of_an_unwrapped_job(tmp_path):
    found = []
    for name, model_fn in (
        ("raw", jobs.adam_model_fn),
        ("wrapped", wrap_model_fn(jobs.adam_model_fn, checkpoint_format="tf2")),
    ):
        estimator = jobs.make_estimator(model_fn, tmp_path / name)
        estimator.train(jobs.input_fn, steps=1)
        exported = estimator.export_saved_model(str(tmp_path / "out"), jobs.serving_input_fn)
        found.append(tf.train.list_variables(exported.decode() + "/variables/variables"))
    assert found[0] == found[1] == [("global_step", []), ("layer/b", [3]), ("layer/w", [4, 3])]


def test_a_dual_checkpoint_serves_every_reader(tmp_path):
    wrapped = wrap_model_fn(jobs.adam_model_fn)
    estimator = jobs.make_estimator(wrapped, tmp_path / "dual")
    estimator.train(jobs.input_fn, steps=4)
    prefix = estimator.latest_checkpoint()
    values = jobs.values(prefix)
    # By name and by key, through Estimator.
    assert estimator.get_variable_value("global_step") == 4
    np.testing.assert_array_equal(
        estimator.get_variable_value("layer/w"),
        estimator.get_variable_value("var_list/layer.Sw" + VALUE),
    )
    # A TF1 Saver in a Session.
    with tf.Graph().as_default(), tf1.Session() as session:
        for name, value in values.items():
            tf1.get_variable(name, value.shape, value.dtype)
        tf1.train.Saver().restore(session, prefix)
        restored = session.run({v.op.name: v for v in tf1.global_variables()})
    jobs.assert_equal_values(values, {name: np.asarray(value) for name, value in restored.items()})
    # A TF2 Checkpoint, eagerly.
    variables = {n: tf.Variable(tf.zeros_like(v)) for n, v in values.items() if n != "global_step"}
    step = tf.Variable(0, dtype=tf.int64)
    tf.train.Checkpoint(var_list=variables, step=step).restore(prefix).assert_consumed()
    assert step.numpy() == 4
    for name, variable in variables.items():
        np.testing.assert_array_equal(variable.numpy(), values[name])
    # An unwrapped Estimator goes on from it.
    raw = jobs.make_estimator(jobs.adam_model_fn, tmp_path / "dual")
    raw.train(jobs.input_fn, steps=1)
    assert raw.get_variable_value("global_step") == 5


def test_a_dual_checkpoint_has_no_more_data_than_a_tf2_one(tmp_path):
    sizes = {}
    for checkpoint_format in ("tf2", "dual"):
        wrapped = wrap_model_fn(jobs.adam_model_fn, checkpoint_format=checkpoint_format)
        model_dir = tmp_path / checkpoint_format
        jobs.make_estimator(wrapped, model_dir).train(jobs.input_fn, steps=2)
        shards = sorted(model_dir.glob("model.ckpt-2.data-*"))
        assert len(shards) == 1
        sizes[checkpoint_format] = shards[0].stat().st_size
    assert sizes["dual"] <= sizes["tf2"]


def test_a_tf2_checkpoint_of_the_job_loads_eagerly_and_consumes_every_value(tmp_path):
    wrapped = wrap_model_fn(jobs.adam_model_fn, checkpoint_format="tf2")
    jobs.make_estimator(wrapped, tmp_path).train(jobs.input_fn, steps=2)
    prefix = tf.train.latest_checkpoint(str(tmp_path))
    values = jobs.values(prefix)
    variables = {n: tf.Variable(tf.zeros_like(v)) for n, v in values.items() if n != "global_step"}
    checkpoint = tf.train.Checkpoint(var_list=variables, step=tf.Variable(0, dtype=tf.int64))
    checkpoint.restore(prefix).assert_consumed()
    np.testing.assert_array_equal(variables["layer/w"].numpy(), values["layer/w"])


def test_run_config_decides_what_is_kept_and_paths_are_relative(tmp_path):
    wrapped = wrap_model_fn(jobs.adam_model_fn)
    estimator = jobs.make_estimator(
        wrapped, tmp_path / "job", save_checkpoints_steps=1, keep_checkpoint_max=2
    )
    estimator.train(jobs.input_fn, steps=4)
    assert jobs.listed(tmp_path / "job") == ["model.ckpt-3", "model.ckpt-4"]
    assert len(list((tmp_path / "job").glob("*.index"))) == 2
    (tmp_path / "job").rename(tmp_path / "moved")
    moved = jobs.make_estimator(wrapped, tmp_path / "moved")
    assert moved.evaluate(jobs.input_fn, steps=1)["global_step"] == 4


def test_every_n_hours_one_more_is_kept(tmp_path):
    wrapped = wrap_model_fn(jobs.adam_model_fn)
    kept = {}
    for name, model_fn in (("raw", jobs.adam_model_fn), ("wrapped", wrapped)):
        estimator = jobs.make_estimator(
            model_fn,
            tmp_path / name,
            save_checkpoints_steps=1,
            keep_checkpoint_max=1,
            keep_checkpoint_every_n_hours=1e-9,
        )
        estimator.train(jobs.input_fn, steps=3)
        kept[name] = sorted(path.name for path in (tmp_path / name).glob("*.index"))
    assert kept["wrapped"] == kept["raw"] == [f"model.ckpt-{n}.index" for n in range(4)]


def test_training_to_max_steps_again_does_nothing(tmp_path):
    wrapped = wrap_model_fn(jobs.adam_model_fn)
    for _ in range(2):
        jobs.make_estimator(wrapped, tmp_path).train(jobs.input_fn, max_steps=3)
        assert describe(tmp_path).step == 3
    assert jobs.listed(tmp_path) == ["model.ckpt-0", "model.ckpt-3"]


def test_saving_by_seconds_saves_in_between(tmp_path):
    wrapped = wrap_model_fn(jobs.adam_model_fn)
    estimator = jobs.make_estimator(wrapped, tmp_path, save_checkpoints_secs=1e-6)
    estimator.train(jobs.input_fn, steps=3)
    assert len(jobs.listed(tmp_path)) > 2


def test_a_checkpoint_of_the_users_own_gives_the_layout(tmp_path):
    def checkpoint_fn(variables, step):
        layer = tf.train.Checkpoint(kernel=variables["layer/w"], bias=variables["layer/b"])
        return tf.train.Checkpoint(model=layer, iterations=step)

    def sgd_model_fn(features, labels, mode):
        spec = jobs.adam_model_fn(features, labels, mode)
        return spec

    wrapped = wrap_model_fn(sgd_model_fn, checkpoint_fn=checkpoint_fn)
    for _ in range(2):
        jobs.make_estimator(wrapped, tmp_path).train(jobs.input_fn, steps=2)
    prefix = tf.train.latest_checkpoint(str(tmp_path))
    assert {"model/kernel" + VALUE, "model/bias" + VALUE, "iterations" + VALUE, "layer/w"} < (
        jobs.keys(prefix)
    )
    kernel = tf.Variable(tf.zeros([4, 3]))
    bias = tf.Variable(tf.zeros([3]))
    step = tf.Variable(0, dtype=tf.int64)
    layer = tf.train.Checkpoint(kernel=kernel, bias=bias)
    tf.train.Checkpoint(model=layer, iterations=step).restore(prefix).expect_partial()
    assert step.numpy() == 4
    np.testing.assert_array_equal(kernel.numpy(), tf.train.load_variable(prefix, "layer/w"))


def test_variables_that_an_own_checkpoint_does_not_reach_are_kept_and_said(tmp_path, caplog):
    def checkpoint_fn(variables, step):
        return tf.train.Checkpoint(kernel=variables["layer/w"], step=step)

    wrapped = wrap_model_fn(
        jobs.adam_model_fn, checkpoint_format="tf2", checkpoint_fn=checkpoint_fn
    )
    jobs.make_estimator(wrapped, tmp_path).train(jobs.input_fn, steps=2)
    assert "reaches 2 of its 9 variables" in caplog.text
    assert {"kernel" + VALUE, "step" + VALUE, "var_list/layer.Sb" + VALUE, GRAPH} < jobs.keys(
        tmp_path
    )
    raw = jobs.make_estimator(jobs.adam_model_fn, tmp_path / "raw")
    raw.train(jobs.input_fn, steps=3)
    jobs.make_estimator(wrapped, tmp_path).train(jobs.input_fn, steps=1)
    assert describe(tmp_path).step == 3


def test_an_unknown_format_is_refused_with_what_is_allowed():
    with pytest.raises(
        CheckpointArgumentError, match="'tf1' must be 'dual' or 'tf2'; for name-based"
    ):
        wrap_model_fn(jobs.adam_model_fn, checkpoint_format="tf1")
