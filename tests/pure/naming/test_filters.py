"""Which names are chosen."""

import pytest

from estimator_ckpt import naming
from estimator_ckpt.errors import CheckpointArgumentError
from estimator_ckpt.naming.roles import Named, tell_roles

NAMES = ("dense/w", "dense/w/Adam", "dense/b", "global_step")


@pytest.mark.parametrize(
    ("include", "exclude", "always", "chosen"),
    [
        (".*", None, (), NAMES),
        ("w$", None, (), ("dense/w",)),
        (["w$", "b"], "^dense/b$", (), ("dense/w", "global_step")),
        ("w$", None, ("global_step",), ("dense/w", "global_step")),
        ("w$", "step", ("global_step",), ("dense/w",)),
        (".*", ["Adam", "step"], (), ("dense/w", "dense/b")),
    ],
)
def test_each_name_is_chosen_by_itself(include, exclude, always, chosen):
    wanted = naming.NameFilter(include, exclude, always=always).checked(NAMES)
    assert tuple(filter(wanted, NAMES)) == chosen
    assert wanted.takes_all == (chosen == NAMES)


def test_patterns_that_fit_no_name_are_refused_with_near_names():
    for patterns in ({"include": "dense/v"}, {"exclude": ["step", "dense/v"]}):
        with pytest.raises(CheckpointArgumentError, match=r"'dense/v' matches no .* dense/w"):
            naming.NameFilter(**patterns).checked(NAMES)
    with pytest.raises(CheckpointArgumentError, match="no regular expression"):
        naming.NameFilter("(")
    naming.NameFilter().checked(())  # who asks for nothing is given nothing


def roles_of(names):
    """The roles of tensors that all have one shape."""
    return tell_roles({name: Named((2,), 1) for name in names})


def test_edits_leave_what_is_not_chosen():
    roles = roles_of(NAMES)
    adam, weights = naming.NameFilter("Adam"), naming.NameFilter(exclude="Adam")
    assert dict(naming.rename(NAMES, {"dense/w": "v"}, weights, roles).names) == {
        "v": "dense/w",
        "dense/w/Adam": "dense/w/Adam",
        "dense/b": "dense/b",
        "global_step": "global_step",
    }
    assert set(naming.drop(NAMES, roles=roles, chosen=adam).dropped) == {"dense/w/Adam"}
    with pytest.raises(CheckpointArgumentError, match="matches no variable"):
        naming.drop(NAMES, ["^dense/b"], chosen=adam)
    for name in ("dense/b", "dense/w"):
        with pytest.raises(CheckpointArgumentError, match=r"rule .* matches no variable"):
            naming.rename(NAMES, {name: "v"}, adam, roles)


def test_averages_are_chosen_by_the_names_of_their_variables():
    end = "/ExponentialMovingAverage"
    names = roles_of(("w", "v", "w" + end, "v" + end))
    edit = naming.averages(names, naming.NameFilter("^w$"))
    assert edit.names == {"w": "w" + end, "v": "v", "v" + end: "v" + end}
    with pytest.raises(CheckpointArgumentError, match="there is no average"):
        naming.averages(names, naming.NameFilter(end))
