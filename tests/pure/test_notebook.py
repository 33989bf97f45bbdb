"""What a notebook shows of results: the same numbers and names, as text."""

from __future__ import annotations

import html
import re

import numpy as np
import pytest

from estimator_ckpt import VariableMap, describe, diff, import_checkpoint, report
from estimator_ckpt.notebook import ROWS, html_table

EVIL = "<img src=x onerror=alert(1)>/</td>&amp;\"'"


def cells(text):
    return [html.unescape(cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", text)]


@pytest.fixture
def two(tmp_path):
    for name, value in (("a", 1), ("b", 2)):
        values = {EVIL: np.full((3, 2), value, "f"), "w": np.ones(2)}
        np.savez(tmp_path / "v.npz", **values)
        import_checkpoint(str(tmp_path / "v.npz"), str(tmp_path / name / "m"), to="tf1")
    return tmp_path / "a" / "m", tmp_path / "b" / "m"


def test_a_description_is_a_table(two):
    shown = describe(two[0], values=True)._repr_html_()
    assert "<img" not in shown
    assert cells(shown)[:8] == [EVIL, EVIL, "[3, 2]", "float32", "24", "", "1", "1"]


def test_a_difference_is_a_table(two):
    found = diff(*two, values=True)
    shown = found._repr_html_()
    assert "<img" not in shown and "1 variables equal" in shown
    (change,) = found.changes
    assert cells(shown)[:2] == [change.kind, change.name]
    assert cells(shown)[-2:] == ["1", "1"]


def test_a_map_is_a_table():
    made = VariableMap.parse(
        f"accept: certain\n[certain]\n{EVIL} -> b  # why\n[unmapped in the source]\nc  # no\n"
    )
    shown = made._repr_html_()
    assert "<img" not in shown
    assert cells(shown) == [
        *("certain", EVIL, "b", "why"),
        *("unmapped in the source", "c", "", "no"),
    ]


def test_a_report_is_a_frame_that_can_do_nothing_outside(two):
    shown = report(two[0])._repr_html_()
    assert shown.count("<") == 2 and "<img" not in shown
    assert 'sandbox="allow-scripts allow-downloads"' in shown
    assert html.unescape(re.search('srcdoc="(.*)"></iframe>', shown, re.DOTALL)[1]) == (
        report(two[0]).html
    )


def test_of_many_rows_the_first_are_shown():
    shown = html_table("", ("n",), ((row,) for row in range(ROWS + 1234)))
    assert "and 1,234 more" in shown and cells(shown)[ROWS - 1] == str(ROWS - 1)
