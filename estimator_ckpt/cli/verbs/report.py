"""`estimator-ckpt report CHECKPOINT [OTHER] -o report.html`: checkpoints as pictures, in one file.

Synopsis:

    estimator-ckpt report model_dir -o report.html
    estimator-ckpt report model_dir -o report.html --values
    estimator-ckpt report before after -o report.html
    estimator-ckpt report old_job new_job --map=map.txt -o report.html
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from absl import flags

from estimator_ckpt.cli import output
from estimator_ckpt.cli.command import PROGRAM, Command, UsageError
from estimator_ckpt.cli.filters import CHECKPOINT, define_names_flag
from estimator_ckpt.cli.report import define_rename_flag, rename_rules
from estimator_ckpt.messages import escaped
from estimator_ckpt.storage import files

_INCOMPLETE = 1

_DETAILS = f"""\
CHECKPOINT and OTHER are of any format: {CHECKPOINT}. They are never changed. Of a folder, the \
report shows all of its checkpoints as a time line, and what is in the latest.

The report is one HTML file, which needs no network and no other file: the bytes by scope, a table \
of the variables; with OTHER, what differs; with --map, which variable is which one, to be \
answered, edited and saved. Without --values no tensor is read.

Exit code: 0, done; 1, the latest checkpoint of the folder can't be read, and the report says why; \
2, trouble, and no report."""


def _define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string(
        "output",
        None,
        "<FILE>: File to write the report to. Required, but for --json.",
        short_name="o",
        flag_values=values,
    )
    flags.DEFINE_boolean(
        "overwrite", False, "Replace an HTML page that is there.", flag_values=values
    )
    flags.DEFINE_boolean(
        "values",
        False,
        "Read the tensors, too: histograms, norms, zeros, NaN and Inf, rows of zeros; of a folder, "
        "norms and how much each step changed; of two, how far values are apart.",
        flag_values=values,
    )
    flags.DEFINE_boolean(
        "json", False, "Print what the report shows as JSON, too.", flag_values=values
    )
    define_rename_flag(values)
    define_names_flag(values)


def _execute(operands: Sequence[str], values: flags.FlagValues) -> int:
    if values.output is None and not values.json:
        raise UsageError("flag --output is required; give the file to write, -o report.html")
    if values.output == "-":
        raise UsageError("--output=-: a report is a file; give its name, -o report.html")
    other = operands[1] if len(operands) > 1 else None
    if values.map is not None and values.rename:
        raise UsageError("--map and --rename don't go together; edit the map instead")
    if values.rename and other is None:
        raise UsageError("--rename is for comparing with OTHER; give a second checkpoint")

    from estimator_ckpt.reporting.making import report

    with output.progress_bars("reading") as progress:
        made = report(
            operands[0],
            other,
            output=values.output,
            overwrite=values.overwrite,
            map=values.map,
            rename=None if values.map is not None else rename_rules(values),
            values=values.values,
            names=values.names,
            progress=progress,
        )
    if values.json:
        output.print_json(made.data)
    elif output.on_terminal():
        size = output.human_bytes(files.size(values.output))
        print(f"wrote {output.escape(values.output)}, {size}: open it in a browser")
    else:
        output.print_tabbed(("report", values.output))
    if made.trouble is not None:
        print(f"{PROGRAM}: the report has no variables: {escaped(made.trouble)}", file=sys.stderr)
        return _INCOMPLETE
    return 0


COMMAND = Command(
    name="report",
    operands=("CHECKPOINT", "[OTHER]"),
    summary="Makes one HTML file of a checkpoint, a folder, two checkpoints or a map: as pictures.",
    define_flags=_define_flags,
    execute=_execute,
    details=_DETAILS,
    examples=__doc__,
)
