r"""Reads and writes the text of a map of variables, line by line.

    read_map("[certain]\na -> b  # why").mapped
    read_map("[pinned]\na -> b : transpose(1, 0)").changes

What is wrong with a line is said with its number. `VariableMap` is what the text is of. A name that
would be read as something else is written as a JSON string: `"-" -> "x : cast(float16)"`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from estimator_ckpt.errors import CheckpointArgumentError
from estimator_ckpt.messages import escaped, json_text
from estimator_ckpt.naming.matcher import (
    CERTAIN,
    LIKELY,
    PINNED,
    Pair,
    Question,
    Refusal,
    Unmapped,
)
from estimator_ckpt.naming.transformations import Change, Reshape, Transformation

ASKED, REFUSED = "asked", "refused"
SOURCE, TARGET = "unmapped in the source", "unmapped in the target"
HEADINGS = (PINNED, CERTAIN, LIKELY, ASKED, REFUSED, SOURCE, TARGET)
ARROW, NOTE, NOTHING, COLON = " -> ", "  # ", "-", " : "
ANSWERS = "ab"
ACCEPT = "accept: "
ACCEPTED = (CERTAIN, LIKELY)
"""What is applied of a map besides what is pinned: what is certain, or also what is likely."""

# A name in quotes, where a name can begin and end.
_QUOTED = re.compile(r'(?:^|(?<= -> )|(?<=, ))"(?:[^"\\]|\\.)*"(?=$|, | -> | : |  #)')
_READ_OTHERWISE = re.compile(r'[#\[" ]|accept:|(-|:|->)$|.* $|(?=.* ).*(->|[#:,])')
_SECOND_NAME = re.compile(r'\((?:("(?:[^"\\]|\\.)*")|([^)]*))\)')

_ASKED_HELP = """\
# Replace the `?` behind `answer:` with the letter of the right answer, or write lines of your own
# below [pinned].
"""
_REFUSED_HELP = """\
# Put a line below [pinned] to have it applied; check order and axes first. What has no ` : ` behind
# its names can't be told from names and shapes.
"""


@dataclass(frozen=True)
class Asked:
    """A question, and the answer that was chosen.

    Attributes:
      question: with its answers.
      answer: the number of one of them, or None.
    """

    question: Question
    answer: int | None = None


@dataclass(frozen=True)
class Read:
    """What is in a text: the attributes of a VariableMap."""

    mapped: tuple[Pair, ...]
    left_out: tuple[str, ...]
    asked: tuple[Asked, ...]
    refused: tuple[Refusal, ...]
    unmapped_source: tuple[Unmapped, ...]
    unmapped_target: tuple[Unmapped, ...]
    lines: Mapping[str, int]
    accept: str
    changes: tuple[Change, ...] = ()


def is_map(text: str) -> bool:
    """Returns whether a text is that of a map, and not of rules."""
    lines = (line.strip() for line in text.splitlines())
    first = next((line for line in lines if line and not line.startswith("#")), "")
    return first.startswith(ACCEPT.strip()) or first in [f"[{each}]" for each in HEADINGS]


def require_accepted(accept: str) -> str:
    """Returns what is to be applied of a map.

    Raises:
      CheckpointArgumentError: it is neither `certain` nor `likely`.
    """
    if accept not in ACCEPTED:
        raise CheckpointArgumentError(f"accept='{accept}' must be 'certain' or 'likely'")
    return accept


def read_map(text: str) -> Read:
    """Reads the text of a map.

    Args:
      text: as `VariableMap.text()` gives it, edited or not.

    Raises:
      CheckpointArgumentError: a line is not understood, or two lines are about one variable.
    """
    return _Reader().read(text)


def quoted(name: str) -> str:
    """Returns a name as it stands in a map: in quotes, as in JSON, if it is read otherwise."""
    if name and name.isprintable() and not _READ_OTHERWISE.match(name):
        return name
    return json_text(name, None)


def _unquoted(text: str) -> str | None:
    """The name in quotes; None if it is no JSON, but a name that begins so."""
    try:
        return str(json.loads(text))
    except ValueError:
        return None


class _Line:
    """A line, or a part of one, whose quoted names are put aside while it is taken apart."""

    def __init__(self, text: str) -> None:
        self._names: dict[str, tuple[str, str]] = {}
        self.text = _QUOTED.sub(self._put_aside, text)

    def _put_aside(self, found: re.Match[str]) -> str:
        name = _unquoted(found[0])
        if name is None:
            return found[0]
        mark = f"\0{len(self._names)}\0"
        self._names[mark] = name, found[0]
        return mark

    def name(self, text: str) -> str:
        """Returns the name that a part of the line is."""
        return self._names[text][0] if text in self._names else self.written(text)

    def names(self, text: str) -> tuple[str, ...]:
        """Returns the names that a part of the line lists."""
        return tuple(map(self.name, text.split(", "))) if text else ()

    def written(self, text: str) -> str:
        """Returns a part of the line as it is written there."""
        for mark, (_, whole) in self._names.items():
            text = text.replace(mark, whole)
        return text

    def sides(self, number: int, text: str) -> tuple[str, str]:
        """Returns what stands before and behind the arrow."""
        sides: Sequence[str] = [side.strip() for side in text.split(ARROW)]
        if len(sides) != 2 or not all(sides):
            raise _error(number, f"'{self.written(text)}' is not of the form 'source -> target'")
        return sides[0], sides[1]


def _noted(pair: Pair, note: str) -> Pair:
    """The pair with what stands behind it."""
    found = _SECOND_NAME.match(note)
    if found is None:
        return replace(pair, reason=note, also="")
    also = (_unquoted(found[1]) if found[1] else None) or found[0][1:-1]
    return replace(pair, reason=note[found.end() :].strip(), also=also)


class _Reader:
    """Reads a map line by line."""

    def __init__(self) -> None:
        self._mapped: list[Pair] = []
        self._left_out: list[str] = []
        self._asked: list[_Open] = []
        self._refused: list[Refusal] = []
        self._unmapped: dict[str, list[Unmapped]] = {SOURCE: [], TARGET: []}
        self._lines: dict[str, int] = {}
        self._targets: dict[str, int] = {}
        self._changes: list[Change] = []
        self._split: set[str] = set()

    def read(self, text: str) -> Read:
        heading = None
        accept = CERTAIN
        for number, line in enumerate(text.splitlines(), 1):
            line = line.strip()
            if not line or line.startswith("#"):
                continue
            if line.startswith("[") and line.endswith("]") and ARROW not in line:
                heading = line[1:-1].strip()
                if heading not in HEADINGS:
                    shown = ", ".join(f"[{each}]" for each in HEADINGS)
                    raise _error(number, f"there is no heading '{line}'; there are {shown}")
                continue
            if line.startswith(ACCEPT.strip()) and ARROW not in line:
                accept = line.partition(":")[2].strip()
                if accept not in ACCEPTED:
                    raise _error(number, f"'{line}' must be 'accept: certain' or 'accept: likely'")
                continue
            if heading is None:
                raise _error(number, "a line before any heading; put it below [pinned]")
            self._take(heading, number, line)
        asked = tuple(each.closed() for each in self._asked)
        for each, found in zip(self._asked, asked):
            if found.answer is not None:
                for source, target in found.question.answers[found.answer][1]:
                    self._claim(source, target, each.answer_line)
        return Read(
            tuple(self._mapped),
            tuple(self._left_out),
            asked,
            tuple(self._refused),
            tuple(self._unmapped[SOURCE]),
            tuple(self._unmapped[TARGET]),
            self._lines,
            accept,
            tuple(self._changes),
        )

    def _take(self, heading: str, number: int, line: str) -> None:
        if heading == ASKED:
            self._take_asked(number, line)
            return
        parts = _Line(line)
        body, _, note = parts.text.partition(NOTE.rstrip())
        body, note = body.strip(), parts.written(note.strip())
        if heading in (SOURCE, TARGET) and ARROW not in body:
            self._unmapped[heading].append(Unmapped(parts.name(body), note))
            return
        arrow = body.find(ARROW)
        colon = body.find(COLON, arrow + len(ARROW)) if arrow >= 0 else -1
        text = parts.written(body[colon + len(COLON) :].strip()) if colon >= 0 else ""
        before, behind = parts.sides(number, body[:colon] if text else body)
        sources, source, target = parts.names(before), parts.name(before), parts.name(behind)
        if heading == REFUSED:
            word, _, reason = ("", "", note) if text else note.partition(":")
            self._refused.append(
                Refusal(sources, parts.names(behind), text or word, reason.strip())
            )
            return
        if behind == NOTHING:
            self._claim(source, None, number)
            self._left_out.append(source)
            return
        made = _transformation(number, text) if text else None
        confidence = heading if heading in (PINNED, CERTAIN, LIKELY) else PINNED
        pair = _noted(Pair(source, target, confidence, ""), note)
        if made is None or (made.keeps_bytes and len(made.steps) == len(sources) == 1):
            self._claim(source, target, number)
            shape = None if made is None else made.result_shape
            self._mapped.append(replace(pair, reshaped=shape))
        else:
            self._take_change(Change(sources, target, made, note, number))

    def _take_change(self, change: Change) -> None:
        """Several lines may take parts of one source; otherwise a source goes to one target."""
        for source in change.sources:
            if change.splits and source in self._split:
                del self._lines[source]
            self._claim(source, None, change.line)
        if change.splits:
            self._split.update(change.sources)
        self._claim_target(change.target, change.line)
        self._changes.append(change)

    def _claim(self, source: str, target: str | None, number: int) -> None:
        if source in self._lines:
            raise _error(
                number, f"'{source}' is mapped in line {self._lines[source]} already; remove one"
            )
        if target is not None:
            self._claim_target(target, number)
        self._lines[source] = number

    def _claim_target(self, target: str, number: int) -> None:
        if target in self._targets:
            raise _error(
                number,
                f"'{target}' already gets the variable of line {self._targets[target]}; "
                "remove one of the two lines",
            )
        self._targets[target] = number

    def _take_asked(self, number: int, line: str) -> None:
        word, _, rest = line.partition(":")
        rest = rest.strip()
        if word.startswith("question "):
            self._asked.append(_Open(rest))
            return
        if not self._asked:
            raise _error(number, "expected 'question 1: ...' below [asked]")
        self._asked[-1].take(number, line, word, rest)


@dataclass
class _Open:
    """A question of which not all lines are read."""

    reason: str
    sources: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    answer: str = "?"
    answer_line: int = 0
    titles: dict[str, str] = field(default_factory=dict)
    rows: dict[str, list[tuple[str, str]]] = field(default_factory=dict)

    def take(self, number: int, line: str, word: str, rest: str) -> None:
        if word in ("sources", "targets"):
            parts = _Line(rest)
            setattr(self, word, parts.names(parts.text))
        elif word == "answer":
            if rest != "?" and (len(rest) != 1 or rest not in ANSWERS):
                raise _error(number, f"the answer is '{rest}'; it must be '?', 'a' or 'b'")
            self.answer, self.answer_line = rest, number
        elif word in tuple(ANSWERS):
            self.titles[word] = rest
            self.rows.setdefault(word, [])
        elif line[:1] in self.rows and line[1:2] == " ":
            parts = _Line(line[1:].strip())
            source, target = parts.sides(number, parts.text)
            self.rows[line[0]].append((parts.name(source), parts.name(target)))
        else:
            raise _error(number, f"'{line}' is no part of a question; see the lines above it")

    def closed(self) -> Asked:
        answers = tuple((title, tuple(self.rows[letter])) for letter, title in self.titles.items())
        question = Question(self.sources, self.targets, self.reason, answers)
        if self.answer == "?":
            return Asked(question)
        if self.answer not in self.titles:
            raise _error(self.answer_line, f"there is no answer '{self.answer}' to this question")
        return Asked(question, list(self.titles).index(self.answer))


def _transformation(number: int, text: str) -> Transformation:
    try:
        return Transformation.parse(text)
    except CheckpointArgumentError as error:
        raise _error(number, str(error)) from error


def _error(number: int, message: str) -> CheckpointArgumentError:
    return CheckpointArgumentError(f"line {number}: {message}")


def pair_line(pair: Pair) -> str:
    """Writes a pair, with the second name of its target, and why."""
    change = "" if pair.reshaped is None else f"{COLON}{Reshape(pair.reshaped)}"
    also = json_text(pair.also, None) if ")" in pair.also else quoted(pair.also)
    note = (f"({also}) " if pair.also else "") + escaped(pair.reason)
    names = f"{quoted(pair.source)}{ARROW}{quoted(pair.target)}"
    return f"{names}{change}{NOTE + note if note else ''}"


def change_line(change: Change) -> str:
    """Writes a line that changes values."""
    note = NOTE + escaped(change.reason) if change.reason else ""
    names = f"{_quoted_all(change.sources)}{ARROW}{quoted(change.target)}"
    return f"{names}{COLON}{change.transformation}{note}"


def unmapped_line(row: Unmapped) -> str:
    """Writes a variable that goes nowhere, and why."""
    return f"{quoted(row.name)}{NOTE}{escaped(row.reason)}"


def left_out_line(name: str) -> str:
    """Writes that a variable of the source is left out."""
    return f"{quoted(name)}{ARROW}{NOTHING}"


def refused_lines(refused: Sequence[Refusal]) -> Iterator[str]:
    """Writes what is refused, as lines to be pinned where that can be told."""
    yield from _REFUSED_HELP.splitlines() if refused else ()
    for each in refused:
        names = f"{_quoted_all(each.sources)}{ARROW}{_quoted_all(each.targets)}"
        if "(" in each.transformation:
            yield f"{names}{COLON}{each.transformation}{NOTE}{escaped(each.reason)}"
        else:
            yield f"{names}{NOTE}{each.transformation}: {escaped(each.reason)}"


def asked_lines(every: Sequence[Asked]) -> Iterator[str]:
    """Writes questions, with their answers."""
    yield from _ASKED_HELP.splitlines() if every else ()
    for number, asked in enumerate(every, 1):
        question = asked.question
        yield f"question {number}: {escaped(question.reason)}"
        yield f"sources: {_quoted_all(question.sources)}"
        yield f"targets: {_quoted_all(question.targets)}"
        if question.answers:
            yield f"answer: {'?' if asked.answer is None else ANSWERS[asked.answer]}"
        for letter, (title, rows) in zip(ANSWERS, question.answers):
            yield f"{letter}: {escaped(title)}"
            for source, target in rows:
                yield f"{letter}  {quoted(source)}{ARROW}{quoted(target)}"


def _quoted_all(names: Sequence[str]) -> str:
    return ", ".join(map(quoted, names))
