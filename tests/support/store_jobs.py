"""Estimator jobs whose model_dir may be anywhere, and what can be seen of them.

seen = SCENARIOS["resume"]("s3://bucket/resume")
assert_equal(seen, SCENARIOS["resume"](local_folder))       # but for the folder's name

with TensorFlow as the only reader. `in_child(function, *args)` calls it in a process of its own:
TensorFlow's plug-in for S3 aborts a process that ends as Python does.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import pathlib
import posixpath
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from estimator_ckpt import (
    Tf1CheckpointSaverHook,
    compat,
    convert,
    warm_start_settings,
    wrap_model_fn,
)

compat.install()
import forks  # noqa: E402
import jobs  # noqa: E402
import stores  # noqa: E402
import tensorflow as tf  # noqa: E402

from estimator_ckpt.checkpoint.opening import read_state  # noqa: E402
from estimator_ckpt.operations.verify import verify  # noqa: E402
from estimator_ckpt.storage import files  # noqa: E402

tf1 = tf.compat.v1
HAS_S3 = importlib.util.find_spec("tensorflow_io") is not None
"""Whether TensorFlow can be given a plug-in that reads and writes `s3://`."""


def train(folder: str, steps: int, wrapped: Any = None, **config: Any) -> Any:
    """Trains up to a step, a checkpoint each 2 steps; returns the Estimator."""
    model_fn = wrapped or wrap_model_fn(jobs.adam_model_fn)
    settings = {"save_checkpoints_steps": 2, "keep_checkpoint_max": 2, **config}
    estimator = jobs.make_estimator(model_fn, folder, **settings)
    estimator.train(jobs.same_batch_input_fn, max_steps=steps)
    return estimator


def look(folder: str) -> dict[str, Any]:
    """Returns the kinds of files of a directory, and what is in each checkpoint it lists."""
    names = {
        re.sub(r"data-\d+-of-\d+$", "data", name.rstrip("/"))
        for name in tf.io.gfile.listdir(folder)
    }
    state = tf.train.get_checkpoint_state(folder)
    listed = [posixpath.basename(path) for path in state.all_model_checkpoint_paths]
    return {
        "files": sorted(name for name in names if ".tfevents." not in name and name != "eval"),
        "listed": listed,
        "values": {name: jobs.values(posixpath.join(folder, name)) for name in listed},
    }


def _resume(folder: str) -> Any:
    train(folder, 3)
    estimator = train(folder, 8)
    metrics = estimator.evaluate(jobs.input_fn, steps=2)
    answers = next(estimator.predict(jobs.input_fn, yield_single_examples=False))
    return look(folder), metrics, answers


def _emit(folder: str, **options: Any) -> Any:
    emitted = posixpath.join(folder, "tf1")
    for steps in (3, 8):
        train(folder, steps, wrap_model_fn(jobs.adam_model_fn, tf1_dir=emitted, **options))
    return look(folder), look(emitted)


def _evaluate(folder: str) -> Any:
    estimator = jobs.make_estimator(
        wrap_model_fn(jobs.adam_model_fn), folder, save_checkpoints_steps=2
    )
    result = tf.estimator.train_and_evaluate(
        estimator,
        tf.estimator.TrainSpec(jobs.same_batch_input_fn, max_steps=4),
        tf.estimator.EvalSpec(jobs.input_fn, steps=2, throttle_secs=0),
    )
    each = [
        estimator.evaluate(jobs.input_fn, steps=2, checkpoint_path=path)
        for path in tf1.train.get_checkpoint_state(folder).all_model_checkpoint_paths
    ]
    return look(folder), result[0], each


def _warm_start(folder: str) -> Any:
    old, new = posixpath.join(folder, "old"), posixpath.join(folder, "new")
    train(old, 4)
    settings = warm_start_settings(old, with_slots=True)
    estimator = jobs.make_estimator(
        wrap_model_fn(jobs.adam_model_fn), new, warm_start_from=settings, save_checkpoints_steps=2
    )
    estimator.train(jobs.same_batch_input_fn, steps=2)
    return look(new)


def _forward(folder: str) -> Any:
    train(folder, 3, jobs.adam_model_fn)
    train(folder, 6)
    train(folder, 8, jobs.adam_model_fn)
    return look(folder)


def _save_again(folder: str) -> Any:
    """The first save of a job replaces a checkpoint, of another size, that was just read."""
    train(folder, 3, jobs.adam_model_fn)
    estimator = train(folder, 4)
    prefixes = [posixpath.join(folder, f"model.ckpt-{step}") for step in (3, 4)]
    for prefix in prefixes:
        with tf.Graph().as_default():
            tf1.train.import_meta_graph(f"{prefix}.meta")
    return [estimator.evaluate(jobs.input_fn, 2, checkpoint_path=prefix) for prefix in prefixes]


def _hook(folder: str) -> Any:
    """An unwrapped job with a hook, which is exported."""
    emitted = posixpath.join(folder, "tf1")
    estimator = jobs.make_estimator(
        jobs.adam_model_fn, folder, save_checkpoints_steps=2, keep_checkpoint_max=2
    )
    hook = Tf1CheckpointSaverHook(emitted)
    estimator.train(jobs.same_batch_input_fn, max_steps=5, hooks=[hook])

    def receive() -> Any:
        x = tf1.placeholder_with_default(tf.zeros([1, 4]), [None, 4])
        return tf.estimator.export.ServingInputReceiver({"x": x}, {"x": x})

    exported = estimator.export_saved_model(posixpath.join(folder, "export"), receive)
    variables = posixpath.join(os.fsdecode(exported), "variables", "variables")
    return look(emitted), jobs.values(variables)


class _Looks(tf1.train.CheckpointSaverListener):
    """Has TensorFlow look, after each save, at what is listed in a directory."""

    def __init__(self, folder: str):
        self._folder = folder
        self.seen: list[Any] = []

    def after_save(self, session: Any, global_step_value: int) -> None:
        del session, global_step_value
        latest = tf.train.latest_checkpoint(self._folder)
        self.seen.append((latest and posixpath.basename(latest), latest and jobs.values(latest)))


def _look_on(folder: str) -> Any:
    """A program reads the state file of its `tf1_dir` between two saves, each time anew."""
    emitted = posixpath.join(folder, "tf1")
    estimator = jobs.make_estimator(
        wrap_model_fn(jobs.adam_model_fn, tf1_dir=emitted), folder, save_checkpoints_steps=1
    )
    looks = _Looks(emitted)
    estimator.train(jobs.same_batch_input_fn, max_steps=12, saving_listeners=[looks])
    return looks.seen


def _convert_again(folder: str) -> Any:
    """What TensorFlow has just read is replaced by one of another size, and read again."""
    train(folder, 3, jobs.adam_model_fn)
    source, target = (posixpath.join(folder, name) for name in ("model.ckpt-3", "converted"))
    values = []
    for to in ("tf1", "dual", "tf2"):
        convert(source, target, to=to, overwrite=True)
        values.append(jobs.values(target))
    return values


SCENARIOS: dict[str, Callable[[str], Any]] = {
    "resume": _resume,
    "tf1_dir": _emit,
    "async_save": lambda folder: _emit(folder, async_save=True),
    "train_and_evaluate": _evaluate,
    "warm start": _warm_start,
    "wrapped and unwrapped by turns": _forward,
    "an unwrapped job with a hook": _hook,
    "a step is saved again": _save_again,
    "a target is replaced": _convert_again,
    "a state file is read at each save": _look_on,
}


def assert_equal(first: Any, second: Any) -> None:
    """Bit for bit, whatever it is that a scenario returns."""
    assert type(first) is type(second)
    if isinstance(first, dict):
        assert sorted(first) == sorted(second)
        for key, value in first.items():
            assert_equal(value, second[key])
    elif isinstance(first, (list, tuple)):
        assert len(first) == len(second), (first, second)
        for one, other in zip(first, second):
            assert_equal(one, other)
    else:
        np.testing.assert_array_equal(first, second)


def run(name: str, folder: str) -> Any:
    """Runs a scenario with what `s3://` needs."""
    load_plugin(folder)
    return SCENARIOS[name](folder)


def run_without_obstore(name: str, folder: str) -> Any:
    """Runs a scenario as if `obstore` were not installed."""
    sys.modules["obstore"] = None  # type: ignore[assignment]
    return run(name, folder)


def load_plugin(folder: str) -> None:
    """Has TensorFlow reach what it can't reach by itself."""
    if folder.startswith("s3://"):
        import tensorflow_io

        del tensorflow_io


def convert_twice(target: str) -> None:
    """Converts to a target, and then anew."""
    with tempfile.TemporaryDirectory() as folder:
        train(folder, 1)
        for to in ("tf1", "tf2"):
            convert(posixpath.join(folder, "model.ckpt-1"), target, to=to, overwrite=True)


def read_each_other(folders: list[str]) -> None:
    """Has TensorFlow read what is written by `files`, and the other way round."""
    said: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = said.append  # type: ignore[method-assign]
    logging.getLogger("estimator_ckpt").addHandler(handler)
    assert files.names(folders[0]) == []
    for number, folder in enumerate(folders):
        ours, theirs = (posixpath.join(folder, name) for name in ("ours", "theirs"))
        files.write(ours, b"%d" % number)
        with tf.io.gfile.GFile(theirs, "wb") as file:
            file.write(b"%d" % -number)
        files.copy(theirs, ours + "-copy")
    for number, folder in enumerate(folders):
        ours, theirs = (posixpath.join(folder, name) for name in ("ours", "theirs"))
        with tf.io.gfile.GFile(ours, "rb") as file:
            assert file.read() == b"%d" % number
        assert files.read(theirs) == files.read(ours + "-copy") == b"%d" % -number
        assert {"ours", "theirs"} <= {*files.names(folder)}
        assert {"ours", "theirs"} <= {*tf.io.gfile.listdir(folder)}
        files.remove(theirs)
        assert not tf.io.gfile.exists(theirs)
    assert ["reached through TensorFlow" in each.getMessage() for each in said] == [True]


class Child:
    """A call in a process of its own, forked from one that has TensorFlow loaded."""

    def __init__(self, environment: dict[str, str], function: Callable[..., Any], *args: Any):
        self._end, theirs = forks.context().Pipe(duplex=False)
        self._process = forks.context().Process(
            target=_call, args=(theirs, environment, function, args), daemon=True
        )
        self._process.start()
        theirs.close()

    def kill(self) -> None:
        """Ends it, as a machine that is lost does."""
        self._process.kill()

    def wait(self, seconds: float = 600) -> Any:
        """Returns what the function returned; None if the process was killed; raises its error."""
        try:
            if not self._end.poll(seconds):
                self.kill()
                raise TimeoutError(f"not done within {seconds} s")
            done, result = self._end.recv()
        except EOFError:
            done, result = True, None
        self._process.join(120)
        if not done:
            raise AssertionError(result)
        return result


def _call(end: Any, environment: dict[str, str], function: Callable[..., Any], args: Any) -> None:
    import traceback

    forks.begin({**os.environ, **environment})
    try:
        end.send((True, function(*args)))
    except BaseException:
        end.send((False, traceback.format_exc()))


def in_child(environment: dict[str, str], function: Callable[..., Any], *args: Any) -> Any:
    """Returns what a function returns in a process of its own."""
    return Child(environment, function, *args).wait()


FLOATS = 1_000_000
"""How many a job has that is counted."""
KINDS: dict[str, dict[str, Any] | None] = {
    "plain Estimator": None,
    "wrapped": {},
    "wrapped, `async_save`": {"async_save": True},
    "wrapped, `tf1_dir`": {"tf1_dir": "tf1"},
    "wrapped, `tf1_dir`, `async_save`": {"tf1_dir": "tf1", "async_save": True},
}
"""Ways to save, with what `wrap_model_fn` is given."""


def train_counted(folder: str, kind: str, variables: int) -> None:
    """Trains a job of `FLOATS` in so many variables, with a checkpoint for each of 4 steps."""
    load_plugin(folder)
    options = KINDS[kind]
    if options is not None:
        if "tf1_dir" in options:
            options = {**options, "tf1_dir": posixpath.join(folder, "tf1")}
        model_fn = wrap_model_fn(_wide_model_fn, **options)
    else:
        model_fn = _wide_model_fn
    params = {"variables": variables}
    settings = {"save_checkpoints_steps": 1, "keep_checkpoint_max": 2}
    estimator = jobs.make_estimator(model_fn, folder, params=params, **settings)
    estimator.train(jobs.same_batch_input_fn, max_steps=4)


def _wide_model_fn(features, labels, mode, params):
    del features, labels
    step = tf1.train.get_global_step()
    size = FLOATS // params["variables"]
    variables = [tf1.get_variable(f"v{n}", [size]) for n in range(params["variables"])]
    added = [each.assign_add(tf.ones_like(each)) for each in variables]
    loss = tf.reduce_sum(variables[0])
    return tf.estimator.EstimatorSpec(
        mode, loss=loss, train_op=tf.group(step.assign_add(1), *added)
    )


def count_save(server: Any, kind: str, variables: int) -> stores.Traffic:
    """Returns what a save asks of a store, the removal of the oldest checkpoint included."""
    with server.new_store() as store:
        # What TensorFlow remembers of a file, it does for as long as that takes.
        environment = {**store.environment, "GCS_STAT_CACHE_MAX_AGE": "3600"}
        in_child(environment, train_counted, f"{store.url}/job", kind, variables)
        log = store.log
    # One save is from one update of the state file to the next one.
    updates = [
        number
        for number, each in enumerate(log)
        if each.key == "job/checkpoint" and (each.method == "PUT" or each.copy_source)
    ]
    return stores.Traffic(log[updates[-2] + 1 : updates[-1] + 1])


def data_uploads(traffic: stores.Traffic) -> int:
    """Returns how often the tensors went to the store, in whole or in parts."""
    return round(traffic.uploaded / (FLOATS * 4))


def train_killed(folder: str, options: dict[str, Any], steps: int) -> None:
    """Trains up to a step, from wherever an earlier one has come to; 2 checkpoints are kept."""
    load_plugin(folder)
    wrapped = wrap_model_fn(
        jobs.adam_model_fn, tf1_dir=posixpath.join(folder, "tf1"), tf1_on_error="stop", **options
    )
    train(folder, steps, wrapped)


def kill(
    server: Any, options: dict[str, Any], number: int, *, after: bool, wanted: Any
) -> list[str]:
    """Kills a job at its n-th request that writes, and has another one go on.

    Args:
      server: of a store.
      options: of `wrap_model_fn`.
      number: n, from 1.
      after: whether the request is carried out.
      wanted: what `results` gives of a job that was not killed.

    Returns:
      What is wrong then.
    """
    with server.new_store() as store:
        children: list[Child] = []
        store.at_write(number, lambda: children[0].kill(), after=after)
        folder = f"{store.url}/job"
        children.append(Child(store.environment, train_killed, folder, options, 4))
        children[0].wait()
        if store.writes < number:
            return ["it was not killed"]
        problems = incomplete(store)
        in_child(store.environment, train_killed, folder, options, 6)
        problems += incomplete(store)
        if not is_equal(results(store), wanted):
            problems.append("the other one has come to something else")
        left = [key for key in store.objects() if ".staging-" in key]
        return problems + [f"left: {key}" for key in left]


def count_writes(server: Any, options: dict[str, Any]) -> tuple[int, Any]:
    """Returns how many requests of a job write, and what another one leaves that goes on."""
    with server.new_store() as store:
        folder = f"{store.url}/job"
        in_child(store.environment, train_killed, folder, options, 4)
        writes = store.writes
        in_child(store.environment, train_killed, folder, options, 6)
        return writes, results(store)


def incomplete(store: stores.Store) -> list[str]:
    """Returns what an index, or a state file, names and is not there, or damaged."""
    with downloaded(store) as folder:
        problems = []
        for index in folder.glob("**/*.index"):
            try:
                found = verify(str(index)[: -len(".index")])
                problems += [] if found.ok else [f"{index.name} is damaged"]
            except Exception as error:
                problems.append(repr(error))
        for state in folder.glob("**/checkpoint"):
            for prefix in read_state(str(state.parent))[1]:
                if not os.path.exists(f"{prefix}.index"):
                    problems.append(f"'{prefix}' is listed, and not there")
        return problems


def results(store: stores.Store) -> Any:
    """Returns {directory: {name: values}} of the checkpoints that state files list."""
    with downloaded(store) as folder:
        return {
            name: {
                os.path.basename(prefix): jobs.values(prefix)
                for prefix in read_state(str(folder / name))[1]
            }
            for name in ("job", "job/tf1")
        }


@contextlib.contextmanager
def downloaded(store: stores.Store) -> Iterator[pathlib.Path]:
    """Makes a folder of what is in a store."""
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        for key, data in store.objects().items():
            if key.endswith("/"):
                continue  # TensorFlow marks directories so
            (root / key).parent.mkdir(parents=True, exist_ok=True)
            (root / key).write_bytes(data)
        yield root


def is_equal(first: Any, second: Any) -> bool:
    """Returns whether two results are equal, bit for bit."""
    try:
        assert_equal(first, second)
    except AssertionError:
        return False
    return True
