"""Checkpoints that are saved while training goes on."""

import contextlib
import logging
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import jobs
import numpy as np
import pytest
import tensorflow as tf

from estimator_ckpt import verify, wrap_model_fn
from estimator_ckpt.checkpoint import open_checkpoint
from estimator_ckpt.errors import CheckpointArgumentError, CheckpointWriteError
from estimator_ckpt.estimator.background import arena as arena_module
from estimator_ckpt.estimator.background.arena import Arena
from estimator_ckpt.estimator.background.hooks import AsyncCheckpointSaverHook
from estimator_ckpt.estimator.saver import CheckpointSaver

tf1 = tf.compat.v1
ROOT = pathlib.Path(__file__).resolve().parents[2]


class Listener(tf.estimator.CheckpointSaverListener):
    """Notes what it is told, which checkpoint is the latest then, and in which thread."""

    def __init__(self, model_dir, stop_after=None):
        self.model_dir = str(model_dir)
        self.stop_after = stop_after
        self.calls = []
        self.threads = set()

    def before_save(self, session, global_step_value):
        self.calls.append(("before", int(global_step_value)))

    def after_save(self, session, global_step_value):
        self.threads.add(threading.current_thread())
        latest = tf.train.latest_checkpoint(self.model_dir)
        assert open_checkpoint(latest).prefix == latest
        self.calls.append(("after", int(global_step_value), os.path.basename(latest)))
        return self.stop_after is not None and global_step_value >= self.stop_after

    def end(self, session, global_step_value):
        self.calls.append(("end", int(global_step_value)))


def make(model_dir, *, steps=2, **options):
    model_fn = wrap_model_fn(jobs.adam_model_fn, async_save=True, **options)
    return jobs.make_estimator(model_fn, model_dir, save_checkpoints_steps=steps)


class SlowWriting:
    """Makes each write of a Saver, but that of step 0, wait until it is told to go on."""

    def __init__(self, monkeypatch):
        self.may_go_on = threading.Event()
        self.written = []
        write = CheckpointSaver.write

        def slowly(saver, session, prefix, snapshot=None):
            assert prefix.endswith("-0") or self.may_go_on.wait(600)
            write(saver, session, prefix, snapshot)
            self.written.append(os.path.basename(prefix))

        monkeypatch.setattr(CheckpointSaver, "write", slowly)


class At(tf1.train.SessionRunHook):
    """Calls a function after a step."""

    def __init__(self, step, function):
        self.step = step
        self.function = function

    def begin(self):
        self.tensor = tf1.train.get_global_step()

    def before_run(self, run_context):
        return tf1.train.SessionRunArgs(self.tensor)

    def after_run(self, run_context, run_values):
        if run_context.session.run(self.tensor) == self.step:
            self.function()


def test_listeners_and_the_tf1_directory_see_complete_checkpoints_in_order(tmp_path):
    told, wrapped = Listener(tmp_path / "job"), Listener(tmp_path / "job")
    estimator = make(tmp_path / "job", saving_listeners=[wrapped], tf1_dir=str(tmp_path / "tf1"))
    estimator.train(jobs.same_batch_input_fn, steps=3, saving_listeners=[told])
    expected = []
    for step in (0, 2, 3):
        expected += [("before", step), ("after", step, f"model.ckpt-{step}")]
    for listener in (told, wrapped):
        assert listener.calls == [*expected, ("end", 3)]
        assert threading.main_thread() not in listener.threads
    for directory in ("job", "tf1"):
        assert jobs.listed(tmp_path / directory) == [f"model.ckpt-{step}" for step in (0, 2, 3)]


def test_training_goes_on_while_a_checkpoint_is_written(tmp_path, monkeypatch):
    slow = SlowWriting(monkeypatch)
    seen = []

    def look():
        seen.append(tf.train.latest_checkpoint(str(tmp_path)))
        slow.may_go_on.set()

    make(tmp_path, steps=5).train(jobs.same_batch_input_fn, steps=9, hooks=[At(9, look)])
    assert seen == [str(tmp_path / "model.ckpt-0")]  # four steps on, that of step 5 was not there
    assert jobs.listed(tmp_path) == ["model.ckpt-0", "model.ckpt-5", "model.ckpt-9"]


def test_a_save_waits_for_the_one_before_it(tmp_path, monkeypatch):
    slow = SlowWriting(monkeypatch)
    threading.Timer(0.5, slow.may_go_on.set).start()
    make(tmp_path).train(jobs.same_batch_input_fn, steps=4)
    assert slow.written == ["model.ckpt-0", "model.ckpt-2", "model.ckpt-4"]


def test_a_save_is_skipped_if_that_is_wanted_but_never_the_final_one(tmp_path, monkeypatch, caplog):
    slow = SlowWriting(monkeypatch)
    estimator = make(tmp_path, async_when_busy="skip")
    with caplog.at_level(logging.WARNING):
        estimator.train(jobs.same_batch_input_fn, steps=6, hooks=[At(6, slow.may_go_on.set)])
    # Step 6 was due before it could be written, and is the last.
    assert slow.written == ["model.ckpt-0", "model.ckpt-2", "model.ckpt-6"]
    assert "No checkpoint for step 4" in caplog.text


@pytest.mark.parametrize("options", [{}, {"async_memory": "give_back"}, {"async_memory": "keep"}])
def test_memory_is_prepared_once_and_given_back_unless_it_is_to_be_kept(
    tmp_path, monkeypatch, options
):
    made, prepared, advised = [], [], []
    init, prepare, advise = Arena.__init__, Arena.prepare, Arena._advise
    monkeypatch.setattr(
        Arena, "__init__", lambda arena, **given: (made.append(given), init(arena, **given))[0]
    )
    monkeypatch.setattr(
        Arena, "prepare", lambda arena, size: (prepared.append(size), prepare(arena, size))[0]
    )
    monkeypatch.setattr(
        Arena, "_advise", lambda arena, option: advised.append(option) or advise(arena, option)
    )
    make(tmp_path, **options).train(jobs.same_batch_input_fn, steps=4)
    keeps = options.get("async_memory") == "keep"
    assert made == [{"keeps": keeps}]
    saved = sum(entry.size for entry in open_checkpoint(tmp_path).index.entries.values()) // 2
    assert len(prepared) == 1
    assert saved * 0.9 <= prepared[0]  # without the object graph, of which there is no copy
    assert advised.count(arena_module._FREE) == (0 if keeps else 3)


def test_a_failed_write_stops_training_with_its_error(tmp_path, monkeypatch):
    def refuse(saver, session, prefix, snapshot=None):
        if prefix.endswith("-2"):
            raise CheckpointWriteError("no space")
        write(saver, session, prefix, snapshot)

    write = CheckpointSaver.write
    monkeypatch.setattr(CheckpointSaver, "write", refuse)
    with pytest.raises(CheckpointWriteError, match="no space"):
        make(tmp_path).train(jobs.same_batch_input_fn, steps=1000)
    assert jobs.listed(tmp_path) == ["model.ckpt-0"]


def test_an_exception_in_training_waits_for_the_checkpoint(tmp_path, monkeypatch):
    slow = SlowWriting(monkeypatch)

    def fail():
        threading.Timer(0.3, slow.may_go_on.set).start()
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        make(tmp_path).train(jobs.same_batch_input_fn, steps=4, hooks=[At(3, fail)])
    assert jobs.listed(tmp_path) == ["model.ckpt-0", "model.ckpt-2"]


def test_a_listener_stops_training_a_few_steps_later(tmp_path):
    listener = Listener(tmp_path, stop_after=2)
    make(tmp_path).train(jobs.same_batch_input_fn, steps=1000, saving_listeners=[listener])
    kind, step = listener.calls[-1]
    assert (kind, step < 1000) == ("end", True)
    assert listener.calls[-2] == ("after", step, f"model.ckpt-{step}")


def test_train_and_evaluate_evaluates_and_exports_every_checkpoint(tmp_path):
    estimator = make(tmp_path / "job")
    exporter = tf.estimator.FinalExporter("final", jobs.serving_input_fn)
    metrics, exported = tf.estimator.train_and_evaluate(
        estimator,
        tf.estimator.TrainSpec(jobs.same_batch_input_fn, max_steps=6),
        tf.estimator.EvalSpec(jobs.same_batch_input_fn, 1, exporters=[exporter], throttle_secs=0),
    )
    assert metrics["global_step"] == 6
    assert os.path.isdir(exported[0])
    evaluated = [
        event.step
        for path in (tmp_path / "job" / "eval").iterdir()
        for event in tf1.train.summary_iterator(str(path))
        if event.HasField("summary")
    ]
    assert sorted(set(evaluated)) == [2, 4, 6]


class _OwnSaverHook(tf1.train.CheckpointSaverHook):
    pass


@pytest.mark.parametrize(
    ("where", "kind", "in_background"),
    [
        ("train", "plain", False),  # Estimator gives it the listeners, which nothing tells
        ("spec", "plain", True),
        ("spec", "listeners", False),
        ("spec", "subclass", False),
    ],
)
def test_a_saving_hook_of_the_jobs_own_saves_when_it_always_did(
    tmp_path, caplog, monkeypatch, where, kind, in_background
):
    writers = []
    write = CheckpointSaver.write

    def noted(*args):
        writers.append(threading.current_thread())
        return write(*args)

    monkeypatch.setattr(CheckpointSaver, "write", noted)

    def hook():
        make = _OwnSaverHook if kind == "subclass" else tf1.train.CheckpointSaverHook
        listeners = [tf1.train.CheckpointSaverListener()] if kind == "listeners" else None
        return make(str(tmp_path), save_steps=3, listeners=listeners)

    def model_fn(features, labels, mode):
        spec = jobs.adam_model_fn(features, labels, mode)
        return spec._replace(training_hooks=[hook()]) if where == "spec" else spec

    estimator = jobs.make_estimator(
        wrap_model_fn(model_fn, async_save=True), tmp_path, save_checkpoints_steps=1
    )
    with caplog.at_level(logging.WARNING):
        hooks = [hook()] if where == "train" else []
        estimator.train(jobs.same_batch_input_fn, steps=4, hooks=hooks)
    assert jobs.listed(tmp_path) == [f"model.ckpt-{step}" for step in (0, 3, 4)]
    assert [thread is not threading.main_thread() for thread in writers] == [in_background] * 3
    assert ("in spite of async_save" in caplog.text) is not in_background


class ChangesAtStart(tf1.train.SessionRunHook):
    """Sees which checkpoint there is when the session begins, then changes the model."""

    def __init__(self, model_dir):
        self.model_dir = str(model_dir)

    def begin(self):
        self.change = [each.assign(each + 1) for each in tf1.trainable_variables()]

    def after_create_session(self, session, coord):
        self.found = tf.train.latest_checkpoint(self.model_dir)
        session.run(self.change)


def events(model_dir):
    return [
        (event.WhichOneof("what"), event.step)
        for path in sorted(model_dir.glob("events*"))
        for event in tf1.train.summary_iterator(str(path))
    ]


@pytest.mark.parametrize("own", [None, "before", "after", "elsewhere"])
def test_the_first_checkpoint_and_the_events_are_those_of_a_raw_job(tmp_path, own):
    facts, first = {}, {}
    for way, model_fn in {
        "raw": jobs.adam_model_fn,
        "async": wrap_model_fn(jobs.adam_model_fn, async_save=True),
    }.items():
        model_dir = tmp_path / way
        changing, listener = ChangesAtStart(model_dir), Listener(model_dir)
        folder = tmp_path / f"{way} elsewhere" if own == "elsewhere" else model_dir
        saving = tf1.train.CheckpointSaverHook(str(folder), save_steps=2, listeners=[listener])
        hooks = {None: [changing], "before": [saving, changing]}.get(own, [changing, saving])
        listener.model_dir = str(folder)
        estimator = jobs.make_estimator(model_fn, model_dir, save_checkpoints_steps=2)
        given = [] if own else [listener]
        estimator.train(jobs.same_batch_input_fn, hooks, 3, saving_listeners=given)
        first[way] = jobs.values(str(folder / "model.ckpt-0"))
        facts[way] = {
            "found": changing.found and os.path.basename(changing.found),
            "events": events(model_dir),
            "listener": listener.calls,
            "kept": [listed(each) for each in (model_dir, folder)],
        }
    assert facts["async"] == facts["raw"]
    for name, value in first["raw"].items():
        np.testing.assert_array_equal(first["async"][name], value)


def test_an_iterator_which_no_array_can_hold_is_saved_while_training_stands_still(tmp_path, caplog):
    def model_fn(features, labels, mode):
        spec = jobs.adam_model_fn(features, labels, mode)
        iterator = tf1.data.make_one_shot_iterator(tf.data.Dataset.range(9))
        saveable = tf.data.experimental.make_saveable_from_iterator(iterator)
        tf1.add_to_collection(tf1.GraphKeys.SAVEABLE_OBJECTS, saveable)
        return spec

    estimator = jobs.make_estimator(wrap_model_fn(model_fn, async_save=True), tmp_path)
    with caplog.at_level(logging.WARNING):
        estimator.train(jobs.same_batch_input_fn, steps=2)
    assert jobs.listed(tmp_path) == ["model.ckpt-0", "model.ckpt-2"]
    assert "while training stands still: " in caplog.text
    assert "which no array can hold" in caplog.text


def test_an_exported_training_graph_has_nothing_of_it(tmp_path, caplog):
    estimator = make(tmp_path / "job")
    estimator.train(jobs.same_batch_input_fn, steps=1)

    def receiver():
        x, y = tf1.placeholder(tf.float32, [None, 4]), tf1.placeholder(tf.float32, [None, 3])
        return tf.estimator.experimental.build_raw_supervised_input_receiver_fn({"x": x}, y)()

    receivers = {tf.estimator.ModeKeys.TRAIN: receiver}
    with caplog.at_level(logging.WARNING):
        exported = estimator.experimental_export_all_saved_models(str(tmp_path / "out"), receivers)
    with tf.Graph().as_default() as graph, tf1.Session() as session:
        tf1.saved_model.load(session, [tf.saved_model.TRAINING], exported.decode())
        assert "PyFunc" not in {operation.type for operation in graph.get_operations()}
    assert "in spite of async_save" not in caplog.text


def test_an_unknown_way_to_be_busy_is_refused():
    with pytest.raises(CheckpointArgumentError, match="must be 'wait' or 'skip'"):
        wrap_model_fn(jobs.adam_model_fn, async_save=True, async_when_busy="hurry")


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_a_deadline_that_is_none_is_refused(seconds):
    with pytest.raises(CheckpointArgumentError, match=r"async_sigterm_secs=.* must be above 0"):
        wrap_model_fn(jobs.adam_model_fn, async_save=True, async_sigterm_secs=seconds)


def test_a_model_fn_that_calls_a_wrapped_one_is_wrapped_once(tmp_path):
    inner = wrap_model_fn(jobs.adam_model_fn, async_save=True)

    def outer(features, labels, mode, config):
        return inner(features, labels, mode, config)

    spec_hooks = []

    def watched(features, labels, mode, config):
        spec = wrap_model_fn(outer, async_save=True)(features, labels, mode, config=config)
        spec_hooks.extend(spec.training_chief_hooks)
        return spec

    jobs.make_estimator(watched, tmp_path).train(jobs.same_batch_input_fn, steps=1)
    assert [type(hook) for hook in spec_hooks] == [AsyncCheckpointSaverHook]
    assert jobs.listed(tmp_path) == ["model.ckpt-0", "model.ckpt-1"]


# A job whose variables all equal the step, at each step.
CONSISTENT = """
import os, sys, time
import tensorflow as tf
from estimator_ckpt import compat, wrap_model_fn
compat.install()
tf1 = tf.compat.v1
model_dir, steps, every, kind = sys.argv[1:]
if kind == "reference":
    tf1.disable_v2_behavior()

def model_fn(features, labels, mode):
    step = tf1.train.get_or_create_global_step()
    variables = [
        tf1.get_variable(f"v{number}", [size], tf.float32, tf1.zeros_initializer())
        for number, size in enumerate([1, 7, 1000, 30000, 600000])
    ]
    rows = tf1.get_variable("rows", [50, 3], tf.float32, tf1.zeros_initializer())
    with tf.control_dependencies([features]):
        updates = [tf1.assign_add(each, tf.ones_like(each)) for each in variables]
        updates.append(tf1.scatter_add(rows, tf.range(50), tf.ones([50, 3])))
    with tf.control_dependencies([tf.group(*updates)]):
        train_op = tf1.assign_add(step, 1)
    return tf.estimator.EstimatorSpec(mode, loss=tf.constant(1.0), train_op=train_op)

class Tells(tf1.train.SessionRunHook):
    steps = 0
    looks = model_dir + "-looks"  # where it is, with a byte for each checkpoint that was looked at

    def after_run(self, run_context, run_values):
        self.steps += 1
        if self.steps == 1:
            print("trains", flush=True)
        while os.path.exists(self.looks) and os.path.getsize(self.looks) < self.steps // 20:
            time.sleep(0.01)

tf.estimator.Estimator(
    wrap_model_fn(model_fn, async_save=True, tf1_dir=model_dir + "/tf1"),
    model_dir,
    tf.estimator.RunConfig(
        save_checkpoints_steps=int(every),
        keep_checkpoint_max=3,
        log_step_count_steps=None,
        save_summary_steps=None,
        checkpoint_save_graph_def=False,
    ),
).train(lambda: tf.data.Dataset.range(10**9), [Tells()], int(steps))
"""


def start(model_dir, steps, *, every, kind="resource"):
    return subprocess.Popen(
        [sys.executable, "-c", CONSISTENT, str(model_dir), str(steps), str(every), kind],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def require_consistent(prefix):
    """Makes sure that a checkpoint holds one value throughout, its own step."""
    step = int(prefix.rpartition("-")[2])
    values = jobs.values(prefix)
    assert len(values) == 7
    for name, value in values.items():
        np.testing.assert_array_equal(value, np.full_like(value, step), err_msg=name)


@pytest.mark.one_version
@pytest.mark.slow
@pytest.mark.parametrize(("kind", "steps"), [("resource", 300), ("reference", 100)])
def test_hundreds_of_checkpoints_are_each_of_one_step(tmp_path, kind, steps):
    folder, tmp_path = tmp_path, tmp_path / "job"
    looks = folder / "job-looks"
    looks.touch()
    job = start(tmp_path, steps, every=1, kind=kind)
    load = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    looked_at = set()
    try:
        while job.poll() is None:
            for directory in (tmp_path, tmp_path / "tf1"):
                latest = tf.train.latest_checkpoint(str(directory))
                if latest is None or latest in looked_at:
                    continue
                try:
                    require_consistent(latest)
                except (tf.errors.OpError, ValueError):  # it has been removed in the meantime
                    assert latest != tf.train.latest_checkpoint(str(directory))
                looked_at.add(latest)
                looks.write_bytes(b"." * len(looked_at))
    finally:
        load.kill()
        load.wait()
        job.kill()
        _, errors = job.communicate()
    assert job.returncode == 0, errors[-2000:]
    for directory in (tmp_path, tmp_path / "tf1"):
        assert jobs.listed(directory) == [
            f"model.ckpt-{step}" for step in range(steps - 2, steps + 1)
        ]
        for name in jobs.listed(directory):
            require_consistent(str(directory / name))
            assert not verify(str(directory / name)).findings
    assert len(looked_at) >= steps // 20


def listed(directory):
    return jobs.listed(directory) if tf.train.get_checkpoint_state(str(directory)) else []


def wait_for(condition, job, timeout=600):
    end = time.monotonic() + timeout
    while not condition():
        assert job.poll() is None, job.stderr.read()[-2000:]
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_job_that_is_told_to_go_makes_its_final_checkpoint_first(tmp_path):
    job = start(tmp_path, 10**9, every=100000)
    try:
        assert job.stdout.readline() == "trains\n"
        job.send_signal(signal.SIGTERM)
        _, errors = job.communicate(timeout=600)
    finally:
        job.kill()
        job.wait()
    assert job.returncode == -signal.SIGTERM
    assert "SIGTERM: training stops after this step" in errors
    assert len(jobs.listed(tmp_path)) == 2
    latest = tf.train.latest_checkpoint(str(tmp_path))
    require_consistent(latest)
    assert jobs.listed(tmp_path / "tf1") == jobs.listed(tmp_path)


# A job that says where it is, and stays there until there is a file, or for ever.
PHASES = """
import multiprocessing, os, sys, time
import tensorflow as tf
from estimator_ckpt import compat, wrap_model_fn
compat.install()
from estimator_ckpt.estimator.saver import CheckpointSaver
tf1 = tf.compat.v1
phase, model_dir, deadline, file = sys.argv[1:]

def reach(name):
    if name == phase:
        print(name, flush=True)
        while not os.path.exists(file):
            time.sleep(0.01)

def work():
    time.sleep(1000)

def generate():
    child = multiprocessing.get_context("fork").Process(target=work)
    for number in range(10 if phase == "child" else 10**9):
        if number == 4 and phase == "child":
            child.start()
        yield float(number)
    child.terminate()
    child.join()
    print("child", child.exitcode, flush=True)

def model_fn(features, labels, mode):
    reach("model_fn")
    step = tf1.train.get_or_create_global_step()
    count = tf1.get_variable("count", [], tf.float32, tf1.zeros_initializer())
    def slow(value, feature):
        if value == 3:
            reach("step")
        time.sleep(0.02)
        return value
    slow_op = tf.numpy_function(slow, [step.read_value(), features], tf.int64)
    with tf.control_dependencies([slow_op]):
        counted = count.assign_add(1.0)
    with tf.control_dependencies([counted]):
        train_op = tf1.assign_add(step, 1)
    return tf.estimator.EstimatorSpec(mode, loss=tf.constant(1.0), train_op=train_op)

write = CheckpointSaver.write
def reaching(saver, session, prefix, snapshot=None):
    reach("save " + prefix.rpartition("-")[2])
    write(saver, session, prefix, snapshot)
CheckpointSaver.write = reaching

tf.estimator.Estimator(
    wrap_model_fn(model_fn, async_save=True, async_sigterm_secs=float(deadline)),
    model_dir,
    tf.estimator.RunConfig(save_checkpoints_steps=5, log_step_count_steps=None),
).train(
    lambda: tf.data.Dataset.from_generator(generate, tf.float32, []),
    steps=7 if phase in ("save 7", "trained") else None,
)
print("trained", flush=True)
reach("trained")
"""


@contextlib.contextmanager
def at_phase(phase, folder, deadline=1000):
    """Yields a job that comes to this phase, and leaves it when there is `folder / "go"`.

    Its model_dir is `folder / "job"`; the deadline is that of `async_sigterm_secs`.
    """
    job = subprocess.Popen(
        [sys.executable, "-c", PHASES, phase, folder / "job", str(deadline), folder / "go"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield job
    finally:
        job.kill()
        job.communicate()


def require_counted(prefix):
    """Makes sure that a checkpoint is of one step."""
    assert jobs.values(prefix)["count"] == int(prefix.rpartition("-")[2])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("phase", "kept"),
    [
        ("model_fn", None),
        ("save 0", None),
        ("step", "from 3 on"),
        ("save 5", "from 5 on"),
        ("save 7", "7"),
        ("trained", None),
    ],
)
def test_sigterm_in_every_phase_ends_the_process_and_from_the_first_step_on_with_a_final_checkpoint(
    tmp_path, phase, kept
):
    with at_phase(phase, tmp_path) as job:
        while job.stdout.readline() != phase + "\n":
            assert job.poll() is None, job.stderr.read()[-2000:]
        job.terminate()
        (tmp_path / "go").touch()
        _, errors = job.communicate(timeout=600)
        assert job.returncode == -signal.SIGTERM, errors[-2000:]
    assert ("SIGTERM: training stops" in errors) == (kept is not None)
    steps = [int(name.rpartition("-")[2]) for name in listed(tmp_path / "job")]
    if kept and kept.startswith("from"):
        assert steps[-1] >= int(kept.split()[1])
    elif kept:
        assert steps[-1] == int(kept)
    for step in steps:
        require_counted(str(tmp_path / f"job/model.ckpt-{step}"))


@pytest.mark.slow
@pytest.mark.parametrize("again", [False, True])
def test_a_step_that_hangs_ends_after_the_deadline_or_when_it_is_told_again(tmp_path, again):
    with at_phase("step", tmp_path, deadline=1000 if again else 3) as job:
        assert job.stdout.readline() == "step\n"
        before = time.monotonic()
        job.terminate()
        if again:
            while "SIGTERM: " not in job.stderr.readline():
                assert job.poll() is None
            time.sleep(1.5)
            job.terminate()
        _, errors = job.communicate(timeout=600)
        assert again or time.monotonic() - before >= 3
        assert job.returncode == -signal.SIGTERM
    said = "SIGTERM again: " if again else "SIGTERM, 3 s ago: "
    assert said + "the process ends as it is" in errors
    assert jobs.listed(tmp_path / "job") == ["model.ckpt-0"]


@pytest.mark.slow
def test_a_child_that_the_input_makes_by_fork_can_be_told_to_go(tmp_path):
    with at_phase("child", tmp_path) as job:
        printed, errors = job.communicate(timeout=600)
    assert (job.returncode, printed) == (0, "child -15\ntrained\n"), errors[-2000:]
    assert jobs.listed(tmp_path / "job")[-1] == "model.ckpt-10"


def test_a_kill_leaves_complete_checkpoints_and_the_next_start_goes_on_from_the_latest(tmp_path):
    job = start(tmp_path, 10**9, every=1)
    try:
        wait_for(lambda: len(listed(tmp_path)) == 3, job)
    finally:
        job.kill()
        job.communicate()
    kept = jobs.listed(tmp_path)
    for name in kept:
        require_consistent(str(tmp_path / name))
    step = int(kept[-1].rpartition("-")[2])
    again = start(tmp_path, 5, every=1)
    _, errors = again.communicate(timeout=600)
    assert again.returncode == 0, errors[-2000:]
    assert jobs.listed(tmp_path) == [f"model.ckpt-{step + more}" for more in (3, 4, 5)]
    assert not list(tmp_path.glob("*staging*"))
