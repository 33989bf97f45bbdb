"""convert(like=...) gives live objects what is theirs, and says what becomes of the rest."""

from __future__ import annotations

import made_checkpoints
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from laws import Held, require_sound, written

from estimator_ckpt import convert
from estimator_ckpt.checkpoint.arrays import read_array

CHECKPOINTS = made_checkpoints.checkpoints(formats=("tf1", "dual", "tf2", "empty graph"))


def law(made, data, to):
    trained = sorted(n for n, each in made.tensors.items() if each.kind == "variable")
    names = data.draw(st.lists(st.sampled_from(trained), min_size=1, unique=True))
    live = tf.train.Checkpoint(
        model=[tf.Variable(np.zeros(made.tensors[n].shape, "f4"), name=n) for n in names]
    )
    with written(made) as (prefix, goal):
        source = Held(prefix)
        # Names that hold odd characters reach TensorFlow as other ones.
        assume(all(v.name == f"{n}:0" for n, v in zip(names, live.model)))
        assume(all(name in source.account.key_of for name in names))
        report = convert(prefix, goal, to=to, like=live)
        target = Held(goal)
        require_sound(target)
        expected = {f"model/{number}/.ATTRIBUTES/VARIABLE_VALUE" for number in range(len(names))}
        held = {key for key in target.data if key.startswith("model/")}
        assert held == expected
        assert {change.target for change in report.keys} | set(report.added) == set(target.data)
        told = {change.source for change in report.keys} | {each.key for each in report.dropped}
        assert told | set(report.added) >= set(source.data)
        live.restore(goal).assert_consumed()
        for name, variable in zip(names, live.model):
            entry = source.account.entries[source.account.key_of[name]]
            np.testing.assert_array_equal(
                variable.numpy(), read_array(source.account.checkpoint, entry)
            )
        if to == "dual":
            named = {name for name in target.account.key_of}
            assert named >= source.account.key_of.keys()


@pytest.mark.parametrize("to", ["tf2", "dual"])
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(made=CHECKPOINTS, data=st.data())
def test_live_objects_get_what_is_theirs(made, data, to):
    law(made, data, to)


@pytest.mark.slow
@pytest.mark.parametrize("to", ["tf2", "dual"])
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(made=CHECKPOINTS, data=st.data())
def test_live_objects_get_what_is_theirs_of_many_checkpoints(made, data, to):
    law(made, data, to)
