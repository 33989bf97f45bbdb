"""The conformance suite once more: reference variables, saving in the background, and linking."""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent


# Where links may differ: in what pieces it is saved, and by whom. `tests/conformance` is all.
OF_LINKS = ("test_formats", "test_partitions", "test_savers")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("way", "selection"),
    [
        pytest.param("V1_BEHAVIOR", ["-m", "not slow", "tests/conformance"], id="V1_BEHAVIOR"),
        pytest.param(
            "ASYNC_SAVE", ["-m", "slow or not slow", "tests/conformance"], id="ASYNC_SAVE"
        ),
        pytest.param(
            "UNCHANGED",
            ["-m", "not slow", *(f"tests/conformance/{name}.py" for name in OF_LINKS)],
            id="UNCHANGED",
        ),
    ],
)
def test_the_scenarios_hold(way, selection):
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")
    }
    # Two processes: as the longest of the slow tests, this one is often the last that runs.
    options = ["-q", "-p", "no:cacheprovider", "-n", "2", "--dist", "loadfile", "-k", "dual"]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *selection],
        cwd=ROOT,
        env={**environment, f"ESTIMATOR_CKPT_{way}": "1"},
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert ran.returncode == 0, ran.stdout[-4000:]
