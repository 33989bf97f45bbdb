"""The sentences of README and docs that say how fast something is, and where their numbers stand.

    python -m benchmarks.sentences      # gives them the numbers of docs/benchmarks.md

`python -m benchmarks --page=docs/benchmarks.md` does so, too. The tests compare them, and look for
other numbers of that kind (`SPEED`): a new sentence is a new row of `SENTENCES`.
"""

from __future__ import annotations

import dataclasses
import pathlib
import re
from collections.abc import Iterator

from benchmarks import pages
from benchmarks.measure import ROOT

PAGE = ROOT / "docs" / "benchmarks.md"
SPEED = re.compile(
    r"\d[\d.,]* ?(?:x\b(?! \d)|ms\b|µs\b|%|percent\b)"
    r"|(?:\d[\d.,]*|\b(?:two|three|four|five|six|eight|ten|hundred)) times"
    r" (?:as|faster|slower|less)"
    r"|\d[\d.,]* of (?:the|its) time"
)


@dataclasses.dataclass(frozen=True)
class Number:
    """A cell of docs/benchmarks.md.

    Attributes:
      table: the title of its table.
      row: the row, by some of its cells: {column: text}.
      column: of the number; a unit such as "x" is no part of it.
    """

    table: str
    row: dict[str, str]
    column: str


@dataclasses.dataclass(frozen=True)
class Sentence:
    """A part of a page that has numbers.

    Attributes:
      page: its path from the project's root.
      pattern: a regular expression that matches it once, with a group for each number.
      numbers: what the groups have to be.
    """

    page: str
    pattern: str
    numbers: tuple[Number, ...]


def _converted(column: str) -> Number:
    return Number("convert, by size", {"data": "1 GB", "by": "estimator_ckpt"}, column)


def _saved(column: str) -> Number:
    row = {"data, variables": "1 GB, 64", "saved by": "wrapped, dual and TF1"}
    return Number("a save", row, column)


def _mapped(network: str, size: str) -> Number:
    return Number("a map that makes itself", {"network": network}, f"{size} x {size}")


_NUMBERED, _MIXED = "numbered layers of one shape", "numbers on one side, words on the other"
SENTENCES = (
    Sentence(
        "README.md",
        r"1 GB converts in (\S+ m?s), (\S+) x as fast as by loading and saving",
        (_converted("time"), _converted("faster")),
    ),
    Sentence(
        "README.md",
        r"A `dual` save with a TF1 checkpoint beside it takes (\S+) of the time of one plain save",
        (_saved("of plain TF2"),),
    ),
    Sentence(
        "docs/map.md",
        r"125 of them and 125 take (\S+ m?s), 1,000 and 1,000 (\S+ m?s), 2,000 and 2,000 (\S+ m?s)",
        tuple(_mapped(_NUMBERED, size) for size in ("125", "1,000", "2,000")),
    ),
    Sentence(
        "docs/map.md",
        r"2,000 with numbers on one side and words on the other (\S+ m?s)",
        (_mapped(_MIXED, "2,000"),),
    ),
)


def renewed(sentence: Sentence, text: str, tables: str) -> str:
    """Returns a page's text with the sentence's numbers as they are in the tables.

    Raises:
      ValueError: the page has not this sentence once, or the tables have not its numbers.
    """
    found = list(re.finditer(sentence.pattern, text))
    if len(found) != 1:
        raise ValueError(f"{sentence.page} has {len(found)} times: {sentence.pattern}")
    for group in range(len(sentence.numbers), 0, -1):  # so that earlier places stay
        start, end = found[0].span(group)
        text = text[:start] + value(sentence.numbers[group - 1], tables) + text[end:]
    return text


def value(number: Number, tables: str) -> str:
    """Returns what the tables say, without the unit x.

    Raises:
      ValueError: there is no such table, row or column, or the row is there more than once.
    """
    rows = [
        row
        for row in _rows(number.table, tables)
        if all(row.get(column) == text for column, text in number.row.items())
    ]
    if len(rows) != 1 or number.column not in rows[0]:
        raise ValueError(f"the tables have {len(rows)} rows for {number}")
    return rows[0][number.column].removesuffix(" x")


def _rows(title: str, tables: str) -> list[dict[str, str]]:
    part = re.search(rf"^\*\*{re.escape(title)}\.\*\*.*\n\n((?:\|.*\n)+)", tables, re.MULTILINE)
    if not part:
        raise ValueError(f"there is no table {title!r}")
    lines = [line[2:-2].split(" | ") for line in part[1].splitlines()]
    return [dict(zip(lines[0], line)) for line in lines[2:]]


def unknown(page: str, text: str) -> Iterator[str]:
    """Returns what reads like a speed, in a page's text, and is in no sentence and no table."""
    without = re.sub(r"^```.*?^```", "", pages.without_tables(text), flags=re.DOTALL | re.MULTILINE)
    for sentence in SENTENCES:
        if sentence.page == page:
            without = re.sub(sentence.pattern, "", without)
    yield from (match[0] for match in SPEED.finditer(without))


def renew() -> None:
    """Gives all sentences the numbers of docs/benchmarks.md."""
    tables = PAGE.read_text(encoding="utf-8")
    for sentence in SENTENCES:
        path = pathlib.Path(ROOT, sentence.page)
        text = path.read_text(encoding="utf-8")
        path.write_text(renewed(sentence, text, tables), encoding="utf-8")


if __name__ == "__main__":
    renew()
