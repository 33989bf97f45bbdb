"""What a report may be written to: nothing that a checkpoint, a map or anyone else's file is."""

from __future__ import annotations

import os
import pathlib
import shutil

import numpy as np
import pytest

from estimator_ckpt import CheckpointArgumentError, CheckpointError, VariableMap, report
from estimator_ckpt.cli import main

DATA = ".data-00000-of-00001"
OURS = (
    *("v/model.ckpt-30.index", f"v/model.ckpt-30{DATA}", "v/model.ckpt-30.meta", "v/checkpoint"),
    *("w/model.ckpt-30.index", f"w/model.ckpt-30{DATA}", "w/checkpoint", "mm.txt"),
)
OTHERS = (f"z/m-1{DATA}", "z/m-1.index", "z/checkpoint", "k.weights.h5", "rules.txt", "notes.md")
SPELLED = {
    "as it is": "{path}",
    "dots": "./v/../{path}",
    "whole": "{here}/{path}",
    "file": "file://{here}/{path}",
    "link": "link.html",
    "file and link": "file://{here}/link.html",
    "hard link": "hard.html",
    "folder": "folder/{path}",
}


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """Two jobs, a third one, a map and other files."""
    folder = tmp_path_factory.mktemp("jobs")
    np.savez(folder / "values.npz", **{"dense/kernel": np.ones(3, "f"), "global_step": np.int64(1)})
    for name in ("v/model.ckpt-30", "w/model.ckpt-30", "z/m-1"):
        line = ["import", f"{folder}/values.npz", f"{folder}/{name}", "--to=tf1"]
        assert main.main(line) == 0
        state = f'model_checkpoint_path: "{os.path.basename(name)}"\n'
        (folder / name).with_name("checkpoint").write_text(state)
    (folder / "v" / "model.ckpt-30.meta").write_bytes(b"\n\0")
    (folder / "mm.txt").write_text(
        "accept: certain\n[certain]\ndense/kernel -> dense/kernel  # one\n"
    )
    for name in ("k.weights.h5", "rules.txt", "notes.md"):
        (folder / name).write_text("mine")
    return folder


@pytest.fixture
def here(job, tmp_path, monkeypatch):
    shutil.copytree(job, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").symlink_to(".", target_is_directory=True)
    return tmp_path


def every_byte(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("spelled", SPELLED)
def test_no_file_but_a_page_is_replaced(here, capsys, spelled):
    ways = [("v", "w"), ("v/model.ckpt-30", "w"), ("v",)]
    ways = ways if spelled == "as it is" else ways[:1]
    made = {sources: report(*sources, map="mm.txt") for sources in ways}
    for name in (*OURS, *OTHERS):
        for link, make in (("link.html", os.symlink), ("hard.html", os.link)):
            pathlib.Path(link).unlink(missing_ok=True)
            make(name, link)
        before = every_byte(here)
        output = SPELLED[spelled].format(path=name, here=here)
        for sources in ways:
            line = ["report", *sources, "--map=mm.txt", "--overwrite", "-o", output]
            assert main.main(line) == 2, (name, line)
            assert output in capsys.readouterr().err
            with pytest.raises(CheckpointError):
                report(*sources, map="mm.txt", output=output, overwrite=True)
            with pytest.raises(CheckpointError):
                made[sources].write(output, overwrite=True)
        assert every_byte(here) == before


@pytest.mark.parametrize("name", ["mm.txt", "v", "v/model.ckpt-30", "w", "w/model.ckpt-30"])
def test_what_is_read_is_not_the_output(here, name):
    sources = ("v", "w") if name in ("v", "w") else ("v/model.ckpt-30", "w/model.ckpt-30")
    made = report(*sources, map="mm.txt")
    for overwrite in (False, True):
        with pytest.raises(CheckpointArgumentError, match="is both source and target"):
            made.write(name, overwrite=overwrite)
        with pytest.raises(CheckpointArgumentError, match="is both source and target"):
            report(*sources, map="mm.txt", output=name, overwrite=overwrite)


def test_a_name_of_a_checkpoint_s_file_is_none_of_a_report(here):
    for name in ("new/checkpoint", "v/more.index", f"v/more{DATA}", "more.meta"):
        with pytest.raises(CheckpointArgumentError, match="taken for"):
            report("v", output=name)
        assert not os.path.exists(name)


@pytest.mark.parametrize("output", ["-", ".", "z", "folder", "new/", "{here}/z", "file://{here}/z"])
def test_what_is_no_file_is_refused(here, capsys, output):
    before = every_byte(here)
    output = output.format(here=here)
    for flags in ([], ["--overwrite"]):
        assert main.main(["report", "v", "-o", output, *flags]) == 2
        said = capsys.readouterr().err
        assert ("a report is a file" if output == "-" else "is a directory") in said, said
        assert "Errno" not in said
    assert every_byte(here) == before and not os.path.exists("-")


def test_a_pipe_is_not_replaced(here):
    os.mkfifo("pipe")
    assert main.main(["report", "v", "-o", "pipe", "--overwrite"]) == 2
    assert pathlib.Path("pipe").is_fifo()


def test_a_page_and_an_empty_file_are_replaced(here):
    pathlib.Path("empty.html").touch()
    pathlib.Path("mine.html").write_text("\n<!doctype HTML>")
    for output in ("empty.html", "mine.html", "new/r.html", "new/r.html"):
        assert main.main(["report", "v", "-o", output, "--overwrite"]) == 0
        assert pathlib.Path(output).read_text() == report("v").html


SIDES = {
    "source": ("dense/kernl -> dense/kernel", "the source has no 'dense/kernl'"),
    "left out": ("dense/kernl -> -", "the source has no 'dense/kernl'"),
    "changed": ("dense/kernl -> dense/kernel : reshape(3)", "the source has no 'dense/kernl'"),
    "target": ("dense/kernel -> dense/kernl", "the target has no 'dense/kernl'"),
    "slot": ("dense/kernel -> global_step", "the target has no 'global_step'"),
}


PLACES = [(side, heading) for side in SIDES for heading in ("pinned", "certain", "likely")]
PLACES = [place for place in PLACES if place[0] != "left out" or place[1] == "pinned"]


@pytest.mark.parametrize(("side", "heading"), PLACES)
def test_a_map_that_names_what_is_not_there_is_refused(here, capsys, side, heading):
    line, says = SIDES[side]
    text = f"accept: likely\n[{heading}]\n{line}\n"
    pathlib.Path("map.txt").write_text(text)
    for other in (["w"], []):
        is_known = bool(other) or not says.startswith("the target")
        ran = main.main(["report", "v", *other, "--map=map.txt", "-o", "r.html", "--overwrite"])
        assert ran == (2 if is_known else 0)
        assert not is_known or (f"'map.txt', line 3: {says}" in capsys.readouterr().err)
        if is_known:
            assert not os.path.exists("r.html")
            with pytest.raises(CheckpointArgumentError, match=says):
                report("v", *other, map=VariableMap.parse(text))
