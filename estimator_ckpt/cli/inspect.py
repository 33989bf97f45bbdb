"""`estimator-ckpt inspect CHECKPOINT`: what a checkpoint holds, from its index alone.

Synopsis:

    estimator-ckpt inspect model_dir
    estimator-ckpt inspect model_dir/model.ckpt-500 --include='^dnn/' --exclude=Adam
    estimator-ckpt inspect model_dir --json
"""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from absl import flags

from estimator_ckpt.cli import output
from estimator_ckpt.cli.command import Command, UsageError

if TYPE_CHECKING:
    from estimator_ckpt.tools.describe import CheckpointDescription, VariableRow

_DETAILS = """\
CHECKPOINT is a prefix (model_dir/model.ckpt-500) or a folder with a state file (its latest \
checkpoint).

On a terminal the variables are a table; in a pipe they are tab-separated columns below one line \
of titles, and the line that sums up the checkpoint goes to stderr. No tensor is read."""

_COLUMNS = (
    output.Column("name"),
    output.Column("key", folds=True),
    output.Column("shape"),
    output.Column("dtype"),
    output.Column("bytes", "right"),
    output.Column("slot-of", folds=True),
)


def _define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_multi_string(
        "include",
        None,
        "Only variables in whose name this regular expression is found. "
        "May be repeated: any of them. (default: all variables)",
        flag_values=values,
    )
    flags.DEFINE_multi_string(
        "exclude",
        None,
        "No variables in whose name this regular expression is found. "
        "May be repeated: none of them. (default: no variable is left out)",
        flag_values=values,
    )
    flags.DEFINE_boolean("json", False, "Print everything as JSON.", flag_values=values)


def _execute(operands: Sequence[str], values: flags.FlagValues) -> int:
    include = _compile("include", values.include)
    exclude = _compile("exclude", values.exclude)

    from estimator_ckpt.tools.describe import describe

    whole = describe(operands[0])
    shown = dataclasses.replace(
        whole,
        variables=tuple(row for row in whole.variables if _is_wanted(row.name, include, exclude)),
    )
    if values.json:
        output.print_json(shown)
        return 0
    _print_summary(whole, len(shown.variables))
    output.print_rows(_COLUMNS, map(_cells, shown.variables))
    if output.on_terminal() and whole.other_keys:
        print(f"\nother keys: {', '.join(map(output.escape, whole.other_keys))}")
    return 0


def _compile(flag: str, patterns: Sequence[str] | None) -> list[re.Pattern[str]]:
    try:
        return [re.compile(pattern) for pattern in patterns or ()]
    except re.error as error:
        raise UsageError(
            f"flag --{flag}: {error.pattern!r} is not a regular expression: {error}"
        ) from error


def _is_wanted(
    name: str, include: Sequence[re.Pattern[str]], exclude: Sequence[re.Pattern[str]]
) -> bool:
    included = not include or any(pattern.search(name) for pattern in include)
    return included and not any(pattern.search(name) for pattern in exclude)


def _print_summary(description: CheckpointDescription, shown: int) -> None:
    """One line: on a terminal above the table, otherwise beside the columns and not among them."""
    count = output.counted(len(description.variables), "variable")
    if shown != len(description.variables):
        count = f"{shown:,} of {count} shown"
    facts = (
        f"format {description.format}",
        "no step" if description.step is None else f"step {description.step}",
        output.counted(description.num_shards, "shard"),
        count,
        output.human_bytes(description.bytes),
    )
    stream = sys.stdout if output.on_terminal() else sys.stderr
    print(f"{output.escape(description.prefix)}: {', '.join(facts)}", file=stream, flush=True)


def _cells(row: VariableRow) -> tuple[object, ...]:
    shape = "[" + ", ".join(map(str, row.shape)) + "]"
    return row.name, row.key, shape, row.dtype, row.bytes, row.slot_of


COMMAND = Command(
    name="inspect",
    operands=("CHECKPOINT",),
    summary="Lists what a checkpoint holds: name, key, shape, dtype, bytes, slot-of.",
    define_flags=_define_flags,
    execute=_execute,
    details=_DETAILS,
)
