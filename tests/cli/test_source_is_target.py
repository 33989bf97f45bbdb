"""No command touches what it reads, however source and target are spelled."""

from __future__ import annotations

import os
import pathlib
import re

import numpy as np
import pytest
import tensorflow as tf

from estimator_ckpt import (
    CheckpointArgumentError,
    average,
    cast,
    compact,
    convert,
    export_checkpoint,
)
from estimator_ckpt.conversion.editing import drop, ema, rename
from estimator_ckpt.operations.describe import describe

tf1 = tf.compat.v1

REFUSED = r"source and target|called like one file of|belongs to the checkpoint|the state file"
# Every command that makes a checkpoint of one, with what it needs to succeed.
COMMANDS = {
    "convert": ["convert", "S", "T", "--to=tf2", "--overwrite"],
    "convert to the same format": ["convert", "S", "T", "--to=tf1", "--overwrite"],
    "convert, copying": ["convert", "S", "T", "--to=dual", "--overwrite", "--copy"],
    "convert, with filters": ["convert", "S", "T", "--to=tf1", "--overwrite", "--exclude=dnn/b"],
    "convert, dry": ["convert", "S", "T", "--to=dual", "--overwrite", "--dry_run"],
    "rename": ["rename", "S", "T", "--rename=dnn/=net/", "--overwrite"],
    "drop": ["drop", "S", "T", "--pattern=dnn/b", "--overwrite"],
    "drop, dry": ["drop", "S", "T", "--pattern=dnn/b", "--overwrite", "--dry_run"],
    "ema": ["ema", "S", "T", "--overwrite"],
    "drop, compacting": [
        "drop",
        "S",
        "T",
        "--pattern=dnn/b",
        "--overwrite",
        "--compact",
    ],
    "compact": ["compact", "S", "T", "--overwrite"],
    "cast": ["cast", "S", "T", "--to=bfloat16", "--overwrite"],
    "average": ["average", "S", "other/ck", "T", "--overwrite"],
    "average, the source last": ["average", "other/ck", "S", "T", "--overwrite"],
}
EXPORTS = {
    "npz": ["export", "S", "T", "--format=npz", "--overwrite"],
    "safetensors": ["export", "S", "T", "--format=safetensors", "--overwrite"],
}
# Paths that lead to the checkpoint k/ck, from the folder that has k.
SAME = {
    "plain": "k/ck",
    "with a dot": "./k/ck",
    "there and back": "k/../k/ck",
    "twice a slash": "k//ck",
    "its index": "k/ck.index",
    "absolute": "{here}/k/ck",
    "absolute, with dots": "{here}/other/.././k/ck",
    "through a linked folder": "folder_link/ck",
    "through a link and back": "folder_link/../k/ck",
    "links to its files": "links/ck",
    "links to links": "links_to_links/ck",
    "links of another name": "links/renamed",
    "a link to its index": "only_index/ck",
    "hard links": "hard/ck",
    "as gfile has it": "file://{here}/k/ck",
}
AS_TARGET = {
    "with a slash": "k/ck/",
    "its data": "k/ck.data-00000-of-00001",
    "its graph": "k/ck.meta",
    "a link to its data": "data_link",
    "another one's data": "k/ck2.data-00000-of-00001",
    "another one's index": "./k/ck2.index",
    "the state file": "k/checkpoint",
}
AS_SOURCE = {"the folder": "k", "the folder, with a slash": "k/"}


@pytest.fixture(scope="module")
def tensors():
    return {
        "dnn/w": np.arange(6, dtype=np.float32),
        "dnn/b": np.ones(2, np.float32),
        "dnn/w/ExponentialMovingAverage": np.zeros(6, np.float32),
    }


@pytest.fixture
def here(tmp_path, monkeypatch, tensors):
    """A folder with TensorFlow's own checkpoints, and links that lead to them."""
    monkeypatch.chdir(tmp_path)
    for name in ("other/ck", "k/ck2", "k/ck"):
        with tf.Graph().as_default(), tf1.Session() as session:
            for key, value in tensors.items():
                tf1.get_variable(key, initializer=value)
            session.run(tf1.global_variables_initializer())
            tf1.train.Saver(save_relative_paths=True).save(session, name)
    data = "data-00000-of-00001"
    os.symlink("k", "folder_link")
    for folder in ("links", "links_to_links", "only_index", "hard"):
        os.mkdir(folder)
    for end in ("index", data):
        os.symlink(f"../k/ck.{end}", f"links/ck.{end}")
        os.symlink(f"../k/ck.{end}", f"links/renamed.{end}")
        os.symlink(f"../links/ck.{end}", f"links_to_links/ck.{end}")
        os.link(f"k/ck.{end}", f"hard/ck.{end}")
    os.symlink("../k/ck.index", "only_index/ck.index")
    os.link(f"k/ck.{data}", f"only_index/ck.{data}")
    os.symlink(f"k/ck.{data}", "data_link")
    return tmp_path


def every_byte(folder: pathlib.Path) -> dict[str, object]:
    """Names, links and bytes of all that is in a folder."""
    return {
        str(path.relative_to(folder)): os.readlink(path)
        if path.is_symlink()
        else path.is_file() and path.read_bytes()
        for path in folder.rglob("*")
    }


def filled(arguments, source, target, here):
    places = {"S": source.format(here=here), "T": target.format(here=here)}
    return [places.get(argument, argument) for argument in arguments]


@pytest.mark.parametrize("name", [*COMMANDS, *EXPORTS])
def test_a_command_does_what_the_table_says_to_another_target(command, here, name):
    ran = command(*filled({**COMMANDS, **EXPORTS}[name], "k/ck", "new/out", here))
    assert ran.code == 0, ran.err


@pytest.mark.parametrize("name", [*COMMANDS, *EXPORTS])
def test_every_spelling_of_the_source_is_refused(command, here, name):
    before = every_byte(here)
    arguments = {**COMMANDS, **EXPORTS}[name]
    for source in (SAME | AS_SOURCE).values():
        for target in (SAME | AS_TARGET).values():
            ran = command(*filled(arguments, source, target, here))
            assert (ran.code, bool(re.search(REFUSED, ran.err))) == (2, True), (
                f"{source} -> {target}: {ran}"
            )
    assert every_byte(here) == before


@pytest.mark.parametrize("name", COMMANDS)
def test_the_folder_of_the_source_is_no_folder_for_the_target(command, here, name):
    """Its state file would name what is made as what a job goes on from."""
    before = every_byte(here)
    for source in ("k/ck", "k", "k/ck2", "k/ck.index", "folder_link/ck", "links/ck"):
        for target in ("k/", "k", "./k/", "folder_link/", "folder_link", "{here}/k/"):
            ran = command(*filled(COMMANDS[name], source, target, here))
            assert ran.code == 2, f"{source} -> {target}: {ran}"
            assert "is both source and target" in ran.err, ran.err
    assert every_byte(here) == before


@pytest.mark.parametrize("target", ["k", "./k/", "folder_link", "{here}/k", "file://{here}/k"])
@pytest.mark.parametrize("source", ["k", "folder_link", "links/../k/"])
def test_a_folder_is_not_converted_into_itself(command, here, source, target):
    before = every_byte(here)
    ran = command(*filled(["convert", "S", "T", "--to=tf2", "--all"], source, target, here))
    assert (ran.code, "both source and target" in ran.err) == (2, True), ran.err
    ran = command(*filled(COMMANDS["drop"], source, target, here))
    assert (ran.code, "both source and target" in ran.err) == (2, True), ran.err
    assert every_byte(here) == before


def test_a_folder_is_not_converted_into_one_that_has_its_checkpoints(command, here):
    """The state file lists one here and one elsewhere; nothing is converted before that is seen."""
    (here / "k" / "checkpoint").write_text(
        'model_checkpoint_path: "../other/ck"\n'
        'all_model_checkpoint_paths: "ck2"\nall_model_checkpoint_paths: "../other/ck"\n'
    )
    before = every_byte(here)
    ran = command("convert", "k", "folder_link/../other", "--to=tf2", "--all", "--overwrite")
    assert (ran.code, "both source and target" in ran.err) == (2, True), ran.err
    assert every_byte(here) == before


IMPORTED = {
    "k/w.npz": ["k/w.npz", "./k/w.npz", "{here}/k/w.npz", "folder_link/w.npz", "k/w.npz/", "npz"],
    "k/in.index": ["k/in", "./k/in", "folder_link/in", "k/in.index", "file://{here}/k/in"],
    "k/in.data-00000-of-00001": ["k/in", "k/../k/in", "{here}/k/in", "k/in.data-00000-of-00001"],
    "array_link": ["k/in", "folder_link/in"],
    "k/w2.npz": ["k/ck.index", "k/ck2.data-00000-of-00001", "k/checkpoint", "k/ck.meta"],
}


@pytest.mark.parametrize("source", IMPORTED)
def test_an_import_does_not_replace_its_file(command, here, source):
    np.savez("k/any.npz", w=np.ones(2))
    for name in IMPORTED:
        if name != "array_link":
            (here / name).write_bytes((here / "k/any.npz").read_bytes())
    os.symlink("k/in.data-00000-of-00001", "array_link")
    os.symlink("k/w.npz", "npz")
    before = every_byte(here)
    arguments = ["import", "S", "T", "--to=tf1", "--format=npz", "--overwrite"]
    for target in IMPORTED[source]:
        ran = command(*filled(arguments, source, target, here))
        assert (ran.code, bool(re.search(REFUSED, ran.err))) == (2, True), f"{target}: {ran}"
    assert every_byte(here) == before
    assert command(*filled(arguments, source, "new/out", here)).code == 0


def test_data_that_leads_into_another_checkpoint_stays_where_that_leads(command, here):
    """The index is a copy, the data file a link: to replace the other one would take it away."""
    os.mkdir("half")
    data = "data-00000-of-00001"
    (here / "half" / "ck.index").write_bytes((here / "k" / "ck.index").read_bytes())
    os.symlink(f"../links/ck.{data}", f"half/ck.{data}")
    before = every_byte(here)
    for target in ("k/ck", "links/ck", "folder_link/ck"):
        for name, arguments in COMMANDS.items():
            ran = command(*filled(arguments, "half/ck", target, here))
            assert (ran.code, "source and target" in ran.err) == (2, True), f"{name}: {ran}"
    assert every_byte(here) == before


class InBytes:
    """A path of somebody else's, which knows its bytes only."""

    def __init__(self, path: str):
        self._path = path

    def __fspath__(self) -> bytes:
        return self._path.encode()


@pytest.mark.parametrize("spelled", [str, pathlib.Path, str.encode, InBytes])
@pytest.mark.parametrize(
    "write",
    [
        lambda source, target: convert(source, target, to="tf2", overwrite=True),
        lambda source, target: rename(source, target, {"dnn/": "net/"}, overwrite=True),
        lambda source, target: drop(source, target, ["dnn/b"], overwrite=True),
        lambda source, target: ema(source, target, overwrite=True),
        lambda source, target: cast(source, target, to="bfloat16", overwrite=True),
        lambda source, target: compact(source, target, overwrite=True),
        lambda source, target: average([source, "other/ck"], target, overwrite=True),
        lambda source, target: export_checkpoint(source, target, file_format="npz", overwrite=True),
    ],
)
def test_functions_take_no_spelling_either(here, spelled, write):
    before = every_byte(here)
    for target in ("k/ck", "folder_link/ck"):
        with pytest.raises(CheckpointArgumentError, match="source and target"):
            write(spelled("k/ck"), spelled(target))
    assert every_byte(here) == before


@pytest.mark.parametrize("target", ["ram://same/ck", "ram://same//ck", "ram://same/./ck"])
def test_a_remote_source_is_not_replaced(command, here, target):
    for path in tf.io.gfile.glob(str(here / "k" / "ck.*")):
        tf.io.gfile.copy(path, f"ram://same/{os.path.basename(path)}", overwrite=True)
    for arguments in (*COMMANDS.values(), *EXPORTS.values()):
        ran = command(*filled(arguments, "ram://same/ck", target, here))
        assert (ran.code, bool(re.search(REFUSED, ran.err))) == (2, True), ran
    assert describe("ram://same/ck").format == "tf1"


def test_an_average_counts_no_checkpoint_twice(command, here):
    for again in SAME.values():
        ran = command("average", "k/ck", again.format(here=here), "new/out")
        assert (ran.code, "given twice" in ran.err) == (2, True), f"{again}: {ran}"


def test_two_checkpoints_of_the_same_data_are_two(command, here):
    """What convert made shares its source's data files, and may be made again."""
    convert("k/ck", "made/ck", to="tf2")
    data = here / "k" / "ck.data-00000-of-00001"
    assert any(data.samefile(path) for path in (here / "made").iterdir())
    assert command("convert", "k/ck", "made/ck", "--to=dual", "--overwrite").code == 0
    assert describe("made/ck").format == "dual"
    assert command("average", "k/ck", "made/ck", "new/out").code == 0
