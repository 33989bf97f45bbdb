"""Files of others, given to each command or put where a file of a checkpoint should be."""

from __future__ import annotations

import io
import json
import os
import pickle
import tarfile
import zipfile

import jobs
import numpy as np
import pytest
import tensorflow as tf

from estimator_ckpt.cli import main

tf1 = tf.compat.v1

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
HTML = b"\n<!DOCTYPE html>\n<html><head><title>404</title></head>" + b" " * 9000


def packed(name, data=b"x"):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, data)
    return file.getvalue()


def tar(mode):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:
        archive.addfile(tarfile.TarInfo("model.ckpt.index"))
    return file.getvalue()


def npz():
    file = io.BytesIO()
    np.savez(file, w=np.ones(2))
    return file.getvalue()


def npy():
    file = io.BytesIO()
    np.save(file, np.ones(2))
    return file.getvalue()


def safetensors():
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    return len(header).to_bytes(8, "little") + header + b"\0" * 4


# What is given: its name, its bytes, and what has to be said of it.
STRANGERS = {
    "lfs": ("model.ckpt", LFS, "Git LFS pointer"),
    "html": ("model.ckpt", HTML, "HTML page"),
    "h5": ("weights.h5", b"\x89HDF\r\n\x1a\n" + b"\0" * 90, "HDF5"),
    "keras": ("model.keras", packed("metadata.json"), "Keras model"),
    "no keras": ("model.keras", b"abc", "but is none"),
    "shards of keras": ("m.weights.json", b'{"weight_map": {}}', "without max_shard_size"),
    "tar.gz": ("model.tar.gz", tar("w:gz"), "gzip archive"),
    "tar": ("model.tar", tar("w"), "tar archive"),
    "tar.xz": ("model.tar.xz", tar("w:xz"), "xz archive"),
    "tar.bz2": ("model.tar.bz2", tar("w:bz2"), "bzip2 archive"),
    "zip": ("model.zip", packed("model.ckpt.index"), "zip archive"),
    "npz": ("weights.npz", npz(), "estimator-ckpt import"),
    "npy": ("w.npy", npy(), "array of numpy"),
    "safetensors": ("weights.safetensors", safetensors(), "estimator-ckpt import"),
    "pt": ("model.pt", packed("model/data.pkl"), "PyTorch"),
    "old pt": ("model.pth", pickle.dumps({"w": 1}, 2), "PyTorch"),
    "onnx": ("model.onnx", b"\x08\x08\x12\x07pytorch", "ONNX"),
    "frozen": ("frozen.pb", b"\n\x10\n\x01x\x12\x0bPlaceholder", "graph (.pb)"),
    "saved model": ("saved_model.pb", b"\x08\x01\x12\x04", "graph of a SavedModel"),
    "tflite": ("model.tflite", b"\x1c\0\0\0TFL3\0\0", "TensorFlow Lite"),
    "any": ("model.ckpt", b"hello", "none of a checkpoint"),
    "empty": ("model.ckpt", b"", "none of a checkpoint"),
}

# Each command on what is given, by its operands; {good} is a checkpoint, {out} a target.
BY_OPERAND = {
    "CHECKPOINT": "{bad}",
    "MODEL_DIR": "{bad}",
    "SOURCE": "{bad}",
    "A": "{bad}",
    "FILE": "{bad}",
    "B": "{good}",
    "TARGET": "{out}",
    "OTHER": "",
}
# What else some need, and other ways to give it.
FLAGS = {
    "convert": "--to=dual",
    "map": "--like={good} -o {out}",
    "rename": "--rename=w=v",
    "drop": "--pattern=w",
    "report": "-o {out}.html",
    "cast": "--to=bfloat16",
    "import": "--to=tf1",
}
COMMANDS = {
    verb: " ".join(
        (verb, *(BY_OPERAND[word.strip("[].")] for word in command.operands), FLAGS.get(verb, ""))
    )
    for verb, command in main.VERBS.items()
}
COMMANDS.update(
    {
        "inspect --values": "inspect {bad} --values",
        "inspect --tree --json": "inspect {bad} --tree --json",
        "diff the other way": "diff {good} {bad}",
        "report the other way": "report {good} {bad} -o {out}.html",
        "map the other way": "map {good} --like={bad}",
        "average": "average {bad} {good} {out}",
        "export": "export {bad} {out}.npz",
    }
)


@pytest.fixture
def good(save, tmp_path):
    save(tmp_path / "good", {"w": [1.0, 2.0], "v": [3.0], "global_step": 5})
    return tmp_path / "good"


def run(command, line, **paths):
    return command(*(word.format(**paths) for word in line.split()))


def require_told(result, *words):
    assert result.code == 2
    assert result.out == "" or json.loads(result.out).keys() == {"error"}
    assert result.err.startswith("estimator-ckpt: error: ")
    assert result.err.count("\n") == 1
    for word in words:
        assert word in result.err


@pytest.mark.parametrize("what", STRANGERS)
@pytest.mark.parametrize("verb", COMMANDS)
def test_a_stranger_is_told_by_each_command(command, good, tmp_path, verb, what):
    name, data, said = STRANGERS[what]
    if verb == "import" and what in ("npz", "safetensors"):
        pytest.skip("that is what import is for")
    (tmp_path / name).write_bytes(data)
    before = jobs.snapshot(tmp_path)
    result = run(command, COMMANDS[verb], bad=tmp_path / name, good=good, out=tmp_path / "out")
    if verb == "import" and said == "none of a checkpoint":
        said = "says no format"
    require_told(result, f"'{tmp_path / name}'", said)
    assert jobs.snapshot(tmp_path) == before


@pytest.mark.parametrize(("data", "said"), [(LFS, "Git LFS pointer"), (HTML, "HTML page")])
@pytest.mark.parametrize("of", [".index", ".data-00000-of-00001", "checkpoint"])
@pytest.mark.parametrize("verb", [verb for verb in COMMANDS if verb != "import"])
def test_a_stranger_in_the_place_of_a_file_is_told(
    command, good, save, tmp_path, verb, of, data, said
):
    folder = tmp_path / "job"
    folder.mkdir()
    save(folder / "ckpt", {"w": [1.0, 2.0]})
    tf1.train.update_checkpoint_state(str(folder), "ckpt")
    (folder / ("checkpoint" if of == "checkpoint" else f"ckpt{of}")).write_bytes(data)
    before = jobs.snapshot(tmp_path)
    bad = folder if of == "checkpoint" else folder / "ckpt"
    result = run(command, COMMANDS[verb], bad=bad, good=good, out=tmp_path / "out")
    if verb in ("doctor", "verify") and result.code == 1:  # the answer: what is there is damaged
        assert said in result.out + result.err
        assert (verb, of) != ("verify", "checkpoint")
    elif (verb, of) == ("report", "checkpoint"):  # the report has the answer
        assert result.code == 1 and said in result.err
        assert said in (tmp_path / "out.html").read_text()
        (tmp_path / "out.html").unlink()
    else:
        require_told(result, said)
    assert jobs.snapshot(tmp_path) == before


@pytest.mark.skipif(os.name == "nt", reason="Windows has no named pipes in its file system")
@pytest.mark.parametrize("of", ["", ".index", ".data-00000-of-00001", "checkpoint"])
@pytest.mark.parametrize("verb", COMMANDS)
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(command, good, save, tmp_path, verb, of):
    folder = tmp_path / "job"
    folder.mkdir()
    bad = folder if of == "checkpoint" else folder / ("x.npz" if verb == "import" else "ckpt")
    if of and verb == "import":
        pytest.skip("it takes no checkpoints")
    if of:
        save(folder / "ckpt", {"w": [1.0, 2.0]})
        tf1.train.update_checkpoint_state(str(folder), "ckpt")
    path = folder / "checkpoint" if of == "checkpoint" else bad.parent / f"{bad.name}{of}"
    if of:
        path.unlink()
    os.mkfifo(path)
    result = run(command, COMMANDS[verb], bad=bad, good=good, out=tmp_path / "out")
    if verb in ("doctor", "verify") and result.code == 1:  # the answer: what is there is damaged
        assert (verb, of) != ("verify", "checkpoint")
    else:
        assert result.code == 2
        assert result.err.count("\n") == 1
    assert sorted(tmp_path.glob("out*")) == []


@pytest.mark.parametrize("kind", ["lfs", "html", "h5", "zip"])
@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_import_tells_what_is_no_array_file(command, tmp_path, kind, suffix):
    path = tmp_path / f"x{suffix}"
    path.write_bytes(STRANGERS[kind][1])
    require_told(command("import", path, tmp_path / "out", "--to=tf1"), STRANGERS[kind][2])


@pytest.mark.parametrize("parts", [False, True])
@pytest.mark.parametrize("given", ["prefix", "directory", "meta"])
@pytest.mark.parametrize("verb", COMMANDS)
def test_the_v1_format_is_told_with_what_converts_it(command, good, tmp_path, verb, given, parts):
    if verb == "import":
        pytest.skip("it takes no checkpoints")
    folder = tmp_path / "v1"
    folder.mkdir()
    prefix = save_v1(folder, sharded=parts)
    before = jobs.snapshot(tmp_path)
    bad = {"prefix": prefix, "directory": folder, "meta": f"{folder / 'model.ckpt-5.meta'}"}[given]
    result = run(command, COMMANDS[verb], bad=bad, good=good, out=tmp_path / "out")
    require_told(result, "in TensorFlow's V1 format", "import_meta_graph")
    assert jobs.snapshot(tmp_path) == before


def save_v1(folder, sharded):
    with tf.Graph().as_default(), tf1.Session() as session:
        tf1.get_variable("w", initializer=[1.0, 2.0])
        session.run(tf1.global_variables_initializer())
        saver = tf1.train.Saver(write_version=tf1.train.SaverDef.V1, sharded=sharded)
        return saver.save(session, str(folder / "model.ckpt"), global_step=5)


@pytest.mark.parametrize("sharded", [False, True])
def test_what_the_message_says_of_the_v1_format_converts_it(command, tmp_path, sharded):
    path = save_v1(tmp_path, sharded)
    meta = str(tmp_path / "model.ckpt-5")
    with tf.Graph().as_default(), tf1.Session() as session:
        tf1.train.import_meta_graph(meta + ".meta").restore(session, path)
        tf1.train.Saver().save(session, str(tmp_path / "new"))
    assert command("inspect", tmp_path / "new").out.splitlines()[1].startswith("w\t")


def test_a_saved_model_without_variables_is_told(command, tmp_path):
    tf.saved_model.save(tf.Module(), str(tmp_path / "model"))
    for path in (tmp_path / "model" / "variables").iterdir():
        path.unlink()
    require_told(command("inspect", tmp_path / "model"), "SavedModel", "has no variables")


def test_directories_below_are_named(command, good, save, tmp_path):
    for name in ("run1", "run2"):
        (tmp_path / "all" / name).mkdir(parents=True)
        save(tmp_path / "all" / name / "ckpt", {"w": [1.0]})
        tf1.train.update_checkpoint_state(str(tmp_path / "all" / name), "ckpt")
    require_told(
        run(command, COMMANDS["convert"], bad=tmp_path / "all", good=good, out=tmp_path / "out"),
        f"directories with checkpoints in it are '{tmp_path}/all/run1', '{tmp_path}/all/run2'",
    )


@pytest.mark.parametrize("path", ["C:\\\\job\\\\ckpt", "\\\\\\\\host\\\\job\\\\ckpt"])
def test_windows_paths_in_a_state_file_are_moved_ones(command, save, tmp_path, path):
    save(tmp_path / "ckpt", {"w": [1.0]})
    (tmp_path / "checkpoint").write_text(
        f'model_checkpoint_path: "{path}"\nall_model_checkpoint_paths: "{path}"\n'
    )
    assert command("inspect", tmp_path).code == 0
    found = command("doctor", tmp_path).err
    assert "checkpoints of that name are here: the directory was moved" in found


@pytest.mark.parametrize(
    "verb", [verb for verb in COMMANDS if verb not in ("diff the other way", "import")]
)
@pytest.mark.parametrize("path", ["nowhere://bucket/ckpt", "ram://there/is/none"])
def test_what_a_remote_file_system_answers_is_one_line(command, good, tmp_path, verb, path):
    result = run(command, COMMANDS[verb], bad=path, good=good, out=tmp_path / "out")
    require_told(result)


@pytest.mark.parametrize("verb", COMMANDS)
def test_what_a_remote_file_system_answers_of_a_target_is_one_line(command, good, verb, tmp_path):
    if "{out}" not in COMMANDS[verb]:
        pytest.skip("it writes nothing")
    bad = tmp_path / "x.npz"
    if verb == "import":
        np.savez(bad, w=np.ones(1))
    bad = bad if verb == "import" else good
    require_told(run(command, COMMANDS[verb], bad=bad, good=good, out="nowhere://bucket/ckpt"))
