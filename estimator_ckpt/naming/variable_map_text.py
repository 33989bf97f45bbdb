r"""Reads the text of a map of variables, line by line.

    read_map("[certain]\na -> b  # why").mapped

What is wrong with a line is said with its number. `VariableMap` is what the text is of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

ASKED, REFUSED = "asked", "refused"
SOURCE, TARGET = "unmapped in the source", "unmapped in the target"
HEADINGS = (PINNED, CERTAIN, LIKELY, ASKED, REFUSED, SOURCE, TARGET)
ARROW, NOTE, NOTHING, RESHAPED = " -> ", "  # ", "-", "reshaped; "
ANSWERS = "ab"
ACCEPT = "accept: "
ACCEPTED = (CERTAIN, LIKELY)
"""What is applied of a map besides what is pinned: what is certain, or also what is likely."""


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
    reshaped = note.startswith(RESHAPED)
    reason = note[len(RESHAPED) :] if reshaped else note
    return replace(pair, reason=reason, reshaped=reshaped, also=also)


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
        source, target = _arrow(number, body)
        if heading == REFUSED:
            transformation, _, reason = note.partition(": ")
            names = tuple(source.split(", ")), tuple(target.split(", "))
            self._refused.append(Refusal(*names, transformation, reason))
            return
        if target == NOTHING:
            self._claim(source, None, number)
            self._left_out.append(source)
            return
        self._claim(source, target, number)
        confidence = heading if heading in (PINNED, CERTAIN, LIKELY) else PINNED
        self._mapped.append(_noted(Pair(source, target, confidence, ""), note))

    def _claim(self, source: str, target: str | None, number: int) -> None:
        if source in self._lines:
            raise _error(
                number, f"'{source}' is mapped in line {self._lines[source]} already; remove one"
            )
        if target is not None and target in self._targets:
            raise _error(
                number,
                f"'{target}' already gets the variable of line {self._targets[target]}; "
                "remove one of the two lines",
            )
        self._lines[source] = number
        if target is not None:
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


def _arrow(number: int, body: str) -> tuple[str, str]:
    sides: Sequence[str] = [side.strip() for side in body.split(ARROW)]
    if len(sides) != 2 or not all(sides):
        raise _error(number, f"'{body}' is not of the form 'source -> target'")
    return sides[0], sides[1]


def _error(number: int, message: str) -> CheckpointArgumentError:
    return CheckpointArgumentError(f"line {number}: {message}")
