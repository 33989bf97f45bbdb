"""Evaluators, iterators and a TF1 consumer at work while a job saves every step and keeps one.

Beside it a plain Estimator does the same: what fails is what fails there, a checkpoint that
retention has removed between being found and being read. Nothing else does, and nothing is half
there, although plain TensorFlow's own index is, for a moment, when it merges shards.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest
import saving_race

ROOT = pathlib.Path(__file__).resolve().parents[2]
SAVES = 150
RESTARTS = 15
READERS = {
    "raw": [("poll", "job"), ("iterate", "job"), ("evaluate", "raw"), ("watch", "job")],
    "wrapped": [
        ("poll", "job"),
        ("iterate", "job"),
        ("evaluate", "wrapped"),
        ("watch", "job"),
        ("poll", "tf1"),
        ("iterate", "tf1"),
        ("watch", "tf1"),
    ],
}
READERS["linked"] = [
    ("evaluate", "linked") if reader[0] == "evaluate" else reader for reader in READERS["wrapped"]
]


def start(*arguments):
    folders = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return subprocess.Popen(
        [sys.executable, saving_race.__file__, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, folders))},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    try:
        output, errors = process.communicate(timeout=900)
    finally:
        process.kill()
    assert process.returncode == 0, errors[-3000:]
    return json.loads(output.splitlines()[-1])


def race(folder, how, readers, job, task):
    """Runs the job and its readers, until those of a task have enough.

    Returns:
      {reader: what it says}.
    """
    folder.mkdir()
    started = {reader: start(reader[0], folder, reader[1]) for reader in readers}
    number = sum(reader[0] == task for reader in readers)
    started["train"] = start(job[0], folder, how, job[1], task, number)
    return {reader: finish(process) for reader, process in started.items()}


@pytest.mark.slow
def test_no_read_fails_because_a_step_is_saved_again(tmp_path, record_property):
    """Plain TensorFlow's own do, where they meet an index that it is writing in place."""
    readers = [("poll", "job"), ("poll", "tf1"), ("watch", "job"), ("watch", "tf1")]
    found = race(tmp_path / "job", "wrapped", readers, ("restart", RESTARTS), "poll")
    record_property("wrapped", str(found))
    print(found)
    for reader in readers:
        said = found[reader]
        if reader[0] == "watch":
            assert said["half"] == [], (reader, said)
        else:
            assert said["reads"] >= saving_race.READS, (reader, said)
            # None is removed; but a reader may be held until what was replaced is gone.
            kinds = set(said["failed"])
            assert all(kind.endswith(", replaced, and another saved since") for kind in kinds), said
    # Two of each that was saved again, the second an empty one; and what was replaced last.
    model_dir = tmp_path / "job" / "job"
    checkpoints = len(list(model_dir.glob("*.index")))
    assert len(list(model_dir.glob("*.data-*"))) <= 2 * checkpoints + 1


@pytest.mark.slow
def test_no_read_fails_that_a_plain_estimator_would_not_have(tmp_path, record_property):
    found = {
        how: race(tmp_path / how, how, readers, ("train", SAVES), "watch")
        for how, readers in READERS.items()
    }
    for how, readers in found.items():
        for reader, said in readers.items():
            record_property(f"{how}, {reader}", json.dumps(said))
            print(how, reader, said)
    for how, readers in found.items():
        for reader, said in readers.items():
            if reader[0] == "watch":
                assert said["checkpoints"] > saving_race.SEEN, (how, reader, said)
                assert how == "raw" or said["half"] == [], (how, reader, said)
            elif reader != "train":
                assert said["reads"] > 0, (reader, said)
                # Only what was removed meanwhile fails, whatever the error is called.
                kinds = set(said["failed"])
                assert all(re.fullmatch(r"\w+, removed", kind) for kind in kinds), (reader, said)
