"""What newcomers type wrongly: the message, the exit code, and nothing is written."""

from __future__ import annotations

import json
import pathlib
import shlex

import numpy as np
import pytest
import screens

# What is typed: what has to be said of it. The exit code is 2.
MISTAKES = {
    # the command
    "": "no command given; expected one of:",
    "convrt job new --to=tf2": "unknown command 'convrt'; did you mean 'convert'?",
    "Inspect job": "unknown command 'Inspect'; did you mean 'inspect'?",
    "--verison": "did you mean '--version'?",
    "--values inspect job": "give flags behind it: `estimator-ckpt inspect job --values`",
    # operands
    "inspect": "missing CHECKPOINT...",
    "convert job --to=tf2": "missing TARGET; expected SOURCE TARGET",
    "convert job new more --to=tf2": "unexpected argument 'more'; expected only SOURCE TARGET",
    "diff job": "missing B; expected A B",
    "average job": "missing TARGET; expected CHECKPOINT... TARGET",
    "inspect jop": "there is no checkpoint in '.'; did you mean the folder 'job'?",
    "inspect jop/model.ckpt-20": "'jop' does not exist; did you mean the folder 'job'?",
    "inspect job/model.ckpt-2": "there is 'job/model.ckpt-20'",
    "inspect job/model.ckpt": "there is no checkpoint 'job/model.ckpt'; there is 'job/model.ckpt-",
    "inspect job/model.ckpt-20.data-00000-of-00001": "give the checkpoint's prefix: 'job/",
    "inspect job/checkpoint": "is a file, but none of a checkpoint",
    "inspect .": "directories with checkpoints in it are './damaged', './job', ",
    "inspect empty": "has no state file 'checkpoint'",
    "verify -r empty": "there are no checkpoints in or below 'empty'",
    "inspect weights.npz": "estimator-ckpt import",
    "inspect x.safetensors": "x.safetensors",
    "inspect x.keras": "x.keras",
    "verify x.h5": "x.h5",
    "doctor nowhere": "there is no checkpoint 'nowhere'",
    "inspect damaged/model.ckpt-10 --values": "has 188 bytes, but the index needs 196",
    # targets
    "convert job job --to=tf2": "'job' is both source and target",
    "convert job job/ --to=tf2": "'job/' is both source and target",
    "drop job both/ckpt --slots": "the checkpoint 'both/ckpt' exists",
    "convert job new/model.ckpt-20.index --to=tf2": "give the new one's prefix: 'new/",
    "convert job new/model.h5 --to=tf2": "called like a file of Keras",
    "convert job job/checkpoint --to=tf2": "is the state file of that directory",
    "export job weights.npz": "weights.npz",
    "export job weights": "give a name that ends in .npz or",
    # flags
    "convert job new": "flag --to is required; give one of --to=tf1, --to=tf2, --to=dual",
    "convert job new --to=tf3": "--to=tf3: expected 'tf1', 'tf2' or 'dual'",
    f"inspect job --{'x' * 2000}": f"unknown flag '--{'x' * 2000}'",
    "convert job new --to tf2 --dryrun": "unknown flag '--dryrun'; did you mean '--dry_run'?",
    "convert job new --to": "Missing value for flag --to",
    "average job mean --last=three": "--last=three: expected a positive integer",
    "average job mean --last=9": "lists 2",
    "diff job both/ckpt --tolerance=small": "--tolerance=small: expected a non-negative number",
    "inspect job --json=maybe": "--json=maybe: expected true or false",
    "inspect job --format=xml": "--format=xml: expected 'table', 'tsv', 'json', 'md' or 'csv'",
    "inspect job --include=(": "--include=(: '(' is no regular expression",
    "inspect job --include=dens/kernel": "matches no variable; near names are dense/kernel",
    "inspect job --show=dense/kernl": "no variable 'dense/kernl'; near names are dense/kernel",
    "inspect job --show=dense/kernel[9]": "the shape of 'dense/kernel' is [4, 3]",
    "inspect job both/ckpt --tree": "--tree shows one checkpoint",
    "inspect job --tree --depth=0": "--depth=0: expected a positive integer",
    "inspect job --tree --format=csv": "--tree prints no rows for --format=csv",
    "inspect job --tree --format=tsv": "--tree prints no rows for --format=tsv",
    "inspect job --tree --values": "--tree and --values show two things",
    "inspect job --tree --show=dense/bias": "--show and --tree show two things",
    "inspect job --values --show=dense/bias": "--show and --values show two things",
    "inspect job --show=dense/bias --format=csv": "--show prints no rows for --format=csv",
    "inspect job --show=dense/bias --format=md": "--show prints no rows for --format=md",
    "inspect job --show=dense/bias --include=dense": "leave --include out",
    "inspect job --show=": "--show= is empty; give the name of a variable",
    "inspect job --depth=1": "--depth is about a tree; give --tree, too",
    "inspect job both/ckpt --depth=1": "--depth is about a tree; give --tree, too",
    "doctor job untidy --findings": "--findings shows one folder",
    "diff job both/ckpt --report=new.jsonl": "--report is about a list of model_dirs",
    "diff job both/ckpt --workers=2": "--workers is about a list of model_dirs",
    "convert job new --to=tf2 --report=new.jsonl": "--report is about a list of model_dirs",
    "convert job new --to=tf2 --output-root=new": "--output_root is about a list of model_dirs",
    "convert --from-file=x.h5 --to=tf2 --source-root=job": "--source_root is about --output_root",
    "verify --from-file=x.h5 --recursive": "--recursive is about operands",
    "verify job --report=": "--report= is empty",
    "convert job new --to=tf2 --keep-going": "give --all, too",
    "convert job/model.ckpt-20 new --to=tf2 --all": "there is no directory 'job/model.ckpt-20'",
    "convert damaged new --to=tf2 --all": "1 of 2 checkpoints can be converted, by --keep",
    "drop job new": "nothing to drop; give --slots, or --pattern=REGEX once or more",
    "drop job new --pattern=kernl": "matches no variable",
    "rename job new": "no rule given; expected --rename=FROM=TO, once or more",
    "rename job new --rename=dense/": "has no '='",
    "rename job new --rename=dens/=x/": "matches no variable; near names are dense/",
    "rename job new --rename=dense/bias=dense/kernel": "would both be called 'dense/kernel'",
    "rename job new --rename=@rules.txt": "rules.txt",
    "ema job new": "there is no average",
    "cast job new --to=int8": "--to=int8: expected 'bfloat16', 'float16' or 'float32'",
    "map job": "flag --like is required",
    "import job new --to=tf1": "'job'",
    "verify --from-file=dirs.txt": "there is no list of model_dirs 'dirs.txt'",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("mistakes")
    screens.make(path)
    (path / "empty").mkdir()
    for name in ("x.safetensors", "x.keras", "x.h5", "weights.npz"):
        (path / name).write_bytes(b"PK\3\4 not such a file")
    np.savez(path / "weights.npz", w=np.ones(1))
    return path


def held(folder: pathlib.Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_told_in_one_line_and_nothing_is_written(command, monkeypatch, folder, line):
    monkeypatch.chdir(folder)
    before = held(folder)
    result = command(*shlex.split(line))
    assert MISTAKES[line] in result.err
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert result.err.startswith("estimator-ckpt: error: ")
    assert held(folder) == before


@pytest.mark.parametrize("how", ["table", "tsv", "md", "csv"])
@pytest.mark.parametrize("line", ["inspect job", "verify job", "doctor job", "diff job both/ckpt"])
def test_two_formats_are_an_error_in_json(command, monkeypatch, folder, line, how):
    monkeypatch.chdir(folder)
    result = command(*line.split(), "--json", f"--format={how}")
    told = f"--json and --format={how} are two formats"
    assert result.code == 2 and told in result.err and told in json.loads(result.out)["error"]
    assert command(*line.split(), "--json", "--format=json").code in (0, 1)


def test_there_are_forty_of_them():
    assert len(MISTAKES) >= 40
