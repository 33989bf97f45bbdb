"""A map of variables as a text file, to be reviewed and edited.

    made = VariableMap.of(matcher.propose(source_rows, target_rows))
    pathlib.Path("map.txt").write_text(made.text())
    read = VariableMap.parse(pathlib.Path("map.txt").read_text())
    read.checked(source_rows, target_rows).pairs("certain", "likely")
    read.revised(source_rows, target_rows)       # proposes the rest around what was edited

One line a variable, `source -> target  # why`, below headings that say how sure it is. Whoever
edits a line, or chooses an answer, has pinned it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from estimator_ckpt.errors import CheckpointArgumentError
from estimator_ckpt.naming.filters import near
from estimator_ckpt.naming.matcher import (
    CERTAIN,
    LIKELY,
    PINNED,
    NamedShape,
    Pair,
    Proposal,
    Question,
    Refusal,
    Unmapped,
    propose,
    same_bytes,
)

_ASKED, _REFUSED = "asked", "refused"
_SOURCE, _TARGET = "unmapped in the source", "unmapped in the target"
_HEADINGS = (PINNED, CERTAIN, LIKELY, _ASKED, _REFUSED, _SOURCE, _TARGET)
_ARROW, _NOTE, _NOTHING, _RESHAPED = " -> ", "  # ", "-", "reshaped; "
_ANSWERS = "ab"
_HEAD = """\
# A map of variables: source -> target. Lines below [pinned], and lines that were edited, are kept
# when the map is proposed again. `name -> -` leaves a variable of the source out.
"""
_ASKED_HELP = """\
# Replace the `?` behind `answer:` with the letter of the right answer, or write lines of your own
# below [pinned].
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
class VariableMap:
    """Which variable of a source goes to which one of a target.

    Attributes:
      mapped: pairs; their confidence is `pinned`, `certain` or `likely`.
      left_out: variables of the source that are to go nowhere.
      asked: questions with their answers.
      refused: what needs other values.
      unmapped_source: the rest of the source.
      unmapped_target: the rest of the target.
      lines: {source: number of its line}, of a map that was read.
    """

    mapped: tuple[Pair, ...] = ()
    left_out: tuple[str, ...] = ()
    asked: tuple[Asked, ...] = ()
    refused: tuple[Refusal, ...] = ()
    unmapped_source: tuple[Unmapped, ...] = ()
    unmapped_target: tuple[Unmapped, ...] = ()
    lines: Mapping[str, int] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(cls, proposal: Proposal) -> VariableMap:
        """Makes a map of a proposal."""
        mapped = [
            replace(pair, confidence=PINNED) if pair.reason == PINNED else pair
            for pair in proposal.mapped
        ]
        return cls(
            mapped=tuple(sorted(mapped, key=lambda pair: _HEADINGS.index(pair.confidence))),
            asked=tuple(map(Asked, proposal.questions)),
            refused=proposal.refusals,
            unmapped_source=proposal.unmapped_source,
            unmapped_target=proposal.unmapped_target,
        )

    def pairs(self, *confidences: str) -> dict[str, str]:
        """Returns {source: target} of what is this confident, pinned or answered.

        Args:
          *confidences: `certain`, `likely`; without any, `certain` alone.
        """
        wanted = {PINNED, *(confidences or (CERTAIN,))}
        return {
            **{pair.source: pair.target for pair in self.mapped if pair.confidence in wanted},
            **self._answered(),
        }

    def _answered(self) -> dict[str, str]:
        return {
            source: target
            for asked in self.asked
            if asked.answer is not None
            for source, target in asked.question.answers[asked.answer][1]
        }

    def text(self) -> str:
        """Returns the map as text, which `parse` reads."""
        blocks = [_HEAD.rstrip("\n")]
        for heading in _HEADINGS:
            lines = list(self._lines_below(heading))
            if lines:
                blocks.append("\n".join([f"[{heading}]", *lines]))
        return "\n\n".join(blocks) + "\n"

    def _lines_below(self, heading: str) -> Iterator[str]:
        if heading == _ASKED:
            for number, asked in enumerate(self.asked, 1):
                yield from _asked_lines(number, asked)
        elif heading == _REFUSED:
            for each in self.refused:
                names = ", ".join(each.sources), ", ".join(each.targets)
                yield f"{_ARROW.join(names)}{_NOTE}{each.transformation}: {each.reason}"
        elif heading in (_SOURCE, _TARGET):
            rows = self.unmapped_source if heading == _SOURCE else self.unmapped_target
            yield from (f"{row.name}{_NOTE}{row.reason}" for row in rows)
        else:
            for pair in self.mapped:
                if pair.confidence == heading:
                    yield f"{pair.source}{_ARROW}{pair.target}" + _note_of(pair)
            if heading == PINNED:
                yield from (f"{name}{_ARROW}{_NOTHING}" for name in self.left_out)

    @classmethod
    def parse(cls, text: str) -> VariableMap:
        """Reads a map.

        Args:
          text: as `text()` gives it, edited or not.

        Raises:
          CheckpointArgumentError: a line is not understood, or two lines are about one variable.
        """
        return _Reader().read(text)

    def checked(self, source: Iterable[NamedShape], target: Iterable[NamedShape]) -> VariableMap:
        """Returns this map if it can be followed.

        Args:
          source: the variables of the source.
          target: the variables of the target.

        Raises:
          CheckpointArgumentError: a line names what does not exist, two lines have the same
            target, or shapes don't hold the same bytes. The message says the line.
        """
        rows = {row.name: row for row in source}, {row.name: row for row in target}
        taken: dict[str, str] = {}
        for one, other in self.pairs(CERTAIN, LIKELY).items():
            where = self._where(one)
            for name, side, known in ((one, "source", rows[0]), (other, "target", rows[1])):
                if name not in known:
                    raise CheckpointArgumentError(
                        f"{where}the {side} has no '{name}'{near(name, known)}; "
                        "correct the name, or remove the line"
                    )
            if other in taken:
                raise CheckpointArgumentError(
                    f"{where}'{other}' already gets '{taken[other]}'"
                    f"{self._also(taken[other])}; remove one of the two lines"
                )
            taken[other] = one
            shapes = list(rows[0][one].shape), list(rows[1][other].shape)
            if not same_bytes(*shapes):
                raise CheckpointArgumentError(
                    f"{where}'{one}' {shapes[0]} does not fit '{other}' {shapes[1]}; choose a "
                    "target of the same elements in the same order, or change the values first"
                )
        for name in self.left_out:
            if name not in rows[0]:
                raise CheckpointArgumentError(
                    f"{self._where(name)}the source has no '{name}'{near(name, rows[0])}; "
                    "correct the name, or remove the line"
                )
        return self

    def _where(self, name: str) -> str:
        return f"line {self.lines[name]}: " if name in self.lines else ""

    def _also(self, name: str) -> str:
        return f" (line {self.lines[name]})" if name in self.lines else ""

    def revised(self, source: Iterable[NamedShape], target: Iterable[NamedShape]) -> VariableMap:
        """Proposes a map anew, around what was pinned, edited or answered.

        Args:
          source: the variables of the source.
          target: the variables of the target.

        Returns:
          A map in which every line that the matcher wouldn't have proposed by itself is pinned.

        Raises:
          CheckpointArgumentError: this map can't be followed.
        """
        sources, targets = list(source), list(target)
        self.checked(sources, targets)
        used = [row for row in sources if row.name not in self.left_out]
        fresh = propose(used, targets)
        proposed = {pair.source: (pair.target, pair.confidence) for pair in fresh.mapped}
        pins = {
            pair.source: pair.target
            for pair in self.mapped
            if pair.confidence == PINNED
            or proposed.get(pair.source) != (pair.target, pair.confidence)
        }
        pins.update(self._answered())
        return replace(VariableMap.of(propose(used, targets, pins)), left_out=self.left_out)


def _note_of(pair: Pair) -> str:
    """What stands behind a pair: the second name of its target, whether it is reshaped, and why."""
    also = f"({pair.also}) " if pair.also else ""
    note = f"{also}{_RESHAPED if pair.reshaped else ''}{pair.reason}"
    return _NOTE + note if note else ""


def _noted(pair: Pair, note: str) -> Pair:
    """The pair with what stands behind it."""
    also = ""
    if note.startswith("(") and ")" in note:
        also, _, note = note[1:].partition(")")
        note = note.strip()
    reshaped = note.startswith(_RESHAPED)
    reason = note[len(_RESHAPED) :] if reshaped else note
    return replace(pair, reason=reason, reshaped=reshaped, also=also)


def _asked_lines(number: int, asked: Asked) -> Iterator[str]:
    question = asked.question
    if number == 1:
        yield from _ASKED_HELP.splitlines()
    yield f"question {number}: {question.reason}"
    yield f"sources: {', '.join(question.sources)}"
    yield f"targets: {', '.join(question.targets)}"
    if question.answers:
        yield f"answer: {'?' if asked.answer is None else _ANSWERS[asked.answer]}"
    for letter, (title, rows) in zip(_ANSWERS, question.answers):
        yield f"{letter}: {title}"
        yield from (f"{letter}  {source}{_ARROW}{target}" for source, target in rows)


class _Reader:
    """Reads a map line by line."""

    def __init__(self) -> None:
        self._mapped: list[Pair] = []
        self._left_out: list[str] = []
        self._asked: list[_Open] = []
        self._refused: list[Refusal] = []
        self._unmapped: dict[str, list[Unmapped]] = {_SOURCE: [], _TARGET: []}
        self._lines: dict[str, int] = {}
        self._targets: dict[str, int] = {}

    def read(self, text: str) -> VariableMap:
        heading = None
        for number, line in enumerate(text.splitlines(), 1):
            line = line.strip()
            if not line or line.startswith("#"):
                continue
            if line.startswith("[") and line.endswith("]") and _ARROW not in line:
                heading = line[1:-1].strip()
                if heading not in _HEADINGS:
                    shown = ", ".join(f"[{each}]" for each in _HEADINGS)
                    raise _error(number, f"there is no heading '{line}'; there are {shown}")
                continue
            if heading is None:
                raise _error(number, "a line before any heading; put it below [pinned]")
            self._take(heading, number, line)
        asked = tuple(each.closed() for each in self._asked)
        for each, found in zip(self._asked, asked):
            if found.answer is not None:
                for source, target in found.question.answers[found.answer][1]:
                    self._claim(source, target, each.answer_line)
        return VariableMap(
            tuple(self._mapped),
            tuple(self._left_out),
            asked,
            tuple(self._refused),
            tuple(self._unmapped[_SOURCE]),
            tuple(self._unmapped[_TARGET]),
            self._lines,
        )

    def _take(self, heading: str, number: int, line: str) -> None:
        if heading == _ASKED:
            self._take_asked(number, line)
            return
        body, _, note = line.partition(_NOTE.rstrip())
        body, note = body.strip(), note.strip()
        if heading in (_SOURCE, _TARGET) and _ARROW not in body:
            self._unmapped[heading].append(Unmapped(body, note))
            return
        source, target = _arrow(number, body)
        if heading == _REFUSED:
            transformation, _, reason = note.partition(": ")
            names = tuple(source.split(", ")), tuple(target.split(", "))
            self._refused.append(Refusal(*names, transformation, reason))
            return
        if target == _NOTHING:
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
            if rest != "?" and (len(rest) != 1 or rest not in _ANSWERS):
                raise _error(number, f"the answer is '{rest}'; it must be '?', 'a' or 'b'")
            self.answer, self.answer_line = rest, number
        elif word in tuple(_ANSWERS):
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
    sides: Sequence[str] = [side.strip() for side in body.split(_ARROW)]
    if len(sides) != 2 or not all(sides):
        raise _error(number, f"'{body}' is not of the form 'source -> target'")
    return sides[0], sides[1]


def _error(number: int, message: str) -> CheckpointArgumentError:
    return CheckpointArgumentError(f"line {number}: {message}")
