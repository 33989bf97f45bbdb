"""Networks made up for the matcher: each has a source, a target and the true map.

    pair = networks.encoder_decoder()
    proposal = propose(pair.source, pair.target)
    networks.wrong(pair, proposal, "certain")      # {}

A network is written down once, layer by layer, with both names of each layer; what frameworks add
(leaf names, orders) is put on here.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from estimator_ckpt.naming.matcher import NamedShape, Proposal

# The parts of a layer: (leaf in the source, leaf in the target), and its shape from a width.
_NORM = {"gamma": ("gamma", "gamma"), "beta": ("beta", "beta")}
_BATCH_NORM = {
    **_NORM,
    "mean": ("moving_mean", "moving_mean"),
    "variance": ("moving_variance", "moving_variance"),
}


@dataclass(frozen=True)
class Layer:
    """A layer under both names; `parts` are (source leaf, target leaf, shape, target shape)."""

    source: str
    target: str
    parts: tuple[tuple[str, str, tuple[int, ...]], ...]


@dataclass(frozen=True)
class Pair:
    """A network on both sides, and the true map."""

    source: tuple[NamedShape, ...]
    target: tuple[NamedShape, ...]
    truth: dict[str, str]


def dense(source: str, target: str, *shape: int, bias: bool = True) -> Layer:
    parts = [("kernel", "kernel", shape)]
    if bias:
        parts.append(("bias", "bias", shape[-1:]))
    return Layer(source, target, tuple(parts))


def embedding(source: str, target: str, *shape: int) -> Layer:
    return Layer(source, target, (("embeddings", "embeddings", shape),))


def norm(source: str, target: str, width: int, batch: bool = False) -> Layer:
    leaves = (_BATCH_NORM if batch else _NORM).values()
    return Layer(source, target, tuple((mine, theirs, (width,)) for mine, theirs in leaves))


def paired(
    layers: Sequence[Layer],
    built: Sequence[Layer] | None = None,
    listed: Sequence[Layer] | None = None,
    only_source: Iterable[Layer] = (),
    only_target: Iterable[Layer] = (),
) -> Pair:
    """Makes a pair of layers.

    Args:
      layers: in the order in which the source creates them.
      built: in the order in which the target creates them, if that is another one.
      listed: as the target lists them.
      only_source: layers that the target has not; they are created last.
      only_target: layers that the source has not; they are created last.
    """
    source = [
        NamedShape(f"{layer.source}/{leaf}", shape, created=number)
        for number, (layer, leaf, shape) in enumerate(
            (layer, leaf, shape)
            for layer in (*layers, *only_source)
            for leaf, _, shape in layer.parts
        )
    ]
    made = _places((*(built or layers), *only_target))
    places = _places((*(listed or built or layers), *only_target))
    target = [
        NamedShape(f"{layer.target}/{leaf}", shape, "float32", made[key], places[key])
        for layer in (*layers, *only_target)
        for _, leaf, shape in layer.parts
        for key in [(layer.target, leaf)]
    ]
    truth = {
        f"{layer.source}/{mine}": f"{layer.target}/{theirs}"
        for layer in layers
        for mine, theirs, _ in layer.parts
    }
    return Pair(tuple(source), tuple(target), truth)


def _places(layers: Iterable[Layer]) -> dict[tuple[str, str], int]:
    keys = [(layer.target, leaf) for layer in layers for _, leaf, _ in layer.parts]
    return {key: number for number, key in enumerate(keys)}


def wrong(pair: Pair, proposal: Proposal, *confidences: str) -> dict[str, str]:
    """What is proposed and not true."""
    found = proposal.pairs(*confidences)
    return {one: other for one, other in found.items() if pair.truth.get(one) != other}


def without_orders(pair: Pair, *, source: bool = True, created: bool = True) -> Pair:
    """The same pair with the orders unknown."""
    return replace(
        pair,
        source=tuple(replace(row, created=None) for row in pair.source) if source else pair.source,
        target=tuple(replace(row, created=None) for row in pair.target) if created else pair.target,
    )


def scrambled(pair: Pair, seed: int, alike: bool = False) -> Pair:
    """The same pair, the target's orders shuffled, each by itself or both in the same way."""
    shuffled = random.Random(seed)
    made, places = (list(range(len(pair.target))) for _ in range(2))
    shuffled.shuffle(made)
    shuffled.shuffle(places)
    places = made if alike else places
    target = tuple(
        replace(row, created=created, listed=listed)
        for row, created, listed in zip(pair.target, made, places)
    )
    return replace(pair, target=target)


def bert(layers: int = 4, width: int = 64) -> Pair:
    """Names as in BERT's code, against a Keras model with its own words."""
    found = [
        embedding("bert/embeddings/word", "encoder/word_embeddings", 1000, width),
        embedding("bert/embeddings/position", "encoder/position_embeddings", 512, width),
        norm("bert/embeddings/LayerNorm", "encoder/embeddings/layer_norm", width),
    ]
    for number in range(layers):
        mine, theirs = f"bert/encoder/layer_{number}", f"encoder/transformer/layer_{number}"
        for name in ("query", "key", "value"):
            found.append(
                dense(f"{mine}/attention/self/{name}", f"{theirs}/attention/{name}", width, width)
            )
        found += [
            dense(
                f"{mine}/attention/output/dense", f"{theirs}/attention/attention_out", width, width
            ),
            norm(f"{mine}/attention/output/LayerNorm", f"{theirs}/attention_layer_norm", width),
            dense(f"{mine}/intermediate/dense", f"{theirs}/intermediate", width, 4 * width),
            dense(f"{mine}/output/dense", f"{theirs}/output", 4 * width, width),
            norm(f"{mine}/output/LayerNorm", f"{theirs}/output_layer_norm", width),
        ]
    return paired([*found, dense("bert/pooler/dense", "pooler_transform", width, width)])


def encoder_decoder(layers: int = 3, width: int = 32) -> Pair:
    """T5-like: no biases, scales alone, self and cross attention; numbers from 0 and from 1."""
    found = [embedding("shared", "shared_table", 500, width)]
    for stack, other in (("encoder", "enc"), ("decoder", "dec")):
        for number in range(layers):
            mine, theirs = f"{stack}/block_{number:03d}", f"{other}_{number + 1}"
            kinds = [("layer_000/SelfAttention", "self_attn")]
            if stack == "decoder":
                kinds.append(("layer_001/EncDecAttention", "cross_attn"))
            for kind, word in kinds:
                for name in "qkvo":
                    found.append(
                        dense(
                            f"{mine}/{kind}/{name}",
                            f"{theirs}/{word}/{name}_proj",
                            width,
                            width,
                            bias=False,
                        )
                    )
            found.append(dense(f"{mine}/DenseReluDense/wi", f"{theirs}/ffn/up", width, 96))
            found.append(dense(f"{mine}/DenseReluDense/wo", f"{theirs}/ffn/down", 96, width))
    return paired(found)


def unlabelled_attention(seed: int = 0, layers: int = 3, width: int = 32) -> Pair:
    """Query, key and value are counted on one side, and built in another order on the other."""
    shuffled = random.Random(seed)
    found, built = [embedding("table", "embed", 100, width)], []
    built += found
    for number in range(layers):
        names = ["query", "key", "value", "out"]
        block = [
            dense(
                f"layer_{number}/attention/dense" + (f"_{at}" if at else ""),
                f"block{number + 1}/{name}",
                width,
                width,
            )
            for at, name in enumerate(names)
        ]
        found += block
        shuffled.shuffle(block)
        built += block
    return paired(found, built)


def words_with_two_meanings(layers: int = 4, width: int = 32) -> Pair:
    """`output` is the attention's here and the feed-forward's there, of the same shape."""
    found = []
    for number in range(layers):
        mine, theirs = f"layer_{number}", f"layer_{number}"
        found += [
            dense(f"{mine}/mix/output", f"{theirs}/attention/proj", width, width),
            dense(f"{mine}/ffn/dense", f"{theirs}/mlp/fc", width, width),
            dense(f"{mine}/ffn/dense_1", f"{theirs}/mlp/output", width, width),
        ]
    return paired(found)


def u_net(width: int = 16, depth: int = 4) -> Pair:
    """One width throughout; the way up is numbered upwards here and downwards there."""
    found = []
    for number in range(depth):
        for part in (1, 2):
            found.append(
                dense(
                    f"down_{number}/conv_{part}",
                    f"encoder{number + 1}_conv{part}",
                    3,
                    3,
                    width,
                    width,
                )
            )
    for number in range(depth):
        for part in (1, 2):
            found.append(
                dense(
                    f"up_{number}/conv_{part}",
                    f"decoder{depth - number}_conv{part}",
                    3,
                    3,
                    width,
                    width,
                )
            )
    return paired(
        [dense("stem", "first", 3, 3, 3, width), *found, dense("head", "last", 1, 1, width, 2)]
    )


def towers(
    hint: bool, anchored: bool, depth: int = 3, width: int = 16, swapped: bool = False
) -> Pair:
    """Two towers; a word in common, or embeddings of different sizes, tell which is which."""
    words = (
        (("user", "user_side"), ("item", "item_side"))
        if hint
        else (
            ("tower_a", "query"),
            ("tower_b", "document"),
        )
    )
    sides = []
    for (mine, theirs), size in zip(words, (300, 200)):
        side = [embedding(f"{mine}/table", f"{theirs}_table", size, width)] if anchored else []
        for number in range(depth):
            counted = f"_{number}" if number else ""
            side.append(dense(f"{mine}/dense{counted}", f"{theirs}_dense_{number}", width, width))
        sides.append(side)
    score = dense("score", "score", width, 1)
    layers = [*sides[0], *sides[1], score]
    built = [*sides[1], *sides[0], score] if swapped else layers
    return paired(layers, built)


def experts(count: int = 6, width: int = 16) -> Pair:
    """A mixture of experts, numbered from 0 and from 1, with gates of their own."""
    found = [dense("gate", "router", width, count)]
    for number in range(count):
        found += [
            dense(f"moe/expert_{number}/fc1", f"experts_{number + 1}_in", width, 2 * width),
            dense(f"moe/expert_{number}/fc2", f"experts_{number + 1}_out", 2 * width, width),
        ]
    return paired(found)


def cells(count: int = 4, width: int = 24) -> Pair:
    """NASNet-like: numbered cells of named branches, depthwise and pointwise, built elsewhere."""
    found, built = [dense("stem/conv0", "stem_conv1", 3, 3, 3, width, bias=False)], []
    built += found
    for number in range(count):
        block = []
        for branch in range(3):
            for side in ("left", "right"):
                mine = f"cell_{number}/comb_iter_{branch}/{side}"
                theirs = f"normal_{side}{branch + 1}_{number}"
                block.append(
                    Layer(
                        f"{mine}/separable_3x3_1",
                        f"separable_conv_1_{theirs}",
                        (
                            ("depthwise_weights", "depthwise_kernel", (3, 3, width, 1)),
                            ("pointwise_weights", "pointwise_kernel", (1, 1, width, width)),
                        ),
                    )
                )
                block.append(
                    norm(f"{mine}/bn_sep_3x3_1", f"separable_conv_1_bn_{theirs}", width, True)
                )
        found += block
        built += block[8:] + block[:8]
    return paired([*found, dense("final_layer/FC", "predictions", width, 10)], None, None)


def features(count: int = 8, width: int = 8) -> Pair:
    """Tables of one size, by the names of their features; built in another order."""
    names = [f"feature{chr(ord('a') + number)}x" for number in range(count)]
    tables = [
        embedding(f"input_layer/{name}_embedding", f"{name}_table", 100, width) for name in names
    ]
    rest = [
        dense("dnn/hidden_0", "deep_1", count * width, 16),
        dense("dnn/logits", "logits", 16, 1),
    ]
    return paired([*tables, *rest], [*tables[::-1], *rest])


def gated_stack(count: int = 6, width: int = 16) -> Pair:
    """WaveNet-like: two convolutions of one shape in each layer, in words that say nothing."""
    found = []
    for number in range(count):
        found += [
            dense(f"stack/layer_{number}/filter", f"stack_{number}_tanh", 2, width, width),
            dense(f"stack/layer_{number}/gate", f"stack_{number}_sigmoid", 2, width, width),
            dense(f"stack/layer_{number}/skip", f"stack_{number}_skip", 1, width, 2 * width),
        ]
    built = [
        layer
        for at in range(0, len(found), 3)
        for layer in (found[at + 1], found[at], found[at + 2])
    ]
    return paired(found, built)


def dense_net(blocks: int = 3, layers: int = 4, width: int = 8) -> Pair:
    """Growing widths; normalizations before convolutions; other numbers on each side."""
    found = [dense("densenet/conv1", "conv1/conv", 7, 7, 3, width, bias=False)]
    channels = width
    for block in range(blocks):
        for layer in range(layers):
            mine = f"densenet/dense_block{block + 1}/conv_block{layer + 1}"
            theirs = f"conv{block + 2}_block{layer + 1}"
            for part, (shape, size) in enumerate(
                (((1, 1, channels, 4 * width), channels), ((3, 3, 4 * width, width), 4 * width))
            ):
                found += [
                    norm(f"{mine}/x{part + 1}/BatchNorm", f"{theirs}_{part}_bn", size, True),
                    dense(
                        f"{mine}/x{part + 1}/Conv", f"{theirs}_{part + 1}_conv", *shape, bias=False
                    ),
                ]
            channels += width
    return paired([*found, dense("densenet/logits", "predictions", channels, 10)])


def extra_heads(layers: int = 3, width: int = 32) -> Pair:
    """A head on each side that the other has not, of a shape that others have, too."""
    pair = bert(layers, width)
    source = NamedShape("cls/predictions/transform/dense/kernel", (width, width), created=10_000)
    target = NamedShape("span_head/kernel", (width, width), "float32", 10_000, 10_000)
    return replace(pair, source=(*pair.source, source), target=(*pair.target, target))


def distilled(width: int = 32) -> Pair:
    """Six layers on one side, three on the other: those with the same numbers are no answer."""
    pair = bert(6, width)
    kept = {f"layer_{number}/" for number in (0, 1, 2)}
    target = tuple(
        row
        for row in pair.target
        if "transformer/" not in row.name or any(part in row.name for part in kept)
    )
    return replace(pair, target=target, truth={})


ALL: dict[str, Callable[[], Pair]] = {
    "bert": bert,
    "encoder_decoder": encoder_decoder,
    "u_net": u_net,
    "towers with a hint": lambda: towers(True, False),
    "towers with a hint, swapped": lambda: towers(True, False, swapped=True),
    "towers with tables": lambda: towers(False, True),
    "towers with tables, swapped": lambda: towers(False, True, swapped=True),
    "towers": lambda: towers(False, False),
    "towers, swapped": lambda: towers(False, False, swapped=True),
    "experts": experts,
    "cells": cells,
    "features": features,
    "gated_stack": gated_stack,
    "dense_net": dense_net,
    "extra_heads": extra_heads,
    "unlabelled_attention": unlabelled_attention,
    "words_with_two_meanings": words_with_two_meanings,
}
