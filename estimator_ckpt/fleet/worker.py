"""What a process of `workers` does: one model_dir after the other, until its standard input ends.

Pickles come in, pickles go out. What else would print goes to standard error.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys

from estimator_ckpt.fleet.work import work


def main() -> None:
    """Reads what to do, then model_dirs; writes a row for each."""
    signal.signal(signal.SIGTERM, _end)
    given, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    verb, options = pickle.load(given)
    while True:
        try:
            model_dir = pickle.load(given)
        except EOFError:
            return
        pickle.dump(work(verb, model_dir, options), answers)
        answers.flush()


def _end(number: int, frame: object) -> None:
    sys.exit(0)  # by way of what tidies up
