"""`estimator-ckpt ema SOURCE TARGET`: puts averages in the place of their variables.

Synopsis:

    estimator-ckpt ema model_dir averaged/ckpt
    estimator-ckpt ema model_dir averaged/ckpt --exclude=^head/
    estimator-ckpt ema model_dir averaged/ckpt --dry-run
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags

from estimator_ckpt.cli.command import CHANGE, Command
from estimator_ckpt.cli.filters import define_filter_flags, filters
from estimator_ckpt.cli.report import define_writing_flags, with_report
from estimator_ckpt.cli.targets import FROM_TO, into

_DETAILS = f"""\
{FROM_TO} It has the same format.

No tensor is read: each variable gets the bytes of its average, NAME/ExponentialMovingAverage.

--include and --exclude choose by NAME. Other variables stay as they are, and so do their \
averages."""


def _define_flags(values: flags.FlagValues) -> None:
    define_filter_flags(values)
    define_writing_flags(values)


def _execute(operands: Sequence[str], values: flags.FlagValues) -> int:
    source, target = operands

    from estimator_ckpt.conversion.editing import ema

    return with_report(
        values,
        into(
            target,
            lambda prefix, **options: ema(source, prefix, **filters(values), **options),
            [source],
        ),
    )


COMMAND = Command(
    name="ema",
    operands=("SOURCE", "TARGET"),
    summary="Puts exponential moving averages in the place of their variables.",
    define_flags=_define_flags,
    execute=_execute,
    group=CHANGE,
    details=_DETAILS,
    examples=__doc__,
)
