"""Lets each flag be typed with hyphens, too: `--dry-run` is `--dry_run`.

values = flags.FlagValues()
values([program, *with_underscores(arguments, values)])
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags

_LONGEST = 100
"""Letters; no flag has as many."""


def with_underscores(
    arguments: Sequence[str], values: flags.FlagValues, *, up_to_operand: bool = False
) -> list[str]:
    """Returns arguments whose flags are called as they are defined.

    Args:
      arguments: those of a command line; values of flags and operands stay as they are.
      values: the flags that there are.
      up_to_operand: whether flags behind the first operand are another program's.

    Raises:
      UnrecognizedFlagError: there is no such flag, and its name is so long that absl, which
        compares it with each that there is, letter by letter, would come to no end.
    """
    changed = list(arguments)
    at = 0
    while at < len(changed) and changed[at] != "--":
        name, equals, value = changed[at].partition("=")
        if not name.startswith("-"):
            if up_to_operand:
                break
            at += 1
            continue
        known = name.lstrip("-").replace("-", "_")
        if known.startswith("no_") and known[3:] in values:
            known = "no" + known[3:]
        if known in values or (known.startswith("no") and known[2:] in values):
            if name.startswith("--"):
                changed[at] = f"--{known}{equals}{value}"
            at += known in values and not equals and not values[known].boolean  # its value
        elif len(known) > _LONGEST:
            raise flags.UnrecognizedFlagError(name.lstrip("-"))
        at += 1
    return changed
