"""Training goes on with an optimizer of another kind as with its own; or that is said."""

from __future__ import annotations

import numpy as np
import optimizer_jobs
import pytest

PAIRS = [
    (name, before, after)
    for before, names in optimizer_jobs.OPTIMIZERS.items()
    for after, others in optimizer_jobs.OPTIMIZERS.items()
    for name in names
    if name in others
]
EVERYDAY = [
    ("rmsprop_centered", "session", "legacy"),
    ("ftrl", "tf1", "new"),
    ("adam", "legacy", "new"),
    ("momentum", "legacy", "tf1"),
    ("momentum", "tf1", "new"),
    ("amsgrad", "new", "keras3"),
    ("adadelta", "keras3", "new"),
    ("adam", "keras3", "session"),
]


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        pytest.param(*pair, id="-".join(pair), marks=[] if pair in EVERYDAY else pytest.mark.slow)
        for pair in PAIRS
        if pair[0] != "nadam"  # plain TensorFlow does not save `_u_product`
    ],
)
def test_four_steps_and_four_are_eight_or_it_is_said(name, before, after, tmp_path):
    if "keras3" in (before, after) and not optimizer_jobs.has_keras3():
        pytest.skip("Keras 3 is not here")
    first, second = (optimizer_jobs.make(kind, name) for kind in (before, after))
    first.train(4)
    prefix = first.save(tmp_path / "saved")
    first.train(4)
    report = second.restore(prefix, strict=False)
    second.train(4)
    equal = all(
        np.allclose(value, second.values()[key], rtol=1e-4, atol=1e-5)
        for key, value in first.values().items()
    )
    reasons = [row.reason for row in report.unmatched if "keeps its own value" not in row.reason]
    assert equal or reasons
    if before == after:
        assert equal and not reasons
    for reason in reasons:
        assert reason.startswith(
            (
                "no slot of",
                "it is a power of",
                "the checkpoint counts no steps",
                "the checkpoint has no",
            )
        )


def test_hyperparameters_that_are_not_stored_are_no_error_when_strict(tmp_path):
    first, second = (optimizer_jobs.make(kind, "adagrad") for kind in ("session", "legacy"))
    first.train(2)
    report = second.restore(first.save(tmp_path / "saved"), strict=True)
    assert {row.name.split("/")[1] for row in report.unmatched} == {"learning_rate", "decay"}
