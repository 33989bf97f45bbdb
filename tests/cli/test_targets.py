"""What TARGET means where it is a folder, for each command that writes a checkpoint."""

from __future__ import annotations

import jobs
import numpy as np
import pytest
import tensorflow as tf

from estimator_ckpt import describe, import_checkpoint
from estimator_ckpt.checkpoint.opening import write_state
from estimator_ckpt.cli import main

FLAGS = {
    "convert": ["--to=tf2"],
    "rename": ["--rename=w=v"],
    "drop": ["--pattern=w"],
    "cast": ["--to=bfloat16"],
    "import": ["--to=tf1"],
}
VERBS = [verb for verb, command in main.VERBS.items() if command.operands[-1] == "TARGET"]


@pytest.fixture
def sources(save, tmp_path):
    """{verb: source}, of step 7."""
    (tmp_path / "from").mkdir()
    values = {"w": [1.0, 2.0], "w/ExponentialMovingAverage": [0.0, 1.0], "b": [3.0]}
    save(tmp_path / "from" / "ckpt", {**values, "global_step": np.int64(7)})
    np.savez(tmp_path / "from" / "x.npz", w=np.ones(2, np.float32), global_step=np.int64(7))
    found = dict.fromkeys(VERBS, tmp_path / "from" / "ckpt")
    return {**found, "import": tmp_path / "from" / "x.npz"}


def save_again(prefix):
    """Another checkpoint of the same variables, of an earlier step."""
    values = {**jobs.values(prefix), "global_step": np.int64(6)}
    other = prefix.parent / "earlier"
    np.savez(f"{other}.npz", **values)
    import_checkpoint(f"{other}.npz", other, to="tf1")
    return other


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("verb", VERBS)
def test_a_folder_gets_the_checkpoint_of_a_step_and_a_state_file(
    command, sources, tmp_path, monkeypatch, verb, there
):
    monkeypatch.chdir(tmp_path)
    if there:
        (tmp_path / "new").mkdir()
    operands = [sources[verb], "new" if there else "new/"]
    if verb == "average":
        operands.insert(0, save_again(sources[verb]))
    line = (verb, *operands, *FLAGS.get(verb, ()))
    if "dry_run" in main.VERBS[verb].new_flags():
        before = jobs.snapshot(tmp_path)
        assert command(*line, "--dry-run").code == 0
        assert jobs.snapshot(tmp_path) == before
    ran = command(*line)
    assert ran.code == 0, ran.err
    assert tf.train.latest_checkpoint("new") == "new/model.ckpt-7"
    assert describe("new").step == 7
    assert not [path.name for path in (tmp_path / "new").iterdir() if path.name[0] == "."]
    assert command(*line).code == 2  # it is there, and is not replaced unasked


@pytest.mark.parametrize("target", ["job", "job/", "job/.", "job/../job"])
def test_however_a_folder_is_spelled(command, sources, tmp_path, monkeypatch, target):
    (tmp_path / "job").mkdir()
    monkeypatch.chdir(tmp_path)
    assert command("drop", sources["drop"], target, "--pattern=b").code == 0
    folder = tmp_path / "job"
    assert tf.train.latest_checkpoint(str(folder)) == str(folder / "model.ckpt-7")


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "import"])
@pytest.mark.parametrize("target", ["from", "from/", "./from/../from", "link/", "link"])
def test_the_folder_of_the_source_is_refused(command, sources, tmp_path, monkeypatch, verb, target):
    (tmp_path / "link").symlink_to("from")
    monkeypatch.chdir(tmp_path)
    before = jobs.snapshot(tmp_path / "from")
    more = ["from/ckpt"] * (verb == "average")
    ran = command(verb, "from/ckpt", *more, target, *FLAGS.get(verb, ()))
    assert (ran.code, "both source and target" in ran.err) == (2, True)
    assert jobs.snapshot(tmp_path / "from") == before


def test_a_source_without_step_has_none_in_its_name(command, save, tmp_path):
    save(tmp_path / "ckpt", {"w": [1.0]})
    assert command("convert", tmp_path / "ckpt", f"{tmp_path}/new/", "--to=dual").code == 0
    assert tf.train.latest_checkpoint(str(tmp_path / "new")) == str(tmp_path / "new" / "model.ckpt")


@pytest.mark.parametrize(("step", "latest"), [(3, 7), (9, 9)])
def test_what_a_state_file_lists_stays_and_a_later_step_is_the_latest(
    command, save, sources, tmp_path, step, latest
):
    (tmp_path / "new").mkdir()
    save(tmp_path / "new" / f"model.ckpt-{step}", {"w": [1.0], "global_step": np.int64(step)})
    tf.compat.v1.train.update_checkpoint_state(str(tmp_path / "new"), f"model.ckpt-{step}")
    assert command("drop", sources["drop"], tmp_path / "new", "--pattern=b").code == 0
    found = tf.train.get_checkpoint_state(str(tmp_path / "new"))
    assert found.model_checkpoint_path.endswith(f"model.ckpt-{latest}")
    listed = {path.rpartition("-")[2] for path in found.all_model_checkpoint_paths}
    assert listed == {str(step), "7"}


def test_a_folder_with_a_damaged_state_file_is_told_before_anything_is_written(
    command, sources, tmp_path
):
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "checkpoint").write_text("{")
    before = jobs.snapshot(tmp_path)
    ran = command("drop", sources["drop"], tmp_path / "new", "--pattern=b")
    assert ran.code == 2 and "state file" in ran.err
    assert jobs.snapshot(tmp_path) == before


@pytest.mark.parametrize("rule", ["/=new/", "re:^=m/", r"re:^(.*)$=x/\1"])
@pytest.mark.parametrize("to", ["tf1", "tf2", "dual"])
@pytest.mark.parametrize("verb", ["rename", "convert", "export", "import"])
def test_the_global_step_stays_under_every_scope_rule(command, sources, tmp_path, verb, to, rule):
    source = tmp_path / "source"
    assert command("convert", sources["convert"], source, f"--to={to}").code == 0
    if verb == "import":
        source, target = sources["import"], tmp_path / "new"
    else:
        target = tmp_path / ("new.npz" if verb == "export" else "new")
    flags = [f"--to={to}"] if verb in ("convert", "import") else []
    ran = command(verb, source, target, f"--rename={rule}", *flags)
    assert ran.code == 0, ran.err
    if verb == "export":
        names = set(np.load(target).files)
    else:
        assert describe(target).step == 7
        names = {row.name for row in describe(target).variables}
    assert "global_step" in names
    assert all("/" in name for name in names - {"global_step"})
    named = command(verb, source, f"{target}2.npz", "--rename=global_step=s", *flags)
    assert named.code == 0, named.err


DRY = [verb for verb in VERBS if "dry_run" in main.VERBS[verb].new_flags()]
REFUSED = {
    "the prefix": ("new/model.ckpt-7", "exists"),
    "the folder": ("new/", "exists"),
    "data files": ("lost", "without an index"),
    "a file": ("file/", "'file/' is a file"),
    "in a file": ("file/ckpt", "can't write to"),
    "below a file": ("file/new/ckpt", "Not a directory"),
}


@pytest.mark.parametrize("where", REFUSED)
@pytest.mark.parametrize("verb", VERBS)
def test_a_dry_run_refuses_what_is_refused(command, sources, tmp_path, monkeypatch, verb, where):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("a file")
    (tmp_path / "lost.data-00000-of-00001").write_text("lost")
    operands = [sources[verb]]
    if verb == "average":
        operands.insert(0, save_again(sources[verb]))
    flags = FLAGS.get(verb, ())
    assert command(verb, *operands, "new/", *flags).code == 0
    target, message = REFUSED[where]
    before = jobs.snapshot(tmp_path)
    ran = command(verb, *operands, target, *flags)
    assert ran.code == 2 and message in ran.err, ran.err
    if verb in DRY:
        for more in ((), ("--compact",)):
            dry = command(verb, *operands, target, *flags, "--dry-run", *more)
            assert (dry.code, dry.err, dry.out) == (2, ran.err, "")
    assert jobs.snapshot(tmp_path) == before


def test_a_dry_run_of_a_whole_folder_refuses_what_is_refused(command, sources, tmp_path):
    source = str(sources["convert"])
    write_state(str(tmp_path / "from"), source, [source])
    line = ("convert", tmp_path / "from", tmp_path / "new", "--all", "--to=tf2")
    assert command(*line).code == command(*line, "--dry-run").code == 0  # it is there, and equal
    before = jobs.snapshot(tmp_path)
    line = (*line, "--drop=b$")
    real, dry = command(*line), command(*line, "--dry-run")
    assert (real.code, dry.code) == (2, 2) and "exists" in dry.err == real.err
    assert jobs.snapshot(tmp_path) == before
    assert command(*line, "--dry-run", "--overwrite").code == 0
    assert jobs.snapshot(tmp_path) == before
