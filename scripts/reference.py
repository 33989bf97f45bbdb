"""Makes the pages of the docs that list everything: Python, the command line, flags of a job.

    python scripts/reference.py            # renews docs/api.md, docs/commands.md, docs/flags.md,
                                           # and the table of verbs in the README

They are made from docstrings, helps and flags, so nothing is said twice; a test compares them.
"""

from __future__ import annotations

import inspect
import os
import pathlib
import re
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
NAMES = ("api", "commands", "flags")
_WIDTH = 100
_GROUPS = {
    "Jobs": "estimator_ckpt.estimator",
    "Convert and edit": "estimator_ckpt.conversion",
    "Look and check": "estimator_ckpt.operations",
    "Other files": "estimator_ckpt.interchange",
    "Restore into live objects, and maps": ("estimator_ckpt.live", "estimator_ckpt.naming"),
    "Proofs": "estimator_ckpt.prove",
    "Many directories": "estimator_ckpt.fleet",
    "Pictures": "estimator_ckpt.reporting",
    "Errors": "estimator_ckpt.errors",
}
_SECTION = re.compile(r"(Args|Attributes|Returns|Yields|Raises):")
_ENTRY = re.compile(r"(\*{0,2}[\w.`]+): (.*)", re.DOTALL)


def pages() -> dict[pathlib.Path, str]:
    """Returns {path: text} of all pages."""
    texts = (_api(), _commands(), _flags())
    made = {DOCS / f"{name}.md": text for name, text in zip(NAMES, texts)}
    return {**made, ROOT / "README.md": _readme(), ROOT / "CONTRIBUTING.md": _contributing()}


def _contributing() -> str:
    """CONTRIBUTING.md, with the files that it shows as they are."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")

    def shown(match: re.Match[str]) -> str:
        code = (ROOT / match["path"]).read_text(encoding="utf-8")
        return f"<!-- file: {match['path']} -->\n```python\n{code}```\n"

    return re.sub(r"<!-- file: (?P<path>.*) -->\n```python\n(?s:.*?)```\n", shown, text)


def _readme() -> str:
    """The README, its table of verbs renewed."""
    from estimator_ckpt.cli.verbs import VERBS

    rows = [
        f"| `{' '.join((name, *verb.operands))}` | {verb.summary} |\n"
        for name, verb in VERBS.items()
    ]
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    head = "| verb | does |\n|---|---|\n"
    before, after = text.split(head)
    return before + head + "".join(rows) + re.sub(r"\A(\|.*\n)*", "", after)


def _api() -> str:
    import estimator_ckpt

    parts = [
        "# Python, name by name",
        "Made from the docstrings by `python scripts/reference.py`. All of it is in the package "
        "`estimator_ckpt`; the names are found when they are first used, so importing the package "
        "loads no TensorFlow.",
    ]
    modules = {name: estimator_ckpt._MODULES.get(name, "") for name in estimator_ckpt.__all__}
    left = {name for name in modules if not name.startswith("__")}
    for title, prefix in _GROUPS.items():
        names = sorted(name for name in left if modules[name].startswith(prefix))
        left -= set(names)
        if names:
            parts.append(f"## {title}")
            parts += [part for name in names for part in _entry(name)]
    assert not left, f"in no group: {sorted(left)}"
    return "\n\n".join(parts) + "\n"


def _entry(name: str) -> Iterator[str]:
    import estimator_ckpt

    value = getattr(estimator_ckpt, name)
    yield f"### `{name}`"
    if not callable(value):
        yield f"A {type(value).__name__}."
        return
    is_error = inspect.isclass(value) and issubclass(value, Exception)
    if is_error:
        bases = ", ".join(base.__name__ for base in value.__bases__)
        yield f"An exception, derived from {bases}."
    else:
        yield f"```text\n{_signature(name, value)}\n```"
    yield from _doc(value)
    if not inspect.isclass(value) or is_error:
        return
    for member, found in vars(value).items():
        function = getattr(found, "__func__", found)
        is_property = isinstance(found, property)
        if member.startswith("_") or not (is_property or inspect.isfunction(function)):
            continue
        shown = member if is_property else _signature(member, function)
        first = (inspect.getdoc(found) or "").split("\n\n")[0].replace("\n", " ")
        yield f"* `{shown}`: {first}" if "\n" not in shown else f"* `{member}(...)`: {first}"


def _signature(name: str, value: Any) -> str:
    try:
        signature = inspect.signature(value)
    except ValueError:
        return name
    shown = [
        re.sub(r"(?<=: )'([^']*)'", r"\1", str(parameter))
        for parameter in signature.parameters.values()
        if parameter.name != "self"
    ]
    kinds = [p for p in signature.parameters.values() if p.name != "self"]
    first = next((i for i, p in enumerate(kinds) if p.kind == p.KEYWORD_ONLY), None)
    if first is not None and not any(p.kind == p.VAR_POSITIONAL for p in kinds):
        shown.insert(first, "*")
    returned = signature.return_annotation
    arrow = "" if returned is signature.empty else f" -> {returned!s}"
    line = f"{name}({', '.join(shown)}){arrow}"
    if len(line) <= _WIDTH:
        return line
    return f"{name}(\n" + "".join(f"    {each},\n" for each in shown) + f"){arrow}"


def _doc(value: Any) -> Iterator[str]:
    """Yields the paragraphs of a docstring, its sections as lists."""
    for part in re.split(r"\n\n(?=\S)", inspect.getdoc(value) or ""):
        head, _, body = part.partition("\n")
        section = _SECTION.fullmatch(head)
        if section is None:
            yield part if "\n    " in part else part.replace("\n", " ")
            continue
        text = textwrap.dedent(body)
        items = [" ".join(each.split()) for each in re.split(r"\n(?=\S)", text)]
        entries = [_ENTRY.fullmatch(item) for item in items]
        if all(entries):
            lines = [f"* `{match[1]}`: {match[2]}" for match in entries if match]
        else:
            lines = [" ".join(text.split())]
        yield f"{section[1]}:\n\n" + "\n".join(lines)


def _commands() -> str:
    from estimator_ckpt.cli.main import overview
    from estimator_ckpt.cli.verbs import VERBS

    parts = [
        "# The command line, verb by verb",
        "Made from the helps by `python scripts/reference.py`; with examples: "
        "[the command line](cli.md).",
        f"```text\n{overview()}\n```",
    ]
    for name, command in VERBS.items():
        parts += [f"## `{name}`", f"```text\n{command.help_text(command.new_flags())}\n```"]
    return "\n\n".join(parts) + "\n"


def _flags() -> str:
    from absl import flags

    from estimator_ckpt import flags as checkpoint_flags
    from estimator_ckpt.train import job_flags

    parts = [
        "# All flags of a job",
        "Made from the flags by `python scripts/reference.py`. `python -m estimator_ckpt.train` "
        "has all of them; a job of your own gets the first ones by "
        "`estimator_ckpt.flags.define_checkpoint_flags()` ([examples](jobs.md)).",
    ]
    for title, define in (
        ("About checkpoints", checkpoint_flags.define_checkpoint_flags),
        ("About the job: `python -m estimator_ckpt.train`", job_flags.define_job_flags),
    ):
        values = flags.FlagValues()
        define(flag_values=values)
        rows = [_flag_row(values[name]) for name in sorted(values) if values[name].name == name]
        parts += [f"## {title}", "\n".join(["| flag | default | does |", "|---|---|---|", *rows])]
    return "\n\n".join(parts) + "\n"


def _flag_row(flag: Any) -> str:
    text = re.sub(r"\s+", " ", re.sub(r";\s*repeat this option.*", "", flag.help, flags=re.DOTALL))
    default = "" if flag.default is None else f"`{flag.default_as_str.strip(chr(39))}`"
    choices = tuple(getattr(flag.parser, "enum_values", ()))
    if choices:
        text = text.split(": ", 1)[1]
    shown = f"--[no]{flag.name}" if flag.boolean else f"--{flag.name}"
    allowed = f" One of {', '.join(f'`{each}`' for each in choices)}." if choices else ""
    return f"| `{shown}` | {default} | {text.replace('|', chr(92) + '|')}{allowed} |"


if __name__ == "__main__":
    os.environ["COLUMNS"] = str(_WIDTH)
    sys.path.insert(0, str(ROOT))
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(ROOT))
