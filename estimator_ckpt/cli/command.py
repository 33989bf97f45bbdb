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
import shlex
import shutil
import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Callable

from absl import flags

from estimator_ckpt.cli import many, output
from estimator_ckpt.cli.many import UsageError as UsageError
from estimator_ckpt.hyphens import with_underscores
from estimator_ckpt.messages import choices, did_you_mean

PROGRAM = "estimator-ckpt"
GROUPS = (
    "Look",
    "Change names and formats, without reading a tensor",
    "Map to other names",
    "Compute",
    "Other files",
)
"""What the verbs are listed under, in this order; docs/cli.md has a heading of the same words."""
LOOK, CHANGE, MAP, COMPUTE, FILES = GROUPS
_NAMED = re.compile(r"<(.+?)>:\s(.*)", re.DOTALL)
_ILLEGAL = re.compile(r"flag --(?P<name>\w+)=(?P<value>.*?): (?P<why>.*)", re.DOTALL)
_JSON = re.compile(r"--(json(=true)?|format=json)")


if TYPE_CHECKING:
    _Parser = flags.ArgumentParser[str]
else:  # older versions of absl have it without types
    _Parser = flags.ArgumentParser


class Pattern(_Parser):
    """Takes a regular expression, as it is written."""

    syntactic_help = "a regular expression of Python"

    def parse(self, argument: str) -> str:
        """Returns it, if it is one.

        Raises:
          ValueError: it is none.
        """
        try:
            re.compile(argument)
        except re.error as error:
            raise ValueError(f"'{argument}' is no regular expression: {error}") from error
        return argument


def define_patterns(values: flags.FlagValues, name: str, help_text: str) -> None:
    """Defines a flag that takes a regular expression, and may be repeated; None without it."""
    flags.DEFINE_multi(
        Pattern(), flags.ArgumentSerializer(), name, None, f"<REGEX>: {help_text}", values
    )


@dataclasses.dataclass(frozen=True)
class Command:
    """One verb of `estimator-ckpt`.

    Attributes:
      name: the verb, as it is typed.
      operands: what follows it, as the help writes it; all are required but what is in brackets.
        One that ends in `...` may be repeated.
      summary: one line, for the list of commands.
      define_flags: puts the command's flags into the FlagValues that it is given.
      execute: does the work, given the operands and the parsed flags; returns the exit code. What
        takes time to import is imported in there, so that `--help` answers at once.
      group: what it is listed under.
      details: further paragraphs for the help of this command.
      examples: the module's docstring, whose synopsis the help begins with.
      shows: prints a result of the verb's function, which is its `str`.
      many: returns the options of the verb's function for many model_dirs, given the parsed flags;
        None where the verb takes no list of them.
    """

    name: str
    operands: tuple[str, ...]
    summary: str
    define_flags: Callable[[flags.FlagValues], None]
    execute: Callable[[Sequence[str], flags.FlagValues], int]
    group: str = LOOK
    details: str = ""
    examples: str | None = None
    shows: Callable[[Any], None] | None = None
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
            operands = values([f"{PROGRAM} {self.name}", *with_underscores(argv, values)])[1:]
        except flags.IllegalFlagValueError as error:
            raise self._usage_error(_unusable(error, values)) from error
        except flags.UnrecognizedFlagError as error:
            raise self._usage_error(_unknown_flag(error.flagname, values)) from error
        except flags.Error as error:
            raise self._usage_error(str(error)) from error
        if values.help:
            print(self.help_text(values))
            return 0
        try:
            output.use_format(_format(values))
            if self.many is not None:
                many.require_used(operands, values)
        except UsageError as error:
            raise self._usage_error(str(error)) from error
        if self.many is not None and many.is_given(values):
            if operands:
                raise self._usage_error(
                    f"unexpected argument {operands[0]!r}: --from_file has what it is done with"
                )
            code = many.execute(self.name, self.many(values), values)
        elif self.many is not None and many.is_meant(operands, values):
            code = many.execute(self.name, self.many(values), values, operands)
        else:
            repeats = any(operand.endswith("...") for operand in self.operands)
            if len(operands) < len(self._required) or (
                len(operands) > len(self.operands) and not repeats
            ):
                raise self._usage_error(self._wrong_operands(operands))
            code = self.execute(operands, values)
        if "dry_run" in values and values.dry_run and not values.json:
            output.print_dry_run(_without_dry_run([PROGRAM, self.name, *argv]))
        return code

    def new_flags(self) -> flags.FlagValues:
        """Returns the flags of this command, not parsed yet; they may stand after operands, too."""
        values = flags.FlagValues()
        values.set_gnu_getopt(True)
        self.define_flags(values)
        if self.many is not None:
            many.define_flags(values, self.operands)
        flags.DEFINE_boolean("help", False, "Print this help.", short_name="h", flag_values=values)
        return values

    def help_text(self, values: flags.FlagValues) -> str:
        """Returns what `--help` prints."""
        examples = _synopsis(self.examples)
        paragraphs = [
            f"usage: {PROGRAM} {self.name} {' '.join(self.operands)} [flags]"
            + (f"\n       {PROGRAM} {self.name} --from_file=LIST [flags]" if self.many else ""),
            self.summary,
            *(["\n".join(("examples:", *map(_shell_lines, examples)))] if examples else []),
            *([self.details] if self.details else []),
            *([many.SEVERAL] if "recursive" in values else []),
            *([many.DETAILS] if self.many else []),
            "flags:\n" + "\n".join(_flag_lines(values)),
            f"more: docs/cli.md#{anchor(self.group)}",
        ]
        return "\n\n".join(wrapped(text) for text in paragraphs)

    @property
    def _required(self) -> tuple[str, ...]:
        return tuple(operand for operand in self.operands if not operand.startswith("["))

    def _wrong_operands(self, operands: Sequence[str]) -> str:
        wanted = " ".join(self.operands)
        if len(operands) < len(self._required):
            return f"missing {' '.join(self._required[len(operands) :])}; expected {wanted}"
        extra = " ".join(map(repr, operands[len(self.operands) :]))
        return f"unexpected argument {extra}; expected only {wanted}"

    def _usage_error(self, message: str) -> UsageError:
        return UsageError(f"{message} (see `{PROGRAM} {self.name} --help`)")


def require_choice(values: flags.FlagValues, name: str) -> str:
    """Returns the value of an enum flag that has no default.

    Raises:
      UsageError: the flag was not given.
    """
    flag = values[name]
    if flag.value is None:
        allowed = ", ".join(f"--{name}={value}" for value in _choices(flag))
        raise UsageError(f"flag --{name} is required; give one of {allowed}")
    return str(flag.value)


def _without_dry_run(words: Sequence[str]) -> str:
    """What to type to have done what a dry run has shown."""
    dry = re.compile(r"--dry[-_]run(=.*)?")
    return shlex.join(word for word in words if not dry.fullmatch(word))


def _unknown_flag(name: str, values: flags.FlagValues) -> str:
    return f"unknown flag '--{name}'{did_you_mean(name, _names(values), '--')}"


def _unusable(error: flags.IllegalFlagValueError, values: flags.FlagValues) -> str:
    """Names flag, value and what is allowed."""
    found = _ILLEGAL.match(str(error))
    if found is None or found["name"] not in values:
        return str(error)
    flag = values[found["name"]]
    why = found["why"] if isinstance(flag.parser, Pattern) else f"expected {_expected(flag)}"
    return f"--{flag.name}={found['value']}: {why}"


def _names(values: flags.FlagValues) -> list[str]:
    """The flags' names in order of definition, short ones left out."""
    return [name for name in values if values[name].name == name]


def define_format_flags(values: flags.FlagValues) -> None:
    """Defines `--format`, for verbs that look, and `--json`, which is short for one of them."""
    flags.DEFINE_enum(
        "format",
        None,
        list(output.FORMATS),
        "How to print: a table, columns between tabs, JSON, Markdown or CSV. (default: a table on "
        "a terminal, tsv in a pipe)",
        flag_values=values,
    )
    flags.DEFINE_boolean("json", False, "The same as --format=json.", flag_values=values)


def _format(values: flags.FlagValues) -> str | None:
    """What `--format` asks for; None for verbs whose `--format` is that of a file."""
    if "format" not in values or set(_choices(values["format"])) != set(output.FORMATS):
        return None
    if values.json and values.format not in (None, "json"):
        raise UsageError(f"--json and --format={values.format} are two formats; give one of them")
    values.json = values.json or values.format == "json"
    return str(values.format) if values.format else None


def wants_json(argv: Sequence[str]) -> bool:
    """Whether a command line, which need not be understood, asks for JSON."""
    return any(map(_JSON.fullmatch, argv))


def _synopsis(doc: str | None) -> list[str]:
    """The commands of a module's docstring; none where Python was told to leave those out."""
    lines = (line.strip() for line in (doc or "").splitlines())
    return [line for line in lines if line.startswith(f"{PROGRAM} ")]


def _shell_lines(command: str) -> str:
    """An example, broken as a shell lets one do it."""
    width = shutil.get_terminal_size().columns - 2
    first, *others = textwrap.wrap(command, max(width - 2, 20), subsequent_indent="  ")
    return " \\\n".join(f"  {line}" for line in (first, *others))


def anchor(heading: str) -> str:
    """Returns what leads to a heading of a page of the docs."""
    return re.sub(r"[^a-z0-9]+", "-", heading.lower())


def _flag_lines(values: flags.FlagValues) -> Iterator[str]:
    for name in _names(values):
        flag = values[name]
        argument, text = _argument(flag)
        short = f"-{flag.short_name}, " if flag.short_name else ""
        either = "[no]" if flag.boolean and flag.default else ""
        yield f"  {short}--{either}{name}{argument and '='}{argument}"
        yield f"      {text}{_default(flag)}"


def _argument(flag: flags.Flag[Any]) -> tuple[str, str]:
    """Returns what follows a flag's `=`, and its help, which begins with that: `<FILE>: A map.`."""
    text = re.sub(r";\s*repeat this option.*", "", flag.help or "", flags=re.DOTALL)
    if flag.boolean:
        return "", text
    if found := _NAMED.fullmatch(text):
        return found[1], found[2]
    return {"int": "N", "float": "NUMBER"}.get(flag.flag_type(), "VALUE"), text


def _expected(flag: flags.Flag[Any]) -> str:
    """Says what a flag's value may be."""
    if flag.boolean:
        return "true or false"
    return choices(_choices(flag)) or flag.parser.syntactic_help or "another value"


def _choices(flag: flags.Flag[Any]) -> Sequence[str]:
    """What an enum flag may be; nothing for other flags."""
    return tuple(getattr(flag.parser, "enum_values", ()))


def _default(flag: flags.Flag[Any]) -> str:
    """Says what holds without the flag, where its help doesn't."""
    if flag.boolean:
        return " (default: yes)" if flag.default else ""
    if flag.default in (None, "", []):
        return ""
    return f" (default: {str(flag.default_as_str).strip(chr(39))})"


def wrapped(text: str) -> str:
    """Returns the text with each line wrapped at words, at the terminal's width, indent kept."""
    lines = []
    for line in text.split("\n"):
        indent = line[: len(line) - len(line.lstrip())]
        lines.append(output.filled(indent + line.strip(), indent))
    return "\n".join(lines)
