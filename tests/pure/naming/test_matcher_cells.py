"""What the matcher makes of recurrent cells, which TensorFlow 1 and Keras store in other parts."""

from __future__ import annotations

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
