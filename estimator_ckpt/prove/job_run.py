"""One run of a job that is proved, in a process of its own.

    python -m estimator_ckpt.prove.job_run FOLDER

FOLDER/run.json is a `JobRun`. It is trained, evaluated and asked for predictions; what can be seen
of it is put beside: FOLDER/variables.npz and so on, and found.json. Whatever the user's functions
print stays on this process's output.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import random
import re
import shutil
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from absl import flags

from estimator_ckpt import compat
from estimator_ckpt.errors import CheckpointArgumentError, CheckpointError
from estimator_ckpt.functions import load_function
from estimator_ckpt.storage import files

ASPECTS = (
    *("variables", "slots", "metrics", "predictions", "summaries", "checkpoints", "files"),
    "tf1 copies",
)
"""What is seen of a run; each is {name: array}."""
FAILS = "(fails)"
_GRAPH_KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"
_OF_OBJECTS = "/.ATTRIBUTES/"
_STEP_OF_OBJECTS = "step/.ATTRIBUTES/VARIABLE_VALUE"
_LONGEST = 200  # so much of an error's message is told
_STUCK = 1000  # so many runs of a session, and the same step


@dataclass(frozen=True)
class JobRun:
    """What one process is to do.

    Attributes:
      folder: its own, for all that it writes.
      functions: {"model_fn", "input_fn", "eval_input_fn", "config_fn": package.module:function};
        the last one may be missing.
      params: the model_fn's, or None.
      options: those of `wrap_model_fn`, or None for a raw job.
      seed: of TensorFlow, `random` and `numpy.random`.
      deterministic: whether TensorFlow's operations are made so.
      max_steps: up to which global step it trains.
      save_steps: after how many steps it saves.
      eval_steps: on how many batches it evaluates.
      start_from: the model_dir whose latest checkpoint it goes on from, or None.
      left_out: which of "metrics" and "predictions" are not looked at.
    """

    folder: str
    functions: Mapping[str, str]
    params: Any
    options: Mapping[str, Any] | None
    seed: int
    deterministic: bool
    max_steps: int
    save_steps: int
    eval_steps: int
    start_from: str | None
    left_out: Sequence[str] = ()

    @property
    def model_dir(self) -> str:
        """The Estimator's folder."""
        return os.path.join(self.folder, "job")

    @property
    def tf1_dir(self) -> str:
        """The folder of TF1 copies, if the options have one."""
        return os.path.join(self.folder, "tf1")

    def write(self) -> None:
        """Writes it into its folder, where the process looks for it."""
        with open(os.path.join(self.folder, "run.json"), "w", encoding="utf-8") as file:
            json.dump(dataclasses.asdict(self), file)

    @classmethod
    def read(cls, folder: str) -> JobRun:
        """Reads it from its folder."""
        with open(os.path.join(folder, "run.json"), encoding="utf-8") as file:
            return cls(**json.load(file))


def run_job(run: JobRun) -> dict[str, Any]:
    """Does it; the arrays are written to the folder.

    Returns:
      {"step": the global step at the end of training, "notes": {aspect: why it is not there}}.

    Raises:
      CheckpointArgumentError: a function isn't there, or the job can't be trained as it is meant.
    """
    random.seed(run.seed)
    np.random.seed(run.seed % 2**32)
    compat.install()
    import tensorflow as tf

    if run.deterministic:
        tf.config.experimental.enable_op_determinism()
    functions = {name: _load(name, reference) for name, reference in run.functions.items()}
    estimator = tf.estimator.Estimator(
        _wrap(functions["model_fn"], run), run.model_dir, _run_config(functions, run), run.params
    )
    if run.start_from:
        _begin_with(run)
    watch = _watch()
    estimator.train(functions["input_fn"], max_steps=run.max_steps, hooks=[watch])
    if watch.step is None:
        raise CheckpointArgumentError(
            f"--input_fn={run.functions['input_fn']} gives nothing to train on"
        )
    found: dict[str, Mapping[str, Any]] = dict(watch.values())
    notes: dict[str, str] = {}
    for aspect, look in {"metrics": _evaluate, "predictions": _predict}.items():
        if aspect in run.left_out:
            continue
        try:
            found[aspect] = look(estimator, functions["eval_input_fn"], run)
        except Exception as error:  # the job's own, or one that it has only when it is wrapped
            notes[aspect] = _described(error)
            found[aspect] = {FAILS: True}
    found["summaries"] = _summaries(run.model_dir)
    found["checkpoints"] = _checkpoints(run.model_dir, run.folder)
    found["files"] = {name: "" for name in _files(run.model_dir)}
    if run.options and run.options.get("tf1_dir"):
        found["tf1 copies"] = _checkpoints(run.tf1_dir, run.folder)
    for aspect, values in found.items():
        _write_values(run.folder, aspect, values)
    return {"step": watch.step, "notes": notes}


def _load(flag: str, reference: str) -> Callable[..., Any]:
    try:
        return load_function(flag, reference)
    except flags.Error as error:
        raise CheckpointArgumentError(str(error)) from error


def _wrap(model_fn: Callable[..., Any], run: JobRun) -> Callable[..., Any]:
    from estimator_ckpt.estimator.model_fn import is_wrapped, wrap_model_fn

    if is_wrapped(model_fn):
        raise CheckpointArgumentError(
            f"--model_fn={run.functions['model_fn']} is wrapped already: name the function that "
            "it wraps, and give the options to this"
        )
    if run.options is None:
        return model_fn
    options = dict(run.options)
    if options.get("tf1_dir"):
        options["tf1_dir"] = run.tf1_dir
    return wrap_model_fn(model_fn, **options)


def _run_config(functions: Mapping[str, Callable[..., Any]], run: JobRun) -> Any:
    import tensorflow as tf

    given = functions["config_fn"]() if "config_fn" in functions else tf.estimator.RunConfig()
    return given.replace(
        model_dir=run.model_dir,
        tf_random_seed=run.seed,
        save_checkpoints_secs=None,
        save_checkpoints_steps=run.save_steps,
        save_summary_steps=1,
        log_step_count_steps=None,  # else the time that a step takes is in the summaries
    )


def _begin_with(run: JobRun) -> None:
    """Puts the latest checkpoint of another run into the model_dir: for a raw job with names."""
    import tensorflow as tf

    latest = tf.train.latest_checkpoint(run.start_from)
    name = os.path.basename(latest)
    os.makedirs(run.model_dir)
    if run.options is None and _is_only_by_object(latest):
        _convert_to_tf1(latest, os.path.join(run.model_dir, name))
    else:
        for path in tf.io.gfile.glob(f"{latest}.*"):
            shutil.copy2(path, run.model_dir)
    tf.compat.v1.train.update_checkpoint_state(run.model_dir, name)


def _is_only_by_object(prefix: str) -> bool:
    """Whether it is a tf2 checkpoint of a wrapped job; one of a model_fn's own layout is not."""
    import tensorflow as tf

    reader = tf.train.load_checkpoint(prefix)
    return bool(reader.has_tensor(_STEP_OF_OBJECTS)) and not reader.has_tensor("global_step")


def _convert_to_tf1(prefix: str, target: str) -> None:
    from estimator_ckpt import convert

    convert(prefix, target, to="tf1")


def _watch() -> Any:
    """Makes a hook that reads the variables when training ends, and the step at each run."""
    import tensorflow as tf

    tf1 = tf.compat.v1

    class Watch(tf.estimator.SessionRunHook):
        step: int | None = None

        def begin(self) -> None:
            self._still = 0

        def before_run(self, run_context: Any) -> Any:
            return tf.estimator.SessionRunArgs(tf1.train.get_global_step())

        def after_run(self, run_context: Any, run_values: Any) -> None:
            self._still = self._still + 1 if self.step == int(run_values.results) else 0
            self.step = int(run_values.results)
            if self._still > _STUCK:
                raise CheckpointArgumentError(
                    f"the global step stays at {self.step}: give it to the optimizer, as in "
                    "minimize(loss, tf.compat.v1.train.get_global_step())"
                )

        def end(self, session: Any) -> None:
            if self.step is not None:
                variables = {_name(each): each for each in tf1.global_variables()}
                self._values = session.run(variables)
                self.step = int(session.run(tf1.train.get_global_step()))

        def values(self) -> dict[str, dict[str, Any]]:
            found: dict[str, dict[str, Any]] = {"variables": {}, "slots": {}}
            slots = _slots(self._values)
            for name, value in sorted(self._values.items()):
                found["slots" if name in slots else "variables"][name] = value
            return found

    return Watch()


def _name(variable: Any) -> str:
    return str(variable.name).rpartition(":")[0] or str(variable.name)


def _slots(values: Mapping[str, Any]) -> set[str]:
    """Which of some variables belong to an optimizer, as far as names tell; for the report only."""
    import tensorflow as tf

    from estimator_ckpt.naming.roles import Named, tell_roles

    types = {name: tf.as_dtype(value.dtype).as_datatype_enum for name, value in values.items()}
    roles = tell_roles({name: Named(values[name].shape, types[name]) for name in values})
    of_optimizers = ("slot", "counter", "hyperparameter")
    return {name for name in values if name in roles and roles[name].kind in of_optimizers}


def _evaluate(estimator: Any, input_fn: Callable[..., Any], run: JobRun) -> Mapping[str, Any]:
    metrics: Mapping[str, Any] = estimator.evaluate(input_fn, steps=run.eval_steps)
    return metrics


def _predict(estimator: Any, input_fn: Callable[..., Any], run: JobRun) -> Mapping[str, Any]:
    batches = estimator.predict(input_fn, yield_single_examples=False)
    try:
        first = next(batches)
    finally:
        batches.close()
    return first if isinstance(first, Mapping) else {"predictions": first}


def _summaries(model_dir: str) -> dict[str, Any]:
    """{tag and step: value} of the scalars in the summaries of training."""
    import tensorflow as tf

    found: dict[str, Any] = {}
    for path in sorted(tf.io.gfile.glob(os.path.join(model_dir, "events.out.tfevents.*"))):
        for event in tf.compat.v1.train.summary_iterator(path):
            for value in event.summary.value:
                if value.HasField("simple_value") and not value.tag.endswith("/sec"):
                    found[f"{value.tag} at step {event.step}"] = np.float32(value.simple_value)
    return found


def _checkpoints(model_dir: str, folder: str) -> dict[str, str]:
    """{checkpoint and name: type and checksum} of all that is in those of the state file."""
    import tensorflow as tf

    found = {}
    state = tf.train.get_checkpoint_state(model_dir)
    for path in state.all_model_checkpoint_paths if state else ():
        name = os.path.basename(path)
        if _is_only_by_object(path):
            by_name = os.path.join(folder, "by_name", name)
            _convert_to_tf1(path, by_name)
            path = by_name
        reader = tf.train.load_checkpoint(path)
        types = reader.get_variable_to_dtype_map()
        keys = [key for key in sorted(types) if key != _GRAPH_KEY]
        if "global_step" in types:  # what objects call it is the format's
            keys = [key for key in keys if _OF_OBJECTS not in key]
        for key in keys:
            if types[key] == tf.variant:  # an iterator's state, for which numpy has no type
                found[f"{name}: {key}"] = "a variant"
                continue
            value = np.asarray(reader.get_tensor(key))
            content = repr(value.tolist()).encode() if value.dtype == object else value.tobytes()
            checksum = hashlib.sha256(content).hexdigest()[:16]
            found[f"{name}: {key}"] = f"{value.dtype}{list(value.shape)} {checksum}"
    return found


def _files(folder: str) -> list[str]:
    """The paths of all files below a folder, without what tells the time and the number of shards.

    The mark by which a job owns its `tf1_dir` is not among them: no raw job has one.
    """
    from estimator_ckpt.checkpoint.ownership import IDENTITY_FILE

    found = set()
    for above, _, names in os.walk(folder):
        for name in set(names) - {IDENTITY_FILE}:
            path = os.path.relpath(os.path.join(above, name), folder)
            found.add(re.sub(r"(events\.out\.tfevents|\.data)[.-].*", r"\1", path))
    return sorted(found)


def _write_values(folder: str, aspect: str, values: Mapping[str, Any]) -> None:
    arrays = {name: np.asarray(value) for name, value in values.items()}
    for name, array in arrays.items():
        if array.dtype.kind == "V":  # bfloat16, which the file would not name
            arrays[name] = array.astype(np.float32)
    # The names as a list, for a name may be what no file's can be.
    content = [np.asarray(list(arrays), dtype=object), *arrays.values()]
    np.savez(os.path.join(folder, f"{aspect}.npz"), *content)


def read_values(folder: str, aspect: str) -> dict[str, Any] | None:
    """Reads {name: array} of what was seen of a run; None if that was not looked at."""
    path = os.path.join(folder, f"{aspect}.npz")
    if not os.path.exists(path):
        return None
    with np.load(path, allow_pickle=True) as file:  # which this library wrote just before
        return {name: file[f"arr_{number}"] for number, name in enumerate(file["arr_0"], start=1)}


def main(arguments: list[str]) -> int:
    """Does the run whose folder is given; what the caller has to know is in its found.json."""
    run = JobRun.read(arguments[0])
    try:
        found = run_job(run)
    except CheckpointError as error:
        found = {"problem": str(error)}
    except Exception as error:  # the job's own, or one that it has only when it is wrapped
        traceback.print_exc()
        found = {"failure": _described(error)}
    path = os.path.join(run.folder, "found.json")  # as a whole: this process may be ended now
    files.write_atomically(path, json.dumps(found).encode())
    return 0 if "step" in found else 1


def _described(error: Exception) -> str:
    """Returns an error in one line, with the innermost place that it came from."""
    text = " ".join(str(error).split())
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {text[:_LONGEST]} ({last.filename}, line {last.lineno})"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
