"""What a command is: its name, its operands, its flags and the function that does it.

Synopsis:

    COMMAND = Command(
        name="inspect",
        operands=("CHECKPOINT",),
        summary="Lists what a checkpoint holds.",
        define_flags=_define_flags,
        execute=_execute,
    )
    COMMAND.main(["model_dir", "--json"])
"""

from __future__ import annotations

import dataclasses
import re
import shutil
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any, Callable

from absl import flags

from estimator_ckpt.cli import many
from estimator_ckpt.messages import did_you_mean

PROGRAM = "estimator-ckpt"


class UsageError(Exception):
    """The command line cannot be understood; the message says what is allowed."""


@dataclasses.dataclass(frozen=True)
class Command:
    """One verb of `estimator-ckpt`.

    Attributes:
      name: the verb, as it is typed.
      operands: what follows it, as the help writes it; all are required. One that ends in `...`
        may be repeated.
      summary: one line, for the list of commands.
      define_flags: puts the command's flags into the FlagValues that it is given.
      execute: does the work, given the operands and the parsed flags; returns the exit code. What
        takes time to import is imported in there, so that `--help` answers at once.
      details: further paragraphs for the help of this command.
      many: returns the options of the verb's function for many model_dirs, given the parsed flags;
        None where the verb takes no list of them.
    """

    name: str
    operands: tuple[str, ...]
    summary: str
    define_flags: Callable[[flags.FlagValues], None]
    execute: Callable[[Sequence[str], flags.FlagValues], int]
    details: str = ""
    many: Callable[[flags.FlagValues], dict[str, Any]] | None = None

    def main(self, argv: Sequence[str]) -> int:
        """Parses what follows the verb, and does it.

        Args:
          argv: the arguments after the verb.

        Returns:
          The exit code.

        Raises:
          UsageError: a flag is unknown, has a wrong value, or an operand is missing or too many.
        """
        values = self.new_flags()
        try:
            operands = values([f"{PROGRAM} {self.name}", *_underscored(argv, values)])[1:]
        except flags.UnrecognizedFlagError as error:
            raise self._usage_error(_unknown_flag(error.flagname, values)) from error
        except flags.Error as error:
            raise self._usage_error(str(error)) from error
        if values.help:
            print(self.help_text(values))
            return 0
        if self.many is not None and many.is_given(values):
            if operands:
                raise self._usage_error(
                    f"unexpected argument {operands[0]!r}: --from_file has what it is done with"
                )
            return many.execute(self.name, self.many(values), values)
        repeats = any(operand.endswith("...") for operand in self.operands)
        if len(operands) < len(self.operands) or (
            len(operands) > len(self.operands) and not repeats
        ):
            raise self._usage_error(self._wrong_operands(operands))
        return self.execute(operands, values)

    def new_flags(self) -> flags.FlagValues:
        """Returns the flags of this command, not parsed yet; they may stand after operands, too."""
        values = flags.FlagValues()
        values.set_gnu_getopt(True)
        self.define_flags(values)
        if self.many is not None:
            many.define_flags(values, len(self.operands))
        flags.DEFINE_boolean("help", False, "Print this help.", short_name="h", flag_values=values)
        return values

    def help_text(self, values: flags.FlagValues) -> str:
        """Returns what `--help` prints."""
        paragraphs = [
            f"usage: {PROGRAM} {self.name} {' '.join(self.operands)} [flags]"
            + (f"\n       {PROGRAM} {self.name} --from_file=LIST [flags]" if self.many else ""),
            self.summary,
            *([self.details] if self.details else []),
            *([many.DETAILS] if self.many else []),
            "flags:\n" + "\n".join(_flag_lines(values)),
        ]
        return "\n\n".join(wrapped(text) for text in paragraphs)

    def _wrong_operands(self, operands: Sequence[str]) -> str:
        wanted = " ".join(self.operands)
        if len(operands) < len(self.operands):
            return f"missing {' '.join(self.operands[len(operands) :])}; expected {wanted}"
        extra = " ".join(map(repr, operands[len(self.operands) :]))
        return f"unexpected argument {extra}; expected only {wanted}"

    def _usage_error(self, message: str) -> UsageError:
        return UsageError(f"{message} (see `{PROGRAM} {self.name} --help`)")


def _underscored(argv: Sequence[str], values: flags.FlagValues) -> list[str]:
    """Returns the arguments with flags as they are defined: --from-file is --from_file."""
    found: list[str] = []
    for at, argument in enumerate(argv):
        if argument == "--":
            return [*found, *argv[at:]]
        name, equals, value = argument.partition("=")
        plain = name[2:].replace("-", "_")
        is_flag = name.startswith("--") and name[2:] not in values
        known = plain in values or (plain.startswith("no") and plain[2:] in values)
        found.append(f"--{plain}{equals}{value}" if is_flag and known else argument)
    return found


def require_choice(values: flags.FlagValues, name: str) -> str:
    """Returns the value of an enum flag that has no default.

    Raises:
      UsageError: the flag was not given.
    """
    flag = values[name]
    if flag.value is None:
        choices = ", ".join(f"--{name}={value}" for value in _choices(flag))
        raise UsageError(f"flag --{name} is required; give one of {choices}")
    return str(flag.value)


def _unknown_flag(name: str, values: flags.FlagValues) -> str:
    return f"unknown flag '--{name}'{did_you_mean(name, _names(values), '--')}"


def _names(values: flags.FlagValues) -> list[str]:
    """The flags' names in order of definition, short ones left out."""
    return [name for name in values if values[name].name == name]


def _flag_lines(values: flags.FlagValues) -> Iterator[str]:
    for name in _names(values):
        flag = values[name]
        text = re.sub(r";\s*repeat this option.*", "", flag.help or "", flags=re.DOTALL)
        choices = _choices(flag)
        if choices:
            text = text.split(": ", 1)[1]  # absl has put `<a|b>: ` before it
            yield f"  --{name}={'|'.join(choices)}"
        elif flag.boolean:
            yield f"  --{name}" if name == "help" else f"  --[no]{name}"
        else:
            yield f"  --{name}=VALUE"
        yield f"      {text}{_default(flag)}"


def _choices(flag: flags.Flag[Any]) -> Sequence[str]:
    """What an enum flag may be; nothing for other flags."""
    return tuple(getattr(flag.parser, "enum_values", ()))


def _default(flag: flags.Flag[Any]) -> str:
    if flag.default is None or flag.name == "help":
        return ""
    return f" (default: {str(flag.default_as_str).strip(chr(39))})"


def wrapped(text: str) -> str:
    """Returns the text with each line wrapped to the terminal, its indent kept."""
    width = min(shutil.get_terminal_size().columns, 100)
    lines = []
    for line in text.split("\n"):
        indent = line[: len(line) - len(line.lstrip())]
        lines.append(
            textwrap.fill(
                line.strip(),
                width,
                initial_indent=indent,
                subsequent_indent=indent,
                break_on_hyphens=False,
            )
        )
    return "\n".join(lines)
