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

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from estimator_ckpt.errors import CheckpointArgumentError
from estimator_ckpt.messages import near
from estimator_ckpt.naming.matcher import (
    CERTAIN,
    LIKELY,
    PINNED,
    NamedShape,
    Pair,
    Proposal,
    Refusal,
    Unmapped,
    propose,
    same_bytes,
)
from estimator_ckpt.naming.variable_map_text import (
    ACCEPT,
    ACCEPTED,
    ANSWERS,
    ARROW,
    ASKED,
    HEADINGS,
    NOTE,
    NOTHING,
    REFUSED,
    RESHAPED,
    SOURCE,
    TARGET,
    Asked,
    read_map,
    require_accepted,
)

_HEAD = """\
# A map of variables: source -> target. Lines below [pinned], and lines that were edited, are kept
# when the map is proposed again. `name -> -` leaves a variable of the source out.
# What is [certain] is applied; [likely] only with `accept: likely` in place of the line below.
"""
_ASKED_HELP = """\
# Replace the `?` behind `answer:` with the letter of the right answer, or write lines of your own
# below [pinned].
"""


def _holds_same_bytes(one: NamedShape, other: NamedShape) -> bool:
    return same_bytes(one.shape, other.shape)


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
      accept: what is applied besides what is pinned: `certain`, or `likely` for both.
      origin: of which file the lines are.
    """

    mapped: tuple[Pair, ...] = ()
    left_out: tuple[str, ...] = ()
    asked: tuple[Asked, ...] = ()
    refused: tuple[Refusal, ...] = ()
    unmapped_source: tuple[Unmapped, ...] = ()
    unmapped_target: tuple[Unmapped, ...] = ()
    lines: Mapping[str, int] = field(default_factory=dict, compare=False, repr=False)
    accept: str = CERTAIN
    origin: str = field(default="", compare=False)

    @classmethod
    def of(cls, proposal: Proposal, accept: str = CERTAIN) -> VariableMap:
        """Makes a map of a proposal; `accept` as the attribute."""
        mapped = [
            replace(pair, confidence=PINNED) if pair.reason == PINNED else pair
            for pair in proposal.mapped
        ]
        return cls(
            mapped=tuple(sorted(mapped, key=lambda pair: HEADINGS.index(pair.confidence))),
            asked=tuple(map(Asked, proposal.questions)),
            refused=proposal.refusals,
            unmapped_source=proposal.unmapped_source,
            unmapped_target=proposal.unmapped_target,
            accept=require_accepted(accept),
        )

    def pairs(self, *confidences: str) -> dict[str, str]:
        """Returns {source: target} of what is this confident, pinned or answered.

        Args:
          *confidences: `certain`, `likely`; without any, what the map accepts.
        """
        accepted = (CERTAIN,) if self.accept == CERTAIN else ACCEPTED
        wanted = {PINNED, *(confidences or accepted)}
        return {
            **{pair.source: pair.target for pair in self.mapped if pair.confidence in wanted},
            **self._answered(),
        }

    def counts(self) -> dict[str, int]:
        """Returns how many variables are in each class, and how many on either side in none."""
        mapped = Counter(pair.confidence for pair in self.mapped)
        asked = [len(each.question.sources) for each in self.asked]
        refused = [len(each.sources) for each in self.refused]
        return {
            **{confidence: mapped[confidence] for confidence in (PINNED, CERTAIN, LIKELY)},
            ASKED: sum(asked),
            REFUSED: sum(refused),
            SOURCE: len(self.unmapped_source),
            TARGET: len(self.unmapped_target),
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
        blocks = [f"{_HEAD}{ACCEPT}{self.accept}"]
        for heading in HEADINGS:
            lines = list(self._lines_below(heading))
            if lines:
                blocks.append("\n".join([f"[{heading}]", *lines]))
        return "\n\n".join(blocks) + "\n"

    def _lines_below(self, heading: str) -> Iterator[str]:
        if heading == ASKED:
            for number, asked in enumerate(self.asked, 1):
                yield from _asked_lines(number, asked)
        elif heading == REFUSED:
            for each in self.refused:
                names = ", ".join(each.sources), ", ".join(each.targets)
                yield f"{ARROW.join(names)}{NOTE}{each.transformation}: {each.reason}"
        elif heading in (SOURCE, TARGET):
            rows = self.unmapped_source if heading == SOURCE else self.unmapped_target
            yield from (f"{row.name}{NOTE}{row.reason}" for row in rows)
        else:
            for pair in self.mapped:
                if pair.confidence == heading:
                    yield f"{pair.source}{ARROW}{pair.target}" + _note_of(pair)
            if heading == PINNED:
                yield from (f"{name}{ARROW}{NOTHING}" for name in self.left_out)

    @classmethod
    def parse(cls, text: str, origin: str = "") -> VariableMap:
        """Reads a map.

        Args:
          text: as `text()` gives it, edited or not.
          origin: the file that it is from, for later messages.

        Raises:
          CheckpointArgumentError: a line is not understood, or two lines are about one variable.
        """
        read = read_map(text)
        return cls(
            read.mapped,
            read.left_out,
            read.asked,
            read.refused,
            read.unmapped_source,
            read.unmapped_target,
            read.lines,
            read.accept,
            origin,
        )

    def checked(
        self,
        source: Iterable[NamedShape],
        target: Iterable[NamedShape],
        *,
        fits: Callable[[NamedShape, NamedShape], bool] | None = None,
    ) -> VariableMap:
        """Returns this map if it can be followed.

        Args:
          source: the variables of the source.
          target: the variables of the target, which lines may call by their second names, too.
          fits: says of what is applied whether one of the target can have the bytes of one of the
            source; None: if their shapes hold the same ones.

        Raises:
          CheckpointArgumentError: a line names what does not exist, two lines have the same
            target, or shapes don't hold the same bytes. The message says the line.
        """
        applied = self.pairs()
        rows = {row.name: row for row in source}, _by_any_name(target)
        self.require_sources(rows[0])
        taken: dict[str, str] = {}
        for one, other in self.pairs(CERTAIN, LIKELY).items():
            where = self._where(one)
            if other not in rows[1]:
                raise CheckpointArgumentError(
                    f"{where}the target has no '{other}'{near(other, rows[1])}; "
                    "correct the name, or remove the line"
                )
            row = rows[1][other]
            if row.name in taken:
                raise CheckpointArgumentError(
                    f"{where}'{other}' already gets '{taken[row.name]}'"
                    f"{self._also(taken[row.name])}; remove one of the two lines"
                )
            taken[row.name] = one
            may_take = fits if fits and one in applied else _holds_same_bytes
            if not may_take(rows[0][one], row):
                pair = rows[0][one], row
                types = [f"{each.dtype} " * (pair[0].dtype != pair[1].dtype) for each in pair]
                shown = [f"{type_}{list(each.shape)}" for type_, each in zip(types, pair)]
                remedy = (
                    "give the target the source's shape and type, or remove the line"
                    if _holds_same_bytes(*pair)
                    else "choose a target of the same elements in the same order, or change the "
                    "values first"
                )
                raise CheckpointArgumentError(
                    f"{where}'{one}' {shown[0]} does not fit '{other}' {shown[1]}; {remedy}"
                )
        return self

    def require_sources(self, names: Collection[str]) -> None:
        """Raises CheckpointArgumentError for a line that names none of the source's variables."""
        for name in (*self.pairs(CERTAIN, LIKELY), *self.left_out):
            if name not in names:
                raise CheckpointArgumentError(
                    f"{self._where(name)}the source has no '{name}'{near(name, names)}; "
                    "correct the name, or remove the line"
                )

    def _where(self, name: str) -> str:
        file = f"'{self.origin}', " if self.origin else ""
        return f"{file}line {self.lines[name]}: " if name in self.lines else ""

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
        called = {name: row.name for name, row in _by_any_name(targets).items()}
        used = [row for row in sources if row.name not in self.left_out]
        fresh = propose(used, targets)
        proposed = {pair.source: (pair.target, pair.confidence) for pair in fresh.mapped}
        pins = {
            pair.source: pair.target
            for pair in self.mapped
            if pair.confidence == PINNED
            or proposed.get(pair.source) != (called[pair.target], pair.confidence)
        }
        pins.update(self._answered())
        pins = {source: called[target] for source, target in pins.items()}
        revised = VariableMap.of(propose(used, targets, pins), self.accept)
        return replace(revised, left_out=self.left_out)


def _by_any_name(rows: Iterable[NamedShape]) -> dict[str, NamedShape]:
    """The rows by their names, and by second names that are no other one's."""
    rows = list(rows)
    seconds = Counter(row.second_name for row in rows)
    also = {
        row.second_name: row for row in rows if row.second_name and seconds[row.second_name] == 1
    }
    return {**also, **{row.name: row for row in rows}}


def _note_of(pair: Pair) -> str:
    """What stands behind a pair: the second name of its target, whether it is reshaped, and why."""
    also = f"({pair.also}) " if pair.also else ""
    note = f"{also}{RESHAPED if pair.reshaped else ''}{pair.reason}"
    return NOTE + note if note else ""


def _asked_lines(number: int, asked: Asked) -> Iterator[str]:
    question = asked.question
    if number == 1:
        yield from _ASKED_HELP.splitlines()
    yield f"question {number}: {question.reason}"
    yield f"sources: {', '.join(question.sources)}"
    yield f"targets: {', '.join(question.targets)}"
    if question.answers:
        yield f"answer: {'?' if asked.answer is None else ANSWERS[asked.answer]}"
    for letter, (title, rows) in zip(ANSWERS, question.answers):
        yield f"{letter}: {title}"
        yield from (f"{letter}  {source}{ARROW}{target}" for source, target in rows)
