"""Checkpoints with links to older data files are like any others for all that reads them."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

import estimator_ckpt
from estimator_ckpt.checkpoint import open_checkpoint
from estimator_ckpt.cli import main
from estimator_ckpt.estimator.saver import CheckpointSaver
from estimator_ckpt.estimator.unchanged import blocks
from estimator_ckpt.estimator.unchanged.bounds import Bounds

tf1 = tf.compat.v1


@pytest.fixture(scope="module", params=["tf1", "tf2", "dual"])
def saved(request, tmp_path_factory):
    """(prefix with parts in several files, prefix of a full save, values, format)."""
    folder = tmp_path_factory.mktemp("saved")
    (folder / "whole").mkdir()
    before, blocks.BLOCK = blocks.BLOCK, 1024
    blocks.blocks_of.cache_clear()
    try:
        with tf.Graph().as_default(), tf1.Session() as session:
            random = tf1.random_uniform_initializer()
            table = tf1.get_variable("net/table", [100, 10], initializer=random, use_resource=True)
            tf1.get_variable("net/table/Adam", [100, 10], initializer=random, use_resource=True)
            tf1.get_variable("net/bias", [10], initializer=random, use_resource=True)
            tf1.get_variable("net/text", [], tf.string, tf1.constant_initializer("x"))
            tf1.train.get_or_create_global_step()
            row = tf1.placeholder(tf.int32)
            change = tf.group(
                tf1.scatter_add(table, [row], [[1.0] * 10]),
                tf1.train.get_global_step().assign_add(1),
            )
            linked, full = (CheckpointSaver(request.param, sharded=True) for _ in range(2))
            linked.unchanged = Bounds()
            linked.build()
            full.build()
            session.run(tf1.global_variables_initializer())
            for step in range(4):
                session.run(change, {row: 30 * step})
                prefix = linked.save(session, str(folder / "model.ckpt"), step)
            whole = full.save(session, str(folder / "whole" / "model.ckpt"), step)
            values = session.run({each.op.name: each for each in tf1.global_variables()})
            values = {name: np.asarray(value) for name, value in values.items()}
    finally:
        blocks.BLOCK = before
        blocks.blocks_of.cache_clear()
    entries = open_checkpoint(prefix).index.entries
    assert any(len(entry.parts) > 3 for entry in entries.values())
    assert len(open_checkpoint(prefix).shard_paths) == 4
    return prefix, whole, values, request.param


def read(prefix, values, checkpoint_format):
    reader = tf.train.load_checkpoint(str(prefix))
    for name, value in values.items():
        key = name
        if checkpoint_format == "tf2":
            escaped = name.replace("/", ".S")
            key = "step" if name == "global_step" else f"var_list/{escaped}"
            key += "/.ATTRIBUTES/VARIABLE_VALUE"
        np.testing.assert_array_equal(reader.get_tensor(key), value, name)


def run(capsys, *arguments, code=0):
    found = main.main([str(each) for each in arguments])
    printed = capsys.readouterr()
    assert found == code, (arguments, printed.err[-2000:])
    return printed.out


@pytest.mark.parametrize("to", ["tf1", "tf2", "dual"])
def test_convert(saved, tmp_path, capsys, to):
    prefix, _, values, _ = saved
    run(capsys, "convert", prefix, tmp_path / "made", f"--to={to}")
    read(tmp_path / "made", values, to)
    run(capsys, "convert", prefix, tmp_path / "compact", f"--to={to}", "--compact")
    read(tmp_path / "compact", values, to)


def test_what_reads(saved, capsys):
    prefix, whole, values, _ = saved
    shown = json.loads(run(capsys, "inspect", prefix, "--values", "--json"))
    rows = {row["name"]: row for row in shown["variables"]}
    assert set(rows) == set(values)
    np.testing.assert_allclose(rows["net/table"]["values"]["max"], values["net/table"].max())
    assert rows["net/table"]["bytes"] == 4000
    assert "net" in run(capsys, "inspect", prefix, "--tree")
    run(capsys, "inspect", prefix, "--show=net/table[3]")
    run(capsys, "verify", prefix)
    run(capsys, "diff", prefix, whole, "--values")
    run(capsys, "diff", prefix, whole)
    run(capsys, "doctor", os.path.dirname(prefix))
    assert run(capsys, "prefix", prefix) == prefix + "\n"
    run(capsys, "report", prefix, "-o", os.path.join(os.path.dirname(prefix), "report.html"))


def test_what_writes(saved, tmp_path, capsys):
    prefix, whole, values, to = saved
    run(capsys, "compact", prefix, tmp_path / "compact")
    read(tmp_path / "compact", values, to)
    run(capsys, "rename", prefix, tmp_path / "renamed", "--rename=net/=other/")
    renamed = {name.replace("net/", "other/"): value for name, value in values.items()}
    read(tmp_path / "renamed", renamed, to)
    run(capsys, "drop", prefix, tmp_path / "dropped", "--pattern=Adam")
    left = {name: value for name, value in values.items() if "Adam" not in name}
    read(tmp_path / "dropped", left, to)
    run(capsys, "average", prefix, whole, tmp_path / "average")
    read(tmp_path / "average", values, to)
    run(capsys, "cast", prefix, tmp_path / "cast", "--to=bfloat16")
    run(capsys, "verify", tmp_path / "cast")
    run(capsys, "export", prefix, tmp_path / "made.npz", "--exclude=text")
    with np.load(tmp_path / "made.npz") as made:
        for name in made.files:
            np.testing.assert_array_equal(made[name], values[name], name)


def test_restore_into_objects(saved):
    prefix, _, values, _ = saved
    made = {
        name: tf.Variable(np.zeros_like(value))
        for name, value in values.items()
        if value.dtype.kind == "f" and name != "global_step"
    }
    estimator_ckpt.restore(made, prefix, strict=False)
    for name, variable in made.items():
        np.testing.assert_array_equal(variable.numpy(), values[name], name)


def test_a_copy_without_links_is_as_good(saved, tmp_path):
    prefix, _, values, to = saved
    folder = shutil.copytree(os.path.dirname(prefix), tmp_path / "copied")
    read(folder / os.path.basename(prefix), values, to)


COPIES = {
    "cp -a": (["cp", "-a", "{from}", "{to}"], True),
    "cp -r": (["cp", "-r", "{from}", "{to}"], False),
    "tar": (["sh", "-c", "mkdir {to} && tar -C {from} -cf - . | tar -C {to} -xf -"], True),
    "rsync -H": (["rsync", "-rH", "{from}/", "{to}/"], True),
    "rsync": (["rsync", "-r", "{from}/", "{to}/"], False),
}


@pytest.mark.skipif(sys.platform != "linux", reason="docs/unchanged.md says it of GNU's tools")
@pytest.mark.parametrize("tool", COPIES)
def test_what_copies_a_folder_keeps_links_or_makes_files(saved, tmp_path, tool):
    prefix, _, values, checkpoint_format = saved
    line, keeps_links = COPIES[tool]
    if shutil.which(line[0]) is None:
        pytest.skip(f"there is no {line[0]} on this machine")
    folder = os.path.dirname(prefix)
    places = {"from": folder, "to": str(tmp_path / "copy")}
    subprocess.run([each.format(**places) for each in line], check=True, timeout=600)
    copy = tmp_path / "copy" / os.path.basename(prefix)
    read(copy, values, checkpoint_format)
    shares = estimator_ckpt.describe(prefix).shares
    assert shares
    assert estimator_ckpt.describe(copy).shares == (shares if keeps_links else ())
