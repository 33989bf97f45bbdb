"""`estimator-ckpt diff A B`: in what two checkpoints differ, whatever their formats are.

Synopsis:

    estimator-ckpt diff model_dir/model.ckpt-400 model_dir/model.ckpt-500
    estimator-ckpt diff before after --values --tolerance=1e-6
    estimator-ckpt diff old_job new_job --rename=dense/=tower/dense/ && echo equal
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from absl import flags

from estimator_ckpt.cli import output
from estimator_ckpt.cli.command import Command, define_format_flags
from estimator_ckpt.cli.filters import CHECKPOINT, define_filter_flags, name_filter
from estimator_ckpt.cli.report import define_rename_flag, rename_rules

if TYPE_CHECKING:
    from estimator_ckpt.operations.diff import Difference, VariableChange

_DIFFERENT = 1
_DETAILS = f"""\
A and B are checkpoints of any format: {CHECKPOINT}. Variables are matched by name.

Without --values only the indexes are read: tensors of equal type, shape and checksum are equal. \
What is listed is removed (only A has it), added (only B has it), renamed (the same bytes under \
another name), or differs in shape, dtype or values; it is unknown where a variable is partitioned \
in another way and only --values can tell.

Exit code: 0, equal; 1, different; 2, trouble."""
_COLUMNS = (
    output.Column("change"),
    output.Column("name"),
    output.Column("new-name", folds=True),
    output.Column("shape", folds=True),
    output.Column("new-shape", folds=True),
    output.Column("dtype", folds=True),
    output.Column("new-dtype", folds=True),
)
_VALUE_COLUMNS = (
    output.Column("max-difference", "right"),
    output.Column("mean-difference", "right"),
)


def _define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_boolean(
        "values",
        False,
        "Read what differs: its greatest and its mean absolute difference.",
        flag_values=values,
    )
    flags.DEFINE_float(
        "tolerance",
        0.0,
        "Take values for equal that differ by no more than this; more than 0 implies --values.",
        flag_values=values,
        lower_bound=0.0,
    )
    define_rename_flag(values)
    define_filter_flags(values)
    define_format_flags(values)


def _many(values: flags.FlagValues) -> dict[str, Any]:
    return {
        "values": values.values,
        "tolerance": values.tolerance,
        "rename": rename_rules(values),
        "names": values.names,
        "wanted": name_filter(values),
    }


def _execute(operands: Sequence[str], values: flags.FlagValues) -> int:
    from estimator_ckpt.operations.diff import diff

    with output.progress_bars("comparing") as progress:
        found = diff(operands[0], operands[1], progress=progress, **_many(values))
    code = 0 if found.same else _DIFFERENT
    if values.json:
        output.print_json(found)
        return code
    print_difference(found, values.values or values.tolerance > 0)
    return code


def _shows(found: Difference) -> None:
    print_difference(found, any(each.max_difference is not None for each in found.changes))


def print_difference(found: Difference, with_values: bool = False) -> None:
    """Prints what is equal, and a row for each variable that is not."""
    _print_summary(found)
    columns = _COLUMNS + (_VALUE_COLUMNS if with_values else ())
    rows = [_cells(change, with_values) for change in found.changes]
    if not output.for_people():
        output.print_rows(columns, rows)
    elif rows:
        if with_values and output.has_room_for_bars():
            columns, rows = (*columns, output.Column("apart")), _with_bars(found, rows)
        # The name first: there is room below it for what is folded.
        order = (1, 0, *range(2, len(columns)))
        used = [at for at in order if any(row[at] is not None for row in rows)]
        output.print_rows(
            [columns[at] for at in used],
            ([row[at] for at in used] for row in rows),
            section=lambda cells: cells[1],
        )


def _with_bars(found: Difference, rows: list[tuple[object, ...]]) -> list[tuple[object, ...]]:
    """Adds bars of the greatest differences; those of steps and counters are no measure."""
    apart = [
        0.0 if "int" in str(change.dtype) else change.max_difference or 0.0
        for change in found.changes
    ]
    most = max(filter(math.isfinite, apart), default=0.0)
    return [(*row, output.bar(each, most) or None) for row, each in zip(rows, apart)]


def _print_summary(found: Difference) -> None:
    counts = Counter(change.kind for change in found.changes)
    within = f" ({found.within_tolerance:,} within tolerance)" if found.within_tolerance else ""
    facts = [f"{output.counted(found.equal, 'variable')} equal{within}"]
    facts += [f"{count:,} {_WORDS[kind]}" for kind, count in counts.items()]
    stream = sys.stdout if output.for_people() else sys.stderr
    for side, prefix, format in zip("AB", (found.first, found.second), found.formats):
        print(f"{side}: {output.escape(prefix)}, format {format}", file=stream)
    print(", ".join(facts), file=stream, flush=True)


_WORDS = {
    "removed": "removed",
    "added": "added",
    "renamed": "renamed",
    "shape": "of another shape",
    "dtype": "of another dtype",
    "values": "of other values",
    "unknown": "unknown without --values",
}


def _cells(change: VariableChange, with_values: bool) -> tuple[object, ...]:
    on_terminal = output.for_people()

    def shown(new: str | None, old: str | None) -> str | None:
        return None if on_terminal and new == old else new  # a person need not read it twice

    shape, new_shape = _shape(change.shape), _shape(change.new_shape)
    cells = (
        change.kind,
        change.name,
        change.new_name,
        shape,
        shown(new_shape, shape),
        change.dtype,
        shown(change.new_dtype, change.dtype),
    )
    if not with_values:
        return cells
    return (*cells, _number(change.max_difference), _number(change.mean_difference))


def _shape(shape: tuple[int, ...] | None) -> str | None:
    return None if shape is None else "[" + ", ".join(map(str, shape)) + "]"


def _number(value: float | None) -> str | None:
    return "NaN" if value is not None and math.isnan(value) else output.number(value)


COMMAND = Command(
    name="diff",
    operands=("A", "B"),
    summary="Says in what two checkpoints differ, across formats.",
    define_flags=_define_flags,
    execute=_execute,
    details=_DETAILS,
    examples=__doc__,
    shows=_shows,
    many=_many,
)
