r"""Rows and trees on stdout, as people, pipes and programs (JSON) want them.

Synopsis:

    print_rows((Column("name"), Column("bytes", "right")), [("dnn/kernel", 4096)])
    print_json(description)

In a pipe a line stays a line: a tab, a line break, a backslash or a control character in a name
is written as `\t`, `\n`, `\\` or `\x07`. So it is in Markdown, escaped once more to be shown so.
CSV has names as they are.
"""

from __future__ import annotations

import contextlib
import contextvars
import csv
import itertools
import math
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Callable, Literal, NamedTuple, TextIO

from estimator_ckpt.messages import escaped, json_text, plain

_GAP = 2  # between two columns of a table: a space of padding, and one that the box draws
_INDENT = "    "
_ROWS_AT_ONCE = 1000
# Widths of the first column: with less nothing can be broken; with less it can't be read; with
# this, names of some length can.
_LEAST, _NARROWEST, _COMFORTABLE = 8, 20, 28
# What Markdown reads as something else than itself.
_MARKDOWN = re.compile(r"([\\`*_\[\]<>&|~])")

# Called with the file that is being copied, the bytes copied so far, and the bytes to copy in all.
Progress = Callable[[str, int, int], None]


class Column(NamedTuple):
    """A column of a table.

    Attributes:
      title: what is written above it.
      justify: the side that its text is set against.
      folds: whether, on a terminal that is too narrow for the whole table, it moves below the
        first column, where each cell that says more than the first one has a line of its own.
      quiet: what a cell that has moved there need not say.
      colours: of cells that say these words, on a terminal.
    """

    title: str
    justify: Literal["left", "right"] = "left"
    folds: bool = False
    quiet: str = ""
    colours: Mapping[str, str] = {}


_WIDE = 140  # columns of a terminal that has room for bars
FORMATS = ("table", "tsv", "json", "md", "csv")
"""How rows can be printed, whoever reads them."""
_CODES = {"red": 31, "yellow": 33, "cyan": 36, "green": 32}
_asked: contextvars.ContextVar[str | None] = contextvars.ContextVar("format", default=None)


def use_format(name: str | None) -> None:
    """Has rows printed so, one of `FORMATS`; None: a table on a terminal, tabs in a pipe."""
    _asked.set(name)


@contextlib.contextmanager
def formatted(name: str) -> Iterator[None]:
    """Has rows printed so meanwhile."""
    before = _asked.set(name)
    try:
        yield
    finally:
        _asked.reset(before)


def on_terminal() -> bool:
    """Whether stdout is read by a person."""
    return sys.stdout.isatty()


def for_people() -> bool:
    """Whether what is printed is to be read by a person: on a terminal, or as a table."""
    return on_terminal() if _asked.get() is None else _asked.get() == "table"


def prints_lines() -> bool:
    """Whether rows are lines of their own, which can be printed as they come."""
    return not for_people() and _asked.get() in (None, "tsv")


def coloured(text: str, colour: str, stream: TextIO | None = None) -> str:
    """Returns a text in a colour, if a stream, or stdout, is a terminal that is to show some."""
    terminal = (stream or sys.stdout).isatty()
    if not terminal or os.environ.get("NO_COLOR") or os.environ.get("TERM") in ("dumb", "unknown"):
        return text
    return f"\x1b[{_CODES[colour]}m{text}\x1b[0m"


def print_summary(text: str) -> None:
    """Prints what sums up rows: above a table; of other rows beside them, on stderr."""
    print(text, file=sys.stdout if for_people() else sys.stderr, flush=True)


def print_rows(
    columns: Sequence[Column],
    rows: Iterable[Sequence[object]],
    section: Callable[[Sequence[object]], object] | None = None,
) -> None:
    """Prints rows under a line of titles. None is an empty cell.

    On a terminal a cell that is too long is continued on the next line, never cut. Where what
    `section` says of a row is not what it says of the row before, there is a line between them, if
    that doesn't set most rows apart.
    """
    if for_people():
        _print_table(columns, rows, section)
    elif _asked.get() == "csv":
        _print_csv(columns, rows)
    elif _asked.get() == "md":
        _print_markdown(columns, rows)
    else:
        print_tabbed([column.title for column in columns])
        left = iter(rows)
        while some := list(itertools.islice(left, _ROWS_AT_ONCE)):
            _print_all_tabbed(some)


def _print_csv(columns: Sequence[Column], rows: Iterable[Sequence[object]]) -> None:
    """Prints cells as they are, so that whoever reads CSV gets just these."""
    lines = csv.writer(sys.stdout, lineterminator="\n")
    quoting = csv.writer(sys.stdout, lineterminator="\n", quoting=csv.QUOTE_ALL)
    lines.writerow([column.title for column in columns])
    for row in rows:
        cells = [_text(cell) for cell in row]
        # Older versions of Python don't quote a carriage return.
        (quoting if any("\r" in cell for cell in cells) else lines).writerow(cells)


def _print_markdown(columns: Sequence[Column], rows: Iterable[Sequence[object]]) -> None:
    def line(cells: Iterable[str]) -> str:
        return f"| {' | '.join(cells)} |"

    print(line(column.title for column in columns))
    print(line("---:" if column.justify == "right" else "---" for column in columns))
    for row in rows:
        print(line(_MARKDOWN.sub(r"\\\1", escape(_text(cell))) for cell in row))


def print_tabbed(cells: Iterable[object]) -> None:
    """Prints one line of tab-separated cells."""
    print("\t".join(escape(_text(cell)) for cell in cells))


def _print_all_tabbed(rows: Sequence[Sequence[object]]) -> None:
    """Prints lines as `print_tabbed` does, at once if there is nothing in them to escape."""
    lines = ["\t".join(["" if cell is None else str(cell) for cell in row]) for row in rows]
    text = "\n".join(lines)
    tabs = sum(map(len, rows)) - len(rows)
    if (
        "\\" not in text
        and text.count("\t") == tabs
        and text.count("\n") == len(rows) - 1
        and text.replace("\t", "").replace("\n", "").isprintable()
    ):
        print(text)
    else:
        for row in rows:
            print_tabbed(row)


def print_json(value: Any) -> None:
    """Prints a dataclass, or a sequence of them, as JSON."""
    print(json_text(plain(value)))


def print_tree(
    node: Any, children: Callable[[Any], Iterable[Any]], label: Callable[[Any], str]
) -> None:
    """Prints a tree: drawn on a terminal; in a pipe, each node on a line, indented by its depth."""
    if not for_people():
        _print_indented(node, children, label, "")
        return
    from rich import console, text, tree  # here: `--help` need not wait for it

    def grow(branch: tree.Tree, parent: Any) -> None:
        for child in children(parent):
            grow(branch.add(text.Text(escape(label(child)), overflow="fold")), child)

    root = tree.Tree(text.Text(escape(label(node)), overflow="fold"))
    grow(root, node)
    console.Console().print(root)


def print_dry_run(command: str) -> None:
    """Prints the end of a dry run: that nothing was written, and the command that writes it."""
    if for_people():
        print(f"Nothing was written. To write it:\n  {escaped(command)}")
    else:
        print_tabbed(("dry_run", "nothing was written", command))


def escape(text: str) -> str:
    """Returns the text on one line, so that it can be told what it was: backslashes are doubled."""
    return escaped(text.replace("\\", "\\\\"))


def escape_lines(text: str) -> str:
    """Returns a text of several lines in which nothing is obeyed by a terminal."""
    return "\n".join(map(escaped, text.split("\n")))


def has_room_for_bars() -> bool:
    """Whether stdout is a terminal of many columns that can show blocks."""
    is_wide = shutil.get_terminal_size().columns >= _WIDE
    return on_terminal() and is_wide and "utf" in (sys.stdout.encoding or "utf-8").lower()


def bar(part: float, whole: float, width: int = 12) -> str:
    """Returns a bar of blocks, in eighths of one; what is more than nothing shows."""
    if not (0 < part < math.inf and 0 < whole < math.inf):
        return ""
    full, rest = divmod(max(1, round(8 * width * min(1.0, part / whole))), 8)
    return "█" * full + " ▏▎▍▌▋▊▉"[rest].strip()


def human_bytes(count: int) -> str:
    """Returns a size for people: `512 B`, `4.0 KiB`, `1.2 GiB`."""
    if count < 1024:
        return f"{count} B"
    size = float(count)
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        size /= 1024
        if size < 1024 or unit == "TiB":
            break
    return f"{size:,.1f} {unit}"


def counted(count: int, noun: str) -> str:
    """Returns `1 shard`, `2 shards`."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def number(value: float | None) -> str | None:
    """Returns a number: in four digits for people, in all where it is an integer or in a pipe."""
    if value is None or isinstance(value, int):
        return None if value is None else str(int(value))
    return f"{value:.4g}" if for_people() else repr(value)


def filled(text: str, indent: str) -> str:
    """Returns a text in lines that fit the terminal, those after the first indented."""
    return textwrap.fill(
        text,
        max(20, shutil.get_terminal_size().columns),
        subsequent_indent=indent,
        break_on_hyphens=False,
    )


@contextlib.contextmanager
def progress_bars(verb: str) -> Iterator[Progress | None]:
    """Gives a function that shows a progress bar a file on stderr; None where it can't be seen."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich import console, progress  # here, so that `--help` need not wait for it

    terminal = console.Console(stderr=True)
    if terminal.is_dumb_terminal:
        yield None
        return
    bar = progress.Progress(
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.DownloadColumn(binary_units=True),
        progress.TimeRemainingColumn(),
        console=terminal,
        transient=True,
    )
    tasks: dict[str, progress.TaskID] = {}

    def update(path: str, done: int, total: int) -> None:
        if path not in tasks:
            tasks[path] = bar.add_task(f"{verb} {escape(os.path.basename(path))}", total=total)
            bar.start()
        bar.update(tasks[path], completed=done)

    try:
        yield update
    finally:
        bar.stop()


@contextlib.contextmanager
def counting_bar(verb: str) -> Iterator[Callable[[int, int], None]]:
    """Gives a function that shows on stderr how many of how many are done; nothing in a pipe."""
    terminal = None
    if sys.stderr.isatty():
        from rich import console, progress  # here, so that `--help` need not wait for it

        terminal = console.Console(stderr=True)
    if terminal is None or terminal.is_dumb_terminal:
        yield lambda done, total: None
        return
    bar = progress.Progress(
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeRemainingColumn(),
        console=terminal,
        transient=True,
    )
    task = bar.add_task(verb, total=None)
    with bar:
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _text(cell: object) -> str:
    return "" if cell is None else str(cell)


def _print_indented(
    node: Any, children: Callable[[Any], Iterable[Any]], label: Callable[[Any], str], indent: str
) -> None:
    print(indent + escape(label(node)))
    for child in children(node):
        _print_indented(child, children, label, indent + "  ")


def _print_table(
    columns: Sequence[Column],
    rows: Iterable[Sequence[object]],
    section: Callable[[Sequence[object]], object] | None,
) -> None:
    cells_of = list(rows)
    lines = [[escape(_text(cell)) for cell in row] for row in cells_of]
    ends = _ends([section(row) for row in cells_of]) if section else ()
    room = shutil.get_terminal_size().columns + 2  # the last column needs no gap
    widths = _widths(columns, lines)
    if sum(widths) > room:
        folds = _too_wide(columns, widths, room)
        others = sum(width for at, width in enumerate(widths) if at and at not in folds)
        columns, lines = _folded(columns, lines, folds, max(_LEAST, room - others - _GAP))
        widths = _widths(columns, lines)
    titles = [column.title for column in columns]
    printed = [_aligned(titles, columns, widths), "─" * (sum(widths) - _GAP)]
    blank = " " * len(printed[1])
    for at, line in enumerate(lines):
        printed.append(_aligned(line, columns, widths))
        if at in ends:
            printed.append(blank)
        if len(printed) >= _ROWS_AT_ONCE:
            print("\n".join(printed))
            printed = []
    if printed:
        print("\n".join(printed))


def _width(text: str) -> int:
    """Returns how many columns of a terminal a line takes."""
    if text.isascii():
        return len(text)
    from rich import cells  # here, as most names need it not

    return cells.cell_len(text)


def _widths(columns: Sequence[Column], lines: Sequence[Sequence[str]]) -> list[int]:
    """Returns the width of each column, with the gap behind it."""
    every = zip([column.title for column in columns], *lines)
    return [max(map(_width, "\n".join(cells).split("\n"))) + _GAP for cells in every]


def _aligned(cells: Sequence[str], columns: Sequence[Column], widths: Sequence[int]) -> str:
    """Returns a row of a table, on as many lines as its cells have."""
    stacks = [cell.split("\n") for cell in cells]
    height = max(map(len, stacks))
    lines = []
    for at in range(height):
        parts = []
        for stack, column, width in zip(stacks, columns, widths):
            text = stack[at] if at < len(stack) else ""
            fill = " " * (width - _GAP - _width(text))
            if colour := column.colours.get(text):
                text = coloured(text, colour)
            parts.append(fill + text if column.justify == "right" else text + fill)
        lines.append((" " * _GAP).join(parts))
    return "\n".join(lines)


def _ends(sections: Sequence[object]) -> set[int]:
    """Returns the last row of each section but the last one; none if there are too many."""
    ends = {at for at in range(len(sections) - 1) if sections[at] != sections[at + 1]}
    return ends if len(ends) < len(sections) / 2 else set()


def _too_wide(columns: Sequence[Column], widths: Sequence[int], room: int) -> set[int]:
    """Picks the columns that move below the first one: the widest, until the others have room."""
    candidates = [at for at, column in enumerate(columns) if column.folds]
    candidates.sort(key=lambda at: widths[at])
    needed = sum(widths[1:]) + min(widths[0], _COMFORTABLE)
    folds: set[int] = set()
    while candidates and needed > room:
        folds.add(candidates.pop())
        needed = sum(width for at, width in enumerate(widths) if at and at not in folds)
        needed += _COMFORTABLE  # for what is below the first one
    # Where there is too little room even so, any column may move.
    others = sorted(set(range(1, len(columns))) - folds, key=lambda at: widths[at])
    first = _NARROWEST if folds else min(widths[0], _NARROWEST)
    while others and sum(widths[at] for at in others) + first + _GAP > room:
        folds.add(others.pop())
        first = _NARROWEST
    return folds


def _folded(
    columns: Sequence[Column], lines: Iterable[Sequence[str]], folds: set[int], width: int
) -> tuple[list[Column], list[list[str]]]:
    """Moves columns below the first one, which gets a width in characters."""
    kept = [number for number in range(len(columns)) if number not in folds]
    folded = []
    for line in lines:
        below = (
            f"{columns[number].title}: {line[number]}"
            for number in sorted(folds)
            if line[number] not in ("", line[0], columns[number].quiet)
        )
        stack = "\n".join((_broken(line[0], width), *_packed(below, width)))
        folded.append([stack, *(line[number] for number in kept[1:])])
    return [columns[number] for number in kept], folded


def _packed(texts: Iterable[str], width: int) -> list[str]:
    """Puts texts on indented lines, as many on each as it has room for; longer ones on several."""
    packed: list[str] = []
    for text in texts:
        if packed and _width(packed[-1]) + 2 + _width(text) <= width:
            packed[-1] += "  " + text
        else:
            packed.append("  " + text)
    return ["\n".join(_broken(line, width) for line in _at_words(text, width)) for text in packed]


def _at_words(text: str, width: int) -> list[str]:
    """Breaks a line between words where it has such; what follows is indented."""
    if _width(text) <= width:
        return [text]
    return textwrap.wrap(text, width, subsequent_indent=_INDENT, break_on_hyphens=False)


def _broken(text: str, width: int) -> str:
    """Breaks a line anywhere: names have no better places. What follows is indented."""
    if _width(text) <= width:
        return text
    first, rest = _cut(text, width)
    lines = [first]
    while rest:
        part, rest = _cut(rest, width - len(_INDENT))
        lines.append(_INDENT + part)
    return "\n".join(lines)


def _cut(text: str, width: int) -> tuple[str, str]:
    """Returns as much of a text as a width has room for, and the rest."""
    at = min(width, len(text))
    while at > 1 and _width(text[:at]) > width:
        at -= 1
    return text[:at], text[at:]
