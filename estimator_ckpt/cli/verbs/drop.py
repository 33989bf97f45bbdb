"""`estimator-ckpt drop SOURCE TARGET`: leaves variables out.

Synopsis:

    estimator-ckpt drop model_dir small/ckpt --slots
    estimator-ckpt drop model_dir small/ckpt --slots --exclude=Momentum
    estimator-ckpt drop model_dir small/ckpt --pattern='^head/'
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags

from estimator_ckpt.cli.command import CHANGE, Command, UsageError, define_patterns
from estimator_ckpt.cli.filters import OTHERS_STAY, define_filter_flags, filters
from estimator_ckpt.cli.report import define_writing_flags, with_report
from estimator_ckpt.cli.targets import FROM_TO, into

_DETAILS = f"""\
{FROM_TO} It has the same format.

No tensor is read: what is left out still takes its room in the data files, which are linked; \
the report says how much. With --compact only what is used is copied.

{OTHERS_STAY}"""


def _define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_boolean(
        "slots",
        False,
        "Leave out what only training needs: optimizers' variables and moving averages.",
        flag_values=values,
    )
    define_patterns(
        values,
        "pattern",
        "Variables in whose name this is found are left out. May be repeated.",
    )
    define_filter_flags(values)
    define_writing_flags(values)


def _execute(operands: Sequence[str], values: flags.FlagValues) -> int:
    source, target = operands
    if not values.slots and not values.pattern:
        raise UsageError("nothing to drop; give --slots, or --pattern=REGEX once or more")

    from estimator_ckpt.conversion.editing import drop

    return with_report(
        values,
        into(
            target,
            lambda prefix, **options: drop(
                source,
                prefix,
                values.pattern or (),
                slots=values.slots,
                **filters(values),
                **options,
            ),
            [source],
        ),
    )


COMMAND = Command(
    name="drop",
    operands=("SOURCE", "TARGET"),
    summary="Leaves variables out.",
    define_flags=_define_flags,
    execute=_execute,
    group=CHANGE,
    details=_DETAILS,
    examples=__doc__,
)
