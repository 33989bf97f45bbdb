r"""Proves by running: your own job, raw and wrapped.

    python -m estimator_ckpt.prove --model_fn=my.model:model_fn --input_fn=my.data:input_fn \
        --steps=20 --tf1_dir={model_dir}/tf1

Exit codes: 0, equal; 1, different; 2, it could not be done, or the job is not repeatable; 130,
interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from absl import flags

from estimator_ckpt.errors import CheckpointError
from estimator_ckpt.messages import escaped, json_text
from estimator_ckpt.prove.prove_flags import make_flags, wrapping_options

_USAGE = (
    "usage: python -m estimator_ckpt.prove --model_fn=package.module:function "
    "--input_fn=package.module:function [FLAG ...]"
)
_TROUBLE, _INTERRUPTED = 2, 130


def main(arguments: Sequence[str]) -> int:
    """Runs one command line; returns the exit code."""
    values = make_flags()
    try:
        operands = values([_USAGE, *arguments])[1:]
        if values.help:
            print(f"{_USAGE}\n{values.get_help()}")
            return 0
        return _prove_job(operands, values)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except flags.Error as error:
        print(f"error: {escaped(error)}\n{_USAGE}", file=sys.stderr)
    except CheckpointError as error:
        print(f"error: {error}", file=sys.stderr)
    return _TROUBLE


def _prove_job(operands: Sequence[str], values: flags.FlagValues) -> int:
    if operands:
        raise flags.Error(f"unexpected argument {operands[0]!r}; all is told by --flag=value")
    for name in ("model_fn", "input_fn"):
        if values[name].value is None:
            raise flags.Error(f"--{name}=package.module:function is required")
    from estimator_ckpt.prove.job import prove_job
    from estimator_ckpt.prove.job_proof import DIFFERENT, EQUAL

    proof = prove_job(
        values.model_fn,
        values.input_fn,
        steps=values.steps,
        eval_input_fn=values.eval_input_fn,
        eval_steps=values.eval_steps,
        params=values.params,
        config_fn=values.config_fn,
        options=wrapping_options(values),
        seed=values.seed,
        deterministic=values.deterministic,
        work_dir=values.work_dir,
        timeout=values.timeout,
        progress=_tell,
    )
    print(json_text(proof.as_dict()) if values.json else proof)
    return {EQUAL: 0, DIFFERENT: 1}.get(proof.verdict, _TROUBLE)


def _tell(line: str) -> None:
    print(escaped(line), file=sys.stderr, flush=True)


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.exit(main(sys.argv[1:]))
