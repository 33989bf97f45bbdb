"""What the matcher proposes: laws over generated networks, and one example of each rule."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import networks
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estimator_ckpt.errors import CheckpointArgumentError
from estimator_ckpt.naming.matcher import NamedShape, Proposal, propose, same_bytes

pairs = st.sampled_from(sorted(networks.ALL)).map(lambda name: networks.ALL[name]())
seeds = st.integers(0, 10_000)
DECIDABLE = sorted(
    networks.ALL.keys()
    - {"towers", "towers, swapped", "u_net", "gated_stack", "unlabelled_attention"}
    - {"words_with_two_meanings"}
)


def proposed(pair: networks.Pair, pins: dict[str, str] | None = None) -> Proposal:
    return propose(pair.source, pair.target, pins)


def asked(proposal: Proposal) -> set[str]:
    return {name for question in proposal.questions for name in question.sources}


@pytest.mark.parametrize("name", sorted(networks.ALL))
def test_nothing_that_is_proposed_with_orders_is_wrong(name):
    pair = networks.ALL[name]()
    assert networks.wrong(pair, proposed(pair), "certain", "likely") == {}


@pytest.mark.parametrize("name", DECIDABLE)
def test_nearly_all_is_found_with_orders(name):
    pair = networks.ALL[name]()
    assert len(proposed(pair).pairs("certain", "likely")) >= 0.96 * len(pair.truth)


@settings(max_examples=30, deadline=None)
@given(pairs, seeds)
def test_the_order_of_rows_changes_nothing(pair, seed):
    shuffled = random.Random(seed)
    sides = [shuffled.sample(side, len(side)) for side in (pair.source, pair.target)]
    assert propose(*sides) == proposed(pair)


@settings(max_examples=60, deadline=None)
@given(pairs, seeds, st.booleans(), st.booleans(), st.booleans())
def test_no_order_makes_something_wrong_certain(pair, seed, alike, source, created):
    changed = networks.scrambled(networks.without_orders(pair, source=source, created=False), seed)
    changed = networks.without_orders(changed, source=False, created=created)
    assert networks.wrong(changed, proposed(changed), "certain") == {}
    changed = networks.scrambled(pair, seed, alike)
    assert networks.wrong(changed, proposed(changed), "certain") == {}


@settings(max_examples=30, deadline=None)
@given(pairs, seeds)
def test_counted_names_make_nothing_wrong_certain(pair, seed):
    """Every layer of the target is called by its type and a number, as Keras does it."""
    counted: dict[str, str] = {}
    offset = seed % 7
    rows = []
    for row in sorted(pair.target, key=lambda row: row.created):
        scope, _, leaf = row.name.rpartition("/")
        kind = {1: "batch_normalization", 4: "conv2d"}.get(len(row.shape), "dense")
        kind = kind if scope not in counted else ""
        counted.setdefault(scope, f"{kind}_{len(counted) + 1 + offset}")
        rows.append((row, f"{counted[scope]}/{leaf}"))
    named = {row.name: name for row, name in rows}
    changed = replace(
        pair,
        target=tuple(replace(row, name=name) for row, name in rows),
        truth={one: named[other] for one, other in pair.truth.items()},
    )
    for orders in (changed, networks.without_orders(changed)):
        assert networks.wrong(orders, proposed(orders), "certain") == {}


@settings(max_examples=30, deadline=None)
@given(pairs)
def test_a_network_against_itself_is_all_certain(pair):
    proposal = propose(pair.source, pair.source)
    assert proposal.pairs("certain") == {row.name: row.name for row in pair.source}
    assert not proposal.questions and not proposal.refusals


@settings(max_examples=30, deadline=None)
@given(pairs, seeds)
def test_pins_are_kept(pair, seed):
    shuffled = random.Random(seed)
    pins = dict(shuffled.sample(sorted(pair.truth.items()), min(3, len(pair.truth))))
    proposal = proposed(pair, pins)
    found = proposal.pairs("certain")
    assert {one: found[one] for one in pins} == pins
    targets = [each.target for each in proposal.mapped]
    assert len(set(targets)) == len(targets)


@settings(max_examples=30, deadline=None)
@given(pairs, seeds)
def test_each_variable_is_accounted_for_once(pair, seed):
    pair = networks.scrambled(pair, seed)
    proposal = proposed(pair)
    sources = [
        *(each.source for each in proposal.mapped),
        *asked(proposal),
        *(name for each in proposal.refusals for name in each.sources),
        *(each.name for each in proposal.unmapped_source),
    ]
    assert sorted(sources) == sorted(row.name for row in pair.source)


@pytest.mark.parametrize("swapped", [False, True])
def test_a_mirror_image_is_one_question_with_both_answers(swapped):
    pair = networks.towers(hint=False, anchored=False, swapped=swapped)
    (question,) = proposed(pair).questions
    assert set(question.sources) == set(pair.truth)
    (_, first), (_, second) = question.answers
    assert pair.truth in (dict(first), dict(second))
    assert dict(first)["tower_a/dense/kernel"] == "document_dense_0/kernel"
    assert dict(second)["tower_a/dense/kernel"] == "query_dense_0/kernel"


def test_one_pin_answers_for_a_whole_tower():
    pair = networks.towers(hint=False, anchored=False, swapped=True)
    pins = {"tower_a/dense/kernel": "query_dense_0/kernel"}
    proposal = proposed(pair, pins)
    assert proposal.pairs("certain", "likely") == pair.truth
    assert not proposal.questions


def test_words_beat_the_order_where_they_tell_look_alikes_apart():
    pair = networks.towers(hint=True, anchored=False, swapped=True)
    assert proposed(pair).pairs("certain", "likely") == pair.truth


SLOTS = ("Adam", "Adam_1", "Adagrad", "Ftrl", "Ftrl_1", "Momentum", "RMSProp", "adam_m", "adam_v")


@pytest.mark.parametrize("slot", [*SLOTS, "t_0/Adagrad", "ExponentialMovingAverage"])
def test_slots_are_no_weights(slot):
    source = [NamedShape("dnn/kernel", (4, 4), created=0)]
    slots = [NamedShape(f"dnn/kernel/{slot}", (4, 4), created=1)]
    target = [NamedShape("a/kernel", (4, 4)), NamedShape("b/kernel", (4, 4))]
    proposal = propose([*source, *slots], target)
    (unmapped,) = proposal.unmapped_source
    assert unmapped.name == f"dnn/kernel/{slot}" and "dnn/kernel'" in unmapped.reason
    assert slots[0].name not in {*proposal.pairs("certain", "likely"), *asked(proposal)}


def test_the_step_is_no_weight():
    source = [NamedShape("global_step", (), "int64"), NamedShape("beta1_power", ())]
    proposal = propose(source, [NamedShape("normalization/count", (), "int64")])
    assert not proposal.mapped and len(proposal.unmapped_source) == 2


def test_a_transposed_kernel_is_refused_and_its_bias_mapped():
    source = [NamedShape("output_weights", (2, 8)), NamedShape("output_bias", (2,))]
    target = [NamedShape("classifier/kernel", (8, 2)), NamedShape("classifier/bias", (2,))]
    proposal = propose(source, target)
    (refusal,) = proposal.refusals
    assert refusal.transformation == "transpose(1, 0)" and refusal.sources == ("output_weights",)
    assert proposal.pairs("likely") == {"output_bias": "classifier/bias"}


def test_a_square_kernel_among_transposed_ones_is_asked():
    shapes = {"first": (8, 4), "second": (8, 8), "third": (2, 8)}
    source = [NamedShape(f"{name}/weight", shape) for name, shape in shapes.items()]
    target = [NamedShape(f"{name}/kernel", shape[::-1]) for name, shape in shapes.items()]
    proposal = propose(source, target)
    assert not proposal.mapped
    assert {name for each in proposal.refusals for name in each.sources} == {
        "first/weight",
        "third/weight",
    }
    assert asked(proposal) == {"second/weight"}


@pytest.mark.parametrize("fused_first", [True, False])
def test_fused_attention_is_refused_as_to_be_split_or_joined(fused_first):
    fused = [NamedShape(f"h{at}/c_attn/w", (8, 24), created=at) for at in range(2)]
    parts = [
        NamedShape(f"layer_{at}/{name}/kernel", (8, 8), created=3 * at + place)
        for at in range(2)
        for place, name in enumerate(("query", "key", "value"))
    ]
    proposal = propose(fused, parts) if fused_first else propose(parts, fused)
    assert {each.transformation for each in proposal.refusals} == (
        {f"split(1, {at}:{at + 8})" for at in (0, 8, 16)} if fused_first else {"concat(1)"}
    )
    assert not proposal.mapped and not proposal.questions


def test_parts_that_were_saved_as_variables_are_to_be_merged():
    sizes = (4, 3, 3)
    source = [NamedShape(f"emb/part_{at}", (size, 5)) for at, size in enumerate(sizes)]
    target = [NamedShape("table/embeddings", (10, 5)), NamedShape("dense/kernel", (5, 2))]
    (refusal,) = propose(source, target).refusals
    assert refusal.sources == ("emb/part_0", "emb/part_1", "emb/part_2")
    assert (refusal.targets, refusal.transformation) == (("table/embeddings",), "concat(0)")


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ((5, 3), (3, 5), "transpose(1, 0)"),
        ((8, 4, 3, 3), (3, 3, 4, 8), "transpose(2, 3, 1, 0)"),  # as of PyTorch
        ((3, 3, 4, 8), (8, 4, 3, 3), "transpose(3, 2, 0, 1)"),
        ((2, 3, 4), (3, 4, 2), "transpose(1, 2, 0)"),
        ((3, 3, 4), (4, 3, 3), "transpose(2, 1, 0)"),
        ((3, 2, 3, 5), (2, 5, 3, 3), "transpose"),  # 0 and 2 could be either
    ],
)
def test_the_order_of_the_dimensions_is_said_where_it_can_be_told(one, other, expected):
    proposal = propose([NamedShape("a/kernel", one)], [NamedShape("b/kernel", other)])
    (refusal,) = proposal.refusals
    assert refusal.transformation == expected


def test_another_dtype_is_refused_as_to_be_cast():
    proposal = propose(
        [NamedShape("a/kernel", (2, 3))], [NamedShape("a/kernel", (2, 3), "float16")]
    )
    (refusal,) = proposal.refusals
    assert refusal.transformation == "cast(float16)"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ((7, 7, 512, 4096), (25088, 4096), True),
        ((768, 768), (768, 12, 64), True),
        ((1, 768, 2304), (768, 2304), True),
        ((12, 64), (768,), True),
        ((60, 384), (384, 60), False),
        ((4, 6), (6, 4), False),
        ((4, 6), (3, 8), False),
        ((2, 3), (2, 4), False),
    ],
)
def test_which_shapes_hold_the_same_bytes(one, other, same):
    assert same_bytes(one, other) is same and same_bytes(other, one) is same


def test_a_reshape_is_said():
    source = [NamedShape("fc6/weights", (1, 1, 8, 4))]
    (pair,) = propose(source, [NamedShape("dense/kernel", (8, 4))]).mapped
    assert pair.reshaped


def test_leaves_that_are_numbered_are_layers():
    source = [
        *(
            NamedShape(f"W_{name}", shape)
            for name, shape in (("conv1", (5, 5, 1, 8)), ("fc", (8, 2)))
        ),
        *(NamedShape(f"b_{name}", shape) for name, shape in (("conv1", (8,)), ("fc", (2,)))),
    ]
    target = [
        *(
            NamedShape(f"conv2d/{leaf}", shape)
            for leaf, shape in (("kernel", (5, 5, 1, 8)), ("bias", (8,)))
        ),
        *(
            NamedShape(f"dense/{leaf}", shape)
            for leaf, shape in (("kernel", (8, 2)), ("bias", (2,)))
        ),
    ]
    assert propose(source, target).pairs() == {
        "W_conv1": "conv2d/kernel",
        "b_conv1": "conv2d/bias",
        "W_fc": "dense/kernel",
        "b_fc": "dense/bias",
    }


@pytest.mark.parametrize(
    ("pins", "message"),
    [
        ({"a/kernl": "b/kernel"}, "the source has no 'a/kernl'.*a/kernel"),
        ({"a/kernel": "b/kernl"}, "the target has no 'b/kernl'.*b/kernel"),
        ({"a/kernel": "b/kernel", "c/kernel": "b/kernel"}, "both go to 'b/kernel'; remove one"),
        ({"a/kernel": "d/kernel"}, r"'a/kernel' \[2, 3\] does not fit 'd/kernel' \[3, 2\]"),
    ],
)
def test_a_pin_that_cannot_be_followed_is_an_error(pins, message):
    source = [NamedShape("a/kernel", (2, 3)), NamedShape("c/kernel", (2, 3))]
    target = [NamedShape("b/kernel", (2, 3)), NamedShape("d/kernel", (3, 2))]
    with pytest.raises(CheckpointArgumentError, match=message):
        propose(source, target, pins)


def test_a_name_twice_is_an_error():
    with pytest.raises(CheckpointArgumentError, match="two variables called 'a'"):
        propose([NamedShape("a", (1,)), NamedShape("a", (2,))], [])


def test_nothing_is_mapped_to_nothing():
    assert propose([], []) == Proposal()
    (unmapped,) = propose([NamedShape("a/kernel", (2, 3))], []).unmapped_source
    assert unmapped.reason == "the target has nothing of its shape [2, 3]"


@settings(max_examples=30, deadline=None)
@given(pairs, seeds)
def test_equal_values_are_certain_whatever_names_and_orders_say(pair, seed):
    sizes = {row.name: row for row in pair.target}
    same = {
        one.name: other
        for one in pair.source
        if math.prod(one.shape) >= 8
        for other in [sizes.get(pair.truth.get(one.name, ""))]
        if other is not None and other.dtype == one.dtype and same_bytes(one.shape, other.shape)
    }
    checksums = {other.name: number for number, other in enumerate(same.values())}
    source = [
        replace(row, checksum=checksums[same[row.name].name]) if row.name in same else row
        for row in pair.source
    ]
    numbers = list(range(len(pair.target)))
    random.Random(seed).shuffle(numbers)
    target = [
        replace(row, checksum=checksums.get(row.name), created=number, listed=None)
        for row, number in zip(pair.target, numbers)
    ]
    certain = propose(source, target).pairs("certain")
    assert {name: other.name for name, other in same.items()}.items() <= certain.items()
    assert all(pair.truth.get(one, other) == other for one, other in certain.items())


def test_values_that_two_have_tell_nothing():
    source = [NamedShape("a", (9,), checksum=1), NamedShape("b", (9,), checksum=1)]
    target = [NamedShape("x", (9,), checksum=1), NamedShape("y", (9,), checksum=2)]
    assert not propose(source, target).pairs("certain", "likely")
    few = [NamedShape(name, (3,), checksum=number) for name, number in zip("pqrs", (7, 8, 7, 8))]
    assert not propose(few[:2], few[:1:-1]).pairs("certain", "likely")
