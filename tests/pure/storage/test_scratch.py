"""The place on the local disk for what goes to a store: private, and gone afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

MAKE = """
import os, stat, sys
from estimator_ckpt.storage.scratch import scratch_path
path = scratch_path("s3://bucket/job/model.ckpt.data")
open(path, "xb").close()
print(stat.filemode(os.stat(os.path.dirname(path)).st_mode), path, flush=True)
"""


def made(folder, *, killed):
    """What a process says that has made a scratch file, and has ended."""
    code = MAKE + (f"os.kill(os.getpid(), {int(signal.SIGKILL)})" if killed else "")
    environment = {**os.environ, "TMPDIR": str(folder), "PYTHONPATH": os.getcwd()}
    ran = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=600
    )
    assert (ran.returncode == 0) != killed, ran
    return ran.stdout.split()


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals and modes")
def test_it_goes_with_the_process_or_else_with_the_next(tmp_path):
    (tmp_path / "stranger.staging-1").mkdir()
    mode, path = made(tmp_path, killed=True)
    assert mode == "drwx------"
    assert os.path.exists(path)
    made(tmp_path, killed=False)
    assert os.listdir(tmp_path) == ["stranger.staging-1"]
