"""convert(like=...): into exactly the keys of live objects."""

import os

import jobs
import numpy as np
import pytest
import tensorflow as tf

from estimator_ckpt import CheckpointArgumentError, VariableMismatchError, convert, wrap_model_fn

tf1 = tf.compat.v1
RULES = {"layer/w": "kernel", "layer/b": "bias"}


@pytest.fixture(params=["tf1", "tf2", "dual"])
def source(request, tmp_path):
    model_fn = jobs.adam_model_fn
    if request.param != "tf1":
        model_fn = wrap_model_fn(model_fn, checkpoint_format=request.param)
    jobs.make_estimator(model_fn, tmp_path / "job").train(jobs.input_fn, steps=3)
    return tmp_path / "job"


def _dense():
    dense = tf.keras.layers.Dense(3)
    dense.build([None, 4])
    return dense


def _stepped(optimizer, dense):
    optimizer.apply_gradients([(tf.zeros_like(v), v) for v in dense.trainable_variables])


def test_a_keras_layer_and_a_legacy_optimizer_get_values_slots_and_step(source, tmp_path):
    values = jobs.values(tf.train.latest_checkpoint(str(source)))
    dense, optimizer = _dense(), tf.keras.optimizers.legacy.Adam()
    _stepped(optimizer, dense)
    live = tf.train.Checkpoint(model=dense, optimizer=optimizer)
    expected = jobs.keys(live.write(str(tmp_path / "live")))
    report = convert(source, tmp_path / "like", to="tf2", like=live, rename=RULES)
    assert report.bytes_copied == 0
    hyper = {f"optimizer/{name}{jobs.VALUE}" for name in ("beta_1", "beta_2", "decay")}
    hyper |= {f"optimizer/learning_rate{jobs.VALUE}"}
    assert jobs.keys(tmp_path / "like") == expected - hyper
    other, fresh = _dense(), tf.keras.optimizers.legacy.Adam()
    _stepped(fresh, other)
    restored = tf.train.Checkpoint(model=other, optimizer=fresh).restore(str(tmp_path / "like"))
    restored.assert_existing_objects_matched().expect_partial()
    np.testing.assert_array_equal(other.kernel.numpy(), values["layer/w"])
    np.testing.assert_array_equal(
        fresh.get_slot(other.kernel, "v").numpy(), values["layer/w/Adam_1"]
    )
    assert fresh.iterations.numpy() == values["global_step"] == 3


def test_a_new_style_optimizer_gets_its_slots_too(source, tmp_path):
    values = jobs.values(tf.train.latest_checkpoint(str(source)))
    dense, optimizer = _dense(), tf.keras.optimizers.Adam()
    optimizer.build(dense.trainable_variables)
    live = tf.train.Checkpoint(model=dense, optimizer=optimizer)
    convert(source, tmp_path / "like", to="dual", like=live, rename=RULES)
    live.restore(str(tmp_path / "like")).assert_existing_objects_matched()
    slots = {v.name.split(":")[0]: v.numpy() for v in optimizer.variables}
    np.testing.assert_array_equal(slots["m/kernel"], values["layer/w/Adam"])
    np.testing.assert_array_equal(slots["v/bias"], values["layer/b/Adam_1"])
    assert optimizer.iterations.numpy() == 3
    assert "kernel" in jobs.keys(tmp_path / "like")  # the name-based half of dual


def test_a_layer_that_tracks_tf1_variables(source, tmp_path):
    class Layer(tf.keras.layers.Layer):
        @tf1.keras.utils.track_tf1_style_variables
        def call(self, x):
            with tf1.variable_scope("layer"):
                w = tf1.get_variable("w", [4, 3])
                return tf.matmul(x, w) + tf1.get_variable("b", [3])

    values = jobs.values(tf.train.latest_checkpoint(str(source)))
    layer = Layer()
    layer(tf.zeros([1, 4]))
    live = tf.train.Checkpoint(layer=layer)
    convert(source, tmp_path / "like", to="tf2", like=live)
    live.restore(str(tmp_path / "like")).assert_consumed()
    np.testing.assert_allclose(
        layer(tf.ones([1, 4]))[0], values["layer/w"].sum(axis=0) + values["layer/b"], rtol=1e-6
    )


def test_what_is_missing_or_does_not_fit_is_said_and_nothing_is_written(source, tmp_path):
    before = jobs.snapshot(tmp_path)
    with pytest.raises(VariableMismatchError, match=r"lacks 2 variables.*'kernel' \(model/kernel"):
        convert(source, tmp_path / "x", to="tf2", like=tf.train.Checkpoint(model=_dense()))
    wide = tf.keras.layers.Dense(5)
    wide.build([None, 4])
    with pytest.raises(VariableMismatchError, match=r"float32 \(4, 5\) here"):
        convert(source, tmp_path / "x", to="tf2", rename=RULES, like=tf.train.Checkpoint(m=wide))
    for bad in ({"to": "tf1"}, {"to": "tf2", "container": "vars"}):
        with pytest.raises(CheckpointArgumentError, match="like= gives the layout"):
            convert(source, tmp_path / "x", like=tf.train.Checkpoint(m=wide), **bad)
    assert jobs.snapshot(tmp_path) == before


def _bert_variables(hidden, layers, vocabulary):
    """Shapes of a BERT encoder's variables, by their TF1 names."""
    shapes = {
        "bert/embeddings/word_embeddings": (vocabulary, hidden),
        "bert/embeddings/position_embeddings": (512, hidden),
        "bert/embeddings/LayerNorm/gamma": (hidden,),
        "bert/embeddings/LayerNorm/beta": (hidden,),
    }
    for number in range(layers):
        scope = f"bert/encoder/layer_{number}"
        for name, wide, deep in (
            ("attention/self/query", hidden, hidden),
            ("attention/self/key", hidden, hidden),
            ("attention/self/value", hidden, hidden),
            ("attention/output/dense", hidden, hidden),
            ("intermediate/dense", hidden, 4 * hidden),
            ("output/dense", 4 * hidden, hidden),
        ):
            shapes[f"{scope}/{name}/kernel"] = (wide, deep)
            shapes[f"{scope}/{name}/bias"] = (deep,)
    return shapes


@pytest.mark.slow
def test_a_bert_sized_checkpoint_becomes_a_keras_model(tmp_path):
    hidden, layers = 512, 6
    shapes = _bert_variables(hidden, layers, 30000)
    names, tensors = [], []
    for number, (name, shape) in enumerate(shapes.items()):
        value = tf.random.stateless_uniform(shape, [number, 1], -0.1, 0.1)
        for suffix in ("", "/adam_m", "/adam_v"):
            names.append(name + suffix)
            tensors.append(value if not suffix else value * 0.5)
    names.append("global_step")
    tensors.append(tf.constant(1000, tf.int64))
    source = str(tmp_path / "bert_model.ckpt")
    tf.raw_ops.SaveV2(
        prefix=source, tensor_names=names, shape_and_slices=[""] * len(names), tensors=tensors
    )
    assert os.path.getsize(source + ".data-00000-of-00001") > 400e6
    values = dict(zip(names, tensors))

    class Encoder(tf.keras.Model):
        """One feed-forward block a layer; all of BERT's variables, by TF1's names."""

        def __init__(self):
            super().__init__()
            self.held = {
                name: tf.Variable(tf.zeros(shape), name=name) for name, shape in shapes.items()
            }

        def call(self, ids):
            return _forward(self.held, ids, layers)

    model = Encoder()
    optimizer = tf.keras.optimizers.legacy.Adam()
    _ = optimizer.iterations
    optimizer._create_all_weights(list(model.held.values()))
    live = tf.train.Checkpoint(model=model, optimizer=optimizer)
    report = convert(source, tmp_path / "like", to="tf2", like=live)
    assert report.bytes_copied == 0
    live.restore(str(tmp_path / "like")).assert_existing_objects_matched()
    ids = tf.constant([[1, 2, 3, 29999]])
    expected = _forward(values, ids, layers)
    np.testing.assert_array_equal(model(ids), expected)
    assert float(tf.reduce_sum(tf.abs(expected))) > 0
    slot = optimizer.get_slot(model.held["bert/embeddings/word_embeddings"], "m")
    np.testing.assert_array_equal(slot, values["bert/embeddings/word_embeddings/adam_m"])
    assert optimizer.iterations.numpy() == 1000


def _forward(held, ids, layers):
    x = tf.gather(held["bert/embeddings/word_embeddings"], ids)
    x += held["bert/embeddings/position_embeddings"][: ids.shape[1]]
    for number in range(layers):
        scope = f"bert/encoder/layer_{number}"
        for name in ("intermediate/dense", "output/dense"):
            x = tf.nn.gelu(x @ held[f"{scope}/{name}/kernel"] + held[f"{scope}/{name}/bias"])
    return x
