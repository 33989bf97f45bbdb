"""A map of variables as a text file, to be reviewed and edited.

    made = VariableMap.of(matcher.propose(source_rows, target_rows))
    pathlib.Path("map.txt").write_text(made.text())
    read = VariableMap.parse(pathlib.Path("map.txt").read_text())
    read.checked(source_rows, target_rows).pairs("certain", "likely")
    read.revised(source_rows, target_rows)       # proposes the rest around what was edited

One line a variable, `source -> target  # why`, below headings that say how sure it is. Whoever
edits a line, or chooses an answer, has pinned it. `source -> target : transpose(1, 0)` changes
values, as `transformations` says. Names that would be read otherwise are in quotes, as in JSON.
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
from estimator_ckpt.naming.transformations import (
    Cast,
    Change,
    Kind,
    Reshape,
    Step,
    Transformation,
)
from estimator_ckpt.naming.variable_map_text import (
    ACCEPT,
    ACCEPTED,
    ASKED,
    COLON,
    HEADINGS,
    NOTHING,
    REFUSED,
    SOURCE,
    TARGET,
    Asked,
    asked_lines,
    change_line,
    left_out_line,
    pair_line,
    read_map,
    refused_lines,
    require_accepted,
    unmapped_line,
)
from estimator_ckpt.notebook import html_table

_HEAD = """\
# A map of variables: source -> target. Lines below [pinned], and lines that were edited, are kept
# when the map is proposed again. `name -> -` leaves a variable of the source out.
# What is [certain] is applied; [likely] only with `accept: likely` in place of the line below.
# `source -> target : transpose(1, 0)` changes values; so do split, concat, gates, cast, reshape.
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
      changes: lines that change values; they are pinned.
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
    changes: tuple[Change, ...] = ()

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
        """Returns {source: target} of what is this confident, pinned or answered; no `changes`.

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
        mapped[PINNED] += len(_sources_of(self.changes))
        asked = [len(each.question.sources) for each in self.asked]
        return {
            **{confidence: mapped[confidence] for confidence in (PINNED, CERTAIN, LIKELY)},
            ASKED: sum(asked),
            REFUSED: len(_sources_of(self.refused)),
            SOURCE: len(self.unmapped_source),
            TARGET: len(self.unmapped_target),
        }

    def applied_changes(self) -> tuple[Change, ...]:
        """Returns what changes values or shapes, of what the map accepts."""
        applied = self.pairs()
        reshaped = [
            replace(_reshaping(pair), line=self.lines.get(pair.source, 0))
            for pair in self.mapped
            if pair.reshaped is not None and applied.get(pair.source) == pair.target
        ]
        return (*reshaped, *self.changes)

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

    def _repr_html_(self) -> str:
        counts = [f"{number:,} {name}" for name, number in self.counts().items() if number]
        rows: list[tuple[str | None, ...]]
        rows = [(pair.confidence, pair.source, pair.target, pair.reason) for pair in self.mapped]
        rows += [
            (PINNED, ", ".join(each.sources), each.target, str(each.transformation))
            for each in self.changes
        ]
        rows += [(PINNED, name, NOTHING, "left out") for name in self.left_out]
        rows += [
            (ASKED, ", ".join(each.question.sources), ", ".join(each.question.targets),
             each.question.reason)
            for each in self.asked
        ]  # fmt: skip
        rows += [
            (REFUSED, ", ".join(each.sources), ", ".join(each.targets), each.reason)
            for each in self.refused
        ]
        rows += [(SOURCE, row.name, None, row.reason) for row in self.unmapped_source]
        rows += [(TARGET, None, row.name, row.reason) for row in self.unmapped_target]
        return html_table(", ".join(counts), ("class", "source", "target", "why"), rows)

    def _lines_below(self, heading: str) -> Iterator[str]:
        if heading == ASKED:
            yield from asked_lines(self.asked)
        elif heading == REFUSED:
            yield from refused_lines(self.refused)
        elif heading in (SOURCE, TARGET):
            rows = self.unmapped_source if heading == SOURCE else self.unmapped_target
            yield from map(unmapped_line, rows)
        else:
            yield from (pair_line(pair) for pair in self.mapped if pair.confidence == heading)
            if heading == PINNED:
                yield from map(change_line, self.changes)
                yield from map(left_out_line, self.left_out)

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
            read.changes,
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
        pairs, applied = self.pairs(CERTAIN, LIKELY), self.pairs()
        sources, targets = {row.name: row for row in source}, _by_any_name(target)
        self.require_sources(sources)
        reshaped = {pair.source: pair for pair in self.mapped if pair.reshaped is not None}
        lines = [
            _reshaping(reshaped[one]) if one in reshaped else (one, other)
            for one, other in pairs.items()
        ]
        taken: dict[str, str] = {}
        for line in (*lines, *self.changes):
            if isinstance(line, Change):
                one, other, row = line.sources[0], line.target, self._result(line, sources)
            else:
                one, other, row = *line, sources[line[0]]
            where = self._where(one, line)
            if other not in targets:
                raise CheckpointArgumentError(
                    f"{where}the target has no '{other}'{near(other, targets)}; "
                    "correct the name, or remove the line"
                )
            wanted = targets[other]
            if wanted.name in taken:
                raise CheckpointArgumentError(
                    f"{where}'{other}' already gets '{taken[wanted.name]}'"
                    f"{self._also(taken[wanted.name])}; remove one of the two lines"
                )
            taken[wanted.name] = one
            may_take: Callable[[NamedShape, NamedShape], bool] = _holds_same_bytes
            if isinstance(line, Change) or one in applied:
                may_take = fits or (_same_kind if isinstance(line, Change) else may_take)
            if not may_take(row, wanted):
                raise CheckpointArgumentError(f"{where}{_unfit(row, wanted, other)}")
        return self

    def require_changes(self, source: Iterable[NamedShape]) -> None:
        """Raises CheckpointArgumentError for a line whose changes can't be made of the source."""
        sources = {row.name: row for row in source}
        self.require_sources(sources)
        for change in self.applied_changes():
            self._result(change, sources)

    def where(self, change: Change) -> str:
        """Returns the file and the line of a change, to begin a message; "" where it has none."""
        return self._where(change.sources[0], change)

    def _result(self, change: Change, sources: Mapping[str, NamedShape]) -> NamedShape:
        """What becomes of the variables of a line that changes them."""
        rows = [sources[name] for name in change.sources]
        try:
            kind = change.transformation.result([Kind(row.shape, row.dtype) for row in rows])
        except CheckpointArgumentError as error:
            raise CheckpointArgumentError(
                f"{self.where(change)}'{', '.join(change.sources)}': {error}; "
                "correct the line, or remove it"
            ) from error
        return NamedShape(change.name, kind.shape, kind.dtype)

    def require_sources(self, names: Collection[str]) -> None:
        """Raises CheckpointArgumentError for a line that names none of the source's variables."""
        asked = [(name, None) for name in (*self.pairs(CERTAIN, LIKELY), *self.left_out)]
        changed = [(name, change) for change in self.changes for name in change.sources]
        for name, change in (*asked, *changed):
            if name not in names:
                raise CheckpointArgumentError(
                    f"{self._where(name, change)}the source has no '{name}'{near(name, names)}; "
                    "correct the name, or remove the line"
                )

    def _where(self, name: str, line: object = None) -> str:
        file = f"'{self.origin}', " if self.origin else ""
        number = (line.line if isinstance(line, Change) else 0) or self.lines.get(name, 0)
        return f"{file}line {number}: " if number else ""

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
        gone = {*self.left_out, *_sources_of(self.changes)}
        reached = {called[change.target] for change in self.changes}
        used = [row for row in sources if row.name not in gone]
        targets = [row for row in targets if row.name not in reached]
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
        return replace(revised, left_out=self.left_out, changes=self.changes)


def _by_any_name(rows: Iterable[NamedShape]) -> dict[str, NamedShape]:
    """The rows by their names, and by second names that are no other one's."""
    rows = list(rows)
    seconds = Counter(row.second_name for row in rows)
    also = {
        row.second_name: row for row in rows if row.second_name and seconds[row.second_name] == 1
    }
    return {**also, **{row.name: row for row in rows}}


def _reshaping(pair: Pair) -> Change:
    """A pair that is reshaped, as a change."""
    assert pair.reshaped is not None
    return Change((pair.source,), pair.target, Transformation((Reshape(pair.reshaped),)))


def _sources_of(lines: Iterable[Change | Refusal]) -> set[str]:
    return {name for line in lines for name in line.sources}


def _same_kind(one: NamedShape, other: NamedShape) -> bool:
    """Returns whether shapes and types are the same."""
    return (one.shape, one.dtype) == (other.shape, other.dtype)


def _unfit(one: NamedShape, other: NamedShape, name: str) -> str:
    """Says why a variable can't have the value of another one, and what to do."""
    types = [f"{each.dtype} " * (one.dtype != other.dtype) for each in (one, other)]
    shown = [f"{type_}{list(each.shape)}" for type_, each in zip(types, (one, other))]
    steps: list[Step] = [Cast(other.dtype)] if one.dtype != other.dtype else []
    if one.shape != other.shape and _holds_same_bytes(one, other):
        steps.append(Reshape(other.shape))
    remedy = (
        f"put '{COLON}{', '.join(map(str, steps))}' behind the line"
        if steps and _holds_same_bytes(one, other)
        else "choose a target of the same elements in the same order, or put what changes the "
        f"values behind the line, as '{COLON}transpose(1, 0)'"
    )
    return f"'{one.name}' {shown[0]} does not fit '{name}' {shown[1]}; {remedy}, or remove the line"
