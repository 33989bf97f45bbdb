"""A chief of parameter servers that is killed between its save and the TF1 checkpoint."""

from __future__ import annotations

import json
import os
import pathlib
import signal

import clusters
import jobs
import pytest
import tensorflow as tf

from estimator_ckpt import wrap_model_fn
from estimator_ckpt.estimator.tf1_copies.emission import Emitter
from estimator_ckpt.estimator.tf1_copies.retention import CheckpointDirectory
from estimator_ckpt.examples.local_cluster import TaskFailedError
from estimator_ckpt.operations.doctor import doctor

tf1 = tf.compat.v1
SIZES = {"chief": 1, "worker": 1, "ps": 1}
PLACES = {
    "before it is linked": (Emitter, "_link"),
    "before it is listed": (CheckpointDirectory, "add"),
}


class TrainsBesideChiefs(tf1.train.SessionRunHook):
    """Has a worker do steps beside the first chief, some without one, the rest beside another."""

    def __init__(self, folder):
        self._folder = folder
        self._steps = 0

    def after_create_session(self, session, coord):
        (self._folder / "worker joined").touch()

    def before_run(self, run_context):
        self._steps += 1
        if self._steps == 10:
            clusters.wait_until((self._folder / "killed").exists)
        if self._steps == 13:
            (self._folder / "worker went on").touch()
            clusters.wait_until((self._folder / "restored").exists)


class WaitsForWorker(tf1.train.SessionRunHook):
    """Has the first chief train beside a worker, and the second one begin when that has gone on."""

    def __init__(self, folder):
        self._folder = folder
        self._is_second = (folder / "killed").exists()

    def begin(self):
        if self._is_second:
            clusters.wait_until((self._folder / "worker went on").exists)

    def after_create_session(self, session, coord):
        (self._folder / "began").touch()

    def before_run(self, run_context):
        clusters.wait_until((self._folder / "worker joined").exists)


def task(folder, place):
    """What each process does; the chief kills itself once, at its third checkpoint."""
    folder = pathlib.Path(folder)
    kind = json.loads(os.environ["TF_CONFIG"])["task"]["type"]
    hooks = []
    if kind == "worker":
        clusters.wait_until((folder / "began").exists)
        hooks.append(TrainsBesideChiefs(folder))
    elif kind == "chief":
        hooks.append(WaitsForWorker(folder))
        if (folder / "killed").exists():
            save_after_worker(folder)
        else:
            kill_at(folder, *PLACES[place])
    estimator = jobs.make_estimator(
        wrap_model_fn(jobs.adam_model_fn, tf1_dir=str(folder / "tf1")),
        folder / "job",
        experimental_max_worker_delay_secs=0,
        save_checkpoints_steps=20,
        keep_checkpoint_max=4,
    )
    train = tf.estimator.TrainSpec(jobs.input_fn, max_steps=200, hooks=hooks)
    tf.estimator.train_and_evaluate(estimator, train, tf.estimator.EvalSpec(jobs.input_fn, steps=1))


def kill_at(folder, owner, name, count=3):
    method = getattr(owner, name)
    calls = []

    def killed(self, *arguments):
        calls.append(arguments)
        if len(calls) == count:
            (folder / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return method(self, *arguments)

    setattr(owner, name, killed)


def save_after_worker(folder):
    """Has the second chief save first at a step beyond the one that it has restored."""
    method = tf1.train.CheckpointSaverHook.after_create_session

    def after_create_session(self, session, coord):
        step = tf1.train.get_global_step(session.graph)
        restored = session.run(step)
        (folder / "restored").touch()
        clusters.wait_until(lambda: session.run(step) > restored)
        method(self, session, coord)

    tf1.train.CheckpointSaverHook.after_create_session = after_create_session


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
def test_a_chief_that_is_killed_makes_good_for_it(tmp_path, place):
    job, emitted = tmp_path / "job", tmp_path / "tf1"
    with clusters.cluster(task, str(tmp_path), place, folder=tmp_path, sizes=SIZES) as processes:
        processes.start()
        with pytest.raises(TaskFailedError, match="chief ended with code -9"):
            processes.wait(["chief"])
        *_, last = jobs.listed(job)
        assert last not in jobs.listed(emitted)
        assert (emitted / f"{last}.index").exists() == (place == "before it is listed")
        processes.start(["chief"])
        processes.wait(["chief", "worker:0"])
    logs = "".join(path.read_text() for path in (tmp_path / "logs").iterdir())
    done = "gets" if place == "before it is linked" else "lists"
    assert f"'{emitted}' now {done} {last}, which an earlier run has" in logs
    names = jobs.listed(job)
    assert jobs.listed(emitted) == names
    assert sorted(path.stem for path in emitted.glob("*.index")) == sorted(names)
    for name in names:
        jobs.assert_equal_values(jobs.values(emitted / name), jobs.values(job / name))
    assert doctor(emitted).healthy
