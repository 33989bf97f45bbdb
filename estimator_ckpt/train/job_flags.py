"""The flags of `estimator_ckpt.train` that are not about checkpoints: model, input and mode.

    define_job_flags()
    FLAGS.model_fn, FLAGS.mode      # once absl has parsed them

Importing this module defines no flag and doesn't import TensorFlow.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from absl import flags

from estimator_ckpt.functions import define_function_flag, define_params_flag

MODES = ("train", "evaluate", "train_and_evaluate", "predict", "export")
TRAIN_MODES = ("train", "train_and_evaluate")
FUNCTION_FLAGS = ("model_fn", "input_fn", "eval_input_fn", "serving_input_fn")
NEEDED_BY = {
    "model_fn": MODES,
    "input_fn": TRAIN_MODES,
    "eval_input_fn": ("evaluate", "train_and_evaluate", "predict"),
    "serving_input_fn": ("export",),
    "model_dir": ("evaluate", "predict", "export"),
}


def define_job_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines the flags of this job, with their validators; the checkpoint flags are not in it.

    Args:
      flag_values: where to define them; absl's global flags by default.

    Raises:
      absl.flags.DuplicateFlagError: a flag of such a name is defined already.
    """
    _define_model_flags(flag_values)
    _define_run_flags(flag_values)
    for name in NEEDED_BY:
        _need(name, flag_values)


def _define_model_flags(flag_values: flags.FlagValues) -> None:
    for name, text in {
        "model_fn": "The model_fn of the Estimator, as package.module:function.",
        "input_fn": "The input_fn to train on, as package.module:function.",
        "eval_input_fn": "The input_fn to evaluate or predict on, as package.module:function.",
        "serving_input_fn": "The serving_input_receiver_fn to export with, as "
        "package.module:function.",
    }.items():
        define_function_flag(name, text, flag_values)
    define_params_flag(flag_values)
    flags.DEFINE_string(
        "model_dir",
        None,
        "The job's folder. Training makes one of its own below ./runs if this isn't given.",
        flag_values=flag_values,
    )


def _define_run_flags(flag_values: flags.FlagValues) -> None:
    flags.DEFINE_enum("mode", "train", MODES, "What to do.", flag_values=flag_values)
    for name, text in {
        "max_steps": "Train up to this global step; without it, to the end of the input.",
        "eval_steps": "Evaluate on so many batches; without it, to the end of the input.",
        "max_predictions": "Stop after so many predictions.",
    }.items():
        flags.DEFINE_integer(name, None, text, lower_bound=1, flag_values=flag_values)
    flags.DEFINE_integer(
        "eval_throttle_secs",
        0,
        "While training, don't evaluate again before so many seconds have gone by.",
        lower_bound=0,
        flag_values=flag_values,
    )
    flags.DEFINE_string(
        "checkpoint_path",
        None,
        "Evaluate, predict with or export this checkpoint instead of the latest.",
        flag_values=flag_values,
    )
    flags.DEFINE_string(
        "export_dir",
        None,
        "Where exports go, each in a folder named for its time; by default model_dir/export.",
        flag_values=flag_values,
    )
    flags.DEFINE_integer(
        "tf_random_seed", None, "TensorFlow's seed for each graph.", flag_values=flag_values
    )
    flags.DEFINE_bool(
        "read_back",
        True,
        "After training, read the checkpoints back with plain TensorFlow. "
        "It holds all values in memory a few times.",
        flag_values=flag_values,
    )


def _need(name: str, flag_values: flags.FlagValues) -> None:
    def check(values: Mapping[str, Any]) -> bool:
        if values["mode"] in NEEDED_BY[name] and not values[name]:
            form = "package.module:function" if name in FUNCTION_FLAGS else "FOLDER"
            raise flags.ValidationError(f"--mode={values['mode']} needs --{name}={form}")
        return True

    flags.register_multi_flags_validator(["mode", name], check, flag_values=flag_values)
