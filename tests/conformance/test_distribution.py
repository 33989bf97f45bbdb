"""Distribution: every tf.distribute strategy, and clusters of real processes on 127.0.0.1."""

import json
import os
import pathlib
import signal

import clusters
import jobs
import numpy as np
import pytest
import tensorflow as tf
from scenarios import Job, conformance_test, run_in_process, scenario, v1_behavior

from estimator_ckpt.examples.local_cluster import TaskFailedError

tf1 = tf.compat.v1

PS = {"chief": 1, "worker": 1, "ps": 2}
MORE_PS = {"chief": 1, "worker": 1, "ps": 3}
WORKERS = {"chief": 1, "worker": 1}


# What runs in the processes.


def sharded_model_fn(features, labels, mode, config):
    """`jobs.adam_model_fn` with each variable in as many parts as there are parameter servers."""
    partitioner = tf1.fixed_size_partitioner(max(config.num_ps_replicas, 1))
    with tf1.variable_scope("", partitioner=partitioner):
        return jobs.adam_model_fn(features, labels, mode)


class Observer(tf1.train.SessionRunHook):
    """Tells, by files in a folder, what the session began with and where it ended."""

    def __init__(self, folder, task, run):
        self._folder = folder
        self._task = task
        self._run = run

    def begin(self):
        self._variables = {each.op.name: each for each in tf1.global_variables()}
        self._infos = {each.op.name: each._get_save_slice_info() for each in tf1.global_variables()}
        self._step = tf1.train.get_or_create_global_step()

    def after_create_session(self, session, coord):
        del coord
        if self._task == "chief":
            np.savez(self._folder / f"begun-{self._run}.npz", **self._whole(session))
        with open(self._folder / f"began-{self._run}-{self._task}", "a") as file:
            file.write(f"{os.getpid()}\n")

    def end(self, session):
        step = int(session.run(self._step))
        (self._folder / f"ended-{self._run}-{self._task}").write_text(str(step))

    def _whole(self, session):
        """{name: value}; the parts of a partitioned variable are put together."""
        parts = {}
        for name, value in session.run(self._variables).items():
            info = self._infos[name]
            whole, offset = (info.full_name, info.var_offset[0]) if info else (name, 0)
            parts.setdefault(whole, {})[offset] = value
        return {
            name: np.concatenate([found[offset] for offset in sorted(found)])
            if len(found) > 1
            else found[0]
            for name, found in parts.items()
        }


class Killed(tf1.train.SessionRunHook):
    """Kills its own process (SIGKILL) between two saves, once, while workers hold still."""

    def __init__(self, folder, task, after_step):
        self._folder = folder
        self._model_dir = folder / "job"
        self._task = task
        self._after_step = after_step

    def begin(self):
        self._step = tf1.train.get_global_step()

    def after_run(self, run_context, run_values):
        is_late = run_context.session.run(self._step) > self._after_step
        if not is_late or (self._folder / "killed-at").exists():
            return
        (self._folder / "pause").touch()
        if self._task == "chief":
            clusters.wait_until((self._folder / "held-worker-0").exists)
        step = run_context.session.run(self._step)
        # A checkpoint is named by the step that is read before its values are.
        if jobs.values(self._model_dir)["global_step"] < step:
            (self._folder / "killed-at").write_text(str(step))
            os.kill(os.getpid(), signal.SIGKILL)
        (self._folder / "pause").unlink()  # else a worker that is to be killed waits


class Held(tf1.train.SessionRunHook):
    """Holds still between two steps until its conditions hold, and is seen to.

    Each condition is (the step from which on it has to hold, what says whether it does).
    """

    def __init__(self, folder, task, conditions):
        self._held = folder / f"held-{task}"
        self._conditions = conditions

    def before_run(self, run_context):
        step = run_context.session.run(tf1.train.get_global_step())

        def may_go_on():
            return all(holds() for from_step, holds in self._conditions if step >= from_step)

        while not may_go_on():  # and again, as soon as it is no longer seen to hold still
            self._held.touch()
            clusters.wait_until(may_go_on)
            self._held.unlink()


class Recorder(tf1.train.CheckpointSaverListener):
    """Writes down how it is called; may ask for a stop."""

    def __init__(self, path, stop_at=None):
        self._path = path
        self._stop_at = stop_at

    def _note(self, *call):
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps(call) + "\n")

    def begin(self):
        self._note("begin")

    def before_save(self, session, global_step_value):
        self._note("before", int(global_step_value))

    def after_save(self, session, global_step_value):
        self._note("after", int(global_step_value))
        return global_step_value == self._stop_at

    def end(self, session, global_step_value):
        self._note("end", int(global_step_value))


def follow_v1_behavior():
    """A process of its own has to be told what conftest.py tells this one."""
    if v1_behavior():
        tf1.disable_v2_behavior()


def task_name():
    task = json.loads(os.environ["TF_CONFIG"])["task"]
    return task["type"] if task["type"] == "chief" else f"{task['type']}-{task['index']}"


def wrapped(how, model_fn, folder, **settings):
    """The model_fn as a job has it; one that is not raw also emits TF1 checkpoints."""
    return Job(how, folder).wrap(model_fn, tf1_dir=str(folder / "tf1"), **settings)


def train_on_servers(how, folder, run, max_steps, killed="", awaited=""):
    """A task of a parameter-server cluster: trains, and maybe kills itself on the way.

    Workers begin when the chief's session is there, and not 30 s later, as TensorFlow would
    have it. The chief trains when the worker's is there: a worker that came to a trained model
    would train none of it. What waits for what makes the rest the same however fast each is.
    """
    follow_v1_behavior()
    folder = pathlib.Path(folder)
    task = task_name()
    if task.startswith("worker"):
        clusters.wait_until((folder / f"began-{run}-chief").exists)
    listeners = [Recorder(folder / f"calls-{run}-{task}")]
    estimator = jobs.make_estimator(
        wrapped(how, sharded_model_fn, folder, saving_listeners=listeners),
        folder / "job",
        experimental_max_worker_delay_secs=0,
        save_checkpoints_steps=5,
        keep_checkpoint_max=100,
    )
    was_killed = (folder / "killed-at").exists
    runs_on = (0, lambda: not (folder / "pause").exists())
    conditions = []
    if task == "chief":
        conditions.append((0, (folder / f"began-{run}-worker-0").exists))
        if awaited:
            conditions.append((20, (folder / awaited).exists))
        if killed == task and was_killed():
            conditions.append(runs_on)
    if task.startswith("worker"):
        conditions.append(runs_on)
        if killed == "chief":
            conditions.append((6, lambda: any(steps_of(folder / "job"))))
            conditions.append((30, was_killed))
    hooks = [Observer(folder, task, run), Held(folder, task, conditions)]
    if task == killed:
        hooks.append(Killed(folder, task, 12))
    train(estimator, int(max_steps), hooks, listeners if how == "raw" else [])


def train_in_step(how, folder, max_steps, listens="", stop_at=""):
    """A worker under MultiWorkerMirroredStrategy, whose workers train and save in step."""
    follow_v1_behavior()
    folder = pathlib.Path(folder)
    strategy = None
    if task_name() != "evaluator-0":  # it evaluates by itself
        distribute = tf1.distribute.experimental if v1_behavior() else tf.distribute
        strategy = distribute.MultiWorkerMirroredStrategy()
    listeners = []
    if listens:
        stop = int(stop_at) if stop_at else None
        listeners = [Recorder(folder / f"calls-{task_name()}", stop)]
    estimator = jobs.make_estimator(
        wrapped(how, jobs.adam_model_fn, folder, saving_listeners=listeners),
        folder / "job",
        train_distribute=strategy,
        save_checkpoints_steps=2,
        keep_checkpoint_max=20,
    )
    train(estimator, int(max_steps), [], listeners if how == "raw" else [])


def train(estimator, max_steps, hooks, listeners=()):
    tf.estimator.train_and_evaluate(
        estimator,
        tf.estimator.TrainSpec(
            jobs.same_batch_input_fn, max_steps, hooks=hooks, saving_listeners=listeners
        ),
        tf.estimator.EvalSpec(
            jobs.same_batch_input_fn, steps=1, start_delay_secs=0, throttle_secs=1
        ),
    )


def train_mirrored(how, folder):
    """Trains and evaluates with and without MirroredStrategy, by turns; prints what is seen."""
    follow_v1_behavior()
    folder = pathlib.Path(folder)
    cpus = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(
        cpus[0], [tf.config.LogicalDeviceConfiguration()] * 2
    )
    strategy = tf.distribute.MirroredStrategy(
        ["CPU:0", "CPU:1"], cross_device_ops=tf.distribute.ReductionToOneDevice()
    )
    # Fewer threads may wait for each other for ever.
    session_config = tf1.ConfigProto(inter_op_parallelism_threads=8, allow_soft_placement=True)
    listeners = [Recorder(folder / "calls-mirrored")]
    model_fn = wrapped(how, jobs.adam_model_fn, folder, saving_listeners=listeners)
    seen = []
    for trains_on, evaluates_on in ((strategy, None), (None, strategy), (strategy, strategy)):
        estimator = jobs.make_estimator(
            model_fn,
            folder / "job",
            train_distribute=trains_on,
            eval_distribute=evaluates_on,
            session_config=session_config,
            save_checkpoints_steps=2,
            keep_checkpoint_max=20,
        )
        estimator.train(
            jobs.same_batch_input_fn,
            steps=4,
            saving_listeners=listeners if how == "raw" else [],
        )
        metrics = estimator.evaluate(jobs.same_batch_input_fn, steps=2)
        prediction = next(estimator.predict(jobs.same_batch_input_fn))
        seen.append([float(metrics["loss"]).hex(), prediction["y"].tolist()])
    print("seen:", json.dumps(seen))


# What is seen of a job from outside.


def steps_of(directory):
    return [int(name.rpartition("-")[2]) for name in jobs.listed(directory)]


def assert_tf1_is_equal(folder):
    """The TF1 directory has the model_dir's steps, with equal values."""
    assert steps_of(folder / "tf1") == steps_of(folder / "job")
    assert_tf1_follows(folder)


def assert_tf1_follows(folder):
    """The TF1 directory is not ahead of the model_dir, and equal to it at each common step."""
    emitted, saved = steps_of(folder / "tf1"), steps_of(folder / "job")  # the TF1 one first
    assert emitted[-1] <= saved[-1]
    for step in set(emitted) & set(saved):
        names = jobs.values(folder / f"tf1/model.ckpt-{step}")
        assert jobs.keys(folder / f"tf1/model.ckpt-{step}") == set(names)  # nothing but names
        jobs.assert_equal_values(names, jobs.values(folder / f"job/model.ckpt-{step}"))


def begun(folder, run):
    """{name: value} of what the chief's session had when it began."""
    return dict(np.load(folder / f"begun-{run}.npz"))


def times_begun(folder, task, run=1):
    path = folder / f"began-{run}-{task}"
    return len(path.read_text().splitlines()) if path.exists() else 0


def run_cluster(function, *arguments, waits_for, **settings):
    with clusters.cluster(function, *arguments, **settings) as processes:
        processes.start()
        return processes.wait(waits_for)


def saved_by_others(model_dir):
    """Which tasks saved into a folder of their own below the model_dir."""
    return sorted(path.name for path in model_dir.glob("tmp_*"))


@scenario("Distribution", slow=True)
def mirrored_strategy(job):
    """MirroredStrategy: train and evaluate with it, without it and with it again."""
    printed = run_in_process(train_mirrored, job.how, str(job.folder))
    if job.how != "raw":
        assert_tf1_is_equal(job.folder)
    values = {name: jobs.values(job.model_dir / name) for name in job.checkpoints()}
    seen = json.loads(printed.partition("seen: ")[2])
    return {"seen": seen, "values": values, "listeners": calls(job.folder, "mirrored")}


@scenario("Distribution", slow=True)
def parameter_servers(job):
    """Parameter servers: chief, worker, evaluator and 2 of them; resume with 3."""
    tasks = ("chief", "worker:0")
    arguments = (job.how, str(job.folder))
    first = run_cluster(
        *(train_on_servers, *arguments, "1", "40"),
        folder=job.folder,
        sizes=PS,
        evaluator=True,
        waits_for=(*tasks, "evaluator"),
    )
    saved = job.values()
    told = calls(job.folder, "1-chief")
    assert [step for when, step in told[1:-1] if when == "after"] == steps_of(job.model_dir)
    evaluated = [
        event.step
        for path in (job.model_dir / "eval").glob("events*")
        for event in tf1.train.summary_iterator(str(path))
    ]
    second = run_cluster(
        *(train_on_servers, *arguments, "2", "60"),
        folder=job.folder,
        sizes=MORE_PS,
        waits_for=tasks,
    )
    jobs.assert_equal_values(begun(job.folder, 2), saved)
    if job.how != "raw":
        assert_tf1_is_equal(job.folder)
    return {
        "exit codes": [first, second],
        "variables": sorted(job.values()),
        "reached": [saved["global_step"] >= 40, job.values()["global_step"] >= 60],
        "evaluated to the end": max(evaluated) >= 40,
        "saved by others": saved_by_others(job.model_dir),
        "listeners": [told[0], told[-1][0], calls(job.folder, "1-worker-0")],
        "ended": sorted(path.name for path in job.folder.glob("ended-*")),
    }


@scenario("Distribution", slow=True, formats=("dual",))
def worker_killed(job):
    """Parameter servers: a worker is killed (SIGKILL) and started again."""
    with clusters.cluster(
        *(train_on_servers, job.how, str(job.folder), "1", "60", "worker-0", "back"),
        folder=job.folder,
        sizes=PS,
    ) as processes:
        processes.start()
        with pytest.raises(TaskFailedError, match="worker:0 ended with code -9"):
            processes.wait(["worker:0"])
        (job.folder / "pause").unlink()
        processes.start(["worker:0"])
        clusters.wait_until(lambda: times_begun(job.folder, "worker-0") == 2)
        (job.folder / "back").touch()
        codes = processes.wait(["chief", "worker:0"])
    if job.how != "raw":
        assert_tf1_is_equal(job.folder)
    return [codes, job.values()["global_step"] >= 60, sorted(job.values())]


@scenario("Distribution", slow=True)
def workers_in_step(job):
    """MultiWorkerMirroredStrategy: 2 workers with an evaluator; resume."""
    for max_steps in ("5", "8"):
        run_cluster(
            *(train_in_step, job.how, str(job.folder), max_steps),
            folder=job.folder,
            sizes=WORKERS,
            evaluator=True,
            waits_for=("chief", "worker:0", "evaluator"),
        )
    if job.how != "raw":
        assert_tf1_is_equal(job.folder)
    values = {name: jobs.values(job.model_dir / name) for name in job.checkpoints()}
    return [values, saved_by_others(job.model_dir)]


def expected_calls(steps=(0, 2, 4, 5)):
    saves = [[when, step] for step in steps for when in ("before", "after")]
    return [["begin"], *saves, ["end", steps[-1]]]


@scenario(
    "Distribution",
    slow=True,
    raw="drops the saving_listeners of train_and_evaluate there",
    right=lambda: [expected_calls(), False],
)
def listeners_of_workers_in_step(job):
    """MultiWorkerMirroredStrategy: saving_listeners, which wrap_model_fn takes."""
    run_cluster(
        *(train_in_step, job.how, str(job.folder), "5", "listens"),
        folder=job.folder,
        sizes=WORKERS,
        waits_for=("chief", "worker:0"),
    )
    return [calls(job.folder, "chief"), (job.folder / "calls-worker-0").exists()]


def calls(folder, task):
    path = folder / f"calls-{task}"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


test_scenario = conformance_test(__name__)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("asynchronous", "expected"),
    [("", (0, 2, 4, 5)), ("1", (0, 2, 4, 6, 7))],  # heard at the next save
)
def test_a_listener_stops_all_workers_that_train_in_step(
    tmp_path, monkeypatch, asynchronous, expected
):
    monkeypatch.setenv("ESTIMATOR_CKPT_ASYNC_SAVE", asynchronous)
    run_cluster(
        *(train_in_step, "dual", str(tmp_path), "100", "listens", "4"),
        folder=tmp_path,
        sizes=WORKERS,
        waits_for=("chief", "worker:0"),
    )
    assert calls(tmp_path, "chief") == expected_calls(expected)
    assert steps_of(tmp_path / "job") == list(expected)


@pytest.mark.slow
def test_a_chief_that_is_killed_goes_on_from_its_last_checkpoint(tmp_path):
    with clusters.cluster(
        *(train_on_servers, "dual", str(tmp_path), "1", "60", "chief"), folder=tmp_path, sizes=PS
    ) as processes:
        processes.start()
        with pytest.raises(TaskFailedError, match="chief ended with code -9"):
            processes.wait(["chief"])
        last = jobs.values(tmp_path / "job")
        assert 0 < last["global_step"] < int((tmp_path / "killed-at").read_text())
        assert_tf1_is_equal(tmp_path)

        processes.start(["chief"])
        clusters.wait_until(lambda: times_begun(tmp_path, "chief") == 2)
        jobs.assert_equal_values(begun(tmp_path, 1), last)
        jobs.assert_equal_values(jobs.values(tmp_path / "job"), last)
        (tmp_path / "pause").unlink()
        while "chief" not in processes.exit_codes():
            assert_tf1_follows(tmp_path)
        assert processes.wait(["chief", "worker:0"]) == {"chief": 0, "worker:0": 0}
    assert_tf1_is_equal(tmp_path)
    assert steps_of(tmp_path / "job")[-1] >= 60
