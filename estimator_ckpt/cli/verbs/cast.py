"""`estimator-ckpt cast SOURCE TARGET --to=TYPE`: float32 as a shorter type, or back.

Synopsis:

    estimator-ckpt cast model_dir small/ckpt --to=bfloat16
    estimator-ckpt cast model_dir small/ckpt --to=float16 --exclude=Adam --verbose
    estimator-ckpt cast small/ckpt wide/ckpt --to=float32
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from absl import flags

from estimator_ckpt.cli import output
from estimator_ckpt.cli.command import COMPUTE, Command, require_choice
from estimator_ckpt.cli.filters import define_filter_flags, filters
from estimator_ckpt.cli.targets import FROM_TO, into
from estimator_ckpt.cli.tensor_report import (
    define_output_flags,
    print_facts,
    shape_text,
    with_report,
)

if TYPE_CHECKING:
    from estimator_ckpt.operations.cast import CastReport, CastVariable

_DETAILS = f"""\
{FROM_TO} It has the same format.

Values are rounded to the nearest, ties to even. Those that become infinite (overflow) or zero \
(underflow) are counted, and their variables listed. Other types, and variables that --include \
and --exclude don't choose, stay as they are. TensorFlow restores TARGET into variables of the new \
type only."""
_COLUMNS = (
    output.Column("name"),
    output.Column("shape"),
    output.Column("from"),
    output.Column("to"),
    output.Column("overflows", "right"),
    output.Column("underflows", "right"),
)


def _define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_enum(
        "to",
        None,
        ["bfloat16", "float16", "float32"],
        "Type to cast to: from float32 to the first two, from these to float32. Required.",
        flag_values=values,
    )
    define_filter_flags(values)
    define_output_flags(values, "Replace a checkpoint that is at TARGET.")


def _execute(operands: Sequence[str], values: flags.FlagValues) -> int:
    source, target = operands
    to = require_choice(values, "to")

    from estimator_ckpt.operations.cast import cast

    return with_report(
        values,
        "casting into",
        into(
            target,
            lambda prefix, **options: cast(source, prefix, to=to, **filters(values), **options),
            [source],
        ),
        _print_for_people,
        _print_for_pipes,
    )


def _print_for_people(report: CastReport, verbose: bool) -> None:
    if verbose and report.kept:
        columns = [output.Column(title) for title in ("kept", "dtype", "why")]
        output.print_rows(columns, [(row.name, row.dtype, row.reason) for row in report.kept])
        print()
    shown = [row for row in report.cast if verbose or row.overflows or row.underflows]
    if shown:
        output.print_rows(_COLUMNS, map(_cells, shown))
        print()
    for count, what in (
        (sum(row.overflows for row in report.cast), "overflowed: finite before, infinite now"),
        (sum(row.underflows for row in report.cast), "underflowed: not zero before, zero now"),
    ):
        print(f"{output.counted(count, 'value')} {what}")
    sizes = map(output.human_bytes, (report.bytes_before, report.bytes_after))
    print(
        f"wrote {output.escape(report.prefix)}, format {report.format}: "
        f"{output.counted(len(report.cast), 'variable')} cast, {len(report.kept):,} kept, "
        f"{' -> '.join(sizes)}"
    )


def _print_for_pipes(report: CastReport) -> None:
    print_facts(
        (
            ("prefix", report.prefix),
            ("format", report.format),
            ("variables_cast", len(report.cast)),
            ("variables_kept", len(report.kept)),
            ("overflows", sum(row.overflows for row in report.cast)),
            ("underflows", sum(row.underflows for row in report.cast)),
            ("bytes_before", report.bytes_before),
            ("bytes_after", report.bytes_after),
            ("bytes_written", report.bytes_written),
        )
    )
    for row in report.cast:
        output.print_tabbed(("cast", *_cells(row)))
    for kept in report.kept:
        output.print_tabbed(("kept", kept.name, kept.dtype, kept.reason))


def _cells(row: CastVariable) -> tuple[object, ...]:
    shape = shape_text(row.shape)
    return row.name, shape, row.old_dtype, row.new_dtype, row.overflows, row.underflows


COMMAND = Command(
    name="cast",
    operands=("SOURCE", "TARGET"),
    summary="Casts float32 variables to bfloat16 or float16, or back.",
    define_flags=_define_flags,
    execute=_execute,
    group=COMPUTE,
    details=_DETAILS,
    examples=__doc__,
    shows=lambda report: _print_for_people(report, verbose=False),
)
