"""`estimator-ckpt inspect CHECKPOINT`: what a checkpoint holds, from its index alone.

Synopsis:

    estimator-ckpt inspect model_dir
    estimator-ckpt inspect model_dir/model.ckpt-500 --include='^dnn/' --exclude=Adam
    estimator-ckpt inspect model_dir --values
    estimator-ckpt inspect model_dir --tree --depth=2
    estimator-ckpt inspect model_dir --show='dense/kernel[:3]'
    estimator-ckpt inspect --recursive jobs --format=csv
    estimator-ckpt inspect model_dir --json
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from absl import flags

from estimator_ckpt.cli import output
from estimator_ckpt.cli.command import Command, UsageError, define_format_flags
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
    flags.DEFINE_integer(
        "depth",
        None,
        "With --tree: how many levels to draw; what is deeper is in the sums. (default: all)",
        lower_bound=1,
        flag_values=values,
    )
    flags.DEFINE_string(
        "show",
        None,
        "<NAME>: Print the numbers of one variable, as numpy does; of a part of it by a slice, "
        "such as --show='dense/kernel[:3, -1]'.",
        flag_values=values,
    )
    define_format_flags(values)


def _many(values: flags.FlagValues) -> dict[str, Any]:
    for name in ("values", "tree", "show"):
        if values[name].value:
            raise UsageError(f"--{name} shows one checkpoint; give one, or leave it out")
    _require_tree(values)
    return {"names": values.names, "wanted": name_filter(values)}


def _require_tree(values: flags.FlagValues) -> None:
    if values.depth is not None and not values.tree:
        raise UsageError("--depth is about a tree; give --tree, too")


def _require_one(values: flags.FlagValues) -> None:
    """Raises UsageError for flags that ask for two things at once."""
    _require_tree(values)
    asked = [name for name in ("show", "tree", "values") if values[name].value not in (None, False)]
    if len(asked) > 1:
        raise UsageError(f"--{asked[0]} and --{asked[1]} show two things; give one of them")
    if values.show is not None:
        if not values.show.strip():
            raise UsageError("--show= is empty; give the name of a variable")
        for name in ("include", "exclude"):
            if values[name].value:
                raise UsageError(f"--show names one variable; leave --{name} out")
    if asked and asked != ["values"] and values.format not in (None, "table", "json"):
        raise UsageError(
            f"--{asked[0]} prints no rows for --format={values.format}; give table or json"
        )


def _execute(operands: Sequence[str], values: flags.FlagValues) -> int:
    _require_one(values)
    if values.show is not None:
        _print_numbers(operands[0], values)
        return 0

    from estimator_ckpt.operations.describe import describe

    wanted = name_filter(values)
    with output.progress_bars("reading") as progress:
        whole = describe(
            operands[0],
            values=wanted if values.values else False,
            names=values.names,
            progress=progress,
        )
    shown = whole.only(wanted)
    if values.tree:
        _print_tree(whole, shown, values)
    elif values.json:
        output.print_json(shown)
    else:
        print_description(whole, shown, values.values)
    return 0


def _shows(found: CheckpointDescription) -> None:
    print_description(found, found, any(row.values for row in found.variables))


def print_description(
    whole: CheckpointDescription, shown: CheckpointDescription, with_values: bool = False
) -> None:
    """Prints what sums up a checkpoint, and rows of what of it is shown."""
    _print_summary(whole, shown)
    if with_values:
        output.print_rows(_COLUMNS_WITH_VALUES, map(_cells_with_values, shown.variables), _scope)
    elif output.for_people() and output.has_room_for_bars():
        most = max((row.bytes for row in shown.variables), default=0)
        rows = ((*_cells(row), output.bar(row.bytes, most)) for row in shown.variables)
        output.print_rows((*_COLUMNS, output.Column("share")), rows, _scope)
    else:
        output.print_rows(_COLUMNS, map(_cells, shown.variables), _scope)
    if output.for_people() and whole.other_keys:
        print(f"\nother keys: {', '.join(map(output.escape, whole.other_keys))}")


def _print_summary(whole: CheckpointDescription, shown: CheckpointDescription) -> None:
    """Above the table on a terminal, otherwise on a line beside the rows and not among them."""
    head = (
        f"{output.escape(whole.prefix)}: format {whole.format}",
        "no step" if whole.step is None else f"step {whole.step}",
        output.counted(whole.num_shards, "shard"),
        f"{output.counted(len(whole.variables), 'variable')} {output.human_bytes(whole.bytes)}",
    )
    lines = [", ".join(head), *_totals(whole), *_shares(whole)]
    if len(shown.variables) != len(whole.variables):
        lines.append(
            f"shown: {len(shown.variables):,} of {output.counted(len(whole.variables), 'variable')}"
            f", {output.human_bytes(shown.bytes)}"
        )
    output.print_summary(("\n" if output.for_people() else "; ").join(lines))


def _shares(description: CheckpointDescription) -> list[str]:
    """With which other checkpoint it has the most bytes in common, by hard links."""
    if not description.shares:
        return []
    most, *others = description.shares
    told = f"shares {output.human_bytes(most.bytes)} with {output.escape(most.checkpoint)}"
    return [told + (f", some with {output.counted(len(others), 'other')}" if others else "")]


def _totals(description: CheckpointDescription) -> list[str]:
    """Weights and what training adds to them, and how many times theirs that is."""
    totals = description.totals
    facts = []
    for part, (count, size) in totals.items():
        facts.append(f"{output.counted(count, part[:-1])} {output.human_bytes(size)}")
        if part != "others" and part != "weights" and "weights" in totals:
            facts[-1] += f" ({size / max(totals['weights'].bytes, 1):.1f} times)"
    return [", ".join(facts)] if facts else []


def _print_numbers(checkpoint: str, values: flags.FlagValues) -> None:
    from estimator_ckpt.operations.numbers import numbers

    found = numbers(checkpoint, values.show, names=values.names)
    if values.json:
        output.print_json({**vars(found), "array": found.array.tolist()})
        return
    part = f"[{found.part}]" if found.part else ""
    output.print_summary(
        f"{output.escape(found.name + part)}: {found.dtype} {_shape(found.array.shape)}"
    )
    print(output.escape_lines(found.text(shutil.get_terminal_size().columns)))


def _print_tree(
    whole: CheckpointDescription, shown: CheckpointDescription, values: flags.FlagValues
) -> None:
    from estimator_ckpt.operations.tree import tree

    root = tree(shown, values.depth)
    if values.json:
        output.print_json(root)
        return
    _print_summary(whole, shown)
    output.print_tree(root, lambda node: node.children, _label)


def _label(node: TreeNode) -> str:
    size = output.human_bytes(node.bytes)
    if node.row is not None and node.variables == 1:
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


@functools.lru_cache
def _shape(shape: tuple[int, ...]) -> str:
    return "[" + ", ".join(map(str, shape)) + "]"


COMMAND = Command(
    name="inspect",
    operands=("CHECKPOINT...",),
    summary="Lists what a checkpoint holds: name, key, shape, dtype, bytes, slot-of.",
    define_flags=_define_flags,
    execute=_execute,
    details=_DETAILS,
    examples=__doc__,
    shows=_shows,
    many=_many,
)
