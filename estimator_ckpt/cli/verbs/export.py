"""`estimator-ckpt export SOURCE FILE`: the variables as a .npz, safetensors or .weights.h5 file.

Synopsis:

    estimator-ckpt export model_dir weights.npz
    estimator-ckpt export model_dir weights.safetensors --noslots --skip_unsupported
    estimator-ckpt export model_dir model.safetensors --noslots --map=map.txt
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from absl import flags

from estimator_ckpt.cli import output
from estimator_ckpt.cli.command import FILES, Command
from estimator_ckpt.cli.filters import CHECKPOINT, define_filter_flags, filters
from estimator_ckpt.cli.report import define_rename_flag, rename_rules
from estimator_ckpt.cli.tensor_report import (
    EXPORTED,
    define_file_flags,
    define_output_flags,
    print_facts,
    print_left_out,
    print_tensors,
    with_report,
)

if TYPE_CHECKING:
    from estimator_ckpt.interchange.export import ExportReport

_DETAILS = f"""\
SOURCE is a checkpoint of any format: {CHECKPOINT}. It is never changed. FILE is the new file, \
whose name says its format: .npz (numpy), .safetensors or .weights.h5 (Keras).

Tensors have their variables' names. What the file can't hold (strings and complex128 in \
safetensors, bfloat16 in .npz) is an error, or left out with --skip_unsupported; what is left out \
is always said, with the reason. In a .weights.h5, variables are called by their places, such as \
`layers/dense/vars/0`: names have to be such places, as those of a converted .weights.h5 are; \
else only a model tells them (in Python, `convert(..., like=model)`). Tensors are written in \
pieces: memory doesn't limit their size."""


def _define_flags(values: flags.FlagValues) -> None:
    define_file_flags(values, EXPORTED)
    define_rename_flag(values)
    define_filter_flags(values)
    flags.DEFINE_boolean(
        "slots", True, "Export what belongs to optimizers, too.", flag_values=values
    )
    flags.DEFINE_boolean("compress", False, "Deflate the arrays of a .npz.", flag_values=values)
    define_output_flags(values, "Replace FILE.")


def _execute(operands: Sequence[str], values: flags.FlagValues) -> int:
    source, target = operands
    rules = rename_rules(values)

    from estimator_ckpt.interchange.export import export_checkpoint

    return with_report(
        values,
        "exporting to",
        lambda **options: export_checkpoint(
            source,
            target,
            file_format=values.format,
            **filters(values),
            rename=rules,
            slots=values.slots,
            skip_unsupported=values.skip_unsupported,
            compress=values.compress,
            **options,
        ),
        _print_for_people,
        _print_for_pipes,
    )


def _print_for_people(report: ExportReport, verbose: bool) -> None:
    if verbose:
        print_tensors(report.tensors)
        print()
    print_left_out(report.left_out, verbose)
    print(
        f"wrote {output.escape(report.path)}, format {report.file_format}: "
        f"{output.counted(len(report.tensors), 'tensor')} of {output.escape(report.source)}, "
        f"{output.human_bytes(report.bytes_written)}"
    )


def _print_for_pipes(report: ExportReport) -> None:
    print_facts(
        (
            ("path", report.path),
            ("format", report.file_format),
            ("source", report.source),
            ("tensors", len(report.tensors)),
            ("tensors_left_out", len(report.left_out)),
            ("bytes_written", report.bytes_written),
        )
    )
    print_tensors(report.tensors)
    print_left_out(report.left_out, verbose=True)


COMMAND = Command(
    name="export",
    operands=("SOURCE", "FILE"),
    summary="Writes the variables of a checkpoint to a .npz, safetensors or .weights.h5 file.",
    define_flags=_define_flags,
    execute=_execute,
    group=FILES,
    details=_DETAILS,
    examples=__doc__,
    shows=lambda report: _print_for_people(report, verbose=False),
)
