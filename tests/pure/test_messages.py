"""Words: escaping, lists, choices, near names."""

from __future__ import annotations

import json
import logging
import sys
import unicodedata

import numpy as np
import pytest

from estimator_ckpt import messages

# Of the characters that nobody has assigned, or that have a private use, some stand for all.
MARKS = [
    chr(code)
    for code in range(sys.maxunicode + 1)
    if unicodedata.category(chr(code))[0] in "CZ"
    if code % 251 == 0 or unicodedata.category(chr(code)) not in ("Cn", "Co")
]
FORMATS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("dense/kernel", "dense/kernel"),
        ("größe 层", "größe 层"),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("\x1b[31m\x9b", "\\x1b[31m\\x9b"),
        ("a\u202eb", "a\\u202eb"),
        ("C:\\job", "C:\\job"),
        ("\udc80", "\\udc80"),
        (7, "7"),
    ],
)
def test_a_name_is_one_line_that_no_terminal_obeys(name, shown):
    assert messages.escaped(name) == shown


def test_every_control_format_and_separator_character_is_escaped_once():
    shown = messages.escaped("".join(MARKS))
    assert not set(shown) & (set(MARKS) - {" "})
    assert set(FORMATS) <= set(MARKS)
    assert messages.escaped(shown) == shown


def test_json_is_escaped_and_keeps_each_name():
    names = {"".join(reversed(MARKS)): ["größe", "a\\b"]}
    text = messages.json_text(names)
    assert json.loads(text) == names
    assert not set(text) & (set(MARKS) - {" ", "\n"})
    assert "größe" in text


@pytest.mark.parametrize(
    ("items", "text"),
    [([], ""), (["a"], "a"), (["a", "b"], "a, b"), (["a", "b\n", "c", "d"], "a, b\\n and 2 more")],
)
def test_a_list_shows_the_first_and_counts_the_others(items, text):
    assert messages.listed(items, 2) == text


def test_ten_are_listed_and_thousands_are_grouped():
    assert messages.listed(range(2010)) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2,000 more"


@pytest.mark.parametrize(
    ("values", "text"),
    [([], ""), (["x"], "'x'"), (("x", "y"), "'x' or 'y'"), ("xyz", "'x', 'y' or 'z'")],
)
def test_choices(values, text):
    assert messages.choices(values) == text


NAMES = ["encoder/layer_0/kernel", "encoder/layer_0/kernel/Adam", "vggish/conv1/weights"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("encoder/layer_0/kernl", "encoder/layer_0/kernel"),
        ("^encoder/layer_1/kernel$", "encoder/layer_0/kernel"),
        ("adamm", "Adam"),
        ("enconder", "encoder/"),
        ("re:^enconder/", "encoder/"),
        ("vggish", "vggish/"),
    ],
)
def test_near_names_of_names_patterns_and_scopes(text, found):
    assert messages.nearest(text, NAMES)[0] == found
    assert messages.near(text, NAMES).startswith(f"; near names are {found}")


@pytest.mark.parametrize("text", ["zzz", "", ".*", "x" * 100_000])
def test_nothing_is_near(text):
    assert messages.near(text, [*NAMES, "y" * 100_000]) == ""


def test_near_names_are_escaped():
    assert messages.near("w\n", ["w\n\x1b"]) == "; near names are w\\n\\x1b"
    assert messages.did_you_mean("toto", ["toto\n"], "--") == "; did you mean '--toto\\n'?"
    assert messages.did_you_mean("to", ["zzz"]) == ""


def test_a_checkpoint_without_averages_is_told():
    said = messages.without_averages(
        ["w/ExponentialMovingAverage", "b/ExponentialMovingAverage", "x"], ["w", "b"]
    )
    assert "trained without moving averages" in said
    assert "has no 'w/ExponentialMovingAverage', but 'w' itself (so it is with 2 in all)" in said


@pytest.mark.parametrize(
    ("missing", "names"),
    [
        (["x"], ["w"]),
        (["w/ExponentialMovingAverage"], ["b"]),
        (["w/ExponentialMovingAverage"], ["w", "b/ExponentialMovingAverage"]),
    ],
)
def test_other_losses_have_nothing_to_do_with_averages(missing, names):
    assert messages.without_averages(missing, names) == ""


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("a\nb", 3), "'a\\nb' and 3\nits own line"),
        (("a", np.int64(3)), "'a' and 3\nits own line"),  # as a global step is
        ((None, np.array(3.5)), "'None' and 3\nits own line"),
        ((OSError("a\u202eb"), 3), "'a\\u202eb' and 3\nits own line"),
    ],
)
def test_names_in_a_log_are_escaped(caplog, given, said):
    log = messages.logger("estimator_ckpt.test")
    assert messages.logger("estimator_ckpt.test") is log
    with caplog.at_level(logging.WARNING, "estimator_ckpt.test"):
        log.warning("'%s' and %d\nits own line", *given)
    assert caplog.messages == [said]


def test_names_in_a_log_of_named_values_are_escaped(caplog):
    messages.logger("estimator_ckpt.test").warning("%(name)s", {"name": "a\x07"})
    assert caplog.messages == ["a\\x07"]
