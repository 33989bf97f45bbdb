r"""`--from_file=LIST`: what a verb does with one model_dir, done with many.

Synopsis:

    estimator-ckpt convert --from-file=dirs.txt --output-root=tf2 --to=tf2 --report=report.jsonl
    find /jobs -name checkpoint -printf '%h\n' | estimator-ckpt doctor --from-file=-
"""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

from absl import flags

from estimator_ckpt.cli import output

if TYPE_CHECKING:
    from estimator_ckpt.fleet.work import ModelDirReport

DETAILS = """\
With --from_file, it is done with each model_dir of a list: a line each, and after a tab its \
target, or what to compare it with. Lines that begin with # are left out. A model_dir stands for \
all checkpoints that its state file lists. What can't be done stops nothing else; what has been \
converted already is compared, and skipped.

Exit code: 0, all were done; 1, all, and the answer is no for some; 2, some could not be done."""
_COLUMNS = (
    output.Column("model_dir"),
    output.Column("status"),
    output.Column("target", folds=True),
    output.Column("formats"),
    output.Column("step", "right"),
    output.Column("checkpoints", "right"),
    output.Column("bytes", "right"),
    output.Column("seconds", "right"),
    output.Column("problem", folds=True),
)
_DOING = {
    "convert": "converting",
    "verify": "checking",
    "doctor": "examining",
    "diff": "comparing",
}
_WORDS = {
    ("convert", "done"): "converted",
    ("convert", "planned"): "to be converted",
    ("verify", "done"): "undamaged",
    ("verify", "no"): "damaged",
    ("doctor", "done"): "healthy",
    ("doctor", "no"): "to be mended",
    ("diff", "done"): "equal",
    ("diff", "no"): "different",
}


def define_flags(values: flags.FlagValues, paths: int) -> None:
    """Defines the flags; for a verb of one path or of two."""
    flags.DEFINE_string(
        "from_file",
        None,
        "<FILE>: File with a list of model_dirs, which this is done with; '-' for standard input.",
        flag_values=values,
    )
    if paths > 1:
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
        "<FILE>: With --from_file: file for a line of JSON a model_dir, written as each is done.",
        flag_values=values,
    )


def is_given(values: flags.FlagValues) -> bool:
    """Returns whether there is a list of what to do."""
    return values.from_file is not None


def execute(verb: str, options: dict[str, Any], values: flags.FlagValues) -> int:
    """Does it, prints the rows as they come, and returns the exit code."""
    from estimator_ckpt.fleet import listing
    from estimator_ckpt.fleet.many import json_line, many

    given = listing.read_list(values.from_file)
    if "output_root" in values:
        options = {
            **options,
            "output_root": values.output_root,
            "source_root": values.source_root,
        }
    counts: Counter[str] = Counter()
    rows: list[ModelDirReport] = []
    on_terminal, total = output.on_terminal(), 0
    with output.counting_bar(_DOING[verb]) as show:

        def told(row: ModelDirReport, done: int, of: int) -> None:
            nonlocal total
            total = of
            counts[row.status] += 1
            if values.json:
                sys.stdout.write(json_line(row))
                sys.stdout.flush()
            elif on_terminal:
                rows.append(row)
            else:
                if done == 1:
                    output.print_tabbed([column.title for column in _COLUMNS])
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
            show_all = verb == "doctor" or ("verbose" in values and values.verbose)
            shown = [row for row in rows if show_all or row.status in ("no", "failed")]
    if shown:
        shown.sort(key=lambda row: row.model_dir)
        output.print_rows(_COLUMNS, map(_cells, shown))
    print(_summary(verb, counts), file=sys.stdout if on_terminal else sys.stderr, flush=True)
    return 2 if counts["failed"] else 1 if counts["no"] else 0


def _cells(row: ModelDirReport) -> tuple[object, ...]:
    return (
        row.model_dir,
        row.status,
        row.target,
        " ".join(row.formats),
        row.step,
        row.checkpoints,
        row.bytes,
        f"{row.seconds:.3f}",
        row.problem,
    )


def _summary(verb: str, counts: Counter[str]) -> str:
    facts = [
        f"{count:,} {_WORDS.get((verb, status), status)}"
        for status, count in sorted(counts.items())
    ]
    return ": ".join(
        filter(None, (output.counted(sum(counts.values()), "model_dir"), ", ".join(facts)))
    )
