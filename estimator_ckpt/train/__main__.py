r"""Trains, evaluates, predicts with or exports any Estimator model, told by flags alone.

    python -m estimator_ckpt.train --flagfile=configs/digits.flags
    python -m estimator_ckpt.train --model_fn=my.model:model_fn --input_fn=my.data:train_input_fn \
        --mode=train --max_steps=1000 --model_dir=runs/mine --params='{"learning_rate": 0.01}'
    python -m estimator_ckpt.train --help

`python -m estimator_ckpt.examples.flagfiles` puts the flagfiles of the examples into ./configs.
After training it reads the checkpoints back with plain TensorFlow and prints a short summary.
"""

from __future__ import annotations

import sys

from absl import app
from absl import flags as absl_flags

from estimator_ckpt import flags
from estimator_ckpt.hyphens import with_underscores
from estimator_ckpt.train import job, job_flags


def run() -> None:
    """Defines the flags, parses the command line and exits with the job's code."""
    flags.define_checkpoint_flags()
    job_flags.define_job_flags()
    for module in (flags, job_flags):  # for --help, which shows the flags of the main module
        absl_flags.adopt_module_key_flags(module)
    app.run(job.main, flags_parser=_parse)


def _parse(argv: list[str]) -> list[str]:
    values = absl_flags.FLAGS
    try:
        spelled = with_underscores(argv, values)
    except absl_flags.UnrecognizedFlagError as error:
        sys.exit(f"FATAL Flags parsing error:\n  {error}\nPass --help to see the flags.")
    left: list[str] = app.parse_flags_with_usage(spelled)
    return left


if __name__ == "__main__":
    run()
