"""`--include` and `--exclude`, which all commands that look at variables have.

Synopsis:

    define_filter_flags(values)
    wanted = name_filter(values)
    [row for row in rows if wanted(row.name)]
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Callable

from absl import flags

from estimator_ckpt.cli.command import UsageError

CHECKPOINT = (
    "a prefix (model_dir/model.ckpt-500), the path of its .index, a folder with a state file (its "
    "latest checkpoint), or a SavedModel's folder; local, or where tf.io.gfile reaches"
)


def define_filter_flags(values: flags.FlagValues, noun: str = "variable") -> None:
    """Defines both flags; each may be repeated."""
    flags.DEFINE_multi_string(
        "include",
        None,
        f"Only {noun}s in whose name this regular expression is found. "
        f"May be repeated: any of them. (default: all {noun}s)",
        flag_values=values,
    )
    flags.DEFINE_multi_string(
        "exclude",
        None,
        f"No {noun}s in whose name this regular expression is found. "
        f"May be repeated: none of them. (default: no {noun} is left out)",
        flag_values=values,
    )


def name_filter(values: flags.FlagValues) -> Callable[[str], bool]:
    """Returns what says of a name whether it is asked for.

    Raises:
      UsageError: a value is no regular expression.
    """
    include = _compile("include", values.include)
    exclude = _compile("exclude", values.exclude)

    def wanted(name: str) -> bool:
        included = not include or any(pattern.search(name) for pattern in include)
        return included and not any(pattern.search(name) for pattern in exclude)

    return wanted


def _compile(flag: str, patterns: Sequence[str] | None) -> list[re.Pattern[str]]:
    try:
        return [re.compile(pattern) for pattern in patterns or ()]
    except re.error as error:
        raise UsageError(
            f"flag --{flag}: {error.pattern!r} is not a regular expression: {error}"
        ) from error
