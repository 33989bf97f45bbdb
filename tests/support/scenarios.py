"""Scenarios: what a job does raw, it does wrapped; each is run as both, and compared.

    @scenario("Optimizers")
    def adam_resumes(job):
        \"\"\"Adam: 8 steps equal 4 and 4.\"\"\"
        job.train(model_fn, steps=4)
        job.train(model_fn, steps=4)
        return job.values()                     # whatever a user can observe

    test_scenario = conformance_test(__name__)

A scenario is called once for each way to wrap: "raw" (not at all), "dual" and "tf2"; and "async"
and "links", which are "dual" with an option. It returns what can be observed, as nested dicts,
lists, numbers, strings and arrays, and that has to be equal.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jobs
import numpy as np
import pytest
import tensorflow as tf

import estimator_ckpt

WRAPPED = ("dual", "tf2")
OPTIONS = {"async": "ESTIMATOR_CKPT_ASYNC_SAVE", "links": "ESTIMATOR_CKPT_UNCHANGED"}
"""Ways that are "dual" with an option: the variable that tells it to processes, too."""
SCENARIOS: list[Scenario] = []
RESULTS: dict[tuple[str, str], str] = {}
"""{(scenario, format): "equal", "better" or "differs by nature"} of what has run and passed."""


@dataclass(frozen=True)
class Scenario:
    """One thing that owners of Estimator jobs do.

    Attributes:
      group: which part of a job it is about.
      run: takes a `Job`, returns what can be observed.
      tf2: why a tf2 checkpoint can't match here by its nature; it is then run and not compared.
      asynchronous: why a job that saves while training goes on can't match by its nature.
      raw: what the raw job does wrong here; wrapped ones are then compared with `right`.
      right: what should be observed, where raw is wrong.
      raw_fails: whether the raw job ends with an error here.
      formats: the ways to wrap that the scenario is about.
      slow: whether it is left to CI, as a cluster of processes is.
    """

    group: str
    run: Callable[[Job], Any]
    tf2: str | None = None
    asynchronous: str | None = None
    raw: str | None = None
    right: Callable[[], Any] | None = None
    raw_fails: bool = False
    formats: tuple[str, ...] = WRAPPED
    slow: bool = False

    @property
    def name(self) -> str:
        return self.run.__name__

    @property
    def title(self) -> str:
        return (self.run.__doc__ or self.name).strip().splitlines()[0].rstrip(".")


def scenario(group: str, **settings: Any) -> Callable[[Callable], Callable]:
    """Registers a function as a scenario; `settings` are the fields of `Scenario`."""

    def register(run: Callable) -> Callable:
        SCENARIOS.append(Scenario(group, run, **settings))
        return run

    return register


class Job:
    """One job in a folder of its own, raw or wrapped, and what can be seen of it."""

    def __init__(self, how: str, folder: Any):
        self.how = how
        self.folder = folder
        self.model_dir = folder / "job"

    def wrap(self, model_fn: Callable, **settings: Any) -> Callable:
        """Returns the model_fn as this job has it: itself if raw, else wrapped."""
        if self.how == "raw":
            return model_fn
        settings.setdefault("async_save", async_save())
        settings.setdefault("unchanged", "link" if links() else "write")
        return estimator_ckpt.wrap_model_fn(model_fn, checkpoint_format=self.how, **settings)

    def estimator(self, model_fn: Callable, model_dir: Any = None, **config: Any) -> Any:
        """An Estimator of the wrapped (or raw) model_fn; `config` as for `jobs.make_estimator`."""
        return jobs.make_estimator(self.wrap(model_fn), model_dir or self.model_dir, **config)

    def train(self, model_fn: Callable, *, steps: int, hooks: Any = None, **config: Any) -> Any:
        """Trains a new Estimator on `jobs.same_batch_input_fn`; returns it."""
        estimator = self.estimator(model_fn, **config)
        estimator.train(jobs.same_batch_input_fn, steps=steps, hooks=hooks)
        return estimator

    def values(self, model_dir: Any = None) -> dict[str, Any]:
        """{name: value} of the latest checkpoint, of whatever format."""
        return jobs.values(tf.train.latest_checkpoint(str(model_dir or self.model_dir)))

    def checkpoints(self) -> list[str]:
        """The names of the checkpoints that the state file lists."""
        return jobs.listed(self.model_dir)


def conformance_test(module: str, options: tuple[str, ...] = ("async",)) -> Callable:
    """Makes the test function that runs the scenarios of a module, those of "dual" with options."""
    mine = [each for each in SCENARIOS if each.run.__module__ == module]
    cases = []
    for each in mine:
        for how in (*each.formats, *(options if "dual" in each.formats else ())):
            marks = [pytest.mark.one_version, pytest.mark.slow] if how != "dual" else []
            marks += [pytest.mark.slow] if each.slow else []
            cases.append(pytest.param(each, how, id=f"{each.name}-{how}", marks=marks))

    @pytest.mark.parametrize(("scenario", "how"), cases)
    def test_scenario(
        scenario: Scenario, how: str, tmp_path_factory: Any, monkeypatch: Any
    ) -> None:
        expected = _expected(scenario, tmp_path_factory)
        folder = tmp_path_factory.mktemp(f"{scenario.name[:40]}-{how}")
        option = OPTIONS.get(how)
        if option:
            monkeypatch.setenv(option, "1")
        found = scenario.run(Job("dual" if option else how, folder))
        outcome = "equal" if scenario.raw is None else "better"
        if (how == "tf2" and scenario.tf2) or (async_save() and scenario.asynchronous):
            outcome = "differs by nature"
        else:
            assert_equal(found, expected)
        RESULTS[scenario.name, how] = outcome

    return test_scenario


_raw_observations: dict[str, Any] = {}


def _expected(scenario: Scenario, tmp_path_factory: Any) -> Any:
    if scenario.name not in _raw_observations:
        job = Job("raw", tmp_path_factory.mktemp(f"{scenario.name[:40]}-raw"))
        if scenario.raw_fails:
            with pytest.raises(Exception):  # noqa: B017 - which one is TensorFlow's affair
                scenario.run(job)
            _raw_observations[scenario.name] = None
        else:
            _raw_observations[scenario.name] = scenario.run(job)
    if scenario.raw is None:
        return _raw_observations[scenario.name]
    right = scenario.right() if scenario.right else None
    if right is not None and not scenario.raw_fails:
        with pytest.raises(AssertionError):  # else raw is not wrong, and the scenario is
            assert_equal(_raw_observations[scenario.name], right)
    return right


def assert_equal(found: Any, expected: Any, where: str = "") -> None:
    """Compares observations: floats and arrays bit for bit, the rest by ==."""
    if isinstance(expected, dict):
        assert sorted(found) == sorted(expected), where
        for key, value in expected.items():
            assert_equal(found[key], value, f"{where}/{key}")
    elif isinstance(expected, (list, tuple)):
        assert len(found) == len(expected), (where, found, expected)
        for number, pair in enumerate(zip(found, expected)):
            assert_equal(*pair, f"{where}[{number}]")
    else:
        np.testing.assert_array_equal(found, expected, err_msg=where)


def v1_behavior() -> bool:
    """Whether this run is under `disable_v2_behavior()`: reference variables, no eager mode."""
    return bool(os.environ.get("ESTIMATOR_CKPT_V1_BEHAVIOR"))


def async_save() -> bool:
    """Whether wrapped jobs now save while training goes on."""
    return bool(os.environ.get(OPTIONS["async"]))


def links() -> bool:
    """Whether wrapped jobs now link what has not changed."""
    return bool(os.environ.get(OPTIONS["links"]))


def run_in_process(function: Callable, *args: str, timeout: float = 900) -> str:
    """Runs a function of a test module in a process of its own; returns what it prints.

    For what can't be undone in a process, such as `enable_eager_execution` or another TensorFlow
    setting. The function is found again by its name in its file, and takes and prints text.
    """
    import subprocess

    path = inspect.getsourcefile(function)
    code = (
        "import runpy, sys; module = runpy.run_path(sys.argv[1], run_name='scenario'); "
        f"module['{function.__name__}'](*sys.argv[2:])"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    ran = subprocess.run(
        [sys.executable, "-c", code, str(path), *args],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=environment,
    )
    assert ran.returncode == 0, ran.stderr[-4000:]
    return ran.stdout
