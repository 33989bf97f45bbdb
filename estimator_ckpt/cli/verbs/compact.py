"""`estimator-ckpt compact SOURCE TARGET`: only the bytes that are used.

Synopsis:

    estimator-ckpt compact small/ckpt packed/ckpt
    estimator-ckpt compact model_dir packed/ckpt --exclude=Adam
    estimator-ckpt compact model_dir packed/ckpt --overwrite --json
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from absl import flags

from estimator_ckpt.cli import output
from estimator_ckpt.cli.command import COMPUTE, Command
from estimator_ckpt.cli.filters import TAKEN, define_filter_flags, filters
from estimator_ckpt.cli.targets import FROM_TO, into
from estimator_ckpt.cli.tensor_report import (
    define_output_flags,
    print_facts,
    print_left_out,
    with_report,
)

if TYPE_CHECKING:
    from estimator_ckpt.operations.compact import CompactReport

_DETAILS = f"""\
{FROM_TO} It has the same format, with the same keys.

What drop, rename and convert leave out still takes its room in the data files, which they link. \
This copies the tensors in pieces, checks each checksum, and leaves out the bytes that no tensor \
uses. (drop, convert and ema do so at once with --compact.)

{TAKEN}"""


def _define_flags(values: flags.FlagValues) -> None:
    define_filter_flags(values)
    define_output_flags(values, "Replace a checkpoint that is at TARGET.")


def _execute(operands: Sequence[str], values: flags.FlagValues) -> int:
    source, target = operands

    from estimator_ckpt.operations.compact import compact

    return with_report(
        values,
        "compacting into",
        into(
            target,
            lambda prefix, **options: compact(source, prefix, **filters(values), **options),
            [source],
        ),
        _print_for_people,
        _print_for_pipes,
    )


def _print_for_people(report: CompactReport, verbose: bool) -> None:
    print_left_out(report.dropped, verbose)
    sizes = map(output.human_bytes, (report.bytes_before, report.bytes_after))
    print(
        f"wrote {output.escape(report.prefix)}, format {report.format}: "
        f"{output.counted(report.keys, 'key')}, {' -> '.join(sizes)}"
    )


def _print_for_pipes(report: CompactReport) -> None:
    print_facts(
        (
            ("prefix", report.prefix),
            ("format", report.format),
            ("keys", report.keys),
            ("bytes_before", report.bytes_before),
            ("bytes_after", report.bytes_after),
        )
    )
    print_left_out(report.dropped, verbose=True)


COMMAND = Command(
    name="compact",
    operands=("SOURCE", "TARGET"),
    summary="Copies a checkpoint without the bytes that no tensor uses.",
    define_flags=_define_flags,
    execute=_execute,
    group=COMPUTE,
    details=_DETAILS,
    examples=__doc__,
    shows=lambda report: _print_for_people(report, verbose=False),
)
