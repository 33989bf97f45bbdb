"""import and export by a map that changes values: layouts of PyTorch and of Hugging Face."""

from __future__ import annotations

import json
import struct
import tracemalloc

import numpy as np
import pytest
import tensorflow as tf

from estimator_ckpt import (
    CheckpointArgumentError,
    VariableMap,
    convert,
    describe,
    export_checkpoint,
    import_checkpoint,
    restore,
)
from estimator_ckpt.interchange import safetensors_file

RANDOM = np.random.RandomState(0)
TORCH = {
    "conv.weight": (4, 2, 3, 3),
    "conv.bias": (4,),
    "fc.weight": (5, 4 * 6 * 6),
    "fc.bias": (5,),
    "step": (),
}
TO_KERAS = """[pinned]
conv.weight -> conv/kernel : transpose(2, 3, 1, 0)
conv.bias -> conv/bias
fc.weight -> fc/kernel : reshape(5, 4, 6, 6), transpose(2, 3, 1, 0), reshape(144, 5)
fc.bias -> fc/bias
step -> -
"""
TO_TORCH = """[pinned]
conv/kernel -> conv.weight : transpose(3, 2, 0, 1)
conv/bias -> conv.bias
fc/kernel -> fc.weight : reshape(6, 6, 4, 5), transpose(3, 2, 0, 1), reshape(5, 144)
fc/bias -> fc.bias
"""


def write_safetensors(path, arrays):
    """Writes a file as its format says it."""
    header, data = {}, b""
    for name, array in arrays.items():
        ends = [len(data), len(data) + array.nbytes]
        kind = {"float32": "F32", "int64": "I64"}[array.dtype.name]
        header[name] = {"dtype": kind, "shape": array.shape, "data_offsets": ends}
        data += array.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def read_safetensors(path):
    with safetensors_file.opened(str(path)) as tensors:
        return {
            tensor.name: np.concatenate([*tensor.chunks()]).reshape(tensor.shape)
            for tensor in tensors
        }


def torch_network(weights, x):
    """What PyTorch makes of it: channels first, and a kernel of a layer has its outputs first."""
    padded = np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
    y = np.einsum("bchwij,ocij->bohw", windows, weights["conv.weight"])
    y = np.maximum(y + weights["conv.bias"][:, None, None], 0).reshape(len(x), -1)
    return y @ weights["fc.weight"].T + weights["fc.bias"]


@pytest.fixture
def weights(tmp_path):
    made = {name: RANDOM.normal(size=shape).astype(np.float32) for name, shape in TORCH.items()}
    write_safetensors(tmp_path / "model.safetensors", made)
    return made


@pytest.mark.parametrize("to", ["tf1", "tf2", "dual"])
def test_a_network_of_pytorch_becomes_one_of_keras_and_goes_back(tmp_path, weights, to):
    rules = VariableMap.parse(TO_KERAS)
    report = import_checkpoint(
        tmp_path / "model.safetensors", tmp_path / "new", to=to, rename=rules
    )
    assert [(each.key, each.reason) for each in report.left_out] == [
        ("step", "left out by the map")
    ]
    shapes = {row.name: tuple(row.shape) for row in describe(tmp_path / "new").variables}
    assert shapes["conv/kernel"] == (3, 3, 2, 4) and shapes["fc/kernel"] == (144, 5)
    conv = tf.keras.layers.Conv2D(4, 3, padding="same", activation="relu")
    fc = tf.keras.layers.Dense(5)
    x = RANDOM.normal(size=(2, 2, 6, 6)).astype(np.float32)
    model = tf.keras.Sequential(
        [tf.keras.layers.InputLayer((6, 6, 2)), conv, tf.keras.layers.Flatten(), fc]
    )
    variables = {
        f"{name}/{leaf}": getattr(layer, leaf)
        for name, layer in (("conv", conv), ("fc", fc))
        for leaf in ("kernel", "bias")
    }
    restore(variables, tmp_path / "new")
    found = model(x.transpose(0, 2, 3, 1))
    np.testing.assert_allclose(found, torch_network(weights, x), rtol=1e-4, atol=1e-5)

    back = tmp_path / "back.safetensors"
    export_checkpoint(tmp_path / "new", back, rename=VariableMap.parse(TO_TORCH))
    again = read_safetensors(back)
    assert again.keys() == weights.keys() - {"step"}
    for name, value in again.items():
        np.testing.assert_array_equal(value, weights[name], err_msg=name)


def test_a_fused_kernel_of_hugging_face_is_split_and_merged_again(tmp_path):
    fused = {"h.0.c_attn.weight": RANDOM.normal(size=(4, 12)).astype(np.float32)}
    write_safetensors(tmp_path / "model.safetensors", fused)
    lines = [
        f"h.0.c_attn.weight -> h0/{name}/kernel : split(1, {4 * at}:{4 * at + 4})"
        for at, name in enumerate(("query", "key", "value"))
    ]
    rules = VariableMap.parse("\n".join(["[pinned]", *lines]))
    report = import_checkpoint(
        tmp_path / "model.safetensors", tmp_path / "new", to="dual", rename=rules
    )
    assert sorted(each.key for each in report.tensors) == [
        f"h0/{name}/kernel" for name in ("key", "query", "value")
    ]
    key = tf.train.load_checkpoint(str(tmp_path / "new")).get_tensor("h0/key/kernel")
    np.testing.assert_array_equal(key, fused["h.0.c_attn.weight"][:, 4:8])
    back = VariableMap.parse(
        "[pinned]\nh0/query/kernel, h0/key/kernel, h0/value/kernel -> h.0.c_attn.weight : concat(1)"
    )
    export_checkpoint(tmp_path / "new", tmp_path / "back.npz", rename=back)
    with np.load(tmp_path / "back.npz") as archive:
        assert archive.files == list(fused)
        np.testing.assert_array_equal(archive["h.0.c_attn.weight"], fused["h.0.c_attn.weight"])


def test_plain_rules_rename_what_is_imported_and_exported(tmp_path, weights):
    import_checkpoint(
        tmp_path / "model.safetensors", tmp_path / "new", to="tf1", rename={"fc.bias": "b"}
    )
    assert "b" in {row.name for row in describe(tmp_path / "new").variables}
    export_checkpoint(tmp_path / "new", tmp_path / "out.npz", rename={"b": "c"}, include="b")
    with np.load(tmp_path / "out.npz") as archive:
        np.testing.assert_array_equal(archive["c"], weights["fc.bias"])
    with pytest.raises(CheckpointArgumentError, match="matches no variable"):
        import_checkpoint(
            tmp_path / "model.safetensors", tmp_path / "x", to="tf1", rename={"nothing": "b"}
        )


@pytest.mark.parametrize(
    ("line", "tensors"),
    [
        ("w, v -> k : concat(0), cast(float16)", 0.2),
        ("w, v -> k : concat(1), split(1, 3:70)", 0.2),
        ("w -> k : gates(a b -> b a), split(0, 5:9000)", 0.2),
        ("w -> k : transpose(1, 0)", 1.2),
        ("w -> k : gates(a b -> b a, axis=0)", 1.2),
        ("w -> k : transpose(1, 0), reshape(64, 256, 256)", 2.2),
    ],
)
def test_values_are_changed_in_pieces_or_one_tensor_at_a_time(tmp_path, line, tensors):
    """What is in memory at once: a piece where rows stay rows, else one tensor and a piece."""
    size = 16 * 2**20
    arrays = {name: np.ones((size // 4 // 64, 64), np.float32) for name in ("w", "v", "u")}
    np.savez(tmp_path / "in.npz", **arrays)
    import_checkpoint(tmp_path / "in.npz", tmp_path / "old", to="tf1")
    made = VariableMap.parse(f"[pinned]\n{line}")
    for work in (
        lambda: convert(tmp_path / "old", tmp_path / "new", to="tf1", rename=made),
        lambda: convert(tmp_path / "old", tmp_path / "packed", to="tf1", rename=made, compact=True),
        lambda: export_checkpoint(tmp_path / "old", tmp_path / "out.npz", rename=made),
    ):
        tracemalloc.start()
        try:
            work()
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < tensors * size + 2**22, peak / size
