"""What is interrupted in the fault tests, and what must hold after each interruption.

scenario.prepare(root)                       # sources, and what is to be replaced
reference = scenario.reference(root)         # after a run without a fault
scenario.problems(root, reference, ...)      # after a faulty one; includes running it again
"""

from __future__ import annotations

import dataclasses
import errno
import functools
import hashlib
import json
import os
import pathlib
import shutil
import threading
import types
from collections.abc import Callable

import strace
import tensorflow as tf

from estimator_ckpt import compat, wrap_model_fn
from estimator_ckpt.checkpoint import open_checkpoint
from estimator_ckpt.checkpoint.account import Account
from estimator_ckpt.checkpoint.opening import read_state
from estimator_ckpt.checkpoint.ownership import IDENTITY_FILE, OWNER_FILE
from estimator_ckpt.cli import main as command_line
from estimator_ckpt.estimator.background import worker as background
from estimator_ckpt.examples import digits
from estimator_ckpt.operations.doctor import doctor
from estimator_ckpt.operations.verify import verify
from estimator_ckpt.storage import staging

compat.install()  # the process that this runs in imports no conftest
_STEPS = 6
_MORE_STEPS = 8
_LEARNED = "digits/logits/kernel"


def listed(directory: pathlib.Path) -> list[str]:
    """The names that the state file lists, the latest last."""
    latest, prefixes = read_state(str(directory))
    names = [os.path.basename(prefix) for prefix in prefixes]
    assert latest is None or os.path.basename(latest) == names[-1]
    return names


def values(prefix: pathlib.Path) -> dict[str, str]:
    """{name: digest of its type, shape and bytes} of a complete checkpoint, checksums checked."""
    verified = verify(str(prefix))
    assert verified.ok, verified
    checkpoint = open_checkpoint(str(prefix))
    found = {}
    for name, key in Account(checkpoint).key_of.items():
        entry = checkpoint.index.entries[key]
        data = checkpoint.read_bytes(entry)
        found[name] = hashlib.sha256(
            repr((entry.dtype_name, entry.shape)).encode() + data
        ).hexdigest()
    return found


def values_by_tensorflow(prefix: pathlib.Path) -> dict[str, str]:
    """The same of the named variables, as plain TensorFlow reads them."""
    reader = tf.train.load_checkpoint(str(prefix))
    found = {}
    for name in reader.get_variable_to_shape_map():
        if not name.endswith(".ATTRIBUTES/VARIABLE_VALUE") and name[0] != "_":
            array = reader.get_tensor(name)
            described = repr((array.dtype.name, array.shape)).encode()
            found[name] = hashlib.sha256(described + array.tobytes()).hexdigest()
    return found


def snapshot(directory: pathlib.Path) -> dict[str, tuple[str, int]]:
    """{file: (digest, time of change)} of all that is below a directory."""
    return {
        str(path.relative_to(directory)): (
            hashlib.sha256(path.read_bytes()).hexdigest(),
            path.stat().st_mtime_ns,
        )
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def unexplained(directory: pathlib.Path) -> list[str]:
    """The files that belong to no listed checkpoint, and that doctor does not speak of."""
    expected = {"checkpoint", "graph.pbtxt", OWNER_FILE, IDENTITY_FILE, "tf1"}
    names = sorted(os.listdir(directory))
    for name in [each[: -len(".index")] for each in names if each.endswith(".index")]:
        checkpoint = open_checkpoint(str(directory / name))
        shards = map(os.path.basename, checkpoint.shard_paths)
        expected |= {f"{name}.index", f"{name}.meta", *shards}
    extra = [each for each in names if each not in expected and "events.out" not in each]
    if not extra:
        return []
    findings = doctor(str(directory)).findings
    told = " ".join(f"{each.subject} {each.problem}" for each in findings)
    return [each for each in extra if each not in told]


@functools.cache
def _batch():
    images, numbers = digits.load_digits(return_X_y=True)
    return (images[:32] / 16.0).astype("float32"), numbers[:32].astype("int64")


def _input_fn():
    """Gives the same batch again and again: where training was interrupted makes no difference."""
    pixels, numbers = _batch()
    return tf.data.Dataset.from_tensors(({"pixels": pixels}, numbers)).repeat()


class _FirstStep(tf.compat.v1.train.SessionRunHook):
    def after_create_session(self, session, coord):
        self.step = int(session.run(tf.compat.v1.train.get_global_step()))


class _MoveAway(tf.compat.v1.train.SessionRunHook):
    """Removes a directory, in one call, when there have been two steps."""

    def __init__(self, path: pathlib.Path):
        self._path = path
        self._steps = 0

    def after_run(self, run_context, run_values):
        self._steps += 1
        if self._steps == 3:
            os.rename(self._path, self._path.parents[1] / "removed")


def _with_more(features, labels, mode, params):
    """The model of the digits job, with a variable that never changes, and one that does at times.

    What is linked of them has another age at each save, so that files become many.
    """
    tf1 = tf.compat.v1
    step = tf1.train.get_or_create_global_step()
    tf1.get_variable("frozen", [1000], initializer=tf1.ones_initializer(), trainable=False)
    slow = tf1.get_variable("slow", [1000], initializer=tf1.zeros_initializer(), trainable=False)
    spec = digits.model_fn(features, labels, mode, params)
    with tf.control_dependencies([spec.train_op]):
        train_op = slow.assign(tf.fill([1000], tf.cast(step.read_value() // 4, tf.float32)))
    return spec._replace(train_op=train_op)


def train(root: pathlib.Path, max_steps: int, keep: int = 2, hooks=(), **settings) -> int:
    """The digits job, small and all in one thread; returns the step that it began with."""
    config = tf.estimator.RunConfig(
        session_config=tf.compat.v1.ConfigProto(
            inter_op_parallelism_threads=-1, intra_op_parallelism_threads=1
        ),
        save_checkpoints_steps=2,
        keep_checkpoint_max=keep,
        save_summary_steps=0,
        log_step_count_steps=None,
        tf_random_seed=1,
    )
    settings = {"tf1_dir": str(root / "job" / "tf1"), **settings}
    model_fn = wrap_model_fn(settings.pop("model_fn", digits.model_fn), **settings)
    estimator = tf.estimator.Estimator(model_fn, str(root / "job"), config, {"hidden_units": [4]})
    first = _FirstStep()
    estimator.train(_input_fn, max_steps=max_steps, hooks=[first, *hooks])
    return first.step


class _Inline(threading.Thread):
    """Does its work in the thread that starts it, which is the one that is traced."""

    def start(self):
        self._ident = threading.get_ident()
        try:
            self.run()
        finally:
            self._ident = None

    def is_alive(self):
        return False

    def join(self, timeout=None):
        pass


def _write_in_this_thread() -> None:
    """Has what is done in the background done here; for a process that does nothing else."""
    background.threading = types.SimpleNamespace(Thread=_Inline, get_ident=threading.get_ident)


@dataclasses.dataclass(frozen=True)
class Training:
    """The digits job, dual with TF1 emission, four saves and retention; alone or not."""

    name: str
    async_save: bool = False
    links: bool = False  # what is unchanged
    before: str = ""  # what others have done

    @property
    def heeds_sigterm(self) -> bool:
        return self.async_save

    @property
    def _model(self):
        return {"model_fn": _with_more} if self.links else {}

    @property
    def _settings(self):
        links = {"unchanged": "link", "unchanged_files": 2} if self.links else {}
        return {**self._model, **links, "async_save": self.async_save}

    def prepare(self, root: pathlib.Path) -> None:
        _batch()
        others = root / "others"
        if self.before:
            others.mkdir()
        if self.before == "another job's":
            emitted = str(root / "job" / "tf1")
            _in_process(root, lambda: train(others, _STEPS - 2, tf1_dir=emitted))
        elif self.before == "copied":
            _in_process(root, lambda: train(others, _STEPS - 2))
            shutil.copytree(others / "job", root / "job")

    def run(self, root: pathlib.Path) -> int:
        if self.before == "another job's":
            train(root, _STEPS, tf1_take_over=True)
        elif self.before == "removed":
            train(root, _STEPS, hooks=[_MoveAway(root / "job" / "tf1")])
        else:
            if self.async_save:
                _write_in_this_thread()
            train(root, _STEPS, **self._settings)
        return 0

    def reference(self, root: pathlib.Path) -> dict[str, dict[str, str]]:
        """{checkpoint: its values} for each that the job ever saves."""
        everything = root / "everything"
        everything.mkdir()
        _in_process(everything, lambda: train(everything, _MORE_STEPS, keep=99, **self._model))
        job = everything / "job"
        found = {name: values(job / name) for name in listed(job)}
        assert len(found) == 1 + _MORE_STEPS // 2
        assert len({each[_LEARNED] for each in found.values()}) == len(found)
        return {**found, "others": snapshot(root / "others")}

    def problems(self, root, reference, run: strace.Run, error: str) -> list[str]:
        job, tf1 = root / "job", root / "job" / "tf1"
        found = []
        for directory in (job, tf1):
            for name in listed(directory):
                if values(directory / name) != reference[name]:
                    found.append(f"{directory / name} has other values")
        newest = listed(job)[-1] if listed(job) else "model.ckpt-0"
        final = f"model.ckpt-{_STEPS}"
        if (
            error
            and run.code == 0
            and listed(tf1)[-1:] != [final]
            and "can't be put" not in run.output
        ):
            found.append("a TF1 checkpoint is missing, and nothing was said")
        if error and run.code == 0 and newest != final:
            found.append("the last step was not saved, and nothing was said")
        if error and run.code != 0 and not _speaks_of(error, run.output):
            found.append(f"it does not say what is wrong: {run.output[-300:]}")
        is_told = "SIGTERM: training stops" in run.output and "SIGTERM again" not in run.output
        if is_told and (not listed(job) or listed(job)[-1:] != listed(tf1)[-1:]):
            found.append("it has made no final checkpoint")
        if snapshot(root / "others") != reference["others"]:
            found.append("the other job has changed")
        facts = _in_process(root, lambda: self._again(root))
        if facts["first"] != int(newest.rpartition("-")[2]):
            found.append(f"it went on from {facts['first']}, not from {newest}")
        expected = [f"model.ckpt-{step}" for step in (_MORE_STEPS - 2, _MORE_STEPS)]
        for directory in (job, tf1):
            if listed(directory)[-1] != expected[-1]:
                found.append(f"{directory} lists {listed(directory)} in the end")
            for name in listed(directory):
                if not values(directory / name) == facts[str(directory)][name] == reference[name]:
                    found.append(f"{directory / name} has other values in the end")
            found += [f"{name} is left in {directory}" for name in unexplained(directory)]
            found += [f"{path} is still staged" for path in directory.glob("*.staging-*")]
        ours, theirs = (root / place / "job" / IDENTITY_FILE for place in (".", "others"))
        if theirs.exists() and theirs.read_bytes() == ours.read_bytes():
            found.append("two jobs have one identity")
        return found

    def _again(self, root: pathlib.Path):
        take_over = self.before == "another job's"
        first = train(root, _MORE_STEPS, tf1_take_over=take_over, **self._settings)
        facts = {"first": first}
        for directory in (root / "job", root / "job" / "tf1"):
            names = listed(directory)
            facts[str(directory)] = {name: values_by_tensorflow(directory / name) for name in names}
        return facts


@dataclasses.dataclass(frozen=True)
class Command:
    """A command that writes checkpoints into `out`, from those of the job."""

    name: str
    arguments: tuple[str, ...]
    targets: tuple[str, ...]
    replaces: bool = False
    was_killed: bool = False  # before, when it had placed the data files

    heeds_sigterm = False  # as TensorFlow's jobs

    def prepare(self, root: pathlib.Path) -> None:
        _in_process(root, lambda: train(root, _STEPS))
        if self.replaces:
            for target in self.targets:
                other = ("convert", "job/model.ckpt-4", target, "--to=dual", "--drop=Adam")
                assert _in_process(root, functools.partial(_call, root, other)) == 0
        else:
            (root / "out").mkdir()
        if self.was_killed:
            assert _in_process(root, lambda: self.run(root)) == 0
            for target in self.targets:
                index = f"{root / target}.index"
                staged = _in_process(root, functools.partial(staging.staging_name, index))
                os.rename(index, staged)
                assert staging.is_abandoned(staged)

    def run(self, root: pathlib.Path) -> int:
        return _call(root, (*self.arguments, *(("--overwrite",) if self.replaces else ())))

    def reference(self, root: pathlib.Path) -> dict[str, object]:
        old = {target: self._found(root, target) for target in self.targets}
        assert all((found is not None) == self.replaces for found in old.values())
        before = snapshot(root / "job")
        done = root / "done"
        shutil.copytree(root, done, ignore=shutil.ignore_patterns("done"))
        assert _in_process(done, lambda: self.run(done)) == 0
        return {
            "job": before,
            "old": old,
            "new": {target: self._found(done, target) for target in self.targets},
        }

    def problems(self, root, reference, run: strace.Run, error: str) -> list[str]:
        found = []
        done = []
        for target in self.targets:
            now = self._found(root, target)
            done.append(now == reference["new"][target])
            if now not in (reference["old"][target], reference["new"][target]):
                found.append(f"{target} is neither the old nor the new one")
        if error and run.code == 0 and not all(done):
            found.append("it was not done, and nothing was said")
        if error and run.code != 0 and not _speaks_of(error, run.output):
            found.append(f"it does not say what is wrong: {run.output[-300:]}")
        self._look_at_state(root, reference, found)
        again = strace.finish(
            strace.fork(lambda: self.run(root), root.with_suffix(".again")),
            root.with_suffix(".again"),
        )
        if again[0] != 0 and any(done) and "exist" in again[1]:
            assert _call(root, (*self.arguments, "--overwrite")) == 0
        elif again[0] != 0:
            found.append(f"it can't be run again: {again[1][-300:]}")
        if any(self._found(root, each) != reference["new"][each] for each in self.targets):
            found.append("running it again gave something else")
        self._look_at_state(root, reference, found)
        if snapshot(root / "job") != reference["job"]:
            found.append("the source has changed")
        out = root / "out"
        found += [f"{name} is left over" for name in unexplained(out)]
        found += [f"{path} is still staged" for path in out.glob("*.staging-*")]
        return found

    def _look_at_state(self, root, reference, found: list[str]) -> None:
        for name in listed(root / "out"):
            if values(root / "out" / name) not in (
                reference["new"][f"out/{name}"],
                reference["old"][f"out/{name}"],
            ):
                found.append(f"out/{name} is listed, but not what it should be")

    @staticmethod
    def _found(root: pathlib.Path, target: str) -> dict[str, str] | None:
        return values(root / target) if (root / f"{target}.index").exists() else None


def _speaks_of(error: str, output: str) -> bool:
    return os.strerror(getattr(errno, error)) in output


def _call(root: pathlib.Path, arguments: tuple[str, ...]) -> int:
    """Runs a command whose checkpoints are below `root`."""
    paths = [
        str(root / each) if each.split("/")[0] in ("job", "out") else each for each in arguments
    ]
    return command_line.main(paths)


def _in_process(root: pathlib.Path, function: Callable[[], object]) -> object:
    """Calls a function in a process of its own; returns what it returned, through JSON."""
    facts, output = root.with_suffix(".json"), root.with_suffix(".again")
    pid = strace.fork(lambda: facts.write_text(json.dumps(function())) and 0, output)
    code, text = strace.finish(pid, output)
    assert code == 0, text
    return json.loads(facts.read_text())


_RENAME = ("rename", "job", "out/ckpt", "--rename=digits/=numbers/")
_ALL = ("out/model.ckpt-4", "out/model.ckpt-6")
SCENARIOS = (
    Training("digits job"),
    Training("digits job, async_save", async_save=True),
    Training("digits job, links", links=True),
    Training("digits job, links, async_save", async_save=True, links=True),
    Training("two jobs, one takes over", before="another job's"),
    Training("a copied job", before="copied"),
    Training("tf1_dir removed", before="removed"),
    Command("convert", ("convert", "job", "out/ckpt", "--to=tf1"), ("out/ckpt",)),
    Command("convert --copy", ("convert", "job", "out/ckpt", "--to=tf2", "--copy"), ("out/ckpt",)),
    Command("convert --overwrite", ("convert", "job", "out/ckpt", "--to=tf2"), ("out/ckpt",), True),
    Command(
        "convert after a kill",
        ("convert", "job", "out/ckpt", "--to=tf2"),
        ("out/ckpt",),
        was_killed=True,
    ),
    Command("convert --all", ("convert", "job", "out", "--to=tf2", "--all"), _ALL),
    Command(
        "convert --all --overwrite", ("convert", "job", "out", "--to=tf1", "--all"), _ALL, True
    ),
    Command("rename", _RENAME, ("out/ckpt",)),
    Command("rename --overwrite", _RENAME, ("out/ckpt",), True),
    Command("average", ("average", "job", "out/ckpt", "--last=2"), ("out/ckpt",)),
    Command("average --overwrite", ("average", "job", "out/ckpt", "--last=2"), ("out/ckpt",), True),
)
