"""`estimator-ckpt export` and `import`, with numpy and TensorFlow as judges."""

from __future__ import annotations

import json

import numpy as np
import pytest

SLOTS = {"beta1_power", "beta2_power"} | {
    f"dnn/{name}/{slot}" for name in ("kernel", "bias") for slot in ("Adam", "Adam_1")
}


def lines(out):
    return [tuple(line.split("\t")) for line in out.splitlines()]


def test_export_and_import_give_the_same_values(command, written, tmp_path):
    import tensorflow as tf

    for suffix in ("npz", "safetensors"):
        path, target = tmp_path / f"x.{suffix}", tmp_path / suffix / "ckpt"
        exported = command("export", written / "tf1", path)
        assert (exported.code, exported.err) == (0, "")
        facts = lines(exported.out)
        assert ("path", str(path)) in facts
        assert ("format", suffix) in facts
        assert ("tensors", "9") in facts
        assert ("tensor", "dnn/kernel", "dnn/kernel", "[3, 4]", "float32") in facts
        imported = command("import", path, target, "--to=dual")
        assert (imported.code, imported.err) == (0, "")
        facts = lines(imported.out)
        assert ("prefix", str(target)) in facts
        assert ("added", "_CHECKPOINTABLE_OBJECT_GRAPH") in facts
        expected = tf.train.load_variable(str(written / "tf1"), "dnn/kernel")
        found = tf.train.load_variable(str(target), "dnn/kernel")
        np.testing.assert_array_equal(found, expected)


def test_slots_and_patterns(command, written, tmp_path):
    path = tmp_path / "x.npz"
    result = command("export", written / "tf1", path, "--noslots", "--exclude=bias", "--json")
    report = json.loads(result.out)
    assert {row["name"] for row in report["tensors"]} == {"dnn/kernel", "global_step"}
    assert {row["key"] for row in report["left_out"]} == SLOTS | {"dnn/bias"}
    assert set(np.load(path).files) == {"dnn/kernel", "global_step"}


def test_formats_and_layouts_can_be_named(command, written, tmp_path):
    import tensorflow as tf

    path, target = tmp_path / "x.bin", tmp_path / "ckpt"
    assert command("export", written / "tf1", path, "--format=npz", "--compress").code == 0
    result = command(
        "import", path, target, "--format=npz", "--to=tf2", "--container=vars", "--step="
    )
    assert result.code == 0
    step = tf.train.load_variable(str(target), "vars/global_step/.ATTRIBUTES/VARIABLE_VALUE")
    assert step == 3


@pytest.mark.parametrize("width", [80, 160])
def test_a_terminal_gets_sentences(command, written, tmp_path, on_terminal, width):
    on_terminal(width)
    path, target = tmp_path / "x.npz", tmp_path / "ckpt"
    result = command("export", written / "tf1", path, "--noslots", "--exclude=bias")
    last = result.out.splitlines()[-1]
    assert last.startswith(f"wrote {path}, format npz: 2 tensors of {written}/tf1/model")
    assert "left out: it belongs to an optimizer (slots=False)\n    beta1_power\n" in result.out
    assert "3 tensors left out: not asked for (include, exclude)\n" in result.out
    assert "dnn/bias\n" not in result.out
    result = command("import", path, target, "--to=tf2", "--verbose")
    last = result.out.splitlines()[-1]
    assert last.startswith(f"wrote {target}, format tf2: 2 tensors of {path}, ")
    assert "var_list/dnn.Skernel/.ATTRIBUTES/VARIABLE_VALUE" in result.out
    table = result.out.partition("\n\n")[0].splitlines()
    assert max(map(len, table)) <= width


def test_what_a_file_can_not_hold_is_one_line_or_left_out(command, tmp_path):
    import tensorflow as tf

    source, path = tmp_path / "ckpt", tmp_path / "x.safetensors"
    tf.raw_ops.SaveV2(
        prefix=str(source),
        tensor_names=["s", "w"],
        shape_and_slices=["", ""],
        tensors=[tf.constant(["a"]), tf.constant([1.0])],
    )
    result = command("export", source, path)
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert "'s' (safetensors has no type string)" in result.err
    assert not path.exists()
    result = command("export", source, path, "--skip_unsupported")
    assert ("left_out", "s", "safetensors has no type string") in lines(result.out)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("export", "{job}", "{new}/x.bin"), "says no format"),
        (
            ("export", "{job}", "{new}/x.bin", "--format=csv"),
            "expected 'npz', 'safetensors' or 'weights.h5'",
        ),
        (("export", "{job}", "{new}/x.npz", "--include=("), "no regular expression"),
        (("export", "{job}", "{new}/x.safetensors", "--compress"), "compress is for npz"),
        (("export", "{job}/none", "{new}/x.npz"), "there is no checkpoint"),
        (("export", "{job}"), "missing FILE"),
        (("import", "{job}/x.npz", "{new}/c", "--to=tf1"), "there is no file"),
        (("import", "{job}/x.npz", "{new}/c"), "flag --to is required"),
        (("import", "{job}/checkpoint", "{new}/c", "--to=tf1", "--format=npz"), "no zip archive"),
    ],
)
def test_wrong_usage_is_one_line_and_writes_nothing(command, written, tmp_path, arguments, message):
    filled = [each.format(job=written / "tf1", new=tmp_path / "new") for each in arguments]
    result = command(*filled)
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert message in result.err
    assert list(tmp_path.iterdir()) == []


def test_overwrite_replaces_the_target(command, written, tmp_path):
    for flags, code in (((), 0), ((), 2), (("--overwrite",), 0)):
        assert command("export", written / "tf1", tmp_path / "x.npz", *flags).code == code
        imported = command("import", tmp_path / "x.npz", tmp_path / "c", "--to=tf1", *flags)
        assert imported.code == code
