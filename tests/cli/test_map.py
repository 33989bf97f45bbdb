"""`estimator-ckpt map`, and `--rename=@map.txt` in the commands that take rules."""

from __future__ import annotations

import json
import sys

import jobs
import numpy as np
import pytest
import tensorflow as tf

from estimator_ckpt import VariableMap, describe

tf1 = tf.compat.v1
MODEL = """
import tensorflow as tf

def make():
    layer = tf.Module()
    layer.dense, layer.out = tf.Module(), tf.Module()
    layer.dense.kernel, layer.dense.bias = tf.Variable(tf.zeros([3, 4])), tf.Variable(tf.zeros([4]))
    layer.out.kernel = tf.Variable(tf.zeros([4, 4]))
    return layer

def by_name():
    return {"new/kernel": tf.Variable(tf.zeros([3, 4])), "new/bias": tf.Variable(tf.zeros([4]))}

value = 3
"""
EXPECTED = {"dnn/kernel": "dense/kernel", "dnn/bias": "dense/bias"}


@pytest.fixture
def job(work, monkeypatch):
    """A copy of a job of `dnn/kernel` and `dnn/bias`; the current folder has a module of models."""
    (work / "models_of_test_map.py").write_text(MODEL)
    monkeypatch.chdir(work)
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each])
    yield work / "tf1"
    sys.modules.pop("models_of_test_map", None)


def test_a_map_is_written_and_applied_by_each_command_with_rules(command, job, tmp_path):
    before = jobs.snapshot(job)
    ran = command("map", job, "--like=models_of_test_map:make", "-o", tmp_path / "map.txt")
    assert (ran.code, ran.err) == (0, "")
    assert ["certain", "2"] in [line.split("\t") for line in ran.out.splitlines()]
    assert VariableMap.parse((tmp_path / "map.txt").read_text()).pairs() == EXPECTED
    rules = f"--rename=@{tmp_path / 'map.txt'}"
    slots = {f"dense/{leaf}/{slot}" for leaf in ("kernel", "bias") for slot in ("Adam", "Adam_1")}
    for verb, options in (("rename", []), ("convert", ["--to=dual"])):
        assert command(verb, job, tmp_path / verb, rules, *options).code == 0
        names = {row.name for row in describe(tmp_path / verb).variables}
        assert {*EXPECTED.values(), *slots, "global_step"} < names
    assert command("diff", job, tmp_path / "rename", rules).code == 0
    assert jobs.snapshot(job) == before


def test_a_map_that_an_editor_has_begun_with_a_mark_is_one(command, job, tmp_path):
    path = tmp_path / "new" / "map.txt"  # as commands make the folder of what they write
    assert command("map", job, "--like=models_of_test_map:make", "-o", path).code == 0
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert command("rename", job, tmp_path / "out", f"--rename=@{path}").code == 0
    assert set(EXPECTED.values()) < {row.name for row in describe(tmp_path / "out").variables}
    again = command("map", job, "--like=models_of_test_map:make", f"--pins={path}", "-o", path)
    assert again.code == 0


def test_without_a_file_the_map_is_printed(command, job):
    ran = command("map", job, "--like=models_of_test_map:by_name", "--accept=likely")
    assert ran.code == 0
    made = VariableMap.parse(ran.out)
    assert made.pairs() == {"dnn/kernel": "new/kernel", "dnn/bias": "new/bias"}
    assert made.accept == "likely"
    counted = command("map", job, "--like=models_of_test_map:by_name", "--json")
    assert json.loads(counted.out)["certain"] == 2


def test_another_checkpoint_is_a_target_and_none_is_changed(command, job, tmp_path):
    live = {"w/kernel": tf.Variable(np.zeros([3, 4], np.float32))}
    tf.train.Checkpoint(var_list=live).write(str(tmp_path / "new"))
    before = jobs.snapshot(job), jobs.snapshot(tmp_path)
    ran = command("map", job, f"--like={tmp_path / 'new'}")
    assert VariableMap.parse(ran.out).pairs() == {"dnn/kernel": "w/kernel"}
    assert (jobs.snapshot(job), jobs.snapshot(tmp_path)) == before


def test_pins_keep_what_was_edited_in_the_file_that_is_written_again(command, job, tmp_path):
    path = tmp_path / "map.txt"
    like = "--like=models_of_test_map:make"
    path.write_text("accept: likely\n[pinned]\ndnn/bias -> -\n")
    ran = command("map", job, like, f"--pins={path}", "-o", path)
    assert (ran.code, ran.err) == (0, "")
    text = path.read_text()
    assert "dnn/bias -> -" in text and "accept: likely" in text
    assert VariableMap.parse(text).pairs() == {"dnn/kernel": "dense/kernel"}
    again = command("map", job, like, f"--pins={path}", "-o", path)
    assert again.code == 0 and path.read_text() == text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "flag --like is required"),
        (["--like=models_of_test_map:makes"], "has no 'makes'; did you mean make"),
        (["--like=no_such_module_here:f"], "there is no module 'no_such_module_here'"),
        (["--like=models_of_test_map:value"], "expected a function, found a int"),
        (["--like=models_of_test_map:make", "-o", "old.txt"], "'old.txt' exists; give --pins"),
        (["--like=models_of_test_map:make", "--pins=none.txt"], "'none.txt': there is no such"),
        (["--like=models_of_test_map:make", "--pins=old.txt"], "'old.txt', line 2: the source has"),
        (["--like=models_of_test_map:make", "--pins=bad.txt"], "'bad.txt': line 2: 'x' is not of"),
        (["--like=models_of_test_map:make", "--accept=all"], "certain"),
    ],
)
def test_what_can_not_be_done_is_one_line(command, job, work, arguments, message):
    (work / "old.txt").write_text("[pinned]\ndnn/kernal -> dense/kernel\n")
    (work / "bad.txt").write_text("[pinned]\nx\n")
    before = jobs.snapshot(work)
    ran = command("map", job, *arguments)
    assert (ran.code, ran.out) == (2, "") and ran.err.count("\n") == 1
    assert message in ran.err
    after = {path: data for path, data in jobs.snapshot(work).items() if "pycache" not in str(path)}
    assert after == before


@pytest.mark.parametrize("verb", ["rename", "convert", "diff"])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[pinned]\ndnn/kernal -> x\n", "map.txt', line 2: the source has no 'dnn/kernal'"),
        ("[pinned]\ndnn/kernel -> x\ndnn/bias -> x\n", "map.txt': line 3: 'x' already gets"),
        ("[pinned]\ndnn/kernel -> x\n", "a map of variables goes with no other rules"),
    ],
)
def test_a_bad_map_names_its_line_and_nothing_is_written(
    command, job, tmp_path, verb, text, message
):
    (tmp_path / "map.txt").write_text(text)
    rules = [f"--rename=@{tmp_path / 'map.txt'}"]
    rules += ["--rename=a=b"] if "no other rules" in message else []
    other = job if verb == "diff" else tmp_path / "out"
    ran = command(verb, job, other, *rules, *(["--to=tf2"] if verb == "convert" else []))
    assert (ran.code, ran.out) == (2, "") and message in ran.err
    assert not list(tmp_path.glob("out*"))


CHANGED = """
import tensorflow as tf

def make():
    layer = tf.Module()
    layer.net = tf.Module()
    layer.net.kernel, layer.net.bias = tf.Variable(tf.zeros([4, 3])), tf.Variable(tf.zeros([4]))
    return layer
"""


def test_what_is_refused_is_put_below_pinned_and_applied(command, job, work):
    (work / "changed_models.py").write_text(CHANGED)
    out = work / "map.txt"
    assert command("map", job, "--like=changed_models:make", "-o", out).code == 0
    text = out.read_text()
    head, refused = text.split("[refused]\n")
    assert "dnn/kernel -> net/kernel : transpose(1, 0)  # " in refused
    out.write_text(f"{head}[pinned]\n{refused}".replace("accept: certain", "accept: likely"))
    arguments = ("--to=tf2", "--like=changed_models:make", f"--map={out}")
    ran = command("convert", job, work / "new", *arguments)
    assert (ran.code, ran.err) == (0, "") and "values of 3 tensors" in ran.out
    value = tf.train.load_checkpoint(str(work / "new"))
    key = "net/kernel/.ATTRIBUTES/VARIABLE_VALUE"
    old = tf.train.load_checkpoint(str(job))
    np.testing.assert_array_equal(value.get_tensor(key), old.get_tensor("dnn/kernel").T)
    again = command("map", job, "--like=changed_models:make", f"--pins={out}")
    assert (
        "dnn/kernel -> net/kernel : transpose(1, 0)" in again.out and "[refused]" not in again.out
    )
    sys.modules.pop("changed_models", None)


@pytest.mark.parametrize(
    ("like", "message"),
    [
        ("some_folder", "--like=some_folder should be package.module:function"),
        ("models_of_test_map:other", "has no 'other'"),
    ],
)
def test_what_is_no_function_is_nothing_to_convert_like(command, job, tmp_path, like, message):
    ran = command("convert", job, tmp_path / "new", "--to=tf2", f"--like={like}")
    assert ran.code == 2 and message in ran.err
    assert not list(tmp_path.glob("new*"))


def test_files_are_imported_and_exported_by_a_map(command, tmp_path):
    weight = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.savez(tmp_path / "torch.npz", **{"fc.weight": weight, "step": np.int64(3)})
    (tmp_path / "map.txt").write_text(
        "[pinned]\nfc.weight -> fc/kernel : transpose(1, 0)\nstep -> -\n"
    )
    arguments = (tmp_path / "torch.npz", tmp_path / "new", "--to=tf1")
    ran = command("import", *arguments, f"--map={tmp_path / 'map.txt'}")
    assert (ran.code, ran.err) == (0, "") and "step\tleft out by the map" in ran.out
    kernel = tf.train.load_checkpoint(str(tmp_path / "new")).get_tensor("fc/kernel")
    np.testing.assert_array_equal(kernel, weight.T)
    (tmp_path / "back.txt").write_text("[pinned]\nfc/kernel -> fc.weight : transpose(1, 0)\n")
    back = tmp_path / "back.npz"
    ran = command("export", tmp_path / "new", back, f"--rename=@{tmp_path / 'back.txt'}")
    assert (ran.code, ran.err) == (0, "")
    with np.load(back) as archive:
        np.testing.assert_array_equal(archive["fc.weight"], weight)
    (tmp_path / "bad.txt").write_text("[pinned]\nfc.weight -> k : transpose(0, 1, 2)\n")
    arguments = (tmp_path / "torch.npz", tmp_path / "bad", "--to=tf1")
    ran = command("import", *arguments, f"--map={tmp_path / 'bad.txt'}")
    assert ran.code != 0 and "bad.txt', line 2: 'fc.weight': transpose(0, 1, 2)" in ran.err
    assert not list(tmp_path.glob("bad.[!t]*"))


STRANGE = ("-", "x : cast(float16)", "a\nb", " led", "a -> b", "a, b", "#c", "[d]", '"e"', "f  # g")


def test_an_identity_map_takes_each_variable_whatever_it_is_called(command, work):
    values = {name: np.full([8, at + 1], at + 0.5, np.float32) for at, name in enumerate(STRANGE)}
    tf.raw_ops.SaveV2(
        prefix=str(work / "strange"),
        tensor_names=list(values),
        shape_and_slices=[""] * len(values),
        tensors=list(values.values()),
    )
    same = work / "map.txt"
    assert command("map", work / "strange", f"--like={work / 'strange'}", "-o", same).code == 0
    ran = command("convert", work / "strange", work / "out", "--to=tf1", f"--map={same}")
    assert (ran.code, ran.err) == (0, "")
    found = tf.train.load_checkpoint(str(work / "out"))
    assert set(found.get_variable_to_dtype_map()) == set(values)
    for name, value in values.items():
        np.testing.assert_array_equal(found.get_tensor(name), value)
