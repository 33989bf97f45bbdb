"""Rules that give variables new names."""

from __future__ import annotations

import pytest

from estimator_ckpt.errors import CheckpointArgumentError, NameClashError
from estimator_ckpt.naming import NameFilter, parse_rules, rename_rules
from estimator_ckpt.naming.roles import Named, tell_roles

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


def roles_of(names):
    """The roles of tensors that all have one shape."""
    return tell_roles({name: Named((2,), 1) for name in names})


def changed(rules, names=NAMES):
    """What the rules change, {old: new}."""
    renamed = rename_rules(rules).apply_all(names, roles=roles_of(names))
    return {old: new for old, new in renamed.items() if old != new}


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


SLOTS = [
    "d/kernel/Adam_1",
    "training/Adam/d/kernel/m",
    "Adam/m/d/kernel",
    "adam/d_kernel_momentum",
    "d/kernel/ExponentialMovingAverage",
]


@pytest.mark.parametrize("slot", SLOTS)
@pytest.mark.parametrize(
    "rules", [{"d/kernel": "e/w"}, {"re:d/kernel$": "e/w"}, "re:kernel$=w\n+d/=e/"]
)
def test_slots_and_averages_follow_their_variable_whatever_they_are_called(slot, rules):
    new = slot.replace("d/kernel", "e/w").replace("d_kernel", "e_w")
    assert changed(rules, [*["d/kernel", "d/bias", slot, "global_step"][:1], slot]) == {
        "d/kernel": "e/w",
        slot: new,
    }


@pytest.mark.parametrize("slot", SLOTS)
def test_a_filter_chooses_variables_and_their_slots_follow_but_for_excluded_ones(slot):
    names = ["d/kernel", "d/bias", slot]
    roles = roles_of(names)
    followed = slot.replace("d/kernel", "e/kernel").replace("d_kernel", "e_kernel")
    rules = rename_rules("d/=e/")
    chosen = NameFilter("kernel$")
    new = {"d/kernel": "e/kernel", "d/bias": "d/bias"}
    assert rules.apply_all(names, chosen, roles) == {**new, slot: followed}
    for chosen in (NameFilter("kernel$", slot), NameFilter(exclude=[slot, "bias"])):
        assert rules.apply_all(names, chosen, roles) == {**new, slot: slot}


def test_a_rule_with_a_slots_full_name_is_for_it_alone():
    names = ["w", "w/Adam", "w/Adam_1"]
    assert changed([("w", "v"), ("w/Adam", "first")], names) == {
        "w": "v",
        "w/Adam": "first",
        "w/Adam_1": "v/Adam_1",
    }


@pytest.mark.parametrize("rules", ["/=new/", "re:^=m/", "re:o=0", "re:^g=h"])
def test_the_global_step_keeps_its_name_unless_a_rule_names_it(rules):
    assert "global_step" not in changed(rules, ["g/o", "global_step"])
    assert changed("global_step=step", ["w", "global_step"]) == {"global_step": "step"}
    assert changed("re:^global_step$=step", ["global_step"]) == {"global_step": "step"}


def test_rules_can_be_chained():
    names = ["vggish/conv/weights", "vggish/conv/biases", "fc/weights"]
    assert changed("vggish/=\n+re:/weights$=/kernel", names) == {
        "vggish/conv/weights": "conv/kernel",
        "vggish/conv/biases": "conv/biases",
        "fc/weights": "fc/kernel",
    }


def test_rules_are_read_from_text_and_written_to_it():
    text = "old/=\nre:(?=x)y=z\n+a=b"
    rules = parse_rules(f"# from the first model\n\n{text}\n")
    assert [(rule.old, rule.new, rule.chained) for rule in rules.rules] == [
        ("old/", "", False),
        ("re:(?=x)y", "z", False),
        ("a", "b", True),
    ]
    assert str(rules) == text
    assert parse_rules(str(rules)) == rules


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a=b\nc", "line 2: the rule 'c' has no '='; expected FROM=TO"),
        ("# x\n=b", "line 2: the rule '=b' has nothing before '='"),
        ("c", "^the rule 'c' has no '='"),
    ],
)
def test_a_line_that_is_no_rule_is_refused_with_its_number(text, message):
    with pytest.raises(CheckpointArgumentError, match=message):
        parse_rules(text)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("dnn=x", "'dnn/' is a scope: give both sides a '/' at their end"),
        ("enconder/=x/", "near names are encoder/"),
        ("re:adamm=x", "near names are .*adam"),
    ],
)
def test_near_names_and_scopes_are_named(rule, message):
    with pytest.raises(CheckpointArgumentError, match=message):
        rename_rules(rule).apply_all(["dnn/kernel", "encoder/w", "adam/x"])
