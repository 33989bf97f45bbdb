r"""Reads and writes the text of a map of variables, line by line.

    read_map("[certain]\na -> b  # why").mapped
    read_map("[pinned]\na -> b : transpose(1, 0)").changes

What is wrong with a line is said with its number. `VariableMap` is what the text is of.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from estimator_ckpt.errors import CheckpointArgumentError
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


def _noted(pair: Pair, note: str) -> Pair:
    """The pair with what stands behind it."""
    also = ""
    if note.startswith("(") and ")" in note:
        also, _, note = note[1:].partition(")")
        note = note.strip()
    return replace(pair, reason=note, also=also)


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
        body, _, note = line.partition(NOTE.rstrip())
        body, note = body.strip(), note.strip()
        if heading in (SOURCE, TARGET) and ARROW not in body:
            self._unmapped[heading].append(Unmapped(body, note))
            return
        arrow = body.find(ARROW)
        colon = body.find(COLON, arrow + len(ARROW)) if arrow >= 0 else -1
        text = body[colon + len(COLON) :].strip() if colon >= 0 else ""
        source, target = _arrow(number, body[:colon] if text else body)
        sources = tuple(source.split(", "))
        if heading == REFUSED:
            word, _, reason = ("", "", note) if text else note.partition(": ")
            self._refused.append(Refusal(sources, tuple(target.split(", ")), text or word, reason))
            return
        if target == NOTHING:
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
            names = tuple(rest.split(", ")) if rest else ()
            setattr(self, word, names)
        elif word == "answer":
            if rest != "?" and (len(rest) != 1 or rest not in ANSWERS):
                raise _error(number, f"the answer is '{rest}'; it must be '?', 'a' or 'b'")
            self.answer, self.answer_line = rest, number
        elif word in tuple(ANSWERS):
            self.titles[word] = rest
            self.rows.setdefault(word, [])
        elif line[:1] in self.rows and line[1:2] == " ":
            self.rows[line[0]].append(_arrow(number, line[1:].strip()))
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


def _arrow(number: int, body: str) -> tuple[str, str]:
    sides: Sequence[str] = [side.strip() for side in body.split(ARROW)]
    if len(sides) != 2 or not all(sides):
        raise _error(number, f"'{body}' is not of the form 'source -> target'")
    return sides[0], sides[1]


def _error(number: int, message: str) -> CheckpointArgumentError:
    return CheckpointArgumentError(f"line {number}: {message}")


def pair_line(pair: Pair) -> str:
    """Writes a pair, with the second name of its target, and why."""
    change = "" if pair.reshaped is None else f"{COLON}{Reshape(pair.reshaped)}"
    note = (f"({pair.also}) " if pair.also else "") + pair.reason
    return f"{pair.source}{ARROW}{pair.target}{change}{NOTE + note if note else ''}"


def change_line(change: Change) -> str:
    """Writes a line that changes values."""
    note = NOTE + change.reason if change.reason else ""
    return f"{', '.join(change.sources)}{ARROW}{change.target}{COLON}{change.transformation}{note}"


def refused_lines(refused: Sequence[Refusal]) -> Iterator[str]:
    """Writes what is refused, as lines to be pinned where that can be told."""
    yield from _REFUSED_HELP.splitlines() if refused else ()
    for each in refused:
        names = ARROW.join((", ".join(each.sources), ", ".join(each.targets)))
        if "(" in each.transformation:
            yield f"{names}{COLON}{each.transformation}{NOTE}{each.reason}"
        else:
            yield f"{names}{NOTE}{each.transformation}: {each.reason}"


def asked_lines(every: Sequence[Asked]) -> Iterator[str]:
    """Writes questions, with their answers."""
    yield from _ASKED_HELP.splitlines() if every else ()
    for number, asked in enumerate(every, 1):
        question = asked.question
        yield f"question {number}: {question.reason}"
        yield f"sources: {', '.join(question.sources)}"
        yield f"targets: {', '.join(question.targets)}"
        if question.answers:
            yield f"answer: {'?' if asked.answer is None else ANSWERS[asked.answer]}"
        for letter, (title, rows) in zip(ANSWERS, question.answers):
            yield f"{letter}: {title}"
            yield from (f"{letter}  {source}{ARROW}{target}" for source, target in rows)
