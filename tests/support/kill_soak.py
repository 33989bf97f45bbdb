"""Kills a job at random times, in every mode, and looks at all that is there after each kill.

    python tests/support/kill_soak.py                       # 500 kills
    python tests/support/kill_soak.py --kills=40 --seed=7   # at other times

The job is that of `saving_race.py`: it saves every step, and its variables are all the step that
they are of. Each start saves what it begins with again, with another value in one variable, and a
reader reads all the while. It prints a row for each mode, and ends with 1 if anything was lost: a
checkpoint that is listed and not complete, or of other values than its step's; a step that was
saved once, and is before the newest one no more; a job that can't go on; a read that failed though
its checkpoint is there.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import pathlib
import random
import shutil
import signal
import sys
import tempfile
import time
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import jobs  # imports TensorFlow, once for all processes
import numpy as np
import saving_race
import strace
import tensorflow as tf

from estimator_ckpt.operations.doctor import doctor
from estimator_ckpt.operations.verify import verify

MODES = {
    f"{way}{', async_save' if in_background else ''}{', tf1_dir' if emits else ''}": {
        "checkpoint_format": way,
        "async_save": in_background,
        "emits": emits,
    }
    for way in ("dual", "tf2")
    for in_background in (False, True)
    for emits in (False, True)
}
MODES["dual, links"] = {"checkpoint_format": "dual", "unchanged": "link", "emits": False}
MODES["tf2, links, async_save, tf1_dir"] = {
    "checkpoint_format": "tf2",
    "unchanged": "link",
    "async_save": True,
    "emits": True,
}
_LONGEST_WAIT = 0.8  # from the first step, or from the start of the job, to the kill
_KEPT = 5


class _Tells(tf.compat.v1.train.SessionRunHook):
    """Says that there was a step."""

    def __init__(self, said: int):
        self._said = said

    def after_run(self, run_context: Any, run_values: Any) -> None:
        os.write(self._said, b"trains\n")
        self.after_run = lambda run_context, run_values: None


def train(folder: pathlib.Path, mode: str, hooks: Any = (), steps: int | None = None) -> None:
    """Trains a job in its mode; until it is killed, if there is no number of steps."""
    settings = dict(MODES[mode])
    settings["tf1_dir"] = str(folder / "tf1") if settings.pop("emits") else None
    estimator = saving_race.estimator(folder, "wrapped", _KEPT, **settings)
    estimator.train(saving_race.input_fn, hooks=list(hooks), steps=steps)


def listed(directory: pathlib.Path) -> list[str]:
    return jobs.listed(directory) if tf.train.get_checkpoint_state(str(directory)) else []


def require_step(prefix: str) -> int:
    """Makes sure, by plain TensorFlow, that all values are of the step; returns it."""
    step = int(prefix.rpartition("-")[2])
    values = jobs.values(prefix)
    assert sorted(values) == sorted([*saving_race.NAMES, "global_step", "runs"]), sorted(values)
    assert values.pop("runs") > 0
    for name, value in values.items():
        wanted = np.full_like(value, saving_race.value_at(name, step))
        np.testing.assert_array_equal(value, wanted, f"{prefix}: {name}")
    return step


def newest_of(folder: pathlib.Path) -> int:
    """Looks at all that is listed; returns the newest step of the job, -1 if there is none."""
    newest = {}
    for below in ("job", "tf1"):
        steps = []
        for name in listed(folder / below):
            prefix = str(folder / below / name)
            assert verify(prefix).ok, verify(prefix)
            steps.append(require_step(prefix))
        assert steps == sorted(steps) and len(steps) <= _KEPT, steps
        newest[below] = steps[-1] if steps else -1
    assert newest["tf1"] <= newest["job"], newest
    return newest["job"]


def begin(folder: pathlib.Path, mode: str, said: int) -> None:
    """Looks at what the last kill left, says it, and trains until the next one."""
    os.write(said, f"{newest_of(folder)}\n".encode())
    train(folder, mode, [_Tells(said)])


def end(folder: pathlib.Path, mode: str) -> None:
    """Trains on for two steps; of all the kills, only what TensorFlow leaves is there then."""
    before = newest_of(folder)
    train(folder, mode, steps=2)
    assert newest_of(folder) == max(before, 0) + 2
    job, emitted = folder / "job", folder / "tf1"
    assert not list(folder.rglob("*staging*"))
    findings = doctor(str(job)).findings
    assert all(each.severity != "error" for each in findings), findings
    if MODES[mode]["emits"]:
        assert listed(emitted) == listed(job), listed(emitted)
        assert doctor(str(emitted)).healthy, doctor(str(emitted))
        indexes = {path.stem for path in emitted.glob("*.index")}
        assert indexes == set(listed(emitted)), indexes


def read_on(folder: pathlib.Path) -> int:
    """Reads the newest checkpoint of the job that is at work, until all is done."""
    reads, failed = 0, collections.Counter()
    while not (folder / "done").exists():
        mode = (folder / "mode").read_text()
        for below in ("job", "tf1"):
            latest = tf.train.latest_checkpoint(str(folder / mode / below))
            if latest is None:
                continue
            before = saving_race.identity(latest + ".index")
            try:
                require_step(latest)
            except Exception as error:
                now = saving_race.identity(latest + ".index")
                # What was replaced keeps its data until the next save, however long that takes.
                newest = tf.train.latest_checkpoint(str(folder / mode / below))
                if now is not None and (now == before or newest == latest):
                    failed[f"{mode}: {type(error).__name__}: {error}"] += 1
            reads += 1
        time.sleep(0.01)
    (folder / "reads").write_text(json.dumps([reads, failed]))
    return 0


def kill_once(folder: pathlib.Path, mode: str, chance: random.Random) -> tuple[str, str]:
    """Starts a job and kills it; returns what it found at its start, and what went wrong."""
    output = folder / "output"
    told, said = os.pipe()
    pid = strace.fork(lambda: begin(folder, mode, said), output)
    os.close(said)
    with os.fdopen(told) as lines:
        found = lines.readline()
        if chance.random() < 0.7:
            lines.readline()
        time.sleep(chance.uniform(0, _LONGEST_WAIT))
        os.kill(pid, signal.SIGKILL)
        code, text = strace.finish(pid, output)
    return found.strip(), "" if code == -signal.SIGKILL and found else f"{code}: {text[-2000:]}"


def soak(folder: pathlib.Path, kills: int, seed: int) -> int:
    """Kills jobs of all modes in turn; writes what came of it."""
    chance = random.Random(seed)
    newest = dict.fromkeys(MODES, -1)
    done, lost = dict.fromkeys(MODES, 0), []
    for mode in MODES:
        (folder / mode).mkdir()
    (folder / "mode").write_text(next(iter(MODES)))
    reader = strace.fork(lambda: read_on(folder), folder / "reader")
    for number in range(kills):
        mode = list(MODES)[number % len(MODES)]
        (folder / "next").write_text(mode)
        os.replace(folder / "next", folder / "mode")
        found, problem = kill_once(folder / mode, mode, chance)
        if not problem and int(found) < newest[mode]:
            problem = f"step {newest[mode]} was there, and the newest is {found} now"
        if problem:
            lost.append(f"{mode}, kill {done[mode]}: {problem}")
            shutil.rmtree(folder / mode)
            (folder / mode).mkdir()
        newest[mode] = -1 if problem else int(found)
        done[mode] += 1
    for mode in MODES:
        output = folder / "output"
        code, text = strace.finish(strace.fork(lambda m=mode: end(folder / m, m), output), output)
        if code:
            lost.append(f"{mode}, in the end: {text[-2000:]}")
    (folder / "done").touch()
    code, text = strace.finish(reader, folder / "reader")
    assert code == 0, text
    facts = {"kills": done, "newest": newest, "lost": lost}
    (folder / "facts").write_text(json.dumps(facts))
    return 0


def main() -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=500, help="over all modes")
    parser.add_argument("--seed", type=int, default=0, help="of the times at which to kill")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak") as root:
        started = []
        for worker in range(arguments.workers):
            folder = pathlib.Path(root).resolve() / str(worker)
            folder.mkdir()
            kills = len(range(worker, arguments.kills, arguments.workers))
            seed = arguments.seed * arguments.workers + worker
            work = lambda f=folder, k=kills, s=seed: soak(f, k, s)  # noqa: E731
            started.append((strace.fork(work, folder / "soak"), folder))
        kills, steps, lost = collections.Counter(), collections.Counter(), []
        reads = 0
        for pid, folder in started:
            code, text = strace.finish(pid, folder / "soak")
            assert code == 0, text
            facts = json.loads((folder / "facts").read_text())
            kills.update(facts["kills"])
            steps.update(facts["newest"])
            count, failed = json.loads((folder / "reads").read_text())
            reads += count
            lost += facts["lost"] + [f"{times} reads: {kind}" for kind, times in failed.items()]
    print("| mode | kills | steps saved |\n|---|---|---|")
    for mode in MODES:
        print(f"| {mode} | {kills[mode]} | {steps[mode]} |")
    print(
        f"{sum(kills.values())} kills, {reads} reads beside them, {len(lost)} lost", *lost, sep="\n"
    )
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
