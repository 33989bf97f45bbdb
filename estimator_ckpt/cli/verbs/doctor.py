"""`estimator-ckpt doctor MODEL_DIR`: what is wrong in a folder of checkpoints, and what to do.

Synopsis:

    estimator-ckpt doctor model_dir
    estimator-ckpt doctor model_dir --findings --format=csv
    estimator-ckpt doctor --recursive jobs
    estimator-ckpt doctor model_dir --include=ckpt-500
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from absl import flags

from estimator_ckpt.cli import output
from estimator_ckpt.cli.command import Command, UsageError, define_format_flags
from estimator_ckpt.cli.filters import define_filter_flags, name_filter

if TYPE_CHECKING:
    from estimator_ckpt.operations.doctor import CheckpointRow, Diagnosis, Finding

_UNHEALTHY = 1
_READERS = (
    "Who can read it: tf1-saver, TF1's Saver; raw, an Estimator that is not wrapped, and wrapped, "
    "one that is (both need a global step to resume); tf2-ckpt, tf.train.Checkpoint. 'by name': "
    "Checkpoint restores a tf1 one only into variables of the same names; the Saver a tf2 one by "
    "the names in its object graph, as long as the TensorFlow graph is not finalized (in a session "
    "of Estimator's it is)."
)
_COLOURS = {"error": "red", "warning": "yellow", "note": "cyan"}
_DETAILS = f"""\
MODEL_DIR is a folder with checkpoints; of a SavedModel its variables are meant, and of a \
checkpoint's prefix or .index the folder that it is in. Nothing is changed, and no tensor is read: \
`verify` does that.

{_READERS}

In a pipe, rows of the checkpoints are on stdout, and what there is to mend on stderr; with \
--findings it is what has the rows.

Exit code: 0, there is nothing to mend (notes at most); 1, there are errors or warnings; 2, \
trouble."""
_CHECKPOINTS = (
    output.Column("checkpoint"),
    output.Column("format", colours={"damaged": "red"}),
    output.Column("step", "right"),
    output.Column("bytes", "right", folds=True),
    output.Column("state"),
    output.Column("tf1-saver"),
    output.Column("raw"),
    output.Column("wrapped"),
    output.Column("tf2-ckpt"),
)
_FINDINGS = (
    output.Column("severity", colours=_COLOURS),
    output.Column("file"),
    output.Column("problem", folds=True),
    output.Column("remedy", folds=True),
)


def _define_flags(values: flags.FlagValues) -> None:
    define_filter_flags(values, "checkpoint")
    flags.DEFINE_boolean(
        "findings", False, "Print what there is to mend, a row each, instead.", flag_values=values
    )
    define_format_flags(values)


def _many(values: flags.FlagValues) -> dict[str, Any]:
    if values.findings:
        raise UsageError("--findings shows one folder; give one, or leave it out")
    return {"wanted": name_filter(values)}


def _execute(operands: Sequence[str], values: flags.FlagValues) -> int:
    wanted = name_filter(values)

    from estimator_ckpt.operations.doctor import doctor

    found = doctor(operands[0]).only(wanted)
    code = 0 if found.healthy else _UNHEALTHY
    if values.json:
        output.print_json(found.findings if values.findings else found)
    elif values.findings:
        output.print_summary(_summary(found))
        output.print_rows(_FINDINGS, map(_finding_cells, found.findings))
    else:
        print_diagnosis(found)
    return code


def print_diagnosis(found: Diagnosis) -> None:
    """Prints a row a checkpoint; and apart from these, what there is to mend."""
    output.print_summary(_summary(found))
    if output.for_people() and found.checkpoints:
        print()
    if found.checkpoints or not output.for_people():
        output.print_rows(_CHECKPOINTS, map(_checkpoint_cells, found.checkpoints))
    if output.for_people() and found.checkpoints:
        print(f"\n{output.filled(_READERS, '')}")
    people = output.for_people()
    stream = sys.stdout if people else sys.stderr
    for finding in found.findings:
        subject, problem, remedy = map(
            output.escape, (finding.subject, finding.problem, finding.remedy)
        )
        told = f"{finding.severity}: {subject}: {problem}"
        what = f"    -> {remedy}"
        if people:  # in a file a line stays one
            told, what = output.filled(told, " " * 4), output.filled(what, " " * 7)
        word = output.coloured(finding.severity, _COLOURS[finding.severity], stream)
        print(f"\n{word}{told[len(finding.severity) :]}", file=stream)
        print(what, file=stream)


def _summary(found: Diagnosis) -> str:
    counts = Counter(finding.severity for finding in found.findings)
    facts = [
        output.counted(len(found.checkpoints), "checkpoint"),
        "no latest" if found.latest is None else f"latest {output.escape(found.latest)}",
        *(output.counted(count, severity) for severity, count in counts.items()),
    ]
    return f"{output.escape(found.directory)}: {', '.join(facts)}"


def _checkpoint_cells(row: CheckpointRow) -> tuple[object, ...]:
    return (
        row.name,
        row.format or "damaged",
        row.step,
        row.bytes,
        row.state,
        row.tf1_saver,
        row.raw_estimator,
        row.wrapped_estimator,
        row.tf2_checkpoint,
    )


def _finding_cells(finding: Finding) -> tuple[object, ...]:
    return finding.severity, finding.subject, finding.problem, finding.remedy


COMMAND = Command(
    name="doctor",
    operands=("MODEL_DIR...",),
    summary="Says what is wrong in a folder of checkpoints, and what to do about it.",
    define_flags=_define_flags,
    execute=_execute,
    details=_DETAILS,
    examples=__doc__,
    shows=print_diagnosis,
    many=_many,
)
