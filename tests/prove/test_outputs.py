"""Two models on the same inputs: Keras 2 and 3, a SavedModel, a model_fn of TF1, in pairs."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from estimator_ckpt import CheckpointArgumentError, prove_outputs
from estimator_ckpt.prove.sides import make_side

tf1 = tf.compat.v1
X = np.random.RandomState(0).randn(5, 3).astype(np.float32)


def model_fn(features, labels, mode, params):
    with tf1.variable_scope("net"):
        hidden = tf1.layers.dense(features["x"], 4, tf.nn.relu, name="hidden")
        logits = tf1.layers.dense(hidden, 2, name="out")
    predictions = {"out": logits * params.get("scale", 1), "classes": tf.argmax(logits, 1)}
    loss = None if labels is None else tf1.losses.sparse_softmax_cross_entropy(labels, logits)
    step = tf1.train.get_global_step()
    train = None if loss is None else tf1.train.AdamOptimizer(0.1).minimize(loss, step)
    return tf.estimator.EstimatorSpec(mode, predictions, loss, train)


def keras_model(keras, hidden="hidden"):
    x = keras.Input([3], name="x")
    y = keras.layers.Dense(4, "relu", name=hidden)(x)
    return keras.Model(x, keras.layers.Dense(2, name="out")(y))


def kerases():
    import keras

    return {"tf.keras": tf.keras, "keras": keras}  # the same one on TensorFlow 2.15


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("job"))
    labels = np.int64([0, 1, 0, 1, 1])

    def input_fn():
        return tf.data.Dataset.from_tensors(({"x": X}, labels)).repeat()

    tf.estimator.Estimator(model_fn, folder, params={}).train(input_fn, steps=2)
    return folder


def restored(job, which="tf.keras", **names):
    model = keras_model(kerases()[which], **names)
    reader = tf.train.load_checkpoint(job)
    for layer, name in zip(model.layers[1:], ("hidden", "out")):
        layer.set_weights([reader.get_tensor(f"net/{name}/{leaf}") for leaf in ("kernel", "bias")])
    return model


@pytest.mark.parametrize("which", ["tf.keras", "keras"])
def test_a_model_fn_equals_the_keras_model_of_its_values(job, which):
    proof = prove_outputs((model_fn, job, {}), restored(job, which), {"x": X}, only=["out"])
    assert proof.equal, str(proof)
    assert [(row.left, row.right, row.by) for row in proof.outputs] == [("out", "out", "name")]
    assert proof.notes == ("no other outputs were compared than out",)
    assert [row.right for row in proof.layers] == ["hidden", "out"]
    assert proof.layers[0].left == "net/hidden/Relu"
    assert all(row.agree for row in proof.layers)
    assert "EQUAL" in str(proof)


def test_where_two_models_part_is_told_by_layer_and_by_place(job):
    model = restored(job)
    kernel, bias = model.layers[2].get_weights()
    model.layers[2].set_weights([kernel, bias + np.float32([0, 0.5])])
    proof = prove_outputs(model, (model_fn, job, {}), {"x": X})
    assert not proof.equal
    assert [row.agree for row in proof.layers] == [True, False]
    assert proof.outputs[0].largest == pytest.approx(0.5, rel=1e-5)
    assert proof.outputs[0].place[1] == 1
    assert proof.largest == proof.outputs[0].largest
    assert "output out: DIFFERS, by 0.5 at most" in str(proof)
    others = (model_fn, job, {}), {"x": X}
    assert prove_outputs(model, *others, only=["out"], tolerance=0.6).equal


def test_params_reach_the_model_fn(job):
    proof = prove_outputs((model_fn, job, {"scale": 2}), restored(job), {"x": X})
    assert proof.outputs[0].relative == pytest.approx(0.5, rel=1e-4)


def test_a_saved_model_is_a_side_and_says_what_it_takes(job, tmp_path):
    model = restored(job)

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    def serve(x):
        return {"logits": model(x)}

    tf.saved_model.save(model, str(tmp_path / "saved"), signatures={"serve": serve})
    path = str(tmp_path / "saved")
    proof = prove_outputs((path, "serve"), model)
    assert proof.equal
    assert [(row.left, row.by) for row in proof.outputs] == [("logits", "shape")]
    assert "random, of seed 0" in proof.notes[0]
    assert prove_outputs((path, "serve"), model, names={"logits": "out"}).outputs[0].by == "given"
    with pytest.raises(CheckpointArgumentError, match="has no signature 'serving'; it has"):
        prove_outputs((path, "serving"), model)
    with pytest.raises(CheckpointArgumentError, match="is no SavedModel"):
        prove_outputs(str(tmp_path), model)


def test_layers_of_other_names_are_compared_as_given(job):
    model = restored(job, hidden="first")
    proof = prove_outputs((model_fn, job, {}), model, {"x": X}, names={"net/hidden": "first"})
    assert [(row.right, row.by) for row in proof.layers] == [("first", "given"), ("out", "name")]
    two = prove_outputs(model, restored(job), X)
    assert {row.left for row in two.layers} == {"x", "out"}


def test_known_outputs_functions_and_several_inputs_are_sides():
    class Two(tf.Module):
        def __call__(self, inputs):
            return [inputs["a"] + inputs["b"], inputs["a"]]

    inputs = {"a": np.float32([[1], [2]]), "b": np.float32([[3], [4]])}
    known = {"output_0": np.float32([[4], [6]]), "output_1": np.float32([[1], [np.nan]])}
    proof = prove_outputs(known, Two(), inputs)
    assert [row.agree for row in proof.outputs] == [True, False]
    assert np.isnan(proof.largest)
    for keras in kerases().values():
        a, b = keras.Input([1], name="a"), keras.Input([1], name="b")
        model = keras.Model([a, b], keras.layers.Add(name="sum")([a, b]))
        assert prove_outputs({"sum": known["output_0"]}, model, inputs).equal
        outputs = {"one": model.output, "two": keras.layers.ReLU()(a)}
        model = keras.Model({"a": a, "b": b}, outputs)
        proof = prove_outputs({"two": inputs["a"], "one": known["output_0"]}, model, inputs)
        assert proof.equal
        assert [row.by for row in proof.outputs] == ["name", "name"]
    with pytest.raises(CheckpointArgumentError, match="they lack b"):
        prove_outputs(known, model, {"a": inputs["a"], "c": inputs["b"]})


@pytest.mark.parametrize(
    ("left", "right", "inputs", "said"),
    [
        ({"y": [1.0]}, {"z": [[1.0]]}, {}, "no output of given outputs"),
        ({"y": [1.0]}, {"y": [[1.0]]}, {}, "has the shape"),
        ({"y": [1.0]}, {"y": [1.0]}, None, "neither side says what it takes"),
        (7, {"y": [1.0]}, {}, "a int can't be run"),
        ({"y": [1.0]}, {"y": [1.0]}, np.zeros([0, 3]), r"shape \[0, 3\].*give some examples"),
        ({"y": []}, {"y": []}, {}, "output 'y' has the shape .* give other inputs, or only="),
    ],
)
def test_what_cant_be_compared_is_told(left, right, inputs, said):
    with pytest.raises(CheckpointArgumentError, match=said):
        prove_outputs(left, right, inputs)


def test_a_model_that_is_subclassed_and_features_that_are_an_array_are_sides(tmp_path):
    def twice_fn(features, labels, mode):
        factor = tf1.get_variable("factor", [], initializer=tf1.ones_initializer())
        return tf.estimator.EstimatorSpec(mode, predictions=features * factor)

    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "ckpt"),
        tensor_names=["factor", "global_step"],
        shape_and_slices=["", ""],
        tensors=[tf.constant(2.0), tf.constant(1, tf.int64)],
    )
    for keras in kerases().values():

        class Twice(keras.Model):
            def call(self, x, training=None):
                return x * 2 + (1 if training else 0)

        proof = prove_outputs((twice_fn, tmp_path / "ckpt"), Twice(), X)
        assert proof.equal
        assert (proof.outputs[0].left, proof.layers) == ("predictions", ())


def test_texts_are_compared_as_such():
    left = {"word": np.array([b"a", b"b"], dtype=object)}
    assert make_side(left).run({}, {}).outputs["word"].tolist() == [b"a", b"b"]
    assert prove_outputs(left, left, {}).equal
    assert not prove_outputs(left, {"word": np.array([b"a", b"c"], dtype=object)}, {}).equal


NAN = float("nan")


@pytest.mark.parametrize(
    ("left", "right", "agree", "note"),
    [
        ([NAN, NAN], [NAN, NAN], False, "nothing to compare: NaN everywhere on both sides"),
        ([NAN, 1.0], [NAN, 1.0], True, "NaN at the same 1 of 2 places on both sides"),
        ([NAN, 1.0], [2.0, 1.0], False, ""),
        ([0.0, 1e-7], [0.0, 9e-7], True, "it agrees only as all values are below the tolerance"),
        ([1.0, 1e-7], [1.0, 9e-7], True, ""),
        ([1e-7], [1e-7], True, ""),
        ([1 + 1j], [1 + 2j], False, ""),
        ([1], [1], True, ""),
        ([1.0], ["1"], False, ""),
    ],
)
def test_what_numbers_do_not_tell_is_noted(left, right, agree, note):
    proof = prove_outputs({"y": left}, {"y": right}, {})
    assert proof.equal == agree
    assert proof.outputs[0].note.startswith(note)
    assert bool(proof.outputs[0].note) == bool(note)
    assert note in str(proof)


@pytest.mark.parametrize("tolerance", [-1, NAN, float("inf")])
def test_a_tolerance_that_is_none_is_refused(tolerance):
    with pytest.raises(CheckpointArgumentError, match="must be a number from 0 on"):
        prove_outputs({"y": [1.0]}, {"y": [1.0]}, {}, tolerance=tolerance)


@pytest.mark.parametrize("which", ["tf.keras", "keras"])
def test_lists_are_matched_by_position(which):
    layers = kerases()[which]
    x = layers.Input([3], name="x")
    a, b = (layers.layers.Dense(2, name=name)(x) for name in "ab")
    one, other = layers.Model(x, [a, b]), layers.Model(x, [b, a])
    assert not np.allclose(one(X)[0], other(X)[0])
    proof = prove_outputs(one, other, X)
    assert not proof.equal
    assert [(row.left, row.right, row.by) for row in proof.outputs] == [
        ("a", "b", "position"),
        ("b", "a", "position"),
    ]
    assert "output a and b (matched by position): DIFFERS" in str(proof)
    assert prove_outputs(one, one, X).equal
    assert prove_outputs(one, other, X, names={"a": "a"}).equal
    assert prove_outputs(layers.Model(x, {"a": a, "b": b}), other, X).equal


def test_an_output_that_only_one_side_has_is_a_difference():
    more, less = {"p": [1.0], "q": [2.0, 3.0]}, {"p": [1.0]}
    for sides in ((more, less), (less, more)):
        proof = prove_outputs(*sides, {})
        assert (proof.equal, proof.unmatched) == (False, ("q",))
        assert "note: only given outputs has q; only= (--only) says" in str(proof)
        assert str(proof).endswith("DIFFERENT")
        assert prove_outputs(*sides, {}, only=["p"]).equal
    assert not prove_outputs(more, less, {}, only=["p", "q"]).equal
    with pytest.raises(CheckpointArgumentError, match="only=r: given outputs gives p, q"):
        prove_outputs(more, less, {}, only=["r"])
