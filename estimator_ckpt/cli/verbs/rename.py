r"""`estimator-ckpt rename SOURCE TARGET`: gives variables other names.

Synopsis:

    estimator-ckpt rename model_dir new/ckpt --rename=old_scope/=new_scope/ --rename=w=kernel
    estimator-ckpt rename model_dir new/ckpt --rename=a/=b/ --exclude=Adam
    estimator-ckpt rename model_dir new/ckpt --rename='re:layer_(\d+)/=block_\1/' --dry_run -v
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags

from estimator_ckpt.cli.command import CHANGE, Command, UsageError
from estimator_ckpt.cli.filters import OTHERS_STAY, define_filter_flags, filters
from estimator_ckpt.cli.report import (
    define_rename_flag,
    define_writing_flags,
    rename_rules,
    with_report,
)
from estimator_ckpt.cli.targets import FROM_TO, into

_DETAILS = f"""\
{FROM_TO} It has the same format.

No tensor is read: the data files are linked, the index is written anew.

{OTHERS_STAY} Slots and averages follow a chosen variable, unless --exclude matches their own \
names, which is said."""


def _define_flags(values: flags.FlagValues) -> None:
    define_rename_flag(values)
    flags.DEFINE_string(
        "container",
        None,
        "<NAME>: "
        "Attribute that is to hold the variables, where the objects of SOURCE don't hold them by "
        "name.",
        flag_values=values,
    )
    define_filter_flags(values)
    define_writing_flags(values)


def _execute(operands: Sequence[str], values: flags.FlagValues) -> int:
    source, target = operands
    rules = rename_rules(values)
    if not rules:
        raise UsageError("no rule given; expected --rename=FROM=TO, once or more")

    from estimator_ckpt.conversion.editing import rename

    return with_report(
        values,
        into(
            target,
            lambda prefix, **options: rename(
                source, prefix, rules, container=values.container, **filters(values), **options
            ),
            [source],
        ),
    )


COMMAND = Command(
    name="rename",
    operands=("SOURCE", "TARGET"),
    summary="Gives variables other names.",
    define_flags=_define_flags,
    execute=_execute,
    group=CHANGE,
    details=_DETAILS,
    examples=__doc__,
)
