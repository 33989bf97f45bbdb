"""Runs a script or a module with `tf.estimator` in its place: see `estimator_ckpt.compat`.

python -m estimator_ckpt.compat job.py --its=flags
python -m estimator_ckpt.compat -m my.job --its=flags
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from estimator_ckpt import compat
from estimator_ckpt.compat.program import Program
from estimator_ckpt.errors import EstimatorUnavailableError

_USAGE = "usage: python -m estimator_ckpt.compat (SCRIPT | -m MODULE) [ARGUMENT ...]"


def main(arguments: Sequence[str]) -> int:
    """Runs what the command line names as Python itself would; returns the exit code."""
    program = Program.parse(arguments)
    if program is None:
        print(_USAGE, file=sys.stderr)
        return 2
    try:
        compat.install()
    except EstimatorUnavailableError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    program.run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
