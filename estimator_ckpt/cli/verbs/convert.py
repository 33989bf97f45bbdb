"""`estimator-ckpt convert SOURCE TARGET --to=FORMAT`: other names for the same bytes.

Synopsis:

    estimator-ckpt convert model_dir/model.ckpt-500 tf2/ckpt-500 --to=tf2
    estimator-ckpt convert model_dir both/ckpt --to=dual --verbose
    estimator-ckpt convert tf2/ckpt-500 tf1/model.ckpt-500 --to=tf1 --copy --json
    estimator-ckpt convert model_dir tf2_dir --to=tf2 --all --exclude=Adam
    estimator-ckpt convert --from-file=dirs.txt --output-root=tf2 --to=tf2 --workers=8
    estimator-ckpt convert old_job new/ckpt --to=tf2 --like=my.model:make_model --map=map.txt
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from absl import flags

from estimator_ckpt.cli.command import (
    CHANGE,
    Command,
    UsageError,
    define_patterns,
    require_choice,
)
from estimator_ckpt.cli.filters import TAKEN, define_filter_flags, filters
from estimator_ckpt.cli.like import like_objects
from estimator_ckpt.cli.report import (
    define_format_flags,
    define_rename_flag,
    define_writing_flags,
    print_report,
    rename_rules,
    with_report,
)
from estimator_ckpt.cli.targets import FROM_TO, into

_DETAILS = f"""\
{FROM_TO}

No tensor is read, but what a map changes: the files that hold them are linked into place, or \
copied where the file system cannot link. What is left out of the new checkpoint is always \
listed, with the reason.

{TAKEN} --rename and --drop then see what was chosen."""


def _define_flags(values: flags.FlagValues) -> None:
    define_format_flags(values)
    flags.DEFINE_string(
        "like",
        None,
        "<MODULE:FUNCTION>: "
        "For tf2 and dual: package.module:function, which returns a built Keras model, a tf.Module "
        "or a tf.train.Checkpoint; the new checkpoint has exactly the keys that it would save.",
        flag_values=values,
    )
    define_rename_flag(values)
    define_patterns(
        values, "drop", "Variables in whose new name this is found are left out. May be repeated."
    )
    define_filter_flags(values)
    flags.DEFINE_string(
        "averages",
        None,
        "<SUFFIX>: "
        "What averages have behind a variable's name and a '/', as ExponentialMovingAverage: each "
        "variable that has one gets its bytes. (default: all stays as it is)",
        flag_values=values,
    )
    flags.DEFINE_boolean(
        "all",
        False,
        "SOURCE and TARGET are folders: convert each checkpoint that SOURCE's state file lists, "
        "and write a state file. What is there already, and equal, is left alone.",
        flag_values=values,
    )
    flags.DEFINE_boolean(
        "keep_going",
        False,
        "With --all: convert what can be converted, and say at the end what can't be; the exit "
        "code is 2 then.",
        flag_values=values,
    )
    define_writing_flags(values)


def _settings(values: flags.FlagValues) -> dict[str, Any]:
    return {
        "to": require_choice(values, "to"),
        "container": values.container,
        "step": values.step or None,
        "rename": rename_rules(values),
        "drop": values.drop or (),
        "averages": values.averages or None,
        **filters(values),
    }


def _many(values: flags.FlagValues) -> dict[str, Any]:
    if values.like is not None:
        raise UsageError(
            "--like is of one model; with --from_file, give a map (`estimator-ckpt map`, --map)"
        )
    writing = ("overwrite", "copy", "compact", "dry_run")
    return {**_settings(values), **{name: values[name].value for name in writing}}


def _execute(operands: Sequence[str], values: flags.FlagValues) -> int:
    source, target = operands
    settings = _settings(values)
    if values.like is not None:
        settings["like"] = like_objects(values.like)

    from estimator_ckpt.conversion.converting import convert
    from estimator_ckpt.conversion.model_dir import convert_all

    if values.keep_going and not values.all:
        raise UsageError("--keep_going is about the checkpoints of a folder; give --all, too")
    if values.all:
        failed: dict[str, Exception] = {}
        return with_report(
            values,
            lambda **options: convert_all(
                source,
                target,
                **settings,
                **options,
                resume=True,
                on_error=failed.__setitem__ if values.keep_going else None,
            ),
            failed,
        )
    return with_report(
        values,
        into(
            target,
            lambda prefix, **options: convert(source, prefix, **settings, **options),
            [source],
        ),
    )


COMMAND = Command(
    name="convert",
    operands=("SOURCE", "TARGET"),
    summary="Writes a checkpoint in another format, without reading a tensor.",
    define_flags=_define_flags,
    execute=_execute,
    group=CHANGE,
    details=_DETAILS,
    examples=__doc__,
    shows=print_report,
    many=_many,
)
