"""What the main commands print, as it was looked at last."""

from __future__ import annotations

import pathlib
import re

import pytest
import screens

ROOT = pathlib.Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def shown():
    return {mode: screens.screens(mode) for mode in screens.MODES}


@pytest.mark.parametrize("mode", screens.MODES)
def test_the_screens_are_those_that_were_looked_at(shown, mode):
    """Renew them by `python tests/support/screens.py`, and look at what changed."""
    golden = (screens.GOLDEN / f"{mode}.txt").read_text(encoding="utf-8")
    assert shown[mode].splitlines() == golden.splitlines()


@pytest.mark.parametrize("mode", ["80", "160"])
def test_tables_and_helps_are_as_wide_as_the_terminal(shown, mode):
    text = re.sub(r"\\e\[\d*m", "", shown[mode])
    wide = [line for line in text.splitlines() if len(line) > int(mode)]
    assert all(re.match(r"\$ |2> |wrote |\d+ keys? dropped", line) for line in wide), wide


def test_colour_is_never_alone(shown):
    assert r"\e[31m" in shown["80"] and "\\e[" not in shown["no_color"]
    assert "\\e" not in shown["pipe"]
    assert re.sub(r"\\e\[\d*m", "", shown["80"]) == shown["no_color"]
