r"""Proves by running: your own job, raw and wrapped; or two models on the same inputs.

    python -m estimator_ckpt.prove --model_fn=my.model:model_fn --input_fn=my.data:input_fn \
        --steps=20 --tf1_dir={model_dir}/tf1
    python -m estimator_ckpt.prove my.model:model_fn@old_job my.keras_model:make_model@new_job \
        --inputs=inputs.npz

A model is package.module:model_fn@CHECKPOINT, package.module:make_model[@CHECKPOINT], where the
checkpoint is restored into what the function returns, or the path of a SavedModel[@SIGNATURE].

Exit codes: 0, equal; 1, different; 2, it could not be done, or the job is not repeatable; 130,
interrupted or told to end (SIGTERM); what was temporary is removed.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

from absl import flags

from estimator_ckpt.errors import CheckpointError
from estimator_ckpt.hyphens import with_underscores
from estimator_ckpt.messages import escaped, json_text
from estimator_ckpt.prove.prove_flags import make_flags, wrapping_options

_USAGE = (
    "usage: python -m estimator_ckpt.prove --model_fn=package.module:function "
    "--input_fn=package.module:function [FLAG ...]\n"
    "       python -m estimator_ckpt.prove LEFT RIGHT [FLAG ...]\n"
    "LEFT, RIGHT: package.module:model_fn@CHECKPOINT, package.module:make_model[@CHECKPOINT], or "
    "SAVED_MODEL[@SIGNATURE]"
)
_TROUBLE, _INTERRUPTED = 2, 130


def main(arguments: Sequence[str]) -> int:
    """Runs one command line; returns the exit code."""
    values = make_flags()
    try:
        operands = values([_USAGE, *with_underscores(arguments, values)])[1:]
        if values.help:
            print(f"{_USAGE}\n{values.get_help()}")
            return 0
        return _prove_models(operands, values) if operands else _prove_job(values)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except flags.Error as error:
        print(f"error: {escaped(error)}\n{_USAGE}", file=sys.stderr)
    except CheckpointError as error:
        print(f"error: {error}", file=sys.stderr)
    return _TROUBLE


def _prove_job(values: flags.FlagValues) -> int:
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
        evaluate=values.eval,
        predict=values.predict,
        seed=values.seed,
        deterministic=values.deterministic,
        work_dir=values.work_dir,
        timeout=values.timeout,
        progress=_tell,
    )
    print(json_text(proof.as_dict()) if values.json else proof)
    return {EQUAL: 0, DIFFERENT: 1}.get(proof.verdict, _TROUBLE)


def _prove_models(operands: Sequence[str], values: flags.FlagValues) -> int:
    if len(operands) != 2:
        raise flags.Error(f"expected LEFT and RIGHT, not {len(operands)} models")
    from estimator_ckpt.prove.models import prove_models

    proof = prove_models(
        operands[0],
        operands[1],
        inputs=values.inputs,
        names=values.names,
        only=values.only,
        rename=values.rename,
        output=values.output,
        params=values.params,
        tolerance=values.tolerance,
        seed=values.seed,
    )
    print(json_text(proof.as_dict()) if values.json else proof)
    return 0 if proof.equal else 1


def _interrupt(number: int, frame: Any) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough; a second disturbs the clean-up
    raise KeyboardInterrupt


def _tell(line: str) -> None:
    print(escaped(line), file=sys.stderr, flush=True)


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    signal.signal(signal.SIGTERM, _interrupt)
    sys.exit(main(sys.argv[1:]))
