"""What the matcher makes of names of other frameworks: their words, their dots, their layouts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from estimator_ckpt.naming.matcher import NamedShape, Proposal, propose


def asked(proposal: Proposal) -> set[str]:
    return {name for question in proposal.questions for name in question.sources}


@pytest.mark.parametrize(
    ("leaf", "shape", "step"),
    [
        ("weight", (8, 8), "transpose(1, 0)"),  # as of PyTorch
        ("weight", (3, 3, 3, 3), "transpose(2, 3, 1, 0)"),
        ("weight", (3, 8, 3), "transpose(2, 1, 0)"),
        ("weight", (8, 8, 1, 1), "transpose(2, 3, 1, 0)"),
        ("output_weights", (8, 8), "transpose(1, 0)"),  # as of BERT
        ("nce_weights", (8, 8), "transpose(1, 0)"),
    ],
)
def test_squares_whose_names_may_be_of_other_axes_are_one_question(leaf, shape, step):
    other = (1, 1, 8, 8) if shape == (8, 8, 1, 1) else shape
    layers = ("left", "right")
    source = [NamedShape(f"{name}/{leaf}", shape) for name in layers]
    target = [NamedShape(f"{name}/kernel", other) for name in layers]
    pairs = {one.name: two.name for one, two in zip(source, target)}
    proposal = propose(source, target)
    (question,) = proposal.questions
    assert not proposal.mapped and asked(proposal) == pairs.keys() and step in question.reason
    assert [dict(rows) for _, rows in question.answers] == [pairs]
    assert asked(propose(target, source)) == set(pairs.values())
    same = [replace(row, name=row.name.replace("kernel", leaf)) for row in source]
    assert len(propose(source, same).pairs("certain")) == 2
    checked = [[replace(row, checksum=hash(row.name[:4])) for row in s] for s in (source, target)]
    assert shape != other or propose(*checked).pairs("certain") == pairs


def test_squares_beside_what_fits_as_it_is_are_not_asked():
    shapes = {"left": (8, 8), "right": (8, 4)}
    source = [NamedShape(f"{name}/w", shape) for name, shape in shapes.items()]
    target = [NamedShape(f"{name}/weight", shape) for name, shape in shapes.items()]
    assert len(propose(source, target).pairs("certain")) == 2


def test_a_pinned_square_answers_for_the_others_but_its_bias_does_not():
    shapes = {"weight": (8, 8), "bias": (8,)}
    names = ("left", "right")
    source = [NamedShape(f"{name}/{leaf}", shapes[leaf]) for name in names for leaf in shapes]
    target = [replace(row, name=row.name.replace("weight", "kernel")) for row in source]
    pin = {"left/weight": "left/kernel"}
    assert len(propose(source, target, pin).pairs("certain")) == 4
    assert {"left/weight", "right/weight"} <= asked(
        propose(source, target, {"left/bias": "left/bias"})
    )


def test_a_square_table_is_not_asked():
    source, target = [NamedShape("table/weight", (8, 8))], [NamedShape("e/embeddings", (8, 8))]
    assert propose(source, target).pairs("certain") == {"table/weight": "e/embeddings"}


def test_dots_separate_scopes_where_there_are_no_slashes():
    shapes = {"fc1": (8, 4), "fc2": (2, 8), "fc3": (2, 8)}
    source = [NamedShape(f"{name}.weight", shape) for name, shape in shapes.items()]
    source += [NamedShape(f"{name}.bias", shape[:1]) for name, shape in shapes.items()]
    target = [NamedShape(f"{name}/kernel", shape[::-1]) for name, shape in shapes.items()]
    target += [NamedShape(f"{name}/bias", shape[:1]) for name, shape in shapes.items()]
    proposal = propose(source, target)
    lines = [(each.sources, each.targets, each.transformation) for each in proposal.refusals]
    assert sorted(lines) == [
        ((f"{name}.weight",), (f"{name}/kernel",), "transpose(1, 0)") for name in shapes
    ]
    assert proposal.pairs("likely") == {f"{name}.bias": f"{name}/bias" for name in shapes}


@pytest.mark.parametrize(
    "leaves",
    [
        ("scale", "offset", "mean", "var"),
        ("weight", "bias", "running_mean", "running_var"),
    ],
)
@pytest.mark.parametrize("separator", "/.")
def test_a_batch_normalization_is_known_by_other_words(leaves, separator):
    keras = ("gamma", "beta", "moving_mean", "moving_variance")
    source = [NamedShape(f"net{separator}bn{separator}{leaf}", (8,)) for leaf in leaves]
    target = [NamedShape(f"bn/{leaf}", (8,)) for leaf in keras]
    pairs = {one.name: other.name for one, other in zip(source, target)}
    assert propose(source, target).pairs("certain") == pairs


def test_bias_weights_are_a_bias():
    source = [NamedShape("linear/weights", (3, 1)), NamedShape("linear/bias_weights", (1,))]
    target = [NamedShape("dense/kernel", (3, 1)), NamedShape("dense/bias", (1,))]
    pairs = {"linear/weights": "dense/kernel", "linear/bias_weights": "dense/bias"}
    assert propose(source, target).pairs("certain") == pairs


@pytest.mark.parametrize("turned", [False, True])
def test_a_bias_one_scope_above_its_kernel_is_found(turned):
    scope = "linear/linear_model"
    source = [NamedShape(f"{scope}/x/weights", (3, 1)), NamedShape(f"{scope}/bias_weights", (1,))]
    target = [NamedShape("dense/kernel", (3, 1)), NamedShape("dense/bias", (1,))]
    pairs = {source[0].name: target[0].name, source[1].name: target[1].name}
    proposal = propose(target, source) if turned else propose(source, target)
    expected = {other: one for one, other in pairs.items()} if turned else pairs
    assert proposal.pairs("certain", "likely") == expected
    assert len(proposal.pairs("likely")) == 1
    two = [*source, NamedShape(f"{scope}/y/weights", (4, 1))]
    others = [NamedShape("other/kernel", (4, 1)), NamedShape("other/bias", (1,))]
    assert not propose(two, [*target, *others]).pairs("likely")


def test_what_fits_and_is_not_mapped_either_is_said():
    source = [NamedShape("cell/Wx", (4, 32)), NamedShape("cell/Wh", (8, 32))]
    target = [NamedShape("lstm/kernel", (4, 32)), NamedShape("lstm/recurrent_kernel", (8, 32))]
    proposal = propose(source, target)
    for each in (*proposal.unmapped_source, *proposal.unmapped_target):
        assert "is not mapped either" in each.reason and "pin it if it is" in each.reason
    source = [NamedShape("a/kernel", (4, 2))]
    target = [NamedShape("a/kernel", (4, 2)), NamedShape("b/kernel", (4, 2))]
    (left,) = propose(source, target, {"a/kernel": "a/kernel"}).unmapped_target
    assert left.reason == "what fits its shape in the source belongs to other layers"
