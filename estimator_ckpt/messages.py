"""How this library words what it says: names on one line, near names, lists, choices.

    raise CheckpointArgumentError(f"to must be {choices(FORMATS)}, not '{to}'")
    raise CheckpointArgumentError(f"there is no '{name}'{near(name, names)}")
    f"it lacks {listed(missing)}"                 # a, b and 3 more
    print(escaped(name))                          # one line, nothing that a terminal obeys
    _log = messages.logger(__name__)              # whose records are escaped

A name comes from a file, and a file from anywhere: line breaks in it would forge lines of a log,
control characters would move a terminal's cursor, bidirectional marks would show it as another.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

_ESCAPES = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}
_NEAR = 0.5  # how much of two names has to be the same, as difflib counts it
_LONGEST = 500  # of a longer name, what is near takes too long to find out
_AVERAGE = "/ExponentialMovingAverage"
# What a pattern or a rule has around the name that is meant.
_AROUND = re.compile(r"^(re:)?[\^/.*(]+|[$/.*)]+$")


def escaped(name: object) -> str:
    r"""Returns a text on one line, without control characters and bidirectional marks.

    Args:
      name: a name, or any text with names in it. What isn't a string is turned into one.

    Returns:
      The text, with `\n`, `\x1b` or `\u202e` for what can't be shown. What was escaped before
      stays as it is.
    """
    text = str(name)
    if text.isprintable():  # nearly always
        return text
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def _escape(char: str) -> str:
    return _ESCAPES.get(char) or char.encode("unicode_escape").decode("ascii")


def json_text(value: Any, indent: int | None = 2) -> str:
    """Returns a value as JSON in which names are escaped as JSON does it, so that none changes."""
    text = json.dumps(value, indent=indent, ensure_ascii=False, default=str)
    if text.isascii() and "\x7f" not in text:  # JSON has escaped the other control characters
        return text
    return "".join(
        char if char.isprintable() or char == "\n" else _json_escape(char) for char in text
    )


def plain(value: Any) -> Any:
    """Returns what JSON can hold: rows as objects; NaN and Infinity, which it lacks, as text."""
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value)]
        return {name: plain(getattr(value, name)) for name in names}
    if hasattr(value, "_asdict"):  # a NamedTuple
        value = value._asdict()
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def _json_escape(char: str) -> str:
    return "\\u007f" if char == "\x7f" else json.dumps(char)[1:-1]


def listed(items: Iterable[object], shown: int = 10) -> str:
    """Returns `a, b and 3 more`.

    Args:
      items: what is listed, in this order.
      shown: how many of them at most; of the others, their number.
    """
    texts = [escaped(item) for item in items]
    more = len(texts) - shown
    return ", ".join(texts[:shown]) + (f" and {more:,} more" if more > 0 else "")


def choices(values: Iterable[object]) -> str:
    """Returns `'x', 'y' or 'z'`, for what an argument must be."""
    quoted = [f"'{escaped(value)}'" for value in values]
    return " or ".join([*filter(None, [", ".join(quoted[:-1])]), *quoted[-1:]])


def near(text: str, names: Collection[str]) -> str:
    """Returns `; near names are x, y` where there are such, and nothing otherwise.

    Args:
      text: a name, a scope, a pattern or the left side of a rule that fits none of the names.
      names: those that there are.
    """
    found = nearest(text, names)
    return f"; near names are {listed(found)}" if found else ""


def nearest(text: str, names: Collection[str], count: int = 3) -> list[str]:
    """Returns the names that are most like a text, the nearest first.

    Args:
      text: as for `near`.
      names: those that there are.
      count: how many at most.

    Returns:
      Names; else scopes (`encoder/`) or last parts of names that are near, as `enconder` is no
      variable's whole name.
    """
    bare = _AROUND.sub("", text)
    if not bare or len(bare) > _LONGEST:
        return []
    whole = _close(bare, names, count)
    if whole:
        return whole
    parts: dict[str, str] = {}  # in lower case: as it is written
    for name in names:
        *scopes, last = name.split("/")
        for part in scopes:
            parts.setdefault(part.lower(), part + "/")
        parts.setdefault(last.lower(), last)
    found = _close(bare.lower(), parts, count)
    return [parts[part] for part in found]


def did_you_mean(name: str, names: Iterable[str], prefix: str = "") -> str:
    """Returns `; did you mean 'x'?` when one of the names is near, and nothing otherwise."""
    matches = _close(name, names, 1)
    return f"; did you mean '{prefix}{escaped(matches[0])}'?" if matches else ""


def _close(text: str, names: Iterable[str], count: int) -> list[str]:
    import difflib  # here, as few runs have to say what is near

    return difflib.get_close_matches(
        text, [name for name in names if len(name) <= _LONGEST], count, _NEAR
    )


def without_averages(missing: Collection[str], names: Collection[str]) -> str:
    """Says that a checkpoint was trained without the averages that are wanted of it.

    Args:
      missing: names that it lacks.
      names: those that it has.

    Returns:
      A sentence with the names of the averages whose variable is there; nothing where there are
      none, or where the checkpoint has averages of others.
    """
    lacking = [name for name in missing if name.endswith(_AVERAGE)]
    there = [name[: -len(_AVERAGE)] for name in lacking if name[: -len(_AVERAGE)] in names]
    if not there or any(name.endswith(_AVERAGE) for name in names):
        return ""
    return (
        "The checkpoint was trained without moving averages: it has no "
        f"'{escaped(lacking[0])}', but '{escaped(there[0])}' itself"
        f"{f' (so it is with {len(there)} in all)' if len(there) > 1 else ''}; "
        "restore the variables, not their averages"
    )


def logger(name: str) -> logging.Logger:
    """Returns the logger of a module; what its messages are formatted with is escaped.

    The message itself is the module's own, and may have lines.
    """
    log = logging.getLogger(name)
    log.addFilter(_escape_record)
    return log


def _escape_record(record: logging.LogRecord) -> bool:
    given = record.args
    if isinstance(given, Mapping):
        record.args = {key: _shown(value) for key, value in given.items()}
    elif given:
        record.args = tuple(map(_shown, given))
    return True


def _shown(value: object) -> object:
    text = str(value)
    return value if text.isprintable() else escaped(text)  # numbers of any kind stay numbers
