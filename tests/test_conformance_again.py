"""The conformance suite once more: reference variables, saving in the background, and linking."""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent


@pytest.mark.slow
@pytest.mark.parametrize(
    ("way", "selection"),
    [
        pytest.param("V1_BEHAVIOR", ["-m", "not slow"], id="V1_BEHAVIOR"),
        pytest.param("ASYNC_SAVE", ["-m", "slow or not slow"], id="ASYNC_SAVE"),
        pytest.param("UNCHANGED", ["-m", "not slow"], id="UNCHANGED"),
    ],
)
def test_the_scenarios_hold(way, selection):
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")
    }
    # Two processes: as the longest of the slow tests, this one is often the last that runs.
    options = ["-q", "-p", "no:cacheprovider", "-n", "2", "--dist", "loadfile", "-k", "dual"]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *selection, "tests/conformance"],
        cwd=ROOT,
        env={**environment, f"ESTIMATOR_CKPT_{way}": "1"},
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert ran.returncode == 0, ran.stdout[-4000:]
