"""`estimator-ckpt inspect CHECKPOINT`: what a checkpoint holds, from its index alone.

Synopsis:

    estimator-ckpt inspect model_dir
    estimator-ckpt inspect model_dir/model.ckpt-500 --include='^dnn/' --exclude=Adam
    estimator-ckpt inspect model_dir --values
    estimator-ckpt inspect model_dir --tree
    estimator-ckpt inspect model_dir --json
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from absl import flags

from estimator_ckpt.cli import output
from estimator_ckpt.cli.command import Command
from estimator_ckpt.cli.filters import CHECKPOINT, define_filter_flags, name_filter

if TYPE_CHECKING:
    from estimator_ckpt.operations.describe import CheckpointDescription, VariableRow
    from estimator_ckpt.operations.tree import TreeNode

_DETAILS = f"""\
CHECKPOINT is {CHECKPOINT}.

On a terminal the variables are a table; in a pipe they are tab-separated columns below one line \
of titles, and the line that sums up the checkpoint goes to stderr. Without --values no tensor is \
read.

--tree draws the scopes of a tf1 or dual checkpoint, or the objects of a tf2 one, each with its \
variables, their elements and bytes."""

_COLUMNS = (
    output.Column("name"),
    output.Column("key", folds=True),
    output.Column("shape"),
    output.Column("dtype"),
    output.Column("bytes", "right"),
    output.Column("slot-of", folds=True),
)
_COLUMNS_WITH_VALUES = (
    output.Column("name"),
    output.Column("key", folds=True),
    output.Column("shape", folds=True),
    output.Column("dtype", folds=True),
    output.Column("bytes", "right", folds=True),
    output.Column("slot-of", folds=True),
    output.Column("min", "right"),
    output.Column("max", "right"),
    output.Column("mean", "right"),
    output.Column("std", "right"),
    output.Column("zeros", "right"),
    output.Column("NaN", "right", folds=True, quiet="0"),
    output.Column("Inf", "right", folds=True, quiet="0"),
)


def _define_flags(values: flags.FlagValues) -> None:
    define_filter_flags(values)
    flags.DEFINE_boolean(
        "values",
        False,
        "Read the tensors, too: min, max, mean and std of the finite values, and the numbers of "
        "zeros, NaN and Inf.",
        flag_values=values,
    )
    flags.DEFINE_boolean(
        "tree", False, "Draw a tree of scopes or objects with subtotals.", flag_values=values
    )
    flags.DEFINE_boolean("json", False, "Print everything as JSON.", flag_values=values)


def _execute(operands: Sequence[str], values: flags.FlagValues) -> int:
    wanted = name_filter(values)

    from estimator_ckpt.operations.describe import describe

    with output.progress_bars("reading") as progress:
        whole = describe(
            operands[0],
            values=wanted if values.values else False,
            names=values.names,
            progress=progress,
        )
    shown = dataclasses.replace(
        whole, variables=tuple(row for row in whole.variables if wanted(row.name))
    )
    if values.tree:
        _print_tree(whole, shown, values.json)
        return 0
    if values.json:
        output.print_json(shown)
        return 0
    _print_summary(whole, len(shown.variables))
    if values.values:
        output.print_rows(_COLUMNS_WITH_VALUES, map(_cells_with_values, shown.variables), _scope)
    else:
        output.print_rows(_COLUMNS, map(_cells, shown.variables), _scope)
    if output.on_terminal() and whole.other_keys:
        print(f"\nother keys: {', '.join(map(output.escape, whole.other_keys))}")
    return 0


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


def _print_tree(whole: CheckpointDescription, shown: CheckpointDescription, json: bool) -> None:
    from estimator_ckpt.operations.tree import tree

    root = tree(shown)
    if json:
        output.print_json(root)
        return
    _print_summary(whole, len(shown.variables))
    output.print_tree(root, lambda node: node.children, _label)


def _label(node: TreeNode) -> str:
    size = output.human_bytes(node.bytes)
    if node.row is not None and not node.children:
        return f"{node.label}  {_shape(node.row.shape)} {node.row.dtype}, {size}"
    shape = "" if node.row is None else f"{_shape(node.row.shape)} {node.row.dtype}; "
    counts = (
        output.counted(node.variables, "variable"),
        output.counted(node.elements, "element"),
        size,
    )
    return f"{node.label}  {shape}{', '.join(counts)}"


def _scope(cells: Sequence[object]) -> str:
    """What rows of a table have in common that stand together: the first scope of their names."""
    scope, slash, _ = str(cells[0]).partition("/")
    return scope if slash else ""


def _cells(row: VariableRow) -> tuple[object, ...]:
    return row.name, row.key, _shape(row.shape), row.dtype, row.bytes, row.slot_of


def _cells_with_values(row: VariableRow) -> tuple[object, ...]:
    found = row.values
    if found is None:
        return (*_cells(row), *[None] * 7)
    numbers = (found.min, found.max, found.mean, found.std)
    return (*_cells(row), *map(output.number, numbers), found.zeros, found.nan, found.inf)


def _shape(shape: tuple[int, ...]) -> str:
    return "[" + ", ".join(map(str, shape)) + "]"


COMMAND = Command(
    name="inspect",
    operands=("CHECKPOINT",),
    summary="Lists what a checkpoint holds: name, key, shape, dtype, bytes, slot-of.",
    define_flags=_define_flags,
    execute=_execute,
    details=_DETAILS,
    examples=__doc__,
)
