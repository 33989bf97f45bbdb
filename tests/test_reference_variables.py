"""The conformance suite once more, on reference variables and without eager mode."""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent


@pytest.mark.slow
def test_the_scenarios_hold_under_disable_v2_behavior():
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "tests/conformance"],
        cwd=ROOT,
        env={**os.environ, "ESTIMATOR_CKPT_V1_BEHAVIOR": "1"},
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert ran.returncode == 0, ran.stdout[-4000:]
