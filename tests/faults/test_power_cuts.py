"""Which files are flushed to the disk, as the system sees it: TensorFlow's own part included."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys

import pytest
import strace

ROOT = pathlib.Path(__file__).resolve().parents[2]
TRAIN = """
import sys
import jobs
from estimator_ckpt import wrap_model_fn
for name, model_fn in {
    "raw": jobs.adam_model_fn,
    "wrapped": wrap_model_fn(jobs.adam_model_fn),
    "synced": wrap_model_fn(jobs.adam_model_fn, sync_data=True),
}.items():
    jobs.make_estimator(model_fn, f"{sys.argv[1]}/{name}").train(jobs.input_fn, steps=1)
"""
_FLUSHED = re.compile(r"f(?:data)?sync\(\d+<([^>]*)>\)")


@pytest.mark.slow
def test_tensorflow_flushes_nothing_and_this_library_what_it_says(tmp_path):
    if not strace.is_here():
        assert "CI" not in os.environ, "CI has to have strace: apt-get install strace"
        pytest.skip("there is no strace here (Debian: apt-get install strace)")
    log = tmp_path / "log"
    folders = [str(ROOT), str(ROOT / "tests" / "support"), os.environ.get("PYTHONPATH", "")]
    calls = "trace=fsync,fdatasync,sync,syncfs,sync_file_range"
    traced = ["strace", "-f", "--seccomp-bpf", "-y", "-qq", "-e", calls, "-o", str(log)]
    ran = subprocess.run(
        [*traced, sys.executable, "-c", TRAIN, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, folders))},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    text = log.read_text()
    assert not re.search(r"\b(sync|syncfs|sync_file_range)\(", text)
    flushed = {name: set() for name in ("raw", "wrapped", "synced")}
    for path in map(pathlib.PurePath, _FLUSHED.findall(text)):
        below = path.relative_to(tmp_path)
        if len(below.parts) and below.parts[0] in flushed:
            name = re.sub(r"\.staging-.*|-\d(?=\.)", "", below.name if below.parts[1:] else "")
            flushed[below.parts[0]].add(name)
    assert flushed["raw"] == set()
    committed = {"", "checkpoint", "model.ckpt.index"}  # "" is the directory
    assert flushed["wrapped"] == committed
    assert flushed["synced"] == {*committed, "model.ckpt.data-00000-of-00001"}
