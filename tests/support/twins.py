"""Twins of checkpoints that other projects wrote: as many tensors, the same names, layouts, types.

    write(folder)    # folder / "half_plus_two_snappy" / "variables.index", ...

TensorFlow writes them, of small made-up values. What it no longer writes is made by hand: index
blocks that are compressed with snappy, as those of the first releases are.
"""

from __future__ import annotations

import pathlib

import crafted
import numpy as np
import tensorflow as tf

from estimator_ckpt.bundle.table import read_table

INDEXES = {  # whether the index is compressed
    "babyweight_keras_object/babyweight": False,
    "bert_lite_object/bert_lite_tf2.ckpt": True,
    "chicago_taxi_model_dir/model.ckpt-1000": False,
    "chicago_taxi_model_dir/model.ckpt-999": False,
    "half_plus_two_snappy/variables": True,
    "int64_multiply_object/variables": False,
    "regression_name_based/model": False,
    "taxi_serving_snappy/variables": True,
    "uint8_multiply_object/variables": False,
}
_TOWERS = {"company": 9, "dropoff_latitude": 3, "dropoff_longitude": 3, "payment_type": 9}
_TOWERS.update({"pickup_latitude": 3, "pickup_longitude": 3, "trip_start_day": 5})
_TOWERS.update({"trip_start_hour": 4, "trip_start_month": 2})
_LISTED = ("model.ckpt-0", "model.ckpt-999", "model.ckpt-1000")  # the first one is gone


def write(folder: pathlib.Path) -> None:
    """Writes all of them to an empty folder."""
    for name in INDEXES:
        (folder / name).parent.mkdir(exist_ok=True)
    random = np.random.RandomState(0)
    taxi = folder / "chicago_taxi_model_dir"
    for step in (999, 1000):
        _save(taxi / f"model.ckpt-{step}", {**_taxi(random, training=True), "global_step": step})
    _state(taxi, *_LISTED)
    _save(folder / "regression_name_based" / "model", {"W": 0.25, "b": -0.5})
    _state(folder / "regression_name_based", "model")
    scalars = {"a": 0.5, "a2": 0.5, "b": 2.0, "c": 3.0, "c2": 3.0}
    _save(folder / "half_plus_two_snappy" / "variables", scalars)
    serving = {**_taxi(random, training=False), "global_step": 1000}
    _save(folder / "taxi_serving_snappy" / "variables", serving)
    _babyweight(random).write(str(folder / "babyweight_keras_object" / "babyweight"))
    _state(folder / "babyweight_keras_object", "babyweight")
    _bert(random).write(str(folder / "bert_lite_object" / "bert_lite_tf2.ckpt"))
    for dtype in (tf.int64, tf.uint8):
        two = {f"v{n}": tf.Variable(n, dtype=dtype) for n in (1, 2)}  # both are called "Variable"
        prefix = folder / f"{dtype.name}_multiply_object" / "variables"
        tf.train.Checkpoint(**two).write(str(prefix))
    for name, is_compressed in INDEXES.items():
        if is_compressed:
            path = folder / f"{name}.index"
            path.write_bytes(crafted.compressed(read_table(path.read_bytes())))


def _save(prefix: pathlib.Path, values: dict) -> None:
    tensors = {
        name: tf.constant(value, tf.int64 if name.endswith(("step", "iter")) else tf.float32)
        for name, value in values.items()
    }
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=list(tensors),
        shape_and_slices=[""] * len(tensors),
        tensors=list(tensors.values()),
    )


def _state(folder: pathlib.Path, *names: str) -> None:
    lines = [f'model_checkpoint_path: "{names[-1]}"']
    lines += [f'all_model_checkpoint_paths: "{name}"' for name in names]
    (folder / "checkpoint").write_text("\n".join(lines) + "\n")


def _taxi(random: np.random.RandomState, training: bool) -> dict:
    """The variables of a DNNLinearCombinedClassifier, with the slots of Keras' Adagrad and Ftrl."""
    sizes = [3, 6, 5, 4, 3, 1]
    deep = {}
    for number, (rows, columns) in enumerate(zip(sizes, sizes[1:])):
        layer = "logits" if columns == 1 else f"hiddenlayer_{number}"
        deep[f"dnn/{layer}/kernel"] = random.randn(rows, columns)
        deep[f"dnn/{layer}/bias"] = random.randn(columns)
    wide = {
        f"linear/linear_model/{name}_xf/weights": random.randn(rows, 1)
        for name, rows in _TOWERS.items()
    }
    wide["linear/linear_model/bias_weights"] = random.randn(1)
    values = {**deep, **wide}
    if training:
        adagrad, ftrl = "training/Adagrad", "training/Ftrl"
        values.update({f"{adagrad}/{name}/accumulator": v * v for name, v in deep.items()})
        values.update({f"{ftrl}/{name}/accumulator": v * v for name, v in wide.items()})
        values.update({f"{ftrl}/{name}/linear": -v for name, v in wide.items()})
        values.update({f"{adagrad}/decay": 0.0, f"{adagrad}/learning_rate": 0.05})
        values.update({f"{ftrl}/{name}": 0.1 for name in ("beta", "decay", "learning_rate")})
        regularization = ("l1_regularization_strength", "l2_regularization_strength")
        values.update({f"{ftrl}/{name}": 0.0 for name in regularization})
        values.update({f"{ftrl}/iter": 1000, f"{ftrl}/learning_rate_power": -0.5})
    return values


def _babyweight(random: np.random.RandomState) -> tf.train.Checkpoint:
    """The weights of a compiled Keras model; an attribute of it has a slash."""
    model = tf.train.Checkpoint()
    embedding = "gestation_weeks_bucketized_X_mother_age_bucketized_embedding/embedding_weights"
    layers = {
        f"deep_inputs/{embedding}": {embedding: (9, 2)},
        "dnn_1": {"kernel": (5, 4), "bias": (4,)},
        "dnn_2": {"kernel": (4, 3), "bias": (3,)},
        "dnn_3": {"kernel": (3, 2), "bias": (2,)},
        "linear": {"kernel": (6, 3), "bias": (3,)},
        "weight": {"kernel": (5, 1), "bias": (1,)},
    }
    variables = []
    for number, (scope, shapes) in enumerate(layers.items()):
        layer = tf.train.Checkpoint()
        for attribute, shape in shapes.items():
            name = scope if len(shapes) == 1 else f"{scope}/{attribute}"
            variable = tf.Variable(tf.constant(random.randn(*shape), tf.float32), name=name)
            setattr(layer, attribute, variable)
            variables.append(variable)
        setattr(model, f"layer_with_weights-{number}", layer)
    model.optimizer = tf.keras.optimizers.legacy.Adam()
    model.optimizer.apply_gradients([(tf.ones_like(each), each) for each in variables])
    return model


def _bert(random: np.random.RandomState) -> tf.train.Checkpoint:
    """A Keras model in a Checkpoint, some of whose layers have layers."""
    dense = {"kernel": (2, 2), "bias": (2,)}
    head = {"kernel": (2, 1, 2), "bias": (1, 2)}
    norm = {"gamma": (2,), "beta": (2,)}
    transformer = {
        "_attention_layer": {f"_{each}_dense": head for each in ("query", "key", "value")},
        "_attention_layer_norm": norm,
        "_attention_output_dense": {"kernel": (1, 2, 2), "bias": (2,)},
        "_intermediate_dense": dense,
        "_output_dense": dense,
        "_output_layer_norm": norm,
    }
    embeddings = [{"embeddings": (rows, 2)} for rows in (10, 4, 2)]
    layers = [*embeddings, norm, transformer, dense]
    tree = {f"layer_with_weights-{number}": layer for number, layer in enumerate(layers)}

    def built(shapes, scope):
        if isinstance(shapes, tuple):
            return tf.Variable(tf.constant(random.randn(*shapes), tf.float32), name=scope)
        node = tf.train.Checkpoint()
        for name, below in shapes.items():
            setattr(node, name, built(below, f"{scope}/{name.lstrip('_')}"))
        return node

    checkpoint = tf.train.Checkpoint(model=built(tree, "bert"))
    assert checkpoint.save_counter is not None  # it is made when it is asked for
    return checkpoint
