"""The text of a map: it can be read back, edited, answered and proposed again."""

from __future__ import annotations

import networks
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estimator_ckpt.errors import CheckpointArgumentError
from estimator_ckpt.naming.matcher import NamedShape, Pair, Question, Refusal, Unmapped, propose
from estimator_ckpt.naming.transformations import Change, Transformation
from estimator_ckpt.naming.variable_map import VariableMap
from estimator_ckpt.naming.variable_map_text import Asked

pairs = st.sampled_from(sorted(networks.ALL)).map(lambda name: networks.ALL[name]())
SOURCE = [NamedShape("a/kernel", (2, 3)), NamedShape("c/kernel", (4, 5))]
TARGET = [NamedShape("b/kernel", (2, 3)), NamedShape("d/kernel", (4, 5))]


def made(pair: networks.Pair) -> VariableMap:
    return VariableMap.of(propose(pair.source, pair.target))


@settings(max_examples=30, deadline=None)
@given(pairs, st.integers(0, 1000), st.booleans())
def test_text_is_read_back_equal(pair, seed, orders):
    pair = pair if orders else networks.scrambled(pair, seed)
    written = made(pair)
    read = VariableMap.parse(written.text())
    assert read == written and read.text() == written.text()
    assert read.checked(pair.source, pair.target) is read


@settings(max_examples=20, deadline=None)
@given(pairs)
def test_a_map_that_nobody_edited_is_proposed_again(pair):
    written = made(pair)
    assert VariableMap.parse(written.text()).revised(pair.source, pair.target) == written


def test_an_answer_decides_the_whole_question():
    pair = networks.towers(hint=False, anchored=False)
    text = made(pair).text()
    assert text.count("answer: ?") == 1
    answered = VariableMap.parse(text.replace("answer: ?", "answer: b"))
    assert answered.pairs() == pair.truth
    revised = answered.revised(pair.source, pair.target)
    assert revised.pairs() == pair.truth and not revised.asked
    other = VariableMap.parse(text.replace("answer: ?", "answer: a"))
    assert other.pairs() != pair.truth and sorted(other.pairs()) == sorted(pair.truth)


def test_an_edited_line_is_a_pin_and_the_rest_follows():
    pair = networks.towers(hint=False, anchored=False)
    text = made(pair).text()
    pinned = (
        "[pinned]\ntower_a/dense/kernel -> document_dense_0/kernel\n\n"
        + text[: text.index("[asked]")]
    )
    revised = VariableMap.parse(pinned).revised(pair.source, pair.target)
    found = revised.pairs("certain", "likely")
    assert found["tower_a/dense/kernel"] == "document_dense_0/kernel"
    assert found["tower_b/dense_2/bias"] == "query_dense_2/bias"


def test_a_certain_line_that_was_edited_stays_as_it_was_edited():
    source = [NamedShape("left/kernel", (2, 3)), NamedShape("right/kernel", (2, 3))]
    target = [NamedShape("left/kernel", (2, 3)), NamedShape("right/kernel", (2, 3))]
    text = VariableMap.of(propose(source, target)).text()
    edited = (
        text.replace("-> left/", "-> x/")
        .replace("-> right/", "-> left/")
        .replace("-> x/", "-> right/")
    )
    revised = VariableMap.parse(edited).revised(source, target)
    assert revised.pairs() == {"left/kernel": "right/kernel", "right/kernel": "left/kernel"}
    assert "[pinned]" in revised.text()


def test_what_is_left_out_stays_out():
    text = "[pinned]\na/kernel -> -\n"
    revised = VariableMap.parse(text).revised(SOURCE, TARGET)
    assert revised.left_out == ("a/kernel",)
    assert revised.pairs() == {"c/kernel": "d/kernel"}
    assert VariableMap.parse(revised.text()) == revised


def test_only_what_is_confident_enough_is_used():
    text = "[certain]\na/kernel -> b/kernel\n[likely]\nc/kernel -> d/kernel\n"
    read = VariableMap.parse(text)
    assert read.pairs() == {"a/kernel": "b/kernel"}
    assert read.pairs("certain", "likely") == {"a/kernel": "b/kernel", "c/kernel": "d/kernel"}


def test_the_text_says_why_and_what_is_reshaped():
    source = [NamedShape("fc/weights", (1, 1, 8, 4)), NamedShape("global_step", (), "int64")]
    target = [NamedShape("model/layer-0/kernel", (8, 4), second_name="dense/kernel")]
    text = VariableMap.of(propose(source, target)).text()
    assert (
        "fc/weights -> model/layer-0/kernel : reshape(8, 4)  # (dense/kernel) the only ones" in text
    )
    assert "[unmapped in the source]\nglobal_step  # the step of training, not a weight" in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[certain]\na/kernl -> b/kernel", "line 2: the source has no 'a/kernl'.*'?a/kernel"),
        ("[certain]\n\na/kernel -> b/kernl", "line 3: the target has no 'b/kernl'"),
        ("[certain]\na/kernel -> d/kernel", r"line 2: 'a/kernel' \[2, 3\] does not fit"),
        ("[pinned]\na/kernl -> -", "line 2: the source has no 'a/kernl'"),
    ],
)
def test_a_line_that_does_not_fit_the_variables_is_named(text, message):
    with pytest.raises(CheckpointArgumentError, match=message):
        VariableMap.parse(text).checked(SOURCE, TARGET)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a -> b", r"line 1: a line before any heading; put it below \[pinned\]"),
        ("[sure]\na -> b", r"line 1: there is no heading '\[sure\]'; there are \[pinned\]"),
        ("[certain]\na b", "line 2: 'a b' is not of the form 'source -> target'"),
        ("[certain]\na -> b -> c", "line 2: 'a -> b -> c' is not of the form"),
        ("[certain]\na -> b\n[pinned]\na -> c", "line 4: 'a' is mapped in line 2 already"),
        ("[certain]\na -> b\n[likely]\nc -> b", "line 4: 'b' already gets the variable of line 2"),
        ("[asked]\nanswer: ?", "line 2: expected 'question 1: ...'"),
        ("[asked]\nquestion 1: why\nanswer: c", "line 3: the answer is 'c'; it must be"),
        (
            "[asked]\nquestion 1: why\nanswer: b\na: one\na  x -> y",
            "line 3: there is no answer 'b'",
        ),
        ("[asked]\nquestion 1: why\nfoo", "line 3: 'foo' is no part of a question"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(text, message):
    with pytest.raises(CheckpointArgumentError, match=message):
        VariableMap.parse(text)


def test_an_answer_that_another_line_contradicts_is_an_error():
    text = "[certain]\na -> y\n[asked]\nquestion 1: why\nanswer: a\na: one\na  x -> y\n"
    with pytest.raises(CheckpointArgumentError, match="line 5: 'y' already gets"):
        VariableMap.parse(text)


WORDS = ("-", "->", " -> ", "  # ", " : ", ", ", ":", "#", "[pinned]", "accept: ", '"', "\\", "'")
NAMES = st.one_of(
    st.text(max_size=6),
    st.lists(
        st.sampled_from([*WORDS, " ", "\n", "\u2028", "\0", "0", "a", ")", "("]), max_size=5
    ).map("".join),
    st.sampled_from(['"-"', "x : cast(float16)", "a, b", "?", "a:", "a  x", "question 1: x"]),
)
EACH_NAME = st.lists(NAMES, min_size=14, max_size=14, unique=True)
REASONS = st.sampled_from(["", "the same", 'it is "x", so -> : y  # z', "by shape, and name"])


@settings(max_examples=200, deadline=None)
@given(EACH_NAME, NAMES, REASONS)
def test_any_names_are_read_back_as_they_are(names, also, reason):
    a, b, c, d, e, f, g, h, *others = names
    concat = Transformation.parse("concat(0)")
    rows = ((others[0], others[1]), (others[2], others[3]))
    written = VariableMap(
        mapped=(
            Pair(a, b, "pinned", reason or "x", reshaped=(2, 3)),
            Pair(c, d, "certain", reason, also=also),
            Pair(e, f, "likely", "names"),
        ),
        left_out=(g,),
        asked=(
            Asked(Question(tuple(others[:3]), tuple(others[1:3]), reason, (("t", rows),)), None),
        ),
        refused=(
            Refusal((h, a), (b, c), "transpose(1, 0)", reason),
            Refusal((h,), (b,), "word", reason),
        ),
        unmapped_source=(Unmapped(h, reason),),
        unmapped_target=(Unmapped(a, reason),),
        changes=(Change((others[4], others[5]), h, concat, reason),),
    )
    text = written.text()
    assert VariableMap.parse(text) == written
    assert VariableMap.parse(text).text() == text


@pytest.mark.parametrize(
    ("line", "pairs"),
    [
        ("- -> b", {"-": "b"}),
        ("a, b -> c", {"a, b": "c"}),
        ('"a -> "b', {'"a': '"b'}),
        ('"a"b -> c', {'"a"b': "c"}),
        ('a, "b" -> c', {'a, "b"': "c"}),
        ('"\\q" -> c', {'"\\q"': "c"}),
        ("a b -> c#d  # e", {"a b": "c#d"}),
        ('"-" -> " b"', {"-": " b"}),
        ('"\\n" -> "x : cast(float16)" : reshape(2, 3)', {"\n": "x : cast(float16)"}),
    ],
)
def test_names_are_quoted_or_not(line, pairs):
    assert VariableMap.parse(f"[pinned]\n{line}").pairs() == pairs
