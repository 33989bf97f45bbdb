"""Optimizers across: four steps with one and four with another are eight, or it is said why not."""

from __future__ import annotations

import logging

import optimizer_jobs
import pytest
import tensorflow as tf

from estimator_ckpt import (
    VariableMismatchError,
    convert,
    describe,
    drop,
    export_checkpoint,
    restore,
)

KINDS = optimizer_jobs.OPTIMIZERS
TABLE = [
    (name, before, after, through)
    for before, names in KINDS.items()
    for after, others in KINDS.items()
    for name in names
    if name in others
    for through in ("restore", "convert")
    if (through, after) != ("convert", "session")  # which has no objects to be like
]
EVERYDAY = [
    ("rmsprop_centered", "session", "legacy", "restore"),
    ("rmsprop", "session", "new", "convert"),
    ("adam", "session", "legacy", "convert"),
    ("adam", "legacy", "new", "restore"),
    ("adam", "keras3", "session", "restore"),
    ("adam", "new", "new", "convert"),
    ("adagrad", "new", "legacy", "convert"),
    ("momentum", "legacy", "tf1", "restore"),
    ("momentum", "session", "new", "convert"),
    ("momentum", "tf1", "new", "restore"),
    ("momentum", "new", "legacy", "restore"),
    ("amsgrad", "new", "keras3", "restore"),
    ("adadelta", "keras3", "new", "convert"),
    ("ftrl", "tf1", "new", "restore"),
    ("nadam", "new", "keras3", "restore"),
    ("nadam", "keras3", "legacy", "convert"),
    ("nadam", "legacy", "legacy", "restore"),
]


def skip_without(*kinds):
    if "keras3" in kinds and not optimizer_jobs.has_keras3():
        pytest.skip("Keras 3 is not here")


@pytest.mark.parametrize(
    ("name", "before", "after", "through"),
    [
        pytest.param(*row, id="-".join(row), marks=[] if row in EVERYDAY else pytest.mark.slow)
        for row in TABLE
    ],
)
def test_four_steps_and_four_are_eight_or_it_is_said(name, before, after, through, tmp_path):
    skip_without(before, after)
    first, second = (optimizer_jobs.make(kind, name) for kind in (before, after))
    first.train(4)
    prefix = first.save(tmp_path / "saved")
    if through == "restore":
        report = second.restore(prefix, strict=False)
        reasons = [row.reason for row in report.unmatched]
    else:
        second.build()
        report = convert(prefix, tmp_path / "like", to="tf2", like=second.checkpoint)
        second.checkpoint.read(str(tmp_path / "like")).expect_partial()
        lost = [note for note in report.notes if note.startswith("left out")]
        reasons = [note.split("': ", 1)[1] for note in lost]
    reasons = [reason for reason in reasons if "keeps its own value" not in reason]
    expected = optimizer_jobs.reasons_expected(name, before, after)
    for reason in reasons:
        assert reason.startswith(tuple(expected))
    for told in expected:
        assert any(reason.startswith(told) for reason in reasons)
    optimizer_jobs.require_goes_on(first, second, name, before, after, expected)


def test_hyperparameters_that_are_not_stored_are_no_error_when_strict(tmp_path):
    first, second = (optimizer_jobs.make(kind, "adagrad") for kind in ("session", "legacy"))
    first.train(2)
    report = second.restore(first.save(tmp_path / "saved"), strict=True)
    assert {row.name.split("/")[1] for row in report.unmatched} == {"learning_rate", "decay"}


@pytest.mark.parametrize("kind", ["legacy", "new", "keras3"])
def test_what_nadam_has_multiplied_up_is_state_and_missed_when_strict(kind, tmp_path):
    skip_without(kind)
    first, second = (optimizer_jobs.make(kind, "nadam") for _ in range(2))
    first.train(2)
    prefix = first.save(tmp_path / "saved")
    part = "momentum_cache" if kind == "legacy" else "_u_product"
    (row,) = [row for row in describe(prefix).variables if f"/{part}/" in row.key]
    assert row.role == "counter"
    drop(prefix, tmp_path / "less", [row.name])
    with pytest.raises(VariableMismatchError, match=r"1 of .* variables get no value") as error:
        second.restore(tmp_path / "less")
    assert part in str(error.value)
    assert not restore(second.checkpoint, prefix).unmatched


def test_what_means_something_else_is_said(tmp_path, caplog):
    first, second = (optimizer_jobs.make(kind, "momentum") for kind in ("session", "new"))
    first.train(2)
    prefix = first.save(tmp_path / "saved")
    reasons = [row.reason for row in second.restore(prefix, strict=False).unmatched]
    held = "'d/kernel/Momentum' holds 'momentum: sum of gradients'"
    assert any(held in each for each in reasons)
    with caplog.at_level(logging.WARNING):
        told = convert(prefix, tmp_path / "like", to="tf2", like=second.checkpoint)
    assert any(held in note for note in told.notes) and held in caplog.text
    (dropped,) = [row for row in told.dropped if row.key == "d/kernel/Momentum"]
    assert dropped.reason.startswith("the objects that it should be like have no slot of 'd/kern")


@pytest.mark.parametrize("kind", KINDS)
def test_slots_are_known_whoever_made_them(tmp_path, kind):
    skip_without(kind)
    for name in ("adam", "adagrad", "rmsprop", "momentum"):
        folder = tmp_path / name
        folder.mkdir()
        job = optimizer_jobs.make(kind, name)
        job.train(1)
        prefix = job.save(folder / "saved")
        rows = describe(prefix).variables
        assert {row.slot_of for row in rows if row.role == "slot"} == set(optimizer_jobs.MODEL)
        drop(prefix, folder / "small", slots=True)
        left = {row.name for row in describe(folder / "small").variables}
        steps = {"global_step"} if kind == "session" else set()
        assert left == {*optimizer_jobs.MODEL, *steps}
        report = export_checkpoint(prefix, folder / "weights.npz", slots=False)
        assert {tensor.name for tensor in report.tensors} == left


@pytest.mark.parametrize("kind", ["legacy", "new", "keras3"])
def test_the_step_of_a_job_is_the_optimizers(tmp_path, kind):
    skip_without(kind)
    first, second = (optimizer_jobs.make(each, "adam") for each in ("session", kind))
    first.train(4)
    second.restore(first.save(tmp_path / "saved"), strict=False)
    assert int(tf.convert_to_tensor(second.optimizer.iterations)) == 4
