r"""`--from_file=LIST`: what a verb does with one model_dir, done with many.

Synopsis:

    estimator-ckpt convert --from-file=dirs.txt --output-root=tf2 --to=tf2 --report=report.jsonl
    find /jobs -name checkpoint -printf '%h\n' | estimator-ckpt doctor --from-file=-
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from absl import flags

from estimator_ckpt.cli import output
from estimator_ckpt.errors import CheckpointError, CheckpointNotFoundError
from estimator_ckpt.storage import files

if TYPE_CHECKING:
    from estimator_ckpt.fleet.work import ModelDirReport

DETAILS = """\
With --from_file, it is done with each model_dir of a list: a line each, and after a tab its \
target, or what to compare it with. Lines that begin with # are left out. A model_dir stands for \
all checkpoints that its state file lists. What can't be done stops nothing else; what has been \
converted already is compared, and skipped.

Exit code: 0, all were done; 1, all, and the answer is no for some; 2, some could not be done."""
_BAD = ("failed", "damaged", "to be mended", "different")
_COLUMNS = (
    output.Column("model_dir"),
    output.Column("status", colours=dict.fromkeys(_BAD, "red")),
    output.Column("target", folds=True),
    output.Column("formats"),
    output.Column("step", "right"),
    output.Column("checkpoints", "right", folds=True),
    output.Column("bytes", "right"),
    output.Column("seconds", "right", folds=True),
    output.Column("problem", folds=True),
)
SEVERAL = """\
Several operands are a row each. What can't be read is one with its problem, and stops nothing \
else; the exit code is 2 then."""
_PARTS = ("weights", "slots", "averages", "others")  # of what `inspect` adds up
_DOING = {
    "inspect": "reading",
    "convert": "converting",
    "verify": "checking",
    "doctor": "examining",
    "diff": "comparing",
}
_WORDS = {
    ("convert", "done"): "converted",
    ("convert", "planned"): "to be converted",
    ("inspect", "done"): "read",
    ("verify", "done"): "undamaged",
    ("verify", "no"): "damaged",
    ("doctor", "done"): "healthy",
    ("doctor", "no"): "to be mended",
    ("diff", "done"): "equal",
    ("diff", "no"): "different",
}


def define_flags(values: flags.FlagValues, operands: Sequence[str]) -> None:
    """Defines the flags; for a verb of one path, a checkpoint's or a folder's, or of two."""
    if operands == ("CHECKPOINT...",):
        flags.DEFINE_boolean(
            "all", False, "All checkpoints of a folder, not only its latest.", flag_values=values
        )
    if len(operands) == 1:
        flags.DEFINE_boolean(
            "recursive",
            False,
            "Each folder that has checkpoints, of those that are given and all below; a row each.",
            short_name="r",
            flag_values=values,
        )
    flags.DEFINE_string(
        "from_file",
        None,
        "<FILE>: File with a list of model_dirs, which this is done with; '-' for standard input.",
        flag_values=values,
    )
    if len(operands) > 1:
        flags.DEFINE_string(
            "output_root",
            None,
            "<DIR>: With --from_file: where the targets are of those that have none in the list. "
            "That of jobs/a is OUTPUT_ROOT/jobs/a, of s3://bucket/a OUTPUT_ROOT/bucket/a.",
            flag_values=values,
        )
        flags.DEFINE_string(
            "source_root",
            None,
            "<DIR>: With --output_root: a folder that all model_dirs are below; their paths below "
            "OUTPUT_ROOT begin there.",
            flag_values=values,
        )
    flags.DEFINE_integer(
        "workers",
        None,
        "With --from_file: how many are in work at once. (default: a process a processor; 16 "
        "threads where model_dirs are on a store)",
        lower_bound=1,
        flag_values=values,
    )
    flags.DEFINE_string(
        "report",
        None,
        "<FILE>: For rows, as with --from_file: file for a line of JSON each, as it is done.",
        flag_values=values,
    )


class UsageError(Exception):
    """The command line cannot be understood; the message says what is allowed."""


def require_used(operands: Sequence[str], values: flags.FlagValues) -> None:
    """Raises UsageError for a flag that would change nothing, or has an empty value."""
    for name in ("from_file", "report", "output_root", "source_root"):
        if name in values and values[name].value == "":
            raise UsageError(f"--{name}= is empty; give a path, or leave it out")
    if is_given(values):
        if "recursive" in values and values.recursive:
            raise UsageError("--recursive is about operands; --from_file has a list instead")
    elif not is_meant(operands, values):
        for name in ("output_root", "source_root", "workers", "report"):
            if name in values and values[name].value is not None and operands:
                raise UsageError(f"--{name} is about a list of model_dirs; give --from_file, too")
    if "source_root" in values and values.source_root and not values.output_root:
        raise UsageError("--source_root is about --output_root; give that, too")


def is_given(values: flags.FlagValues) -> bool:
    """Returns whether there is a list of what to do."""
    return values.from_file is not None


def is_meant(operands: Sequence[str], values: flags.FlagValues) -> bool:
    """Returns whether operands of a verb that takes one path are several, or a row each."""
    if "recursive" not in values or not operands:
        return False
    rows = values.report is not None or values.workers is not None
    return bool(len(operands) > 1 or values.recursive or _all(values) or rows)


def execute(
    verb: str, options: dict[str, Any], values: flags.FlagValues, operands: Sequence[str] = ()
) -> int:
    """Does it, prints the rows as they come, and returns the exit code.

    Raises:
      CheckpointNotFoundError: there is nothing below a folder.
      CheckpointError: as `read_list`.
    """
    from estimator_ckpt.fleet import listing
    from estimator_ckpt.fleet.many import json_line, many

    given = (
        [listing.ModelDir(path) for path in _meant(operands, values)]
        if operands
        else listing.read_list(values.from_file)
    )
    if "output_root" in values:
        options = {
            **options,
            "output_root": values.output_root,
            "source_root": values.source_root,
        }
    counts: Counter[str] = Counter()
    rows: list[ModelDirReport] = []
    at_once, total = output.prints_lines() and not operands, 0
    columns = _columns(verb)
    with output.counting_bar(_DOING[verb]) as show:

        def told(row: ModelDirReport, done: int, of: int) -> None:
            nonlocal total
            total = of
            counts[row.status] += 1
            if values.json and not operands:
                sys.stdout.write(json_line(row))
                sys.stdout.flush()
            elif not at_once:
                rows.append(row)
            else:
                if done == 1:
                    output.print_tabbed([column.title for column in columns])
                output.print_tabbed(_cells(row))
                sys.stdout.flush()
            show(done, of)

        try:
            many(verb, given, workers=values.workers, report=values.report, told=told, **options)
        except KeyboardInterrupt:
            done = sum(counts.values())
            print(
                f"interrupted: {done:,} of {total or len(given):,} are done; run it again for the "
                "others",
                file=sys.stderr,
            )
            raise
        finally:
            verbose = "verbose" in values and values.verbose
            show_all = bool(operands) or verbose or verb in ("doctor", "inspect")
            shown = [row for row in rows if show_all or row.status in ("no", "failed")]
    order = {each.source: number for number, each in enumerate(given)}
    shown.sort(key=lambda row: order[row.model_dir] if operands else row.model_dir)
    if values.json:
        for row in shown if operands else ():
            sys.stdout.write(json_line(row))
    elif output.for_people():
        _print_for_people(shown, columns)
    elif shown:
        output.print_rows(columns, map(_cells, shown))
    noun = "checkpoint" if operands and "all" in values else "model_dir"
    output.print_summary(_summary(verb, noun, counts))
    return 2 if counts["failed"] else 1 if counts["no"] else 0


def _meant(operands: Sequence[str], values: flags.FlagValues) -> Iterator[str]:
    """Yields the paths that operands mean: folders, of which a verb may want the checkpoints."""
    from estimator_ckpt.checkpoint.folders import checkpoints_in, with_checkpoints
    from estimator_ckpt.checkpoint.opening import find_prefix

    for operand in operands:
        found = list(with_checkpoints(operand)) if values.recursive else [operand]
        if not found:
            raise CheckpointNotFoundError(f"there are no checkpoints in or below '{operand}'")
        for path in found:
            if "all" not in values:
                yield path
                continue
            try:
                yield from checkpoints_in(path) if values.all else [find_prefix(path)]
            except Exception as error:
                if not (isinstance(error, CheckpointError) or files.is_refusal(error)):
                    raise
                yield path  # whose row says why


def _all(values: flags.FlagValues) -> bool:
    return "all" in values and bool(values.all)


def _cells(row: ModelDirReport) -> tuple[object, ...]:
    parts = _PARTS if row.verb == "inspect" else ()
    return (
        row.model_dir,
        row.status,
        row.target,
        " ".join(row.formats),
        row.step,
        row.checkpoints,
        row.bytes,
        *(row.details[0].get(part, {}).get("bytes", 0) for part in parts if row.details),
        *(None for part in parts if not row.details),
        f"{row.seconds:.3f}",
        row.problem,
    )


def _print_for_people(rows: Sequence[ModelDirReport], columns: Sequence[output.Column]) -> None:
    """A table of what is not the same for all, and what is wrong in sentences below it."""
    cells = [
        (*row[:1], _WORDS.get((each.verb, each.status), each.status), *row[2:])
        for each, row in zip(rows, map(_cells, rows))
    ]
    left = (
        "seconds",
        "problem",
        *(["checkpoints"] if all(row.checkpoints < 2 for row in rows) else []),
    )
    used = [
        number
        for number, column in enumerate(columns)
        if column.title not in left and any(row[number] not in (None, "", 0) for row in cells)
    ]
    if rows:
        output.print_rows(
            [columns[number] for number in used],
            ([row[number] for number in used] for row in cells),
        )
    for row in rows:
        if row.problem:
            word = _WORDS.get((row.verb, row.status), row.status)
            told = f"{word}: {output.escape(row.model_dir)}: {output.escape(row.problem)}"
            shown = output.coloured(word, "red") + output.filled(told, "    ")[len(word) :]
            print(f"\n{shown}")
    if rows:
        print()


def _columns(verb: str) -> tuple[output.Column, ...]:
    parts = [
        output.Column(part, "right", folds=True, quiet="0")
        for part in (_PARTS if verb == "inspect" else ())
    ]
    return (*_COLUMNS[:-2], *parts, *_COLUMNS[-2:])


def _summary(verb: str, noun: str, counts: Counter[str]) -> str:
    facts = [
        f"{count:,} {_WORDS.get((verb, status), status)}"
        for status, count in sorted(counts.items())
    ]
    return ": ".join(filter(None, (output.counted(sum(counts.values()), noun), ", ".join(facts))))
