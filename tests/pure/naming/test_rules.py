"""Rules that give variables new names."""

from __future__ import annotations

import pytest

from estimator_ckpt.errors import CheckpointArgumentError, NameClashError
from estimator_ckpt.naming import rename_rules

NAMES = [
    "dnn/kernel",
    "dnn/kernel/Adam",
    "dnn/kernel/Adam_1",
    "dnn/kernel_2",
    "dnn2/kernel",
    "head/dnn/kernel",
    "beta1_power",
    "global_step",
]


def changed(rules, names=NAMES):
    """What the rules change, {old: new}."""
    return {old: new for old, new in rename_rules(rules).apply_all(names).items() if old != new}


def test_no_rules_change_nothing():
    for rules in (None, {}, []):
        assert rename_rules(rules).apply_all(NAMES) == {name: name for name in NAMES}


def test_a_rule_for_a_variable_is_one_for_its_slots():
    assert changed({"dnn/kernel": "dense/w"}) == {
        "dnn/kernel": "dense/w",
        "dnn/kernel/Adam": "dense/w/Adam",
        "dnn/kernel/Adam_1": "dense/w/Adam_1",
    }


def test_a_rule_for_a_slot_is_one_for_it_alone():
    assert changed({"dnn/kernel/Adam": "dnn/kernel/m"}) == {"dnn/kernel/Adam": "dnn/kernel/m"}


def test_a_rule_for_a_scope_is_one_for_all_below_it():
    assert changed({"dnn/": "a/b/"}) == {
        "dnn/kernel": "a/b/kernel",
        "dnn/kernel/Adam": "a/b/kernel/Adam",
        "dnn/kernel/Adam_1": "a/b/kernel/Adam_1",
        "dnn/kernel_2": "a/b/kernel_2",
    }


@pytest.mark.parametrize("nothing", ["", "/"])
def test_a_scope_can_be_taken_away(nothing):
    assert changed({"head/dnn/": nothing}) == {"head/dnn/kernel": "kernel"}


def test_the_root_can_be_put_into_a_scope():
    assert rename_rules({"/": "old/"}).apply_all(["a/b", "c"]) == {"a/b": "old/a/b", "c": "old/c"}


def test_a_regular_expression_replaces_what_it_matches():
    assert changed({r"re:^dnn(\d?)/": r"layer\1/"})["dnn2/kernel"] == "layer2/kernel"
    assert "head/dnn/kernel" not in changed({r"re:^dnn(\d?)/": r"layer\1/"})


def test_the_first_rule_that_matches_decides():
    rules = [("dnn/kernel", "special"), ("dnn/", "rest/")]
    assert changed(rules)["dnn/kernel"] == "special"
    assert changed(rules)["dnn/kernel_2"] == "rest/kernel_2"
    assert changed({"dnn/": "rest/", "re:kernel": "w"})["dnn/kernel"] == "rest/kernel"


def test_two_variables_can_swap_their_names():
    assert changed({"a": "b", "b": "a"}, ["a", "b"]) == {"a": "b", "b": "a"}


def test_a_new_name_that_another_variable_has_is_refused_with_all_three():
    with pytest.raises(NameClashError) as error:
        rename_rules({"dnn2/": "dnn/"}).apply_all(NAMES)
    for name in ("'dnn/kernel'", "'dnn2/kernel'"):
        assert name in str(error.value)
    assert "would both be called 'dnn/kernel'" in str(error.value)


def test_a_rule_that_matches_nothing_is_refused_with_names_that_are_near():
    with pytest.raises(CheckpointArgumentError) as error:
        rename_rules({"dnn/kernle": "w"}).apply_all(NAMES)
    assert "dnn/kernle" in str(error.value)
    assert "dnn/kernel" in str(error.value)


@pytest.mark.parametrize("old", ["dnn", "dnn/ker", "kernel", "DNN/"])
def test_part_of_a_name_is_not_matched(old):
    new = "x/" if old.endswith("/") else "x"
    with pytest.raises(CheckpointArgumentError):
        rename_rules({old: new}).apply_all(NAMES)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"": "x"}, "nothing before '='"),
        ({"dnn/kernel": ""}, "nothing after '='"),
        ({"dnn/": "dense"}, "mixes a scope with a name; end both with '/', or neither"),
        ({"dnn": "dense/"}, "mixes a scope with a name"),
        ({"/": ""}, "mixes a scope with a name"),
        ({"re:(": "x"}, "is no regular expression"),
    ],
)
def test_an_unusable_rule_is_refused_when_it_is_made(rule, message):
    with pytest.raises(CheckpointArgumentError, match=message):
        rename_rules(rule)


@pytest.mark.parametrize("new", [r"\1", r"\g<name>"])
def test_a_replacement_that_refers_to_no_group_is_refused_when_it_is_made(new):
    with pytest.raises(CheckpointArgumentError, match="is no regular expression"):
        rename_rules({"re:dnn": new})
