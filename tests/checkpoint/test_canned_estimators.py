"""The slots that TensorFlow's own estimators save, whatever their scopes make of the names."""

import numpy as np
import pytest
import tensorflow as tf

from estimator_ckpt import convert, verify
from estimator_ckpt.checkpoint.account import open_account

tf1 = tf.compat.v1
NUMBERS = tf.feature_column.numeric_column("a", [2])
IDS = tf.feature_column.categorical_column_with_identity("c", 6)
FEATURES = {"a": np.ones([4, 2], np.float32), "c": np.arange(4)}
DENSE = [NUMBERS, tf.feature_column.embedding_column(IDS, 3)]
LINEAR = [NUMBERS, IDS]
ESTIMATORS = {
    "dnn": lambda folder: tf1.estimator.DNNClassifier([4, 3], DENSE, folder, batch_norm=True),
    "dnn in parts": lambda folder: tf1.estimator.DNNClassifier(
        [4], DENSE, folder, input_layer_partitioner=tf1.fixed_size_partitioner(2)
    ),
    "linear": lambda folder: tf1.estimator.LinearClassifier(LINEAR, folder),
    "linear in parts": lambda folder: tf1.estimator.LinearClassifier(
        LINEAR, folder, partitioner=tf1.fixed_size_partitioner(2)
    ),
    "both": lambda folder: tf1.estimator.DNNLinearCombinedClassifier(
        folder,
        linear_feature_columns=LINEAR,
        dnn_feature_columns=DENSE,
        dnn_hidden_units=[4],
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ESTIMATORS)
def test_each_slot_is_told_from_its_variable(kind, tmp_path):
    estimator = ESTIMATORS[kind](str(tmp_path / "job"))
    estimator.train(
        lambda: tf.data.Dataset.from_tensors((FEATURES, np.arange(4) % 2)).repeat(2), steps=2
    )
    account = open_account(tmp_path / "job")
    slots = {}
    for name, role in account.roles.items():
        is_slot = name.rpartition("/")[2].startswith(("Adagrad", "Ftrl"))
        assert (role.kind == "slot") == is_slot, (name, role)
        if is_slot:
            assert name.startswith(f"{role.of}/")
            assert account.entry(role.of).shape == account.entry(name).shape
            slots.setdefault(role.of, []).append(role.meaning)
    trained = {name for name, role in account.roles.items() if role.kind == "variable"}
    assert {name for name in trained if "/moving_" not in name} == slots.keys()
    prefix = estimator.latest_checkpoint()
    for to in ("tf2", "dual"):
        convert(prefix, tmp_path / to / "m", to=to)
        assert not verify(tmp_path / to / "m").findings
    convert(tmp_path / "tf2" / "m", tmp_path / "tf1" / "m", to="tf1")
    reader, again = map(tf.train.load_checkpoint, (prefix, str(tmp_path / "tf1" / "m")))
    assert again.get_variable_to_shape_map() == reader.get_variable_to_shape_map()
