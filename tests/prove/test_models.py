"""`python -m estimator_ckpt.prove LEFT RIGHT`: models, inputs and maps of a command line."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import tensorflow as tf

from estimator_ckpt import VariableMap, propose_map
from estimator_ckpt.prove.__main__ import main

MODULE = """
import numpy as np
import tensorflow as tf

tf1 = tf.compat.v1

def model_fn(features, labels, mode):
    one, two = (tf1.layers.dense(features["x"], 2, name=name) for name in ("cat", "dog"))
    return tf.estimator.EstimatorSpec(mode, predictions={"y": two - one})

def make_model():
    x = tf.keras.Input([3], name="x")
    left, right = (tf.keras.layers.Dense(2, name=name)(x) for name in ("red", "blue"))
    return tf.keras.Model(x, tf.keras.layers.Subtract(name="y")([left, right]))

def inputs():
    return {"x": np.float32([[1, 2, 3]])}
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A current folder with the module, `old` (a checkpoint of the model_fn) and x.npz."""
    (tmp_path / "models_to_prove.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    random = np.random.RandomState(0)
    variables = {"global_step": np.int64(3)}
    for name in ("cat", "dog"):
        variables[f"{name}/kernel"] = random.randn(3, 2).astype(np.float32)
        variables[f"{name}/bias"] = random.randn(2).astype(np.float32)
    tf.raw_ops.SaveV2(
        prefix="old",
        tensor_names=list(variables),
        shape_and_slices=[""] * len(variables),
        tensors=list(map(tf.constant, variables.values())),
    )
    np.savez("x.npz", x=random.randn(4, 3).astype(np.float32))
    yield tmp_path
    sys.modules.pop("models_to_prove", None)


OLD, NEW = "models_to_prove:model_fn@old", "models_to_prove:make_model"


def test_the_answers_of_a_map_are_tried_and_written(place, capsys):
    import models_to_prove

    made = propose_map("old", models_to_prove.make_model())
    (place / "map.txt").write_text(made.text())
    arguments = [OLD, f"{NEW}@old", "--rename=@map.txt", "--inputs=x.npz"]
    assert main([*arguments, "-o", "map.txt"]) == 0
    assert "question 1 is answered" in capsys.readouterr().out
    answered = VariableMap.parse((place / "map.txt").read_text())
    assert [each.answer is None for each in answered.asked] == [False]
    assert main([*arguments, "--json"]) == 0  # there is nothing left to ask
    proof = json.loads(capsys.readouterr().out)
    assert (proof["equal"], [row["agree"] for row in proof["outputs"]]) == (True, [True])
    assert main([OLD, NEW, "--inputs=models_to_prove:inputs"]) == 1  # without its values
    assert "DIFFERENT" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([OLD], "expected LEFT and RIGHT"),
        (["models_to_prove:model_fn", NEW], "needs a checkpoint"),
        (["models_to_prove:model", NEW], "LEFT=models_to_prove:model: models_to_prove has no"),
        ([NEW, "nowhere"], "'nowhere' is no SavedModel"),
        ([OLD, NEW, "--inputs=nothing.npz"], "--inputs=nothing.npz must be"),
        ([OLD, NEW, "--inputs=models_to_prove.py"], "must be an .npz file"),
        ([OLD, NEW, "--names=x"], "--names=x must be LEFT=RIGHT"),
        ([OLD, NEW, "--tolerance=-1"], "flag --tolerance=-1"),
        ([OLD, NEW, "--inputs=x.npz", "--tolerance=nan"], "tolerance=nan must be"),
        ([OLD, NEW, "--inputs=x.npz", "--only=z"], "only=z: model_fn with old gives y"),
        ([OLD, NEW, "--output=x.npz"], "'x.npz' exists"),
        ([OLD, NEW, "--output=new.txt"], "no open question"),
        ([OLD.replace("old", "none"), NEW, "--inputs=x.npz"], "none"),
    ],
)
def test_what_isnt_there_is_told(place, capsys, arguments, said):
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert said in captured.err
    assert "Traceback" not in captured.err
