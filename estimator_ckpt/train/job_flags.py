"""The flags of `estimator_ckpt.train` that are not about checkpoints: model, input and mode.

    define_job_flags()
    FLAGS.model_fn, FLAGS.mode      # once absl has parsed them

Importing this module defines no flag and doesn't import TensorFlow.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from absl import flags

from estimator_ckpt.functions import REFERENCE

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
    for name in FUNCTION_FLAGS:
        flags.register_validator(name, _is_reference, flag_values=flag_values)
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
        flags.DEFINE_string(name, None, text, flag_values=flag_values)
    flags.DEFINE(
        _ParamsParser(),
        "params",
        None,
        "The model_fn's params: a JSON object, or name=value,name=value.",
        flag_values=flag_values,
        serializer=_ParamsSerializer(),
    )
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


def _is_reference(value: str | None) -> bool:
    if value is None or REFERENCE.fullmatch(value):
        return True
    message = "expected package.module:function"
    module, _, function = value.rpartition(".")
    if module and ":" not in value and REFERENCE.fullmatch(f"{module}:{function}"):
        message += f"; did you mean {module}:{function}?"
    raise flags.ValidationError(message)


class _ParamsParser(flags.ArgumentParser):  # type: ignore[type-arg]  # none in absl 1.0
    """Parses a JSON object, or name=value pairs whose values may be JSON, into a dict."""

    syntactic_help = "a JSON object, or name=value,name=value"

    def parse(self, argument: Any) -> dict[str, Any] | None:
        if argument is None or isinstance(argument, dict):
            return argument
        text = str(argument).strip()
        return self._parse_object(text) if text.startswith("{") else self._parse_pairs(text)

    def flag_type(self) -> str:
        return "params"

    def _parse_object(self, text: str) -> dict[str, Any]:
        try:
            params: dict[str, Any] = json.loads(text)
            return params
        except ValueError as error:
            raise ValueError(f"expected {self.syntactic_help}; as JSON: {error}") from None

    def _parse_pairs(self, text: str) -> dict[str, Any]:
        params: dict[str, Any] = {}
        for pair in filter(None, (part.strip() for part in text.split(","))):
            name, equals, value = pair.partition("=")
            if not name or not equals:
                raise ValueError(
                    f"expected {self.syntactic_help}; {pair!r} is no name=value "
                    "(a value with a comma in it needs the JSON form)"
                )
            params[name.strip()] = _json_or_text(value.strip())
        return params


class _ParamsSerializer(flags.ArgumentSerializer):  # type: ignore[type-arg]
    def serialize(self, value: Any) -> str:
        return json.dumps(value, sort_keys=True)


def _json_or_text(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value
