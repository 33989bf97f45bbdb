"""Proves a job of one's own: what it does raw, it does wrapped, bit for bit, and resumed across.

    proof = prove_job("my.model:model_fn", "my.data:input_fn", steps=20)
    print(proof)                       # what was compared, and in what it differs
    assert proof.equal

Each run is a process of its own, from one seed, in a temporary folder: the job's model_dir is not
touched. The raw job is run twice first; where it differs from itself, nothing can be said of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from estimator_ckpt.errors import CheckpointArgumentError
from estimator_ckpt.estimator.options import JobOptions, options_with_flags
from estimator_ckpt.functions import REFERENCE
from estimator_ckpt.messages import choices, escaped, listed
from estimator_ckpt.prove.job_proof import Aspect, Comparison, JobProof
from estimator_ckpt.prove.job_run import ASPECTS, FAILS, JobRun, read_values
from estimator_ckpt.prove.values import compare_values

_FORMATS = ("dual", "tf2")
_LAST_LINES = 8
_TF1_COPIES = "tf1 copies"
# What is seen of a trained job: by which argument and by which flag it is left out.
_LOOKS = {"metrics": ("evaluate", "eval"), "predictions": ("predict", "predict")}


def prove_job(
    model_fn: str | Callable[..., Any],
    input_fn: str | Callable[..., Any],
    *,
    steps: int = 20,
    eval_input_fn: str | Callable[..., Any] | None = None,
    eval_steps: int = 5,
    params: Any = None,
    config_fn: str | Callable[..., Any] | None = None,
    options: Mapping[str, Any] | None = None,
    evaluate: bool = True,
    predict: bool = True,
    seed: int = 1,
    deterministic: bool = False,
    work_dir: str | os.PathLike[str] | None = None,
    timeout: float = 3600.0,
    progress: Callable[[str], None] | None = None,
) -> JobProof:
    """Runs a job raw and wrapped from one seed, resumes each from the other, and compares.

    Compared bit for bit are all variables at the end of training, metrics, a batch of predictions,
    the scalars of summaries, what is in each checkpoint, and which files there are.

    Args:
      model_fn: as `package.module:function`, or a function that has such a name.
      input_fn: what it is trained on; likewise. It is begun anew when the job is resumed.
      steps: up to which global step it is trained, in two halves.
      eval_input_fn: what it is evaluated and predicts on; by default `input_fn`.
      eval_steps: on how many batches it is evaluated.
      params: the model_fn's params, of what JSON has.
      config_fn: a function without arguments that returns a `tf.estimator.RunConfig`, whose folder,
        seed and pace of saving are replaced.
      options: those of `wrap_model_fn` by name, but for functions. Whatever folder `tf1_dir` is,
        one of the proof's own is in its place.
      evaluate: whether it is evaluated; False for a model_fn that has no such mode.
      predict: whether it predicts; likewise.
      seed: of TensorFlow, `random`, `numpy.random` and the hashes of strings.
      deterministic: have TensorFlow's operations be deterministic, which are slower then.
      work_dir: a new folder for all that is written, which stays; by default a temporary one.
      timeout: seconds that each process may take.
      progress: is called with a line before each process is started.

    Returns:
      The proof.

    Raises:
      CheckpointArgumentError: an argument is not usable, a function isn't there, the input ends too
        early, or the raw job itself fails, be it only when it is evaluated or predicts; the message
        has the last lines of what it wrote.
    """
    if steps < 2:
        raise CheckpointArgumentError(
            f"steps={steps} is too few to save in the middle and to resume; give 2 or more"
        )
    functions = {
        name: _reference(name, function)
        for name, function in {
            "model_fn": model_fn,
            "input_fn": input_fn,
            "eval_input_fn": eval_input_fn or input_fn,
            "config_fn": config_fn,
        }.items()
        if function is not None
    }
    wrapping = _wrapping(options or {})
    try:
        json.dumps(params)
    except (TypeError, ValueError) as error:
        raise CheckpointArgumentError(
            f"params must be of what JSON has, as other processes get them: {error}"
        ) from error
    with _folder(work_dir) as folder:
        runs = Runs(
            folder, functions, params, wrapping, seed, deterministic, steps, eval_steps, timeout,
            progress or (lambda line: None), _left_out(evaluate=evaluate, predict=predict),
        )  # fmt: skip
        raw, wrapped = _compare_all(runs)
    return JobProof(
        functions["model_fn"], functions["input_fn"], steps, seed, wrapping, raw, wrapped
    )


def _compare_all(runs: Runs) -> tuple[tuple[Comparison, ...], tuple[Comparison, ...]]:
    first, again = runs.raw("raw"), runs.raw("raw again")
    raw = [compared("raw, twice", first, again)]
    if not raw[0].equal:
        return tuple(raw), ()
    both = runs.raw("raw, resumed raw", first)
    raw.append(compared("raw, resumed raw, twice", both, runs.raw("raw again, resumed raw", again)))
    if not raw[-1].equal:
        return tuple(raw), ()
    other = runs.wrapped("wrapped")
    wrapped = [compared("wrapped", first, other)]
    wrapped.append(
        compared("raw, resumed wrapped", both, runs.wrapped("raw, resumed wrapped", first))
    )
    if not other.failure:
        for title, start in {
            "wrapped, resumed raw": runs.resumed_raw,
            "wrapped, resumed wrapped": runs.wrapped,
        }.items():
            wrapped.append(compared(title, both, start(title, other)))
    return tuple(raw), tuple(wrapped)


@dataclass(frozen=True)
class Outcome:
    """What came of a process: its folder with what was seen, or the last lines of a failure."""

    run: JobRun
    failure: str = ""
    notes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Runs:
    """Starts the processes of one proof."""

    folder: str
    functions: Mapping[str, str]
    params: Any
    wrapping: Mapping[str, Any]
    seed: int
    deterministic: bool
    steps: int
    eval_steps: int
    timeout: float
    progress: Callable[[str], None]
    left_out: Sequence[str] = ()

    def raw(self, title: str, start: Outcome | None = None) -> Outcome:
        """Runs the job as it is; a failure is the job's own, and nothing can be proved."""
        outcome = self._run(title, None, start)
        if outcome.failure:
            raise CheckpointArgumentError(f"the job itself fails ({title}): {outcome.failure}")
        require_looked_at(title, outcome)
        return outcome

    def resumed_raw(self, title: str, start: Outcome) -> Outcome:
        """Runs the job as it is, from what the wrapped one has saved."""
        return self._run(title, None, start)

    def wrapped(self, title: str, start: Outcome | None = None) -> Outcome:
        """Runs the wrapped job."""
        return self._run(title, self.wrapping, start)

    def _run(self, title: str, options: Mapping[str, Any] | None, start: Outcome | None) -> Outcome:
        folder = os.path.join(self.folder, title.replace(", ", "-").replace(" ", "_"))
        os.makedirs(folder)
        run = JobRun(
            folder=folder,
            functions=self.functions,
            params=self.params,
            options=options,
            seed=self.seed,
            deterministic=self.deterministic,
            max_steps=self.steps if start else self.steps // 2,
            save_steps=max(1, self.steps // 4),
            eval_steps=self.eval_steps,
            start_from=start.run.model_dir if start else None,
            left_out=self.left_out,
        )
        run.write()
        self.progress(f"{title}, to step {run.max_steps}")
        failure = _start(run, self.timeout)
        found = _found(run)
        if "problem" in found:
            if options is None and start is None:
                raise CheckpointArgumentError(found["problem"])
            failure = found["problem"]
        elif "failure" in found:
            failure = f"{found['failure']}. {failure}"
        elif "step" not in found:
            failure = failure or "the process ended before the job did, with exit code 0"
        if not failure and found["step"] < run.max_steps:
            raise CheckpointArgumentError(
                f"the input ended at step {found['step']}, before step {run.max_steps}: give fewer "
                f"steps, or let {self.functions['input_fn']} repeat"
            )
        return Outcome(run, failure, found.get("notes", {}))


def require_looked_at(title: str, outcome: Outcome) -> None:
    """Raises if a raw run can't be evaluated or predict: what never ran is not proved."""
    for name, note in outcome.notes.items():
        verb, flag = _LOOKS[name]
        raise CheckpointArgumentError(
            f"nothing is proved: the job itself fails when it is to {verb} ({title}): {note}. If "
            f"it is not meant to, leave that out by --no{flag} ({verb}=False)"
        )


def _left_out(**wanted: bool) -> list[str]:
    return [name for name, (verb, _) in _LOOKS.items() if not wanted[verb]]


def compared(title: str, expected: Outcome, found: Outcome) -> Comparison:
    """Compares what was seen of two runs."""
    if found.failure:
        return Comparison(title, (), found.failure)
    aspects = []
    for name in ASPECTS:
        right = read_values(found.run.folder, name)
        # The copies are to be what the raw job itself saves.
        left = read_values(expected.run.folder, "checkpoints" if name == _TF1_COPIES else name)
        if right is None or left is None:
            continue
        note = f"only this fails: {found.notes[name]}" if FAILS in right else ""
        aspects.append(Aspect(name, len(left), compare_values(left, right), note))
    return Comparison(title, tuple(aspects))


def _start(run: JobRun, timeout: float) -> str:
    """Does a run in a process; returns how it failed, or nothing."""
    environment = {name: value for name, value in os.environ.items() if name != "TF_CONFIG"}
    environment["PYTHONPATH"] = os.pathsep.join(each or os.getcwd() for each in sys.path)
    environment["PYTHONHASHSEED"] = str(run.seed % 2**32)
    environment.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    path = os.path.join(run.folder, "log.txt")
    command = [sys.executable, "-m", "estimator_ckpt.prove.job_run", run.folder]
    with open(path, "w", encoding="utf-8") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,  # so that its own processes are ended with it
        )
        with process:
            try:
                code = process.wait(timeout)
            except subprocess.TimeoutExpired:
                limit = f"{timeout:g} s, the time limit (--timeout)"
                if not _found(run):
                    return f"It took longer than {limit}; {_last_lines(path)}"
                return (
                    f"The job was done, but its process did not end within {limit}: a thread that "
                    f"is no daemon, or an exit handler, goes on; {_last_lines(path)}"
                )
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()  # or it still writes into the folder that is removed
    return "" if code == 0 else f"Exit code {code}; {_last_lines(path)}"


def _last_lines(path: str) -> str:
    with open(path, encoding="utf-8", errors="backslashreplace") as log:
        lines = [line.strip() for line in log if any(map(str.isalnum, line))][-_LAST_LINES:]
    return f"the last lines: {' | '.join(map(escaped, lines))}" if lines else "it wrote nothing"


def _found(run: JobRun) -> dict[str, Any]:
    path = os.path.join(run.folder, "found.json")
    if not os.path.exists(path):
        return {}
    with open(path, encoding="utf-8") as file:
        found: dict[str, Any] = json.load(file)
    return found


def _reference(name: str, function: str | Callable[..., Any]) -> str:
    """Returns the `package.module:function` by which another process finds a function."""
    reference = function
    if not isinstance(function, str):
        module = getattr(function, "__module__", None)
        reference = f"{module}:{getattr(function, '__qualname__', type(function).__name__)}"
        if module == "__main__":
            raise CheckpointArgumentError(
                f"{name} is a function of the program that runs, which other processes can't "
                "import; put it into a module"
            )
    if not isinstance(reference, str) or not REFERENCE.fullmatch(reference):
        raise CheckpointArgumentError(
            f"{name}='{reference}' must be package.module:function, or a function that has such a "
            "name, as other processes import it"
        )
    return reference


def _wrapping(options: Mapping[str, Any]) -> dict[str, Any]:
    usable = [option.name for option in options_with_flags()]
    if unknown := [name for name in options if name not in usable]:
        raise CheckpointArgumentError(
            f"options={listed(unknown)}: must be among {listed(usable)}, which other processes get"
        )
    if options.get("checkpoint_format", "dual") not in _FORMATS:
        raise CheckpointArgumentError(
            f"checkpoint_format='{options['checkpoint_format']}' must be {choices(_FORMATS)}: the "
            "raw job is run in any case"
        )
    JobOptions(**options)  # raises for what is none of its choices
    return dict(options)


@contextlib.contextmanager
def _folder(work_dir: str | os.PathLike[str] | None) -> Iterator[str]:
    if work_dir is None:
        with tempfile.TemporaryDirectory(prefix="estimator_ckpt_prove_") as folder:
            yield folder
        return
    try:
        os.makedirs(work_dir)
    except OSError as error:
        raise CheckpointArgumentError(
            f"work_dir='{os.fspath(work_dir)}' must be a new folder: {error.strerror}"
        ) from error
    yield os.path.abspath(work_dir)
