"""Does what the flags of `python -m estimator_ckpt.train` ask for: trains, evaluates, exports.

    job = make_job(flags.FLAGS, started=time.monotonic())
    sys.exit(main([""]))

After training it reads the checkpoints back with plain TensorFlow and prints a short summary.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import logging
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from absl import flags
from absl import logging as absl_logging

from estimator_ckpt import compat
from estimator_ckpt import flags as checkpoint_flags
from estimator_ckpt.errors import CheckpointError
from estimator_ckpt.functions import load_function
from estimator_ckpt.messages import escaped
from estimator_ckpt.train import job_flags

if TYPE_CHECKING:
    from estimator_ckpt.train.readback import ReaderResult


@dataclass(frozen=True)
class Job:
    """All that a run needs, made from the flags.

    Attributes:
      flags: the parsed flags.
      functions: what `--model_fn`, `--input_fn` and the like name, by flag.
      model_dir: the job's folder.
      tf1_dir: the folder of its TF1 checkpoints, or None.
      estimator: the `tf.estimator.Estimator`.
      started: `time.monotonic()` at the start of the run.
    """

    flags: flags.FlagValues
    functions: Mapping[str, Callable[..., Any]]
    model_dir: str
    tf1_dir: str | None
    estimator: Any
    started: float


def make_job(flag_values: flags.FlagValues, started: float) -> Job:
    """Makes the job that the flags describe; its folder is made last, when all else is in order.

    Args:
      flag_values: the parsed flags.
      started: `time.monotonic()` at the start of the run.

    Returns:
      The job, ready to run.

    Raises:
      absl.flags.IllegalFlagValueError: a flag names something that isn't there.
      estimator_ckpt.CheckpointError: the checkpoint to warm-start from isn't usable.
    """
    compat.install()  # before anything of the user's is imported, which may say tf.estimator
    import tensorflow as tf

    functions = {
        name: load_function(name, str(flag_values[name].value))
        for name in job_flags.FUNCTION_FLAGS
        if flag_values.mode in job_flags.NEEDED_BY[name]
    }
    trains = flag_values.mode in job_flags.TRAIN_MODES
    model_dir = flag_values.model_dir or _own_folder(flag_values.model_fn)
    if not trains:
        _check_trained(model_dir, flag_values)
    model_fn = checkpoint_flags.wrap_from_flags(
        functions["model_fn"], model_dir=model_dir, flag_values=flag_values
    )
    estimator = tf.estimator.Estimator(
        model_fn,
        params=_params(model_fn, flag_values),
        config=checkpoint_flags.run_config_from_flags(
            flag_values=flag_values,
            model_dir=model_dir,
            tf_random_seed=flag_values.tf_random_seed,
        ),
        warm_start_from=(
            checkpoint_flags.warm_start_from_flags(flag_values=flag_values) if trains else None
        ),
    )
    _check_starts_servers(estimator.config, flag_values)
    tf1_dir = checkpoint_flags.tf1_dir_from_flags(model_dir, flag_values=flag_values)
    if estimator.config.is_chief:
        _write_flags(model_dir, flag_values)
    if not flag_values.model_dir:
        print(f"model_dir: {model_dir}", flush=True)
    return Job(flag_values, functions, model_dir, tf1_dir, estimator, started)


def _params(model_fn: Callable[..., Any], flag_values: flags.FlagValues) -> Any:
    """Returns what a model_fn gets as `params`; None for one that takes none."""
    if "params" in inspect.signature(model_fn).parameters:
        return flag_values.params or {}
    if flag_values.params:
        raise flags.IllegalFlagValueError(
            f"--params is given, but {flag_values.model_fn} takes no argument `params`; "
            "leave the flag out, or give the function such an argument"
        )
    return None


def _own_folder(model_fn: str) -> str:
    """Returns a path below ./runs that doesn't exist yet, named for the model and the time."""
    if os.environ.get("TF_CONFIG"):
        raise flags.IllegalFlagValueError(
            "--model_dir is needed with TF_CONFIG: all processes of a cluster share it"
        )
    module = model_fn.partition(":")[0].rpartition(".")[2]
    stem = os.path.join("runs", f"{module}-{time.strftime('%Y%m%d-%H%M%S')}")
    folder, number = stem, 2
    while os.path.exists(folder):
        folder, number = f"{stem}-{number}", number + 1
    return folder


def _check_trained(model_dir: str, flag_values: flags.FlagValues) -> None:
    import tensorflow as tf

    if not flag_values.checkpoint_path and tf.train.latest_checkpoint(model_dir) is None:
        raise flags.IllegalFlagValueError(
            f"--model_dir={model_dir} has no checkpoint; train first (--mode=train), "
            "or name another folder or a --checkpoint_path"
        )


def _check_starts_servers(config: Any, flag_values: flags.FlagValues) -> None:
    if config.cluster_spec and config.master and flag_values.mode == "train":
        raise flags.IllegalFlagValueError(
            "--mode=train starts no server, which the cluster of TF_CONFIG needs; "
            "use --mode=train_and_evaluate"
        )


def _write_flags(model_dir: str, flag_values: flags.FlagValues) -> None:
    import tensorflow as tf

    name = (
        "flags.txt"
        if flag_values.mode in job_flags.TRAIN_MODES
        else f"flags_{flag_values.mode}.txt"
    )
    path = os.path.join(model_dir, name)
    tf.io.gfile.makedirs(model_dir)
    with tf.io.gfile.GFile(path, "w") as file:
        file.write(f"# Repeats the run: python -m estimator_ckpt.train --flagfile={path}\n")
        file.write(checkpoint_flags.flags_as_flagfile((checkpoint_flags, job_flags), flag_values))


def _run_training(job: Job) -> int:
    from estimator_ckpt.train.readback import global_step

    before = global_step(job.model_dir)
    own_hooks = checkpoint_flags.train_hooks_from_flags(
        model_dir=job.model_dir, flag_values=job.flags
    )
    run = _train if job.flags.mode == "train" else _train_and_evaluate
    training_started = time.monotonic()
    with _progress(before, job.flags.max_steps) as progress_hooks:
        metrics = run(job, [*own_hooks, *progress_hooks])
    if not job.estimator.config.is_chief:
        return _evaluate(job) if job.estimator.config.task_type == "evaluator" else 0
    return _summarize(job, before, metrics, time.monotonic() - training_started)


def _train(job: Job, hooks: list[Any]) -> Mapping[str, Any]:
    job.estimator.train(job.functions["input_fn"], max_steps=job.flags.max_steps, hooks=hooks)
    return {}


def _train_and_evaluate(job: Job, hooks: list[Any]) -> Mapping[str, Any]:
    import tensorflow as tf

    train = tf.estimator.TrainSpec(
        job.functions["input_fn"], max_steps=job.flags.max_steps, hooks=hooks
    )
    evaluation = tf.estimator.EvalSpec(
        job.functions["eval_input_fn"],
        steps=job.flags.eval_steps,
        start_delay_secs=0,
        throttle_secs=job.flags.eval_throttle_secs,
    )
    outcome = tf.estimator.train_and_evaluate(job.estimator, train, evaluation)
    if not isinstance(outcome, tuple):  # a cluster, where another process evaluates
        return {}
    # No metrics: the job had reached max_steps already, so nothing was saved and evaluated.
    return outcome[0] or _metrics(job)


def _metrics(job: Job, checkpoint_path: str | None = None) -> Mapping[str, Any]:
    metrics: Mapping[str, Any] = job.estimator.evaluate(
        job.functions["eval_input_fn"],
        steps=job.flags.eval_steps,
        checkpoint_path=checkpoint_path,
    )
    return metrics


def _evaluate(job: Job) -> int:
    metrics = _metrics(job, job.flags.checkpoint_path)
    print(f"step {metrics['global_step']}: {_format_metrics(metrics)}")
    return 0


def _predict(job: Job) -> int:
    predictions = job.estimator.predict(
        job.functions["eval_input_fn"], checkpoint_path=job.flags.checkpoint_path
    )
    for number, prediction in enumerate(predictions, start=1):
        print(json.dumps(prediction, default=_plain))
        if number == job.flags.max_predictions:
            break
    return 0


def _plain(value: Any) -> Any:
    """Turns NumPy arrays, NumPy scalars and bytes into what JSON has."""
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else value.tolist()


def _export(job: Job) -> int:
    folder = job.estimator.export_saved_model(
        job.flags.export_dir or os.path.join(job.model_dir, "export"),
        job.functions["serving_input_fn"],
        checkpoint_path=job.flags.checkpoint_path,
    )
    print(f"exported to {os.fsdecode(folder)}")
    return 0


_RUN = {
    "train": _run_training,
    "evaluate": _evaluate,
    "train_and_evaluate": _run_training,
    "predict": _predict,
    "export": _export,
}


@contextlib.contextmanager
def _progress(start: int, max_steps: int | None) -> Iterator[list[Any]]:
    """Gives a hook that shows progress, if there is a terminal to show it on."""
    if not sys.stderr.isatty():
        yield []
        return
    import tensorflow as tf
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn

    columns = (*Progress.get_default_columns(), MofNCompleteColumn(), TimeElapsedColumn())
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    task = bar.add_task("training", total=max_steps, completed=start)

    class ProgressHook(tf.estimator.SessionRunHook):
        def before_run(self, run_context: Any) -> Any:
            return tf.estimator.SessionRunArgs(tf.compat.v1.train.get_global_step())

        def after_run(self, run_context: Any, run_values: Any) -> None:
            bar.update(task, completed=int(run_values.results))

    with bar:
        yield [ProgressHook()]


def _summarize(job: Job, before: int, metrics: Mapping[str, Any], training: float) -> int:
    """Prints what a training run came to; returns 1 if a reader can't read its checkpoints."""
    import tensorflow as tf

    from estimator_ckpt.train.readback import bytes_of_checkpoints, global_step

    step = global_step(job.model_dir)
    tf1_prefix = tf.train.latest_checkpoint(job.tf1_dir) if job.tf1_dir else None
    # A TF1 folder that is new to a job which had nothing left to train can't have a checkpoint.
    results = _read_back(job, job.tf1_dir if tf1_prefix or step > before else None)
    seconds = time.monotonic() - job.started
    on_disk, unlinked = bytes_of_checkpoints(filter(None, (job.model_dir, job.tf1_dir)))

    print(f"step {step} ({step - before} trained in this run)")
    if metrics:
        print(f"  metrics      {_format_metrics(metrics)}")
    print(f"  {job.flags.checkpoint_format:<12} {tf.train.latest_checkpoint(job.model_dir)}")
    if job.tf1_dir:
        print(f"  {'tf1 beside':<12} {tf1_prefix or 'none yet'}")
    for result in results:
        print(f"  {'read back' if result.ok else 'CAN NOT READ':<12} {_format_reader(result)}")
    print(
        f"  {'cost':<12} {seconds:.1f} s, {training:.1f} s of it training; checkpoints take "
        f"{on_disk / 1e6:.2f} MB on disk (without hard links {unlinked / 1e6:.2f} MB)"
    )
    command = f"estimator-ckpt report {shlex.quote(job.model_dir)} -o report.html"
    print(f"  {'look at it':<12} {command}")
    return 0 if all(result.ok for result in results) else 1


def _read_back(job: Job, tf1_dir: str | None) -> Sequence[ReaderResult]:
    if not job.flags.read_back:
        return ()
    from estimator_ckpt.train.readback import read_back

    return read_back(job.model_dir, tf1_dir)


def _format_metrics(metrics: Mapping[str, Any]) -> str:
    shown = {name: value for name, value in sorted(metrics.items()) if name != "global_step"}
    return ", ".join(f"{name} {value:.4g}" for name, value in shown.items())


def _format_reader(result: ReaderResult) -> str:
    return f"{result.reader:<20} {result.checkpoint}: {result.detail}"


def main(argv: Sequence[str]) -> int:
    """Runs the job that the parsed flags describe.

    Args:
      argv: the program's name and what the flags left over, which must be nothing.

    Returns:
      The exit code: 1 if a flag or a checkpoint isn't usable, or can't be read back.
    """
    started = time.monotonic()
    try:
        if len(argv) > 1:
            raise flags.Error(f"unexpected argument {argv[1]!r}; all is told by --flag=value")
        _quieten(flags.FLAGS)
        job = make_job(flags.FLAGS, started)
        return _RUN[job.flags.mode](job)
    except (CheckpointError, flags.Error) as error:
        print(f"error: {escaped(error)}", file=sys.stderr)
        return 1


def _quieten(flag_values: flags.FlagValues) -> None:
    """Leaves warnings and errors of TensorFlow's log, or what `--verbosity` asks for."""
    if flag_values["verbosity"].present:
        return
    absl_logging.set_verbosity(absl_logging.WARNING)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    tf.get_logger().setLevel(logging.WARNING)
    tf.get_logger().addFilter(_is_no_deprecation)


def _is_no_deprecation(record: logging.LogRecord) -> bool:
    """Tells TensorFlow's warnings that a TF1 API is deprecated from those that matter here."""
    return "deprecated" not in str(record.msg)
