"""`--include`, `--exclude` and `--names`, which all commands have.

Synopsis:

    define_filter_flags(values)
    cast(source, target, to=to, **filters(values))
    wanted = name_filter(values)
    [row for row in rows if wanted(row.name)]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from absl import flags

from estimator_ckpt.cli.command import define_patterns

if TYPE_CHECKING:
    from estimator_ckpt.naming import NameFilter

CHECKPOINT = (
    "a prefix (model_dir/model.ckpt-500), the path of its .index, a folder with a state file (its "
    "latest checkpoint), or a SavedModel's folder; local, or where tf.io.gfile reaches"
)
TAKEN = """\
--include and --exclude choose by a variable's name in the source, and its slots by theirs. What \
they don't choose is left out, which is said; the global step is left out only by --exclude."""
OTHERS_STAY = """\
Variables that --include and --exclude don't choose stay as they are."""


def define_filter_flags(values: flags.FlagValues, noun: str = "variable") -> None:
    """Defines the three flags; the two for patterns may be repeated."""
    define_patterns(
        values,
        "include",
        f"Only {noun}s in whose name this is found. May be repeated: any of them. "
        f"(default: all {noun}s)",
    )
    define_patterns(
        values,
        "exclude",
        f"No {noun}s in whose name this is found. May be repeated: none of them. "
        f"(default: no {noun} is left out)",
    )
    if noun == "variable":
        define_names_flag(values)


def define_names_flag(values: flags.FlagValues) -> None:
    """Defines `--names`."""
    flags.DEFINE_enum(
        "names",
        "auto",
        ["auto", "path"],
        "What tensors of objects are called: by name, and by their path where they have no name of "
        "their own (auto), or all by their path, as model/dense/kernel.",
        flag_values=values,
    )


def filters(values: flags.FlagValues) -> dict[str, Any]:
    """Returns the arguments that the flags give."""
    names = {"names": values.names} if "names" in values else {}
    return {**_patterns(values), **names}


def _patterns(values: flags.FlagValues) -> dict[str, Any]:
    return {"include": values.include or ".*", "exclude": values.exclude}


def name_filter(values: flags.FlagValues) -> NameFilter:
    """Returns what says of a name whether it is asked for.

    Raises:
      CheckpointArgumentError: a value is no regular expression.
    """
    from estimator_ckpt.naming import NameFilter  # here: `--help` need not wait for it

    return NameFilter(**_patterns(values))
