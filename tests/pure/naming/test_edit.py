"""What becomes of the names of variables."""

import pytest

from estimator_ckpt import naming
from estimator_ckpt.errors import CheckpointArgumentError, NameClashError
from estimator_ckpt.naming.roles import Named, tell_roles

NAMES = ("dense/w", "dense/w/Adam", "dense/b", "beta1_power", "global_step")
SCALARS = ("beta1_power", "global_step")


def roles_of(names):
    """The roles of tensors, of which those that are no scalars have one shape."""
    return tell_roles({each: Named(() if each in SCALARS else (2,), 1) for each in names})


def test_renaming_says_whose_bytes_a_new_name_has():
    edit = naming.rename(NAMES, {"dense/w": "out/kernel"}, roles=roles_of(NAMES))
    assert edit.names["out/kernel"] == "dense/w"
    assert edit.names["out/kernel/Adam"] == "dense/w/Adam"
    assert edit.names["dense/b"] == "dense/b"
    assert edit.renames
    assert not edit.dropped


def test_a_slot_that_keeps_its_name_is_noted():
    chosen = naming.NameFilter("w$", "Adam$")
    edit = naming.rename(NAMES, {"dense/": "out/"}, chosen, roles_of(NAMES))
    assert edit.names["out/w"] == "dense/w"
    assert edit.names["dense/w/Adam"] == "dense/w/Adam"
    (note,) = edit.notes
    assert note.endswith("that keep their names: 'dense/w/Adam' of 'dense/w'")
    after = edit.then(lambda names: naming.drop(names, ["^dense/b$"]))
    assert after.notes == edit.notes
    assert naming.rename(NAMES, {"dense/": "out/"}, roles=roles_of(NAMES)).notes == ()


def test_what_may_be_a_slot_of_an_unknown_optimizer_is_noted():
    names = ("d/kernel", "d/kernel/Mine", "d/kernel/Mine_1", "d/bias", "global_step")
    edit = naming.rename(names, {"d/kernel": "d/w"}, roles=roles_of(names))
    assert edit.names["d/kernel/Mine"] == "d/kernel/Mine"
    (note,) = edit.notes
    assert note.startswith("below renamed variables, and keep their names")
    assert note.endswith(": 'd/kernel/Mine', 'd/kernel/Mine_1'")
    assert naming.rename(names, {"d/": "e/"}, roles=roles_of(names)).notes == ()


def test_swapping_names_is_no_new_name():
    edit = naming.rename(("a", "b"), {"a": "b", "b": "a"})
    assert edit.names == {"b": "a", "a": "b"}
    assert not edit.renames


def test_dropping_by_pattern_and_slots():
    assert set(naming.drop(NAMES, ["^dense/b$"]).dropped) == {"dense/b"}
    slots = naming.drop(NAMES, roles=roles_of(NAMES))
    assert set(slots.dropped) == {"dense/w/Adam", "beta1_power"}
    assert set(slots.names) == {"dense/w", "dense/b", "global_step"}
    names = ("w", "w/ExponentialMovingAverage", "w/Adam")
    assert naming.drop(names, roles=roles_of(names)).dropped == {
        "w/ExponentialMovingAverage": "asked for: it is a moving average",
        "w/Adam": "asked for: it belongs to an optimizer",
    }


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (["dens/b"], "matches no variable; near names are dense/b"),
        (["("], "no regular"),
        ([""], "nothing would be left"),
    ],
)
def test_unusable_patterns_are_refused(patterns, message):
    with pytest.raises(CheckpointArgumentError, match=message):
        naming.drop(NAMES, patterns)


def test_averages_take_the_place_of_their_variables():
    names = ("w", "b", "w/ExponentialMovingAverage", "scope/b/ExponentialMovingAverage")
    edit = naming.averages(roles_of(names))
    assert edit.names == {
        "w": "w/ExponentialMovingAverage",
        "b": "scope/b/ExponentialMovingAverage",
    }
    assert set(edit.dropped) == {"w", "b"}
    assert naming.averages(roles_of(["w/ExponentialMovingAverage"])).names == {
        "w": "w/ExponentialMovingAverage"
    }


def test_no_average_and_two_averages_are_refused():
    with pytest.raises(CheckpointArgumentError, match="there is no average"):
        naming.averages(roles_of(NAMES))
    with pytest.raises(NameClashError, match="'w' has two averages"):
        names = ("w", "w/ExponentialMovingAverage", "s/w/ExponentialMovingAverage")
        naming.averages(roles_of(names))


def test_edits_follow_each_other():
    edit = naming.Edit.nothing(NAMES).then(lambda names: naming.rename(names, {"dense/": "d/"}))
    edit = edit.then(lambda names: naming.drop(names, ["^d/b$"]))
    assert edit.names["d/w"] == "dense/w"
    assert set(edit.dropped) == {"dense/b"}
