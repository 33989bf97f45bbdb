"""Checkpoint flags for any absl job, and what they turn into.

    flags_.define_checkpoint_flags()          # `from estimator_ckpt import flags as flags_`
    ...                                       # then, after absl has parsed the command line:
    estimator = tf.estimator.Estimator(
        flags_.wrap_from_flags(model_fn, model_dir=model_dir),
        config=flags_.run_config_from_flags(model_dir=model_dir),
        warm_start_from=flags_.warm_start_from_flags())

Importing this module defines no flag and doesn't import TensorFlow.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import TYPE_CHECKING, Any

from absl import flags

from estimator_ckpt.estimator.options import options_with_flags
from estimator_ckpt.messages import escaped
from estimator_ckpt.storage import files

if TYPE_CHECKING:
    from estimator_ckpt.naming import RenameRules

FORMATS = ("tf1", "tf2", "dual")
_MODEL_DIR = "{model_dir}"
_PLACEHOLDER = re.compile(r"\{[^{}/]*\}")


def define_checkpoint_flags(flag_values: flags.FlagValues = flags.FLAGS, prefix: str = "") -> None:
    """Defines the checkpoint flags, with their validators.

    Args:
      flag_values: where to define them; absl's global flags by default.
      prefix: put before each flag's name, for a job that has flags of the same names or that
        trains more than one model: `prefix="student_"` gives `--student_checkpoint_format`.

    Raises:
      absl.flags.DuplicateFlagError: a flag of such a name is defined already; use `prefix`.
    """
    define_wrapping_flags(flag_values, prefix)
    _define_saving_flags(flag_values, prefix)
    _define_warm_start_flags(flag_values, prefix)


def define_wrapping_flags(
    flag_values: flags.FlagValues = flags.FLAGS,
    prefix: str = "",
    formats: Iterable[str] = FORMATS,
) -> None:
    """Defines those of the checkpoint flags that `wrap_from_flags` reads: a job's options.

    Args:
      flag_values: where to define them; absl's global flags by default.
      prefix: put before each flag's name.
      formats: what `--checkpoint_format` can be.

    Raises:
      absl.flags.DuplicateFlagError: a flag of such a name is defined already; use `prefix`.
    """
    for option in options_with_flags():
        name, default, text = prefix + option.name, option.default, option.metadata["flag"]
        is_format = option.name == "checkpoint_format"
        choices = list(formats) if is_format else option.metadata["choices"]
        if choices:
            flags.DEFINE_enum(name, default, choices, text, flag_values=flag_values)
        elif isinstance(default, bool):
            flags.DEFINE_bool(name, default, text, flag_values=flag_values)
        elif isinstance(default, float):
            least = option.metadata["least"] or 0.001
            flags.DEFINE_float(name, default, text, lower_bound=least, flag_values=flag_values)
        elif isinstance(default, int):
            least = option.metadata["least"]
            flags.DEFINE_integer(name, default, text, lower_bound=least, flag_values=flag_values)
        else:
            flags.DEFINE_string(name, default, text, flag_values=flag_values)
    flags.register_validator(prefix + "tf1_dir", _is_place, flag_values=flag_values)
    checkpoint_format = prefix + "checkpoint_format"
    for name, needs_wrapping in ((prefix + "async_save", True), (prefix + "unchanged", "link")):
        _require_wrapping(name, needs_wrapping, checkpoint_format, prefix, flag_values)


def _require_wrapping(
    name: str, value: Any, checkpoint_format: str, prefix: str, flag_values: flags.FlagValues
) -> None:
    """Has a flag refused if it asks for what only a wrapped model_fn can do, and none is."""
    shown = f"--{name}" if value is True else f"--{name}={value}"
    flags.register_multi_flags_validator(
        [name, checkpoint_format],
        lambda values: values[name] != value or values[checkpoint_format] != "tf1",
        f"{shown} needs a wrapped model_fn: give --{checkpoint_format}=dual or tf2, "
        f"with --{prefix}tf1_dir if there are to be TF1 checkpoints",
        flag_values=flag_values,
    )


def _define_saving_flags(flag_values: flags.FlagValues, prefix: str) -> None:
    steps, secs = prefix + "save_checkpoints_steps", prefix + "save_checkpoints_secs"
    flags.DEFINE_integer(
        steps,
        None,
        "Save every so many steps. 0 is as if the flag weren't given.",
        lower_bound=0,
        flag_values=flag_values,
    )
    flags.DEFINE_integer(
        secs,
        None,
        "Save every so many seconds; 600 if neither this nor the number of steps is given. "
        "0 is as if the flag weren't given.",
        lower_bound=0,
        flag_values=flag_values,
    )
    flags.DEFINE_integer(
        prefix + "keep_checkpoint_max",
        5,
        "How many of the latest checkpoints to keep; 0 keeps all.",
        lower_bound=0,
        flag_values=flag_values,
    )
    flags.DEFINE_float(
        prefix + "keep_checkpoint_every_n_hours",
        10000.0,
        "Besides the latest ones, keep one checkpoint for every so many hours of training.",
        lower_bound=0.0,
        flag_values=flag_values,
    )
    flags.register_multi_flags_validator(
        [steps, secs],
        lambda values: not (values[steps] and values[secs]),
        f"give --{steps} or --{secs}, not both; 0 turns one off, also one from a flagfile",
        flag_values=flag_values,
    )


def _define_warm_start_flags(flag_values: flags.FlagValues, prefix: str) -> None:
    source, rename = prefix + "warm_start_from", prefix + "warm_start_rename"
    flags.DEFINE_string(
        source,
        None,
        "Checkpoint prefix, model_dir or SavedModel, in any format, that new variables take their "
        "values from. Empty turns off one from a flagfile.",
        flag_values=flag_values,
    )
    flags.DEFINE_multi_string(
        rename,
        None,
        "OLD=NEW, a variable's or, ending in a slash, a scope's name in the checkpoint and in the "
        "new model, or @FILE with one such rule a line; the grammar is that of `estimator-ckpt "
        "convert --rename`. May be repeated, which adds to those of a flagfile.",
        flag_values=flag_values,
    )
    flags.DEFINE_string(
        prefix + "warm_start_include",
        ".*",
        "Regular expression for the names, in the new model, of the variables to warm-start.",
        flag_values=flag_values,
    )
    flags.DEFINE_bool(
        prefix + "warm_start_with_slots",
        False,
        "Warm-start the optimizer's slots as well.",
        flag_values=flag_values,
    )
    flags.DEFINE_bool(
        prefix + "warm_start_with_step",
        False,
        "Go on from the checkpoint's global step instead of 0.",
        flag_values=flag_values,
    )
    flags.DEFINE_string(
        prefix + "warm_start_averages",
        None,
        "What averages have behind a variable's name and a slash in the checkpoint, as "
        "ExponentialMovingAverage: each variable gets its average where there is one.",
        flag_values=flag_values,
    )
    flags.DEFINE_enum(
        prefix + "warm_start_on_mismatch",
        "error",
        ["error", "skip"],
        "What to do about a variable whose shape is another in the checkpoint: stop with an error "
        "that names all of them, or leave it as it is initialized, which the log says.",
        flag_values=flag_values,
    )
    flags.register_validator(rename, _is_rename, flag_values=flag_values)
    flags.register_multi_flags_validator(
        [source, rename],
        lambda values: values[source] is not None or not values[rename],
        f"--{rename} needs --{source}=CHECKPOINT, the checkpoint that has the old names",
        flag_values=flag_values,
    )


def _is_place(tf1_dir: str | None) -> bool:
    others = {*_PLACEHOLDER.findall(tf1_dir or "")} - {_MODEL_DIR}
    if others:
        raise flags.ValidationError(
            f"'{escaped(min(others))}' stands for nothing; '{_MODEL_DIR}' stands for the model_dir"
        )
    return True


def _is_rename(rules: Iterable[str] | None) -> bool:
    try:
        parse_renames(rules or ())
    except ValueError as error:
        raise flags.ValidationError(str(error)) from None
    return True


def parse_renames(rules: Iterable[str]) -> RenameRules:
    """Turns the values of `--warm_start_rename` into the `rename` that `warm_start_settings` takes.

    Args:
      rules: such as `old_scope/=new_scope/`, `old/name=new/name`, or `@rules.txt`, a file of them.

    Returns:
      The rules, in order.

    Raises:
      CheckpointArgumentError: (a ValueError) a rule isn't OLD=NEW, or two give one old name
        different new ones, or a file can't be read.
    """
    from estimator_ckpt.checkpoint.rules_file import load_rules

    return load_rules(rules)


def wrap_from_flags(
    model_fn: Callable[..., Any],
    *,
    model_dir: str | None = None,
    flag_values: flags.FlagValues = flags.FLAGS,
    prefix: str = "",
) -> Callable[..., Any]:
    """Wraps a model_fn as the flags about formats and saving say.

    Args:
      model_fn: a model_fn for `tf.estimator.Estimator`.
      model_dir: what `{model_dir}` in `--tf1_dir` stands for.
      flag_values: the parsed flags.
      prefix: as given to `define_checkpoint_flags`.

    Returns:
      The wrapped model_fn; `model_fn` itself if the format is tf1 (its TF1 checkpoints in
      `--tf1_dir` then come from `train_hooks_from_flags`).

    Raises:
      absl.flags.IllegalFlagValueError: `--tf1_dir` isn't usable with this `model_dir`.
    """
    options = {
        option.name: _value(option.name, flag_values, prefix) for option in options_with_flags()
    }
    options["tf1_dir"] = tf1_dir_from_flags(model_dir, flag_values=flag_values, prefix=prefix)
    if options["checkpoint_format"] == "tf1":
        return model_fn
    from estimator_ckpt import wrap_model_fn

    return wrap_model_fn(model_fn, **options)


def train_hooks_from_flags(
    *,
    model_dir: str | None = None,
    flag_values: flags.FlagValues = flags.FLAGS,
    prefix: str = "",
) -> list[Any]:
    """Returns the hooks to train with: those that no wrapped model_fn brings along.

    Args:
      model_dir: what `{model_dir}` in `--tf1_dir` stands for.
      flag_values: the parsed flags.
      prefix: as given to `define_checkpoint_flags`.

    Returns:
      A `Tf1CheckpointSaverHook` if `--tf1_dir` is given and the format is tf1, else no hook.

    Raises:
      absl.flags.IllegalFlagValueError: `--tf1_dir` isn't usable with this `model_dir`.
    """
    tf1_dir = tf1_dir_from_flags(model_dir, flag_values=flag_values, prefix=prefix)
    if tf1_dir is None or _value("checkpoint_format", flag_values, prefix) != "tf1":
        return []
    from estimator_ckpt import Tf1CheckpointSaverHook

    hook = Tf1CheckpointSaverHook(
        tf1_dir,
        keep_max=_value("keep_checkpoint_max", flag_values, prefix),
        keep_every_n_hours=_value("keep_checkpoint_every_n_hours", flag_values, prefix),
        on_error=_value("tf1_on_error", flag_values, prefix),
        take_over=_value("tf1_take_over", flag_values, prefix),
    )
    return [hook]


def tf1_dir_from_flags(
    model_dir: str | None = None,
    *,
    flag_values: flags.FlagValues = flags.FLAGS,
    prefix: str = "",
) -> str | None:
    """Returns the folder that `--tf1_dir` names, or None if it names none.

    Args:
      model_dir: what `{model_dir}` in the flag stands for.
      flag_values: the parsed flags.
      prefix: as given to `define_checkpoint_flags`.

    Raises:
      absl.flags.IllegalFlagValueError: the folder is the model_dir itself, whose state file would
        then be written by two savers; it needs a model_dir and there is none; or it is no name.
    """
    flag = prefix + "tf1_dir"
    tf1_dir: str | None = _value("tf1_dir", flag_values, prefix)
    if not tf1_dir:
        return None
    if "\0" in tf1_dir:  # a flagfile can have it, a command line can't
        raise flags.IllegalFlagValueError(f"--{flag}={tf1_dir!r} is no folder's name")
    if model_dir is None:
        if _MODEL_DIR in tf1_dir:
            raise flags.IllegalFlagValueError(f"--{flag}={escaped(tf1_dir)} needs a model_dir")
        return tf1_dir
    tf1_dir = tf1_dir.replace(_MODEL_DIR, model_dir)
    if files.is_same(tf1_dir, model_dir):
        raise flags.IllegalFlagValueError(
            f"--{flag}={escaped(tf1_dir)} is the model_dir itself; "
            f"give a folder of its own, for example --{flag}={_MODEL_DIR}/tf1"
        )
    return tf1_dir


def run_config_from_flags(
    *,
    flag_values: flags.FlagValues = flags.FLAGS,
    prefix: str = "",
    **overrides: Any,
) -> Any:
    """Makes a `tf.estimator.RunConfig` from the saving and retention flags.

    Args:
      flag_values: the parsed flags.
      prefix: as given to `define_checkpoint_flags`.
      **overrides: any other arguments of `RunConfig`, such as `model_dir`; they win over flags.

    Returns:
      The `tf.estimator.RunConfig`.
    """
    from estimator_ckpt.compat import estimator as tf_estimator

    retention = ("keep_checkpoint_max", "keep_checkpoint_every_n_hours")
    arguments = {name: _value(name, flag_values, prefix) for name in retention}
    paces = ("save_checkpoints_steps", "save_checkpoints_secs")
    if not any(pace in overrides for pace in paces):
        given = {pace: _value(pace, flag_values, prefix) for pace in paces}
        arguments.update({pace: value for pace, value in given.items() if value})
    return tf_estimator.RunConfig(**{**arguments, **overrides})


def warm_start_from_flags(
    *,
    flag_values: flags.FlagValues = flags.FLAGS,
    prefix: str = "",
) -> Any:
    """Makes `tf.estimator.WarmStartSettings` from the warm-start flags.

    Args:
      flag_values: the parsed flags.
      prefix: as given to `define_checkpoint_flags`.

    Returns:
      The settings, for Estimator's `warm_start_from`; None without `--warm_start_from`.

    Raises:
      estimator_ckpt.CheckpointError: there is no such checkpoint, or the names don't fit.
    """
    source = _value("warm_start_from", flag_values, prefix)
    if not source:
        return None
    from estimator_ckpt import warm_start_settings

    return warm_start_settings(
        source,
        include=_value("warm_start_include", flag_values, prefix),
        rename=parse_renames(_value("warm_start_rename", flag_values, prefix) or ()),
        with_slots=_value("warm_start_with_slots", flag_values, prefix),
        with_step=_value("warm_start_with_step", flag_values, prefix),
        averages=_value("warm_start_averages", flag_values, prefix) or None,
        on_mismatch=_value("warm_start_on_mismatch", flag_values, prefix),
    )


def flags_as_flagfile(
    modules: Iterable[ModuleType], flag_values: flags.FlagValues = flags.FLAGS
) -> str:
    """Writes the flags of some modules, defaults too, as a flagfile that gives them again.

    Args:
      modules: the modules that defined the flags; this one for the checkpoint flags.
      flag_values: the parsed flags.

    Returns:
      One `--name=value` a line, sorted; flags that are None are left out.
    """
    by_module = flag_values.flags_by_module_dict()
    chosen = [flag for module in modules for flag in by_module.get(module.__name__, ())]
    lines = [flag.serialize() for flag in chosen if flag.value is not None]
    return "".join(f"{line}\n" for line in sorted(lines))


def _value(name: str, flag_values: flags.FlagValues, prefix: str) -> Any:
    return flag_values[prefix + name].value
