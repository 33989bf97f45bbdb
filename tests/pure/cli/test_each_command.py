"""Each command does its work where no TensorFlow is loaded, or installed; and few packages else."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from estimator_ckpt.cli import main

ROOT = pathlib.Path(__file__).resolve().parents[3]
WITHOUT = """
import json, sys

blocked, lines = map(json.loads, sys.argv[1:])

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocked())
from estimator_ckpt.cli import main
print()
print(json.dumps([main.main(line) for line in lines]))
"""
LINES = [
    "import {folder}/values.npz {folder}/job/m --to=tf1",
    "inspect {folder}/job/m --values",
    "verify {folder}/job/m",
    "convert {folder}/job/m {folder}/both/m --to=dual",
    "convert {folder}/both/m {folder}/objects/m --to=tf2 --averages=ExponentialMovingAverage",
    "inspect {folder}/objects/m --tree --json",
    "diff {folder}/job/m {folder}/both/m --values",
    "rename {folder}/both/m {folder}/renamed/m --rename=dense/=net/",
    "drop {folder}/job/m {folder}/dropped/m --slots",
    "ema {folder}/job/m {folder}/ema/m",
    "compact {folder}/dropped/m {folder}/compact/m",
    "average {folder}/job/m {folder}/both/m {folder}/average/m",
    "cast {folder}/job/m {folder}/cast/m --to=bfloat16",
    "export {folder}/ema/m {folder}/ema.npz",
    "export {folder}/job/m {folder}/all.safetensors",
    "map {folder}/job/m --like={folder}/renamed/m -o {folder}/map.txt",
    "rename {folder}/job/m {folder}/mapped/m --rename=@{folder}/map.txt",
    "doctor {folder}/job/m",
    "report {folder}/job {folder}/both/m -o {folder}/report.html --values",
    "report {folder}/job/m --map={folder}/map.txt -o {folder}/map.html",
]


# All others, by their operands.
BY_OPERAND = {
    "CHECKPOINT": "{folder}/job/m",
    "MODEL_DIR": "{folder}/job",
    "SOURCE": "{folder}/job/m",
    "A": "{folder}/job/m",
    "B": "{folder}/job/m",
    "TARGET": "{folder}/out/m",
}
LINES += [
    " ".join((verb, *(BY_OPERAND[word.strip("[].")] for word in command.operands)))
    for verb, command in main.VERBS.items()
    if verb not in {line.split()[0] for line in LINES}
]


@pytest.fixture
def folder(tmp_path):
    values = {
        "dense/kernel": np.float32([[1, 2], [3, 4], [5, 6], [7, 8]]),
        "dense/kernel/Adam": np.float32([[0, 1]] * 4),
        "dense/kernel/ExponentialMovingAverage": np.float32([[2, 3]] * 4),
        "dense/bias": np.float32([9, 10]),
        "global_step": np.int64(7),
    }
    (tmp_path / "job").mkdir()
    state = 'model_checkpoint_path: "m"\nall_model_checkpoint_paths: "m"\n'
    (tmp_path / "job" / "checkpoint").write_text(state)
    np.savez(tmp_path / "values.npz", **values)
    return tmp_path


def test_each_command_works(folder, capsys):
    for line in LINES:
        code = main.main([word.format(folder=folder) for word in line.split()])
        said = capsys.readouterr()
        assert code == 0 and "error" not in said.err, (line, said)
    assert len(list(folder.glob("*/m.index"))) == 10


IMPOSSIBLE = ["{place}\0", "\0", "no\0folder/m", "{place}\ud800", "=\0/"]


def files_in(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.mark.parametrize("impossible", IMPOSSIBLE, ids=ascii)
def test_a_name_that_no_file_can_have_is_refused_by_each_command(folder, capsys, impossible):
    for line in LINES:
        words = [word.format(folder=folder) for word in line.split()]
        before = files_in(folder)
        for number, word in enumerate(words):
            start = word.find(str(folder))
            if start < 0:
                continue
            wrong = word[:start] + impossible.format(place=word[start:])
            code = main.main([*words[:number], wrong, *words[number + 1 :]])
            said = capsys.readouterr()
            assert code == 2, (line, wrong, said)
            assert said.err and said.err.replace("\n", "").isprintable(), (line, wrong, said)
            assert files_in(folder) == before, (line, wrong)
        assert main.main(words) == 0, line


def run_without(blocked, folder, target="", environment=None):
    """What each command answers, and prints, where packages are not installed.

    Args:
      blocked: the packages.
      folder: where the checkpoints are.
      target: what is put before the names of what is written.
      environment: what the process has in its environment besides.
    """
    lines = [[word.format(folder=folder) for word in line.split()] for line in LINES]
    for words in lines:
        written = [number for number in range(2, len(words)) if words[number].startswith("/")]
        if written and words[0] != "diff":
            path = pathlib.Path(words[written[-1]])
            words[written[-1]] = str(path.with_name(target + path.name))
    result = subprocess.run(
        [sys.executable, "-c", WITHOUT, json.dumps(blocked), json.dumps(lines)],
        env={**os.environ, **(environment or {}), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert "Traceback" not in result.stderr, result.stderr
    *_, codes = result.stdout.splitlines()
    return json.loads(codes), result.stderr


def test_each_command_works_without_what_only_terminals_and_compressed_indexes_need(folder):
    codes, errors = run_without(["rich", "cramjam"], folder)
    assert not any(codes), errors


def test_each_command_works_with_google_crc32c_in_the_place_of_crc32c(folder):
    pytest.importorskip("google_crc32c")
    codes, errors = run_without(["crc32c"], folder)
    assert not any(codes), errors
    assert len(list(folder.glob("*/m.index"))) == 10


def test_without_both_each_command_that_reads_or_writes_says_what_to_type(folder):
    assert not any(run_without([], folder)[0])
    codes, errors = run_without(["crc32c", "google_crc32c"], folder, "new_")
    assert set(codes) == {2}, errors
    told = errors.splitlines()
    assert len(told) == len(LINES)
    for line in told:
        assert "pip install crc32c, or pip install google-crc32c" in line


def test_each_command_works_on_a_store_without_tensorflow(folder, object_store):
    for path in (folder / "values.npz", folder / "job" / "checkpoint"):
        object_store.put(f"a/{path.relative_to(folder)}", path.read_bytes())
    codes, errors = run_without(
        ["tensorflow", "boto3"], object_store.url + "/a", environment=object_store.environment
    )
    assert not any(codes), errors
    here, _ = run_without([], folder)
    assert not any(here)
    written = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {key[len("a/") :] for key in object_store.objects()} == written
    for name in written:  # the same bytes; an archive has its time, a report the times of files
        if not name.endswith((".npz", ".keras", ".html")):
            assert object_store.objects()["a/" + name] == (folder / name).read_bytes(), name


def test_each_command_says_what_is_not_there_on_a_store(s3_store, capsys):
    s3_store.put("job/model.ckpt-10.index", b"")
    for line in LINES:
        verb, _, *rest = line.split()
        if verb in ("import", "doctor", "average") or "@" in line:
            continue  # they say other things of it
        for spelled, told in (
            ("/job/model.ckpt-1", "model.ckpt-10"),  # what is there instead
            ("/absent", "absent"),
            ("/absent/", "absent"),
        ):
            words = [word.format(folder=s3_store.url) for word in rest]
            code = main.main([verb, s3_store.url + spelled, *words])
            said = capsys.readouterr().err
            assert code == 2, (line, spelled, said)
            assert said.count("\n") == 1 and told in said, (line, spelled, said)
    assert list(s3_store.objects()) == ["job/model.ckpt-10.index"]
