"""The flags of `python -m estimator_ckpt.prove`.

Importing this module defines no flag and doesn't import TensorFlow.
"""

from __future__ import annotations

from typing import Any

from absl import flags

from estimator_ckpt import flags as checkpoint_flags
from estimator_ckpt.estimator.options import options_with_flags
from estimator_ckpt.functions import define_function_flag, define_params_flag

_FORMATS = ("dual", "tf2")


def make_flags() -> flags.FlagValues:
    """Returns the flags, not parsed yet; they may stand behind operands, too."""
    values = flags.FlagValues()
    values.set_gnu_getopt(True)
    _define_job_flags(values)
    checkpoint_flags.define_wrapping_flags(values, formats=_FORMATS)
    _define_model_flags(values)
    flags.DEFINE_bool("json", False, "Print the proof as JSON.", flag_values=values)
    flags.DEFINE_bool("help", False, "Print this help.", short_name="h", flag_values=values)
    return values


def _define_job_flags(values: flags.FlagValues) -> None:
    for name, text in {
        "model_fn": "The job's model_fn, as package.module:function.",
        "input_fn": "What it is trained on, as package.module:function; it is begun anew when the "
        "job is resumed.",
        "eval_input_fn": "What it is evaluated and predicts on; by default the --input_fn.",
        "config_fn": "A function without arguments that returns a RunConfig, whose folder, seed "
        "and pace of saving are replaced.",
    }.items():
        define_function_flag(name, text, values)
    define_params_flag(values)
    for name, default, at_least, text in (
        ("steps", 20, 2, "Train up to this global step, in two halves."),
        ("eval_steps", 5, 1, "Evaluate on so many batches."),
        ("seed", 1, 0, "Of TensorFlow, random, numpy.random and the hashes of strings."),
    ):
        flags.DEFINE_integer(name, default, text, lower_bound=at_least, flag_values=values)
    flags.DEFINE_bool(
        "deterministic",
        False,
        "Have TensorFlow's operations be deterministic, which are slower then.",
        flag_values=values,
    )
    for name, text in {
        "eval": "Evaluate the job; --noeval for a model_fn that has no such mode.",
        "predict": "Have the job predict; --nopredict for a model_fn that has no such mode.",
    }.items():
        flags.DEFINE_bool(name, True, text, flag_values=values)
    flags.DEFINE_string(
        "work_dir",
        None,
        "A new folder for all that is written, which stays. By default a temporary one.",
        flag_values=values,
    )
    flags.DEFINE_float(
        "timeout",
        3600.0,
        "How many seconds each process may take, to its very end.",
        lower_bound=0.1,
        flag_values=values,
    )


def _define_model_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string(
        "inputs",
        None,
        "What both models get: an .npz file, or package.module:function that returns {name: "
        "array} or an array. By default random inputs, where a model says what it takes.",
        flag_values=values,
    )
    flags.DEFINE_multi_string(
        "names",
        [],
        "LEFT=RIGHT, an output or a layer that is called differently; may be repeated.",
        flag_values=values,
    )
    flags.DEFINE_multi_string(
        "only",
        [],
        "An output of LEFT; no others are compared. May be repeated. By default all are, and one "
        "that only one side has is a difference.",
        flag_values=values,
    )
    flags.DEFINE_float(
        "tolerance",
        1e-5,
        "Values agree if they differ by no more than this, absolutely or relatively.",
        lower_bound=0.0,
        flag_values=values,
    )
    flags.DEFINE_multi_string(
        "rename",
        [],
        "FROM=TO, @rules.txt or @map.txt: how variables of the CHECKPOINT of a "
        "package.module:make_model@CHECKPOINT are called in the model. Of a map that asks, all "
        "answers are tried for RIGHT.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "output",
        None,
        "File for the map with the answers that were found. One that is there is only replaced if "
        "it is that of --rename.",
        short_name="o",
        flag_values=values,
    )


def wrapping_options(values: flags.FlagValues) -> dict[str, Any]:
    """Returns the options of `wrap_model_fn` that were given."""
    names = [option.name for option in options_with_flags()]
    return {name: values[name].value for name in names if values[name].present}
