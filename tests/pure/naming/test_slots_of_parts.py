"""How tf.compat.v1.train calls the slots of the parts of a variable."""

import hypothesis
import pytest
from hypothesis import strategies

from estimator_ckpt.naming.slots import parse_slot

NAMES = strategies.lists(
    strategies.sampled_from(["dnn", "w", "part", "t_0", "kernel"]), min_size=1, max_size=3
).map("/".join)


def variables(name):
    return [reading.variable for reading in parse_slot(name)]


@hypothesis.given(variable=NAMES, scope=NAMES, number=strategies.integers(0, 11))
def test_whatever_scope_stands_before_it(variable, scope, number):
    """As `slot_creator.py` cuts the name of the slot off: behind the length of the part's name."""
    part = f"{variable}/part_{number}"
    rest = f"{scope}/{part}/Adam"[len(part) + 1 :]
    if len(f"{scope}/") <= len(part):  # else, what is left begins with the scope
        assert variable in variables(f"{variable}/{rest}")


@pytest.mark.parametrize(
    "name", ["w/layer_0/Adam", "w/part_0", "w/part/Adam", "w/art/Adam", "w/xt_0/Adam"]
)
def test_others_are_of_no_part(name):
    assert "w" not in variables(name)
