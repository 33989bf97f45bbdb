"""Runs a script or a module with `tf.estimator` in its place: see `estimator_ckpt.compat`.

python -m estimator_ckpt.compat job.py --its=flags
python -m estimator_ckpt.compat -m my.job --its=flags
"""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Sequence

from estimator_ckpt import compat
from estimator_ckpt.errors import EstimatorUnavailableError

_USAGE = "usage: python -m estimator_ckpt.compat (SCRIPT | -m MODULE) [ARGUMENT ...]"


def main(arguments: Sequence[str]) -> int:
    """Runs what the command line names as Python itself would; returns the exit code."""
    is_module = arguments[:1] == ["-m"]
    rest = list(arguments[1:] if is_module else arguments)
    if not rest or rest[0].startswith("-"):
        print(_USAGE, file=sys.stderr)
        return 2
    try:
        compat.install()
    except EstimatorUnavailableError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    sys.argv = rest
    if is_module:
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.path[0] = os.path.dirname(os.path.abspath(rest[0]))
        runpy.run_path(rest[0], run_name="__main__")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
