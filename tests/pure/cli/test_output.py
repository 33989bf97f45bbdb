"""Tables, columns and sizes."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import math
import os
from unittest import mock

import numpy as np
import pytest
import screens
from hypothesis import given
from hypothesis import strategies as st
from rich import cells

from estimator_ckpt.cli import output

COLUMNS = (
    output.Column("name"),
    output.Column("key", folds=True),
    output.Column("bytes", "right"),
)


@pytest.fixture(scope="module")
def screens_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("screens")
    screens.make(folder)
    return folder


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (126216, "123.3 KiB"),
        (3 * 1024**3, "3.0 GiB"),
        (5000 * 1024**4, "5,000.0 TiB"),
    ],
)
def test_sizes_are_for_people(count, text):
    assert output.human_bytes(count) == text


def test_a_row_of_a_pipe_is_one_line_whatever_its_names(capsys):
    output.print_rows(COLUMNS, [("a\tb\nc\\d", "\x07", None)])
    assert capsys.readouterr().out == "name\tkey\tbytes\na\\tb\\nc\\\\d\t\\x07\t\n"


CELLS = st.one_of(st.none(), st.integers(), st.text("ab\\\t\n\x07\u202eé", max_size=4))


@given(st.lists(st.lists(CELLS, min_size=1, max_size=3), max_size=5))
def test_rows_are_printed_at_once_as_one_by_one(rows):
    at_once, one_by_one = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(at_once):
        output.print_rows(COLUMNS, rows)
    with contextlib.redirect_stdout(one_by_one):
        output.print_tabbed([column.title for column in COLUMNS])
        for row in rows:
            output.print_tabbed(row)
    assert at_once.getvalue() == one_by_one.getvalue()


def test_unicode_names_stay_as_they_are(capsys):
    output.print_rows(COLUMNS, [("größe", "层", 1)])
    assert capsys.readouterr().out.endswith("größe\t层\t1\n")


def test_a_table_takes_names_literally(capsys, on_terminal):
    on_terminal(80)
    output.print_rows(COLUMNS, [("[bold]x[/bold]", "a\x1b[31mb", 7)])
    out = capsys.readouterr().out
    assert "[bold]x[/bold]" in out
    assert "a\\x1b[31mb" in out


def test_a_narrow_terminal_gets_keys_below_names(capsys, on_terminal):
    on_terminal(40)
    key = "k" * 60
    output.print_rows(COLUMNS, [("w", key, 7), ("same", "same", 8), ("none", None, 9)])
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 40
    assert "".join(out.split()).count("k") == 60 + 1  # those, and the one of `key:`
    assert out.count("key:") == 1  # not where it is the name, or nothing


SCREENS = st.lists(
    st.tuples(
        st.text("ab/_层", min_size=1, max_size=50),
        st.text("ab/_ 层", max_size=50),
        st.integers(0, 10**12),
        st.sampled_from(["float32", "a few words"]),
    ),
    max_size=5,
)


@given(SCREENS, st.integers(24, 160))
def test_no_line_of_a_table_is_wider_than_the_terminal(rows, width):
    columns = (*COLUMNS, output.Column("a-title-of-27-characters-yes"))
    printed = io.StringIO()
    with (
        mock.patch.dict(os.environ, COLUMNS=str(width)),
        contextlib.redirect_stdout(printed),
        output.formatted("table"),
    ):
        output.print_rows(columns, rows)
    lines = printed.getvalue().splitlines()
    assert max(map(cells.cell_len, lines)) <= width
    bare = "".join(printed.getvalue().split())
    for name, _, size, word in rows:  # nothing is cut, and no number or word is broken
        assert all(bare.count(char) >= name.count(char) for char in "ab层")
        assert str(size) in printed.getvalue()
        assert all(each in printed.getvalue() for each in word.split())


@pytest.mark.parametrize("width", [36, 48, 60, 80, 100])
@pytest.mark.parametrize(
    "line", ["diff job/model.ckpt-10 job/model.ckpt-20 --values", "doctor untidy", "inspect job",
             "doctor untidy --findings", "inspect job --values", "inspect job both/ckpt"],
)  # fmt: skip
def test_words_stay_whole_on_narrow_terminals(command, screens_folder, monkeypatch, width, line):
    monkeypatch.chdir(screens_folder)
    line = (*line.split(), "--format=table")
    monkeypatch.setenv("COLUMNS", "400")
    wide = command(*line).out
    monkeypatch.setenv("COLUMNS", str(width))
    narrow = command(*line).out
    assert all(len(each) <= width for each in narrow.splitlines() if "─" in each or "  " in each)
    table = wide.rpartition("─")[2].replace(":", " ").split()
    missing = set(table) - {*narrow.replace(":", " ").split(), "0"}  # a 0 need not be said
    assert not {word for word in missing if len(word) <= 14 and "█" not in word}, narrow


def test_json_is_made_from_dataclasses(capsys):
    @dataclasses.dataclass(frozen=True)
    class Row:
        name: str
        shape: tuple[int, ...]

    output.print_json(Row("größe", (1, 2)))
    assert json.loads(capsys.readouterr().out) == {"name": "größe", "shape": [1, 2]}


def test_progress_is_for_people_only():
    with output.progress_bars("copying") as progress:
        assert progress is None


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("ckpt.data-00000-of-00001", "ckpt.data-00000-of-00001"),
        ("[bold]a\n\u202e:smile:", "[bold]a\\n\\u202e:smile:"),  # rich has markup like it
    ],
)
def test_progress_names_the_file(monkeypatch, name, shown):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    stderr = Terminal()
    monkeypatch.setattr("sys.stderr", stderr)
    with output.progress_bars("copying") as progress:
        progress(f"model_dir/{name}", 1024, 4096)
        progress(f"model_dir/{name}", 4096, 4096)
    assert f"copying {shown}" in stderr.getvalue()


def test_a_bar_is_as_long_as_its_part_in_eighths_of_a_block():
    assert output.bar(1, 1, 4) == "████"
    assert output.bar(5, 8, 4) == "██▌"
    assert output.bar(3, 2, 4) == "████"
    assert output.bar(1, 10**9, 4) == "▏"  # more than nothing
    for part, whole in ((0, 1), (1, 0), (math.nan, 1), (1, math.inf), (math.inf, 1)):
        assert output.bar(part, whole) == ""


@pytest.mark.parametrize("columns", [139, 140])
def test_wide_terminals_have_bars_of_bytes_and_of_differences(
    command, on_terminal, tmp_path, columns
):
    for name, value in (("a", 1.0), ("b", 2.0)):
        np.savez(tmp_path / "v.npz", w=np.full(8, value), v=np.full(2, value / 4))
        command("import", tmp_path / "v.npz", tmp_path / name, "--to=tf1")
    on_terminal(columns)
    for line in (("inspect", tmp_path / "a"), ("diff", tmp_path / "a", tmp_path / "b", "--values")):
        out = command(*line).out
        bars = [line.split()[-1] for line in out.splitlines() if "█" in line]
        assert bars == (["███", "█" * 12] if columns == 140 else [])
