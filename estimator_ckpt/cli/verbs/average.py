"""`estimator-ckpt average CHECKPOINT... TARGET`: the mean of each variable.

Synopsis:

    estimator-ckpt average job/model.ckpt-800 job/model.ckpt-900 averaged/model.ckpt-900
    estimator-ckpt average job averaged/model.ckpt-900 --last=5 --exclude=Adam
    estimator-ckpt average model_dir weights/ckpt --last=5 --exclude=Adam
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from absl import flags

from estimator_ckpt.cli import output
from estimator_ckpt.cli.command import COMPUTE, Command
from estimator_ckpt.cli.filters import CHECKPOINT, TAKEN, define_filter_flags, filters
from estimator_ckpt.cli.targets import TARGET, into
from estimator_ckpt.cli.tensor_report import (
    define_output_flags,
    print_facts,
    print_left_out,
    with_report,
)

if TYPE_CHECKING:
    from estimator_ckpt.operations.average import AverageReport

_DETAILS = f"""\
Each CHECKPOINT is of any format: {CHECKPOINT}. With --last, the one CHECKPOINT is a folder with \
a state file. All must have the same variables, as far as they are taken. {TARGET} \
Its format is that of the newest one, which has the highest global step.

Sums are in float64, and each variable keeps its type. Integers, bools, strings and the global \
step are the newest checkpoint's. Tensors are read in pieces: memory doesn't limit their size.

{TAKEN}"""


def _define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_integer(
        "last",
        None,
        "Average this many checkpoints: the last that the state file of CHECKPOINT lists.",
        lower_bound=1,
        flag_values=values,
    )
    define_filter_flags(values)
    define_output_flags(values, "Replace a checkpoint that is at TARGET.")


def _execute(operands: Sequence[str], values: flags.FlagValues) -> int:
    *checkpoints, target = operands

    from estimator_ckpt.operations.average import average

    return with_report(
        values,
        "averaging into",
        into(
            target,
            lambda prefix, **options: average(
                checkpoints[0] if len(checkpoints) == 1 else checkpoints,
                prefix,
                last=values.last,
                **filters(values),
                **options,
            ),
            checkpoints,
        ),
        _print_for_people,
        _print_for_pipes,
    )


def _print_for_people(report: AverageReport, verbose: bool) -> None:
    print(f"mean of {output.counted(len(report.sources), 'checkpoint')}:")
    for source in report.sources:
        newest = " (the newest)" if source == report.newest else ""
        print(f"    {output.escape(source)}{newest}")
    for names, what in ((report.averaged, "averaged"), (report.kept, "kept from the newest")):
        print(f"{output.counted(len(names), 'variable')} {what}")
        for name in names if verbose else ():
            print(f"    {output.escape(name)}")
    print_left_out(report.dropped, verbose)
    step = "no step" if report.step is None else f"step {report.step}"
    print(
        f"wrote {output.escape(report.prefix)}, format {report.format}, {step}: "
        f"{output.human_bytes(report.bytes_written)}"
    )


def _print_for_pipes(report: AverageReport) -> None:
    print_facts(
        (
            ("prefix", report.prefix),
            ("format", report.format),
            ("step", report.step),
            ("newest", report.newest),
            ("variables_averaged", len(report.averaged)),
            ("variables_kept", len(report.kept)),
            ("keys_dropped", len(report.dropped)),
            ("bytes_written", report.bytes_written),
        )
    )
    for source in report.sources:
        output.print_tabbed(("source", source))
    for name in report.averaged:
        output.print_tabbed(("averaged", name))
    for name in report.kept:
        output.print_tabbed(("kept", name))
    for dropped in report.dropped:
        output.print_tabbed(("dropped", dropped.key, dropped.reason))


COMMAND = Command(
    name="average",
    operands=("CHECKPOINT...", "TARGET"),
    summary="Averages the variables of several checkpoints.",
    define_flags=_define_flags,
    execute=_execute,
    group=COMPUTE,
    details=_DETAILS,
    examples=__doc__,
    shows=lambda report: _print_for_people(report, verbose=False),
)
