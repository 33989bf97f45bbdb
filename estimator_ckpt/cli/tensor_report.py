"""What the commands have in common that read and write tensors: flags, and lines of reports.

Synopsis:

    define_output_flags(values, "Replace a checkpoint that is at TARGET.")
    return with_report(values, "casting into", do, _print_for_people, _print_for_pipes)
    print_left_out(report.left_out, verbose)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

from absl import flags

from estimator_ckpt.cli import output

if TYPE_CHECKING:
    from estimator_ckpt.conversion.report import DroppedKey
    from estimator_ckpt.interchange.tensor_file import TransferredTensor

_Report = TypeVar("_Report")
IMPORTED = ("npz", "safetensors")
EXPORTED = (*IMPORTED, "weights.h5")
TENSOR_COLUMNS = (
    output.Column("name"),
    output.Column("key", folds=True),
    output.Column("shape"),
    output.Column("dtype"),
)
_FILTERED = "not asked for"  # such reasons say what the user has just said: they are counted


def define_file_flags(values: flags.FlagValues, formats: Sequence[str]) -> None:
    """Defines the flags about an interchange file, of one of these formats."""
    flags.DEFINE_enum(
        "format",
        None,
        list(formats),
        "Format of the file. (default: what its name ends in)",
        flag_values=values,
    )
    flags.DEFINE_boolean(
        "skip_unsupported",
        False,
        "Leave out, and list, what can't be held there, instead of refusing to write anything.",
        flag_values=values,
    )


def define_output_flags(values: flags.FlagValues, overwrite: str) -> None:
    """Defines the flags that each command has that writes; `overwrite` is the help of that one."""
    flags.DEFINE_boolean("overwrite", False, overwrite, flag_values=values)
    flags.DEFINE_boolean(
        "verbose", False, "List each variable, too.", short_name="v", flag_values=values
    )
    flags.DEFINE_boolean("json", False, "Print the report as JSON.", flag_values=values)


def with_report(
    values: flags.FlagValues,
    doing: str,
    do: Callable[..., _Report],
    print_for_people: Callable[[_Report, bool], None],
    print_for_pipes: Callable[[_Report], None],
) -> int:
    """Does the work, and prints what was done as `--json`, terminal or pipe want it.

    Args:
      values: the command's flags, of `define_output_flags`.
      doing: what the bar of its progress says before the file's name.
      do: does it, given `overwrite` and `progress`; returns the report.
      print_for_people: prints a report on a terminal; told whether that is to be verbose.
      print_for_pipes: prints a report, a line a fact.

    Returns:
      The exit code.
    """
    with output.progress_bars(doing) as progress:
        report = do(overwrite=values.overwrite, progress=progress)
    if values.json:
        output.print_json(report)
    elif output.for_people():
        print_for_people(report, values.verbose)
    else:
        print_for_pipes(report)
    return 0


def print_facts(facts: Iterable[tuple[str, object]]) -> None:
    """Prints a line a fact, for a pipe; what is None is left out."""
    for name, value in facts:
        if value is not None:
            output.print_tabbed((name, value))


def print_tensors(tensors: Iterable[TransferredTensor]) -> None:
    """Prints tensors: a table on a terminal, a line each in a pipe."""
    rows = [(row.name, row.key, shape_text(row.shape), row.dtype) for row in tensors]
    if output.for_people():
        output.print_rows(TENSOR_COLUMNS, rows)
    else:
        for row in rows:
            output.print_tabbed(("tensor", *row))


def print_left_out(left_out: Sequence[DroppedKey], verbose: bool) -> None:
    """Prints what was left out, by reason; what the user has filtered is counted if not verbose."""
    if not output.for_people():
        for dropped in left_out:
            output.print_tabbed(("left_out", dropped.key, dropped.reason))
        return
    by_reason: dict[str, list[str]] = {}
    for dropped in left_out:
        by_reason.setdefault(dropped.reason, []).append(dropped.key)
    for reason, keys in by_reason.items():
        print(f"{output.counted(len(keys), 'tensor')} left out: {output.escape(reason)}")
        if verbose or not reason.startswith(_FILTERED):
            for key in keys:
                print(f"    {output.escape(key)}")


def shape_text(shape: Sequence[int]) -> str:
    """Returns `[2, 3]`."""
    return "[" + ", ".join(map(str, shape)) + "]"
