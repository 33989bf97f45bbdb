r"""Rows on stdout: a table on a terminal, tab-separated columns in a pipe, JSON when asked for.

Synopsis:

    print_rows((Column("name"), Column("bytes", "right")), [("dnn/kernel", 4096)])
    print_json(description)

In a pipe a line stays a line: a tab, a line break, a backslash or a control character in a name
is written as `\t`, `\n`, `\\` or `\x07`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Callable, Literal, NamedTuple

_GAP = 2  # between two columns of a table: a space of padding, and one that the box draws
_INDENT = "    "
_ESCAPES = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}

# Called with the file that is being copied, the bytes copied so far, and the bytes to copy in all.
Progress = Callable[[str, int, int], None]


class Column(NamedTuple):
    """A column of a table.

    Attributes:
      title: what is written above it.
      justify: the side that its text is set against.
      folds: whether, on a terminal that is too narrow for the whole table, it moves below the
        first column, where each cell that says more than the first one has a line of its own.
    """

    title: str
    justify: Literal["left", "right"] = "left"
    folds: bool = False


def on_terminal() -> bool:
    """Whether stdout is read by a person."""
    return sys.stdout.isatty()


def print_rows(columns: Sequence[Column], rows: Iterable[Sequence[object]]) -> None:
    """Prints rows under a line of titles. None is an empty cell.

    On a terminal a cell that is too long is continued on the next line, never cut.
    """
    if on_terminal():
        _print_table(columns, rows)
    else:
        print_tabbed([column.title for column in columns])
        for row in rows:
            print_tabbed(row)


def print_tabbed(cells: Iterable[object]) -> None:
    """Prints one line of tab-separated cells."""
    print("\t".join(escape(_text(cell)) for cell in cells))


def print_json(value: Any) -> None:
    """Prints a dataclass, or a sequence of them, as JSON."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        plain: Any = dataclasses.asdict(value)
    else:
        plain = [dataclasses.asdict(each) for each in value]
    print(json.dumps(plain, indent=2, ensure_ascii=False, default=str))


def escape(text: str) -> str:
    """Returns the text on one line, without control characters."""
    return "".join(_ESCAPES.get(char) or _printable(char) for char in text)


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


@contextlib.contextmanager
def progress_bars(verb: str) -> Iterator[Progress | None]:
    """Gives a function that shows a progress bar a file on stderr; None where nobody watches."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich import console, progress  # here, so that `--help` need not wait for it

    bar = progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.DownloadColumn(binary_units=True),
        progress.TimeRemainingColumn(),
        console=console.Console(stderr=True),
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


def _text(cell: object) -> str:
    return "" if cell is None else str(cell)


def _printable(char: str) -> str:
    return char if char.isprintable() else char.encode("unicode_escape").decode("ascii")


def _print_table(columns: Sequence[Column], rows: Iterable[Sequence[object]]) -> None:
    from rich import box, cells, console, table, text  # here: `--help` need not wait for it

    terminal = console.Console()
    lines = [[escape(_text(cell)) for cell in row] for row in rows]
    widths = [
        max(map(cells.cell_len, column)) + _GAP
        for column in zip([column.title for column in columns], *lines)
    ]
    if sum(widths) > terminal.width:
        others = (width for column, width in zip(columns, widths) if not column.folds)
        next(others)
        columns, lines = _folded(columns, lines, max(20, terminal.width - sum(others) - _GAP))
    grid = table.Table(
        box=box.SIMPLE_HEAD, padding=(0, _GAP - 1, 0, 0), pad_edge=False, show_edge=False
    )
    for column in columns:
        grid.add_column(column.title, justify=column.justify, overflow="fold")
    for line in lines:
        # Text, not str: rich would take brackets in a name for its markup.
        grid.add_row(*map(text.Text, line))
    terminal.print(grid)


def _folded(
    columns: Sequence[Column], lines: Iterable[Sequence[str]], width: int
) -> tuple[list[Column], list[list[str]]]:
    """Moves the columns that fold below the first one, which gets a width in characters."""
    kept = [number for number, column in enumerate(columns) if not column.folds]
    folded = []
    for first, *rest in lines:
        line = [first, *rest]
        below = (
            f"  {column.title}: {cell}"
            for column, cell in zip(columns, line)
            if column.folds and cell not in ("", first)
        )
        stack = "\n".join(_broken(text, width) for text in (first, *below))
        folded.append([stack, *(line[number] for number in kept[1:])])
    return [columns[number] for number in kept], folded


def _broken(text: str, width: int) -> str:
    """Breaks a line anywhere: names have no better places. What follows is indented."""
    step = width - len(_INDENT)
    rest = range(width, len(text), step)
    return "\n".join([text[:width], *(_INDENT + text[at : at + step] for at in rest)])
