"""`estimator-ckpt import FILE TARGET --to=FORMAT`: a checkpoint of the arrays in a file.

Synopsis:

    estimator-ckpt import weights.npz job/model.ckpt-0 --to=tf1
    estimator-ckpt import weights.safetensors job/model.ckpt-0 --to=dual --container=vars
    estimator-ckpt import model.safetensors job/model.ckpt-0 --to=tf1 --map=map.txt
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from absl import flags

from estimator_ckpt.cli import output
from estimator_ckpt.cli.command import FILES, Command, require_choice
from estimator_ckpt.cli.filters import define_filter_flags, filters
from estimator_ckpt.cli.report import define_format_flags, define_rename_flag, rename_rules
from estimator_ckpt.cli.targets import TARGET, into
from estimator_ckpt.cli.tensor_report import (
    IMPORTED,
    define_file_flags,
    define_output_flags,
    print_facts,
    print_left_out,
    print_tensors,
    with_report,
)

if TYPE_CHECKING:
    from estimator_ckpt.interchange.import_ import ImportReport

_DETAILS = f"""\
FILE is a .npz (numpy) or .safetensors file; the names in it become the variables' names. \
{TARGET} (Files of Keras are read by `convert`, and by all that reads checkpoints.)

What a checkpoint can't hold is an error, or left out with --skip_unsupported; what is left out is \
always said, with the reason. Arrays are read in pieces: memory doesn't limit their size."""


def _define_flags(values: flags.FlagValues) -> None:
    define_format_flags(values)
    define_file_flags(values, IMPORTED)
    define_rename_flag(values)
    define_filter_flags(values, "array")
    define_output_flags(values, "Replace a checkpoint that is at TARGET.")


def _execute(operands: Sequence[str], values: flags.FlagValues) -> int:
    source, target = operands
    to = require_choice(values, "to")
    rules = rename_rules(values)

    from estimator_ckpt.interchange.import_ import import_checkpoint, step_in

    return with_report(
        values,
        "importing into",
        into(
            target,
            lambda prefix, **options: import_checkpoint(
                source,
                prefix,
                to=to,
                file_format=values.format,
                container=values.container,
                step=values.step or None,
                **filters(values),
                rename=rules,
                skip_unsupported=values.skip_unsupported,
                **options,
            ),
            [source],
            lambda: step_in(source, values.format),
        ),
        _print_for_people,
        _print_for_pipes,
    )


def _print_for_people(report: ImportReport, verbose: bool) -> None:
    if verbose:
        print_tensors(report.tensors)
        print()
    if report.added:
        print(f"{output.counted(len(report.added), 'key')} added")
        for key in report.added:
            print(f"    {output.escape(key)}")
    print_left_out(report.left_out, verbose)
    print(
        f"wrote {output.escape(report.prefix)}, format {report.format}: "
        f"{output.counted(len(report.tensors), 'tensor')} of {output.escape(report.source)}, "
        f"{output.human_bytes(report.bytes_written)}"
    )


def _print_for_pipes(report: ImportReport) -> None:
    print_facts(
        (
            ("prefix", report.prefix),
            ("format", report.format),
            ("source", report.source),
            ("tensors", len(report.tensors)),
            ("tensors_left_out", len(report.left_out)),
            ("keys_added", len(report.added)),
            ("bytes_written", report.bytes_written),
        )
    )
    print_tensors(report.tensors)
    for key in report.added:
        output.print_tabbed(("added", key))
    print_left_out(report.left_out, verbose=True)


COMMAND = Command(
    name="import",
    operands=("FILE", "TARGET"),
    summary="Writes a checkpoint from a .npz or a safetensors file.",
    define_flags=_define_flags,
    execute=_execute,
    group=FILES,
    details=_DETAILS,
    examples=__doc__,
    shows=lambda report: _print_for_people(report, verbose=False),
)
