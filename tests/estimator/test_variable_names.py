"""The names of an Estimator's variables, raw beside wrapped."""

import jobs
import numpy as np
import pytest

from estimator_ckpt import CheckpointNotFoundError, variable_names, wrap_model_fn


@pytest.mark.parametrize("checkpoint_format", ["dual", "tf2"])
def test_they_are_those_of_a_job_that_is_not_wrapped(tmp_path, checkpoint_format):
    raw = jobs.make_estimator(jobs.adam_model_fn, tmp_path / "raw")
    wrapped = jobs.make_estimator(
        wrap_model_fn(jobs.adam_model_fn, checkpoint_format=checkpoint_format),
        tmp_path / "wrapped",
    )
    with pytest.raises(
        CheckpointNotFoundError, match=r"no checkpoint in the model_dir '.*wrapped'"
    ):
        variable_names(wrapped)
    for estimator in (raw, wrapped):
        estimator.train(jobs.same_batch_input_fn, steps=1)
    names = raw.get_variable_names()
    assert variable_names(wrapped) == variable_names(raw) == sorted(names)
    assert wrapped.get_variable_names() != names  # else nobody needs it
    if checkpoint_format == "dual":
        for name in names:
            np.testing.assert_array_equal(
                wrapped.get_variable_value(name), raw.get_variable_value(name)
            )


def test_the_filter_of_the_limits_gives_the_same(tmp_path):
    estimator = jobs.make_estimator(wrap_model_fn(jobs.adam_model_fn), tmp_path)
    estimator.train(jobs.same_batch_input_fn, steps=1)
    filtered = [
        name
        for name in estimator.get_variable_names()
        if not name.endswith(".ATTRIBUTES/VARIABLE_VALUE")
        and name != "_CHECKPOINTABLE_OBJECT_GRAPH"
    ]
    assert sorted(filtered) == variable_names(estimator)
