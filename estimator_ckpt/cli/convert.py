"""`estimator-ckpt convert SOURCE TARGET --to=FORMAT`: other names for the same bytes.

Synopsis:

    estimator-ckpt convert model_dir/model.ckpt-500 tf2/ckpt-500 --to=tf2
    estimator-ckpt convert model_dir both/ckpt --to=dual --verbose
    estimator-ckpt convert tf2/ckpt-500 tf1/model.ckpt-500 --to=tf1 --copy --json
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from absl import flags

from estimator_ckpt.cli import output
from estimator_ckpt.cli.command import Command, require_choice

if TYPE_CHECKING:
    from estimator_ckpt.conversion import ConversionReport, KeyChange

_DETAILS = """\
SOURCE is a prefix (model_dir/model.ckpt-500) or a folder with a state file (its latest \
checkpoint). TARGET is the prefix of the new checkpoint. SOURCE is never changed.

No tensor is read: the files that hold them are linked into place, or copied where the file \
system cannot link. What is left out of the new checkpoint is always listed, with the reason."""


def _define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_enum(
        "to",
        None,
        ["tf1", "tf2", "dual"],
        "Format to write: names (tf1), objects (tf2), or both on the same bytes (dual). Required.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "container",
        None,
        "For tf2 and dual: attribute of the tf.train.Checkpoint that is to hold the variables. "
        "(default: var_list, as a wrapped Estimator has it)",
        flag_values=values,
    )
    flags.DEFINE_boolean(
        "overwrite", False, "Replace a checkpoint that is at TARGET.", flag_values=values
    )
    flags.DEFINE_boolean(
        "copy",
        False,
        "Copy the data even where it could be linked, to make TARGET independent of SOURCE.",
        flag_values=values,
    )
    flags.DEFINE_boolean(
        "verbose", False, "List each renamed key, too.", short_name="v", flag_values=values
    )
    flags.DEFINE_boolean("json", False, "Print the report as JSON.", flag_values=values)


def _execute(operands: Sequence[str], values: flags.FlagValues) -> int:
    source, target = operands
    to = require_choice(values, "to")

    from estimator_ckpt.conversion import convert

    with output.progress_bars("copying") as progress:
        report = convert(
            source,
            target,
            to=to,
            container=values.container,
            overwrite=values.overwrite,
            copy=values.copy,
            progress=progress,
        )
    if values.json:
        output.print_json(report)
    elif output.on_terminal():
        _print_for_people(report, values.verbose)
    else:
        _print_for_pipes(report, values.verbose)
    return 0


def _print_for_people(report: ConversionReport, verbose: bool) -> None:
    renamed = _renamed(report)
    hint = "" if verbose or not renamed else " (--verbose lists them)"
    print(f"wrote {output.escape(report.prefix)}, format {report.format}")
    print(f"  {output.counted(len(report.keys), 'key')}, {len(renamed):,} of them renamed{hint}")
    for change in renamed if verbose else ():
        print(f"    {output.escape(change.source)} -> {output.escape(change.target)}")
    print(f"  {output.counted(len(report.added), 'key')} added")
    for key in report.added:
        print(f"    {output.escape(key)}")
    print(f"  {output.counted(len(report.dropped), 'key')} dropped")
    for reason, keys in _by_reason(report).items():
        print(f"    {output.escape(reason)}:")
        for key in keys:
            print(f"      {output.escape(key)}")
    print(
        f"  {output.human_bytes(report.bytes_linked)} linked, "
        f"{output.human_bytes(report.bytes_copied)} copied, "
        f"{output.human_bytes(report.bytes_written)} written"
    )


def _print_for_pipes(report: ConversionReport, verbose: bool) -> None:
    """A line a fact: what it is, then its values."""
    renamed = _renamed(report)
    output.print_tabbed(("prefix", report.prefix))
    output.print_tabbed(("format", report.format))
    output.print_tabbed(("keys", len(report.keys)))
    output.print_tabbed(("keys_renamed", len(renamed)))
    output.print_tabbed(("keys_added", len(report.added)))
    output.print_tabbed(("keys_dropped", len(report.dropped)))
    output.print_tabbed(("bytes_linked", report.bytes_linked))
    output.print_tabbed(("bytes_copied", report.bytes_copied))
    output.print_tabbed(("bytes_written", report.bytes_written))
    for key in report.added:
        output.print_tabbed(("added", key))
    for dropped in report.dropped:
        output.print_tabbed(("dropped", dropped.key, dropped.reason))
    for change in renamed if verbose else ():
        output.print_tabbed(("renamed", change.source, change.target))


def _by_reason(report: ConversionReport) -> dict[str, list[str]]:
    keys: dict[str, list[str]] = {}
    for dropped in report.dropped:
        keys.setdefault(dropped.reason, []).append(dropped.key)
    return keys


def _renamed(report: ConversionReport) -> list[KeyChange]:
    """The keys that have another name now; in a dual checkpoint, one of each pair has."""
    return [change for change in report.keys if change.source != change.target]


COMMAND = Command(
    name="convert",
    operands=("SOURCE", "TARGET"),
    summary="Writes a checkpoint in another format, without reading a tensor.",
    define_flags=_define_flags,
    execute=_execute,
    details=_DETAILS,
)
