"""Two models that a command line names, and what it says of their inputs.

prove_models("my.model:model_fn@old_job", "my.model:make_model@new_job", inputs="inputs.npz")
"""

from __future__ import annotations

import inspect
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import flags

from estimator_ckpt import compat, naming
from estimator_ckpt.checkpoint.rules_file import load_rules
from estimator_ckpt.errors import CheckpointArgumentError
from estimator_ckpt.functions import REFERENCE, load_function
from estimator_ckpt.prove.answers import AnswersProof, prove_answers
from estimator_ckpt.prove.outputs import OutputProof, prove_outputs
from estimator_ckpt.storage import files


def prove_models(
    left: str,
    right: str,
    *,
    inputs: str | None = None,
    names: Sequence[str] = (),
    only: Sequence[str] = (),
    rename: Sequence[str] = (),
    output: str | None = None,
    params: Any = None,
    tolerance: float = 1e-5,
    seed: int = 0,
) -> OutputProof | AnswersProof:
    """Compares two models; of a map that asks, it tries the answers for the right one.

    Args:
      left: `package.module:model_fn@CHECKPOINT`, `package.module:make_model`, which may be
        followed by `@CHECKPOINT`, or the path of a SavedModel, which may be by `@SIGNATURE`.
      right: likewise.
      inputs: an .npz file, or `package.module:function`; None for random ones.
      names: `LEFT=RIGHT` of outputs and layers.
      only: outputs of the left side, as for `prove_outputs`.
      rename: rules for the checkpoint of a `make_model`, or `@map.txt`.
      output: a file for the map with its answers.
      params: of a model_fn.
      tolerance: as for `prove_outputs`.
      seed: of random inputs.

    Returns:
      What `prove_outputs` or `prove_answers` does.

    Raises:
      CheckpointError: something named isn't there or can't be used.
    """
    compat.install()  # before anything of the user's is imported, which may say tf.estimator
    _require_free(output, rename)
    rules = load_rules(rename)
    called = dict(_pair(each) for each in names)
    given = _load_inputs(inputs)
    one = _load_side("LEFT", left, params, rules)
    asking = rules.variable_map
    if asking is not None and any(
        each.answer is None and each.question.answers for each in asking.asked
    ):
        reference, _, checkpoint = right.partition("@")
        if not checkpoint:
            raise CheckpointArgumentError(
                f"RIGHT={right}: a map that asks is for package.module:make_model@CHECKPOINT"
            )
        target = _function("RIGHT", reference)()
        tried = prove_answers(
            asking, checkpoint, target, one, given, only=only, tolerance=tolerance, seed=seed
        )
        if output is not None:
            files.write_atomically(output, tried.map.text().encode())
        return tried
    if output is not None:
        raise CheckpointArgumentError("--output is for a map that asks; there is no open question")
    other = _load_side("RIGHT", right, params, rules)
    return prove_outputs(one, other, given, names=called, only=only, tolerance=tolerance, seed=seed)


def _load_side(which: str, text: str, params: Any, rules: naming.RenameRules) -> Any:
    """Returns what `prove_outputs` takes."""
    reference, _, behind = text.partition("@")
    if files.exists(text) or not REFERENCE.fullmatch(reference):
        return (reference, behind) if behind and not files.exists(text) else text
    function = _function(which, reference)
    if "features" in inspect.signature(function).parameters:
        if not behind:
            raise CheckpointArgumentError(
                f"{which}={text} is a model_fn, which needs a checkpoint: {text}@CHECKPOINT"
            )
        return (function, behind, params)
    made = function()
    if behind:
        from estimator_ckpt.live.restore import restore

        restore(made, behind, rename=rules)
    return made


def _function(which: str, reference: str) -> Any:
    try:
        return load_function(which, reference)
    except flags.Error as error:
        raise CheckpointArgumentError(str(error).replace(f"--{which}", which)) from error


def _load_inputs(inputs: str | None) -> Any:
    if inputs is None:
        return None
    if REFERENCE.fullmatch(inputs) and not files.exists(inputs):
        return _function("--inputs", inputs)()
    try:
        with np.load(inputs) as file:
            return dict(file)
    except (OSError, ValueError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise CheckpointArgumentError(
            f"--inputs={inputs} must be an .npz file or package.module:function: {error}"
        ) from error


def _pair(text: str) -> tuple[str, str]:
    left, equals, right = text.partition("=")
    if not (left and equals and right):
        raise CheckpointArgumentError(f"--names={text} must be LEFT=RIGHT")
    return left, right


def _require_free(output: str | None, rename: Sequence[str]) -> None:
    if output is None:
        return
    files.require_writable(output)
    maps = [rule[1:] for rule in rename if rule.startswith("@")]
    if files.exists(output) and not any(files.is_same(output, each) for each in maps):
        raise CheckpointArgumentError(f"'{output}' exists; give another name")
