"""What the matcher makes of recurrent cells, which TensorFlow 1 and Keras store in other parts."""

from __future__ import annotations

import pytest

from estimator_ckpt.naming.matcher import NamedShape, propose


def test_the_cell_of_an_lstm_is_refused_with_its_gates():
    source = [
        NamedShape("rnn/basic_lstm_cell/kernel", (12, 32)),
        NamedShape("rnn/basic_lstm_cell/bias", (32,)),
    ]
    target = [
        NamedShape("lstm/lstm_cell/kernel", (4, 32)),
        NamedShape("lstm/lstm_cell/recurrent_kernel", (8, 32)),
        NamedShape("lstm/lstm_cell/bias", (32,)),
    ]
    proposal = propose(source, target)
    lines = [(each.sources, each.targets, each.transformation) for each in proposal.refusals]
    cell, lstm, gates = "rnn/basic_lstm_cell", "lstm/lstm_cell", "gates(i c f o -> i f c o)"
    assert lines == [
        ((f"{cell}/kernel",), (f"{lstm}/kernel",), f"split(0, 0:4), {gates}"),
        ((f"{cell}/kernel",), (f"{lstm}/recurrent_kernel",), f"split(0, 4:12), {gates}"),
        ((f"{cell}/bias",), (f"{lstm}/bias",), "gates(i c f+1 o -> i f c o)"),
    ]
    assert "i, j, f, o" in proposal.refusals[0].reason and not proposal.mapped
    back = propose(target, source).refusals
    assert [(len(each.sources), each.transformation) for each in back] == [
        (2, "concat(0), gates(i f c o -> i c f o)"),
        (1, "gates(i f-1 c o -> i c f o)"),
    ]


def test_the_two_matrices_of_a_gru_are_refused():
    source = [
        NamedShape("rnn/gru_cell/gates/kernel", (12, 16)),
        NamedShape("rnn/gru_cell/gates/bias", (16,)),
        NamedShape("rnn/gru_cell/candidate/kernel", (12, 8)),
        NamedShape("rnn/gru_cell/candidate/bias", (8,)),
    ]
    target = [
        NamedShape("gru/gru_cell/kernel", (4, 24)),
        NamedShape("gru/gru_cell/recurrent_kernel", (8, 24)),
        NamedShape("gru/gru_cell/bias", (24,)),
        NamedShape("dense/kernel", (12, 8)),
        NamedShape("dense/bias", (8,)),
    ]
    proposal = propose(source, target)
    assert not proposal.mapped
    assert [(each.targets[0], each.transformation) for each in proposal.refusals] == [
        ("gru/gru_cell/kernel", "concat(1), split(0, 0:4), gates(r z h -> z r h)"),
        ("gru/gru_cell/recurrent_kernel", "concat(1), split(0, 4:12), gates(r z h -> z r h)"),
        ("gru/gru_cell/bias", "concat(0), gates(r z h -> z r h)"),
    ]
    after = [row for row in target if row.name != "gru/gru_cell/bias"]
    after.append(NamedShape("gru/gru_cell/bias", (2, 24)))
    (refusal,) = propose(source, after).refusals
    assert refusal.transformation == "split, gates" and "reset_after=False" in refusal.reason


KERAS = {"kernel": (8, 32), "recurrent_kernel": (8, 32), "bias": (32,)}
TF1 = {"kernel": (16, 32), "bias": (32,)}
TF1_GRU = {
    "gates/kernel": (16, 16),
    "gates/bias": (16,),
    "candidate/kernel": (16, 8),
    "candidate/bias": (8,),
}
KERAS_GRU = {"kernel": (8, 24), "recurrent_kernel": (8, 24), "bias": (24,)}


def rows(scope: str, leaves: dict[str, tuple[int, ...]]) -> list[NamedShape]:
    return [NamedShape(f"{scope}/{leaf}", shape) for leaf, shape in leaves.items()]


@pytest.mark.parametrize("is_split", [True, False])
@pytest.mark.parametrize(
    ("one", "other", "scopes"),
    [
        (
            TF1,
            KERAS,
            {
                "rnn/bidirectional_rnn/fw/lstm_cell": "bidirectional/forward_lstm/lstm_cell",
                "rnn/bidirectional_rnn/bw/lstm_cell": "bidirectional/backward_lstm/lstm_cell",
            },
        ),
        (
            TF1,
            KERAS,
            {f"rnn/multi_rnn_cell/cell_{at}/lstm_cell": f"layer{at}/lstm" for at in range(3)},
        ),
        (
            TF1,
            KERAS,
            {"rnn/multi_rnn_cell/cell_0/cell": "lstm", "rnn/multi_rnn_cell/cell_1/cell": "lstm_1"},
        ),
        (
            TF1_GRU,
            KERAS_GRU,
            {"rnn/fw/gru_cell": "bi/forward_gru/cell", "rnn/bw/gru_cell": "bi/backward_gru/cell"},
        ),
    ],
    ids=["bidirectional", "numbered", "counted", "gru"],
)
def test_several_cells_of_one_shape_have_lines_each_by_their_scopes(one, other, scopes, is_split):
    source = [row for scope in scopes for row in rows(scope, one)]
    target = [row for scope in scopes.values() for row in rows(scope, other)]
    proposal = propose(source, target) if is_split else propose(target, source)
    assert not proposal.mapped and not proposal.unmapped_source and not proposal.unmapped_target
    assert len(proposal.refusals) == len(scopes) * (len(other) if is_split else len(one))
    for each in proposal.refusals:
        left, right = each.sources, each.targets
        fused, parted = (left, right) if is_split else (right, left)
        (there,) = {
            scope for scope in scopes.values() for name in parted if name.startswith(f"{scope}/")
        }
        (here,) = {scope for scope in scopes for name in fused if name.startswith(f"{scope}/")}
        assert ("check which is which" in each.reason) == any(
            "multi_rnn_cell" in scope for scope in scopes
        )
        assert "(" in each.transformation and scopes[here] == there


def test_cells_that_no_name_tells_apart_have_no_lines():
    source = [row for scope in ("left/lstm_cell", "right/lstm_cell") for row in rows(scope, TF1)]
    target = [row for scope in ("query/lstm", "document/lstm") for row in rows(scope, KERAS)]
    (refusal,) = propose(source, target).refusals
    assert refusal.transformation == "split, gates"
    assert set(refusal.sources) == {row.name for row in source}


@pytest.mark.parametrize("is_split", [True, False])
def test_a_cell_with_peepholes_has_no_lines_and_says_why(is_split):
    peepholes = {f"w_{gate}_diag": (8,) for gate in "fio"}
    cell, lstm = rows("rnn/lstm_cell", {**TF1, **peepholes}), rows("lstm/lstm_cell", KERAS)
    (refusal,) = propose(*((cell, lstm) if is_split else (lstm, cell))).refusals
    assert refusal.transformation == "split, gates" and "peepholes" in refusal.reason
    named = refusal.sources if is_split else refusal.targets
    assert set(named) == {row.name for row in cell}
