"""What is told of a name at once, and what all readings of it are."""

from hypothesis import example, given
from hypothesis import strategies as st

from estimator_ckpt.naming.slots import kind_behind, may_be_slot, parse_slot

PIECES = ("Adam", "AdamW", "SM3", "m", "momentum", "velocity_hat", "kernel", "x", "_", "_1", "_12")
PARTS = st.lists(st.sampled_from([*PIECES, "3", "0", "_\u0663"]), min_size=1, max_size=3).map(
    "".join
)
NAMES = st.lists(PARTS, min_size=1, max_size=4).map("/".join)


@given(NAMES)
@example("w/SM3")
@example("w/SM3_1")
@example("w/Adam_\u0663")
@example("adam/net_dense_kernel_momentum")
@example("Adam/m/dense/kernel_12")
def test_a_name_of_which_there_is_a_reading_may_be_a_slots(name):
    # Readings by a scope need an optimizer's name before it, unless it is known to be a slot.
    if any(parse_slot(name)) or any(parse_slot(name, is_slot=True)):
        assert may_be_slot(name)
    elif "/" not in name:
        assert not may_be_slot(name)


@given(PARTS)
@example("SM3")
def test_what_an_optimizer_puts_behind_a_variable_may_be_a_slot(last):
    if kind_behind(last) is not None:
        assert may_be_slot(f"w/{last}")
