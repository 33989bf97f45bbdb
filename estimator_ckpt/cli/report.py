"""What the commands have in common that rewrite an index: flags, and how they say what they did.

Synopsis:

    define_writing_flags(values)
    with_report(values, lambda **options: convert(source, target, to=to, **options))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from absl import flags

from estimator_ckpt.cli import output

if TYPE_CHECKING:
    from estimator_ckpt.conversion.report import ConversionReport, DroppedKey, KeyChange
    from estimator_ckpt.naming import RenameRules


_TROUBLE = 2
_SHOWN = 10  # of the keys that have one thing in common, without --verbose


def define_writing_flags(values: flags.FlagValues) -> None:
    """Defines the flags of a command that writes a checkpoint."""
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
        "compact",
        False,
        "Copy only the bytes that are used, so that what is left out takes no room.",
        flag_values=values,
    )
    flags.DEFINE_boolean("dry_run", False, "Only say what would be done.", flag_values=values)
    flags.DEFINE_boolean(
        "verbose", False, "List each renamed key, too.", short_name="v", flag_values=values
    )
    flags.DEFINE_boolean("json", False, "Print the report as JSON.", flag_values=values)


def define_format_flags(values: flags.FlagValues) -> None:
    """Defines `--to`, which is required, and what the objects of the new checkpoint are called."""
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
        "<NAME>: "
        "For tf2 and dual: attribute of the tf.train.Checkpoint that is to hold the variables. "
        "(default: var_list, as a wrapped Estimator has it)",
        flag_values=values,
    )
    flags.DEFINE_string(
        "step",
        "step",
        "<NAME>: "
        "For tf2 and dual: attribute that is to hold the global step; empty to leave it in the "
        "container.",
        flag_values=values,
    )


def define_rename_flag(values: flags.FlagValues) -> None:
    """Defines `--rename=FROM=TO`, which may be repeated, and `--map=FILE`."""
    flags.DEFINE_multi_string(
        "rename",
        [],
        "<FROM=TO>: "
        "Or @FILE with one such rule a line, or with a map of variables; may be "
        "repeated. The first that matches decides; one that begins with '+' is applied to what "
        "those before it gave. FROM is a "
        "name, a scope that ends in '/' ('/' alone is all), or 're:' and a regular expression, for "
        "which TO may have \\1. Slots and averages follow their variable; the global step keeps "
        "its name unless a rule names it.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "map",
        None,
        "<FILE>: "
        "A file with a map of variables, which can also change values: the same as --rename=@FILE.",
        flag_values=values,
    )


def rename_rules(values: flags.FlagValues) -> RenameRules:
    """Returns the rules of `--rename` in order, or those of `--map`.

    Raises:
      CheckpointArgumentError: one is unusable, or a file can't be read.
    """
    from estimator_ckpt.checkpoint.rules_file import load_rules  # here: `--help` need not wait

    of_map = [] if values.map is None else [f"@{values.map}"]
    return load_rules([*values.rename, *of_map])


def with_report(
    values: flags.FlagValues,
    do: Callable[..., ConversionReport | Sequence[ConversionReport]],
    failed: Mapping[str, Exception] = MappingProxyType({}),
) -> int:
    """Does the work and prints what was done.

    Args:
      values: the command's flags.
      do: does it, given `overwrite`, `copy`, `compact`, `dry_run` and `progress`.
      failed: what it could not do once it has done the others, and why.

    Returns:
      The exit code.
    """
    with output.progress_bars("copying") as progress:
        done = do(
            overwrite=values.overwrite,
            copy=values.copy,
            compact=values.compact,
            dry_run=values.dry_run,
            progress=progress,
        )
    reports = [done] if not isinstance(done, Sequence) else done
    code = _TROUBLE if failed else 0
    if values.json:
        told = [{"prefix": prefix, "error": str(error)} for prefix, error in failed.items()]
        output.print_json([*reports, *told] if told else done)
        return code
    for report in reports:
        if output.for_people():
            print_report(report, values.verbose)
        else:
            _print_for_pipes(report, values.verbose)
    for prefix, error in failed.items():
        if output.for_people():
            word = output.coloured("failed", "red")
            line = f"failed: {output.escape(prefix)}: {output.escape(str(error))}"
            print(word + output.filled(line, "    ")[len("failed") :])
        else:
            output.print_tabbed(("failed", prefix, error))
    if failed:
        output.print_summary(
            f"{output.counted(len(reports) + len(failed), 'checkpoint')}: {len(reports):,} "
            f"converted, {len(failed):,} failed; run it again for the others"
        )
    return code


def print_report(report: ConversionReport, verbose: bool = False) -> None:
    """What changed first, the result last, where it is seen."""
    renamed = _renamed(report)
    hint = "" if verbose or not renamed else " (-v lists them)"
    count = f"{len(renamed):,} of them" if renamed else "none"
    print(f"{output.counted(len(report.keys), 'key')}, {count} renamed{hint}")
    for change in renamed if verbose else ():
        print(f"    {output.escape(change.source)} -> {output.escape(change.target)}")
    if report.added:
        print(f"{output.counted(len(report.added), 'key')} added")
        _print_keys(report.added, verbose)
    for reason, dropped in _by_reason(report).items():
        known = dropped[0].is_other_name
        hint = " (-v lists them)" if known and not verbose else ""
        print(f"{output.counted(len(dropped), 'key')} dropped: {output.escape(reason)}{hint}")
        if verbose or not known:
            _print_keys([each.key for each in dropped], verbose)
    if report.bytes_unused:
        print(
            f"{output.human_bytes(report.bytes_unused)} of the data files are not used "
            "(--compact leaves them out)"
        )
    for note in report.notes:
        print(output.filled(f"note: {output.escape(note)}", "    "))
    written = f"{output.escape(report.prefix)}, format {report.format}"
    if report.dry_run:
        print(f"would write {written}")
        return
    print(
        f"wrote {written}: "
        f"{output.human_bytes(report.bytes_linked)} linked, "
        f"{output.human_bytes(report.bytes_copied)} copied, "
        f"{output.human_bytes(report.bytes_written)} written"
    )


def _print_keys(keys: Sequence[str], verbose: bool) -> None:
    """Lists keys; of many, the first ones, if not verbose."""
    shown = len(keys) if verbose else _SHOWN
    for key in keys[:shown]:
        print(f"    {output.escape(key)}")
    if shown < len(keys):
        print(f"    and {len(keys) - shown:,} more (-v lists them)")


def _print_for_pipes(report: ConversionReport, verbose: bool) -> None:
    """A line a fact: what it is, then its values."""
    renamed = _renamed(report)
    others = sum(dropped.is_other_name for dropped in report.dropped)
    output.print_tabbed(("prefix", report.prefix))
    output.print_tabbed(("format", report.format))
    output.print_tabbed(("keys", len(report.keys)))
    output.print_tabbed(("keys_renamed", len(renamed)))
    output.print_tabbed(("keys_added", len(report.added)))
    output.print_tabbed(("keys_dropped", len(report.dropped)))
    output.print_tabbed(("keys_dropped_other_names", others))
    output.print_tabbed(("bytes_linked", report.bytes_linked))
    output.print_tabbed(("bytes_copied", report.bytes_copied))
    output.print_tabbed(("bytes_written", report.bytes_written))
    output.print_tabbed(("bytes_unused", report.bytes_unused))
    for key in report.added:
        output.print_tabbed(("added", key))
    for dropped in report.dropped:
        if verbose or not dropped.is_other_name:
            output.print_tabbed(("dropped", dropped.key, dropped.reason))
    for note in report.notes:
        output.print_tabbed(("note", note))
    for change in renamed if verbose else ():
        output.print_tabbed(("renamed", change.source, change.target))


def _by_reason(report: ConversionReport) -> dict[str, list[DroppedKey]]:
    dropped: dict[str, list[DroppedKey]] = {}
    for each in report.dropped:
        dropped.setdefault(each.reason, []).append(each)
    return dropped


def _renamed(report: ConversionReport) -> list[KeyChange]:
    """The keys that have another name now; in a dual checkpoint, one of each pair has."""
    return [change for change in report.keys if change.source != change.target]
