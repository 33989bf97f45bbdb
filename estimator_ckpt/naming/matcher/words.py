"""What a name says: its words, its numbers, and the role of its last part.

    parsed("block2a_expand_bn")        # words {expand}, numbers (2, 1)
    role_of("depthwise_weights")       # ("depthwise", "")
    role_of("output_bias")             # ("bias", "output")

Words that name the type of a layer (dense, conv, norm) don't tell one layer from another; numbers
after such words come from counting (`conv2d_17`) and say no more than an order.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_SYNONYMS = {
    **dict.fromkeys(("q", "wq", "queries"), "query"),
    **dict.fromkeys(("k", "wk", "keys"), "key"),
    **dict.fromkeys(("v", "wv", "values"), "value"),
    **dict.fromkeys(("attn", "att", "attentions"), "attention"),
    **dict.fromkeys(("emb", "embed", "embeddings", "embs"), "embedding"),
    **dict.fromkeys(("enc",), "encoder"),
    **dict.fromkeys(("dec",), "decoder"),
    **dict.fromkeys(("fw", "fwd"), "forward"),
    **dict.fromkeys(("bw", "bwd", "back"), "backward"),
    **dict.fromkeys(("pos", "positional", "positions"), "position"),
    **dict.fromkeys(("tok", "tokens"), "token"),
    **dict.fromkeys(("users",), "user"),
    **dict.fromkeys(("items",), "item"),
    **dict.fromkeys(("proj", "projection"), "project"),
    **dict.fromkeys(("expansion",), "expand"),
    **dict.fromkeys(("reduction",), "reduce"),
    **dict.fromkeys(("dw", "dwconv"), "depthwise"),
    **dict.fromkeys(("pw", "pwconv"), "pointwise"),
    **dict.fromkeys(("out", "outputs"), "output"),
    **dict.fromkeys(("gen",), "generator"),
    **dict.fromkeys(("disc",), "discriminator"),
}
# Types of layers. Frameworks count them: `conv2d_17`, `LayerNorm_1`.
_TYPES = frozenset(
    (
        *("dense", "conv", "fc", "linear", "batch", "norm", "batchnorm", "bn", "normalization"),
        *("layernorm", "ln", "group", "instance", "embedding", "lstm", "gru", "rnn", "cell"),
        *("separable", "transpose", "deconv", "convolution", "fully", "connected", "multi"),
        *("head", "lookup", "tpu", "sync", "time", "distributed", "bidirectional"),
        *("sequential", "functional", "model", "prelu", "rms", "basic", "simple"),
    )
)
# Words that are beside most numbers, or in most names, and tell nothing apart.
_GENERIC = frozenset(
    (
        *("layer", "layers", "kernel", "weight", "weights", "bias", "hidden", "hiddenlayer"),
        *("block", "blocks", "unit", "units", "module", "stage", "step", "part", "the", "with"),
    )
)
COMMON = _TYPES | _GENERIC

_ROLES = {
    **dict.fromkeys(("kernel", "kernels", "weights", "filter", "filters"), "kernel"),
    **dict.fromkeys(("weight", "w", "matrix"), "weight"),
    **dict.fromkeys(("depthwise_kernel", "depthwise_weights", "depthwise_filter"), "depthwise"),
    **dict.fromkeys(("pointwise_kernel", "pointwise_weights", "pointwise_filter"), "pointwise"),
    **dict.fromkeys(("recurrent_kernel", "recurrent_weights"), "recurrent"),
    **dict.fromkeys(("bias", "biases", "b", "bias_weights"), "bias"),
    **dict.fromkeys(("gamma", "scale", "g"), "gamma"),
    **dict.fromkeys(("beta", "offset"), "beta"),
    **dict.fromkeys(("moving_mean", "running_mean", "mean", "pop_mean"), "mean"),
    **dict.fromkeys(
        (
            "moving_variance",
            "running_var",
            "running_variance",
            "moving_var",
            "variance",
            "pop_var",
            "var",
        ),
        "variance",
    ),
    **dict.fromkeys(
        ("embeddings", "embedding", "embedding_weights", "embedding_table", "lookup_table"),
        "embedding",
    ),
}
_ENDS = frozenset(("kernel", "weights", "weight", "bias", "biases", "gamma", "beta", "embeddings"))
_STARTS = frozenset(("kernel", "weights", "weight", "bias", "biases", "w", "b", "gamma", "beta"))

_CONVOLUTION = re.compile(r"conv([123])d(?=_|-|\.|$)", re.IGNORECASE)
_SIZE = re.compile(r"(?<![a-zA-Z0-9])\d+x\d+(?![a-zA-Z0-9])")
_VERSION = re.compile(r"(?<![a-zA-Z0-9])[vV]\d+(?![a-zA-Z0-9])|(?<=[a-z])V\d+$")
_TOKEN = re.compile(r"(\d+)([a-z](?![a-zA-Z]))?|[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
# What the object graph of a Keras model counts; `layer_with_weights-3` follows `model.weights`.
_COUNTED = re.compile(r"layer(_with_weights)?-\d+|_?self_tracked_trackables|\d+\.ATTRIBUTES")


@dataclass(frozen=True)
class Name:
    """What the scope of a name says.

    Attributes:
      words: those that may tell one layer from another.
      template: all words in order, a `#` for each number.
      numbers: the numbers, in order; a letter behind a digit (`2a`) is one, too.
      explicit: for each number, whether someone chose it; a layer type's are counted.
      text: for sorting as people do, `unit_2` before `unit_10`.
    """

    words: frozenset[str]
    template: tuple[str, ...]
    numbers: tuple[int, ...]
    explicit: tuple[bool, ...]
    text: tuple[tuple[str, int], ...]


def parsed(scope: str) -> Name:
    """Returns what a scope says, the parts between slashes one by one."""
    template: list[str] = []
    numbers: list[int] = []
    explicit: list[bool] = []
    text: list[tuple[str, int]] = []
    for part in scope.split("/"):
        tokens = [] if _COUNTED.fullmatch(part) else _tokens(part)
        chosen = not _is_counted(part, tokens)
        template.append("/")
        for word, number in tokens:
            template.append(word or "#")
            text.append((word, number))
            if not word:
                numbers.append(number)
                explicit.append(chosen)
        if tokens and all(word in _TYPES for word, _ in tokens):
            # The first of its type: `dense`, and then `dense_1`.
            template.append("#")
            numbers.append(0)
            explicit.append(False)
    words = frozenset(w for w in template if w not in "/#" and w not in COMMON)
    return Name(words, tuple(template), tuple(numbers), tuple(explicit), tuple(text))


def _is_counted(part: str, tokens: list[tuple[str, int]]) -> bool:
    """Whether a framework gave the number: `dense_1`, but not `conv1`, `layer_1`, `dense_1_a`."""
    words = [word for word, _ in tokens if word]
    ends = "_" in part and part.rpartition("_")[2].isdecimal()
    return ends and len(tokens) == len(words) + 1 and all(word in _TYPES for word in words)


def _tokens(part: str) -> list[tuple[str, int]]:
    """The words (with -1) and the numbers (with no word) of a part of a scope."""
    found = []
    part = _VERSION.sub("", _SIZE.sub("", _CONVOLUTION.sub("conv", part)))
    for match in _TOKEN.finditer(part):
        number, letter = match[1], match[2]
        if number:
            found.append(("", int(number)))
            found += [("", ord(letter) - ord("a") + 1)] if letter else []
        else:
            word = match[0].lower()
            found.append((_SYNONYMS.get(word, word), -1))
    return found


def slashed(name: str) -> str:
    """Returns a name with slashes between its scopes: PyTorch has dots, `fc1.weight`."""
    return name if "/" in name else name.replace(".", "/")


# Leaves of matrices that are stored as [out, in]: PyTorch's, and those that losses of TensorFlow
# (`nce_loss`, `sampled_softmax_loss`) or a `matmul(transpose_b=True)` take.
_OUT_IN = re.compile(r"(.*_)?weight|weight_.*|(output|nce|softmax|class)_weights", re.IGNORECASE)


def may_be_out_in(leaf: str) -> bool:
    """Returns whether frameworks store what is called so as `[out, in]`, not as `[in, out]`."""
    return _OUT_IN.fullmatch(leaf.partition(":")[0]) is not None


def role_of(leaf: str) -> tuple[str, str]:
    """Returns the role that the last part of a name says, and what else it says.

    Returns:
      One of kernel, weight (a kernel, an embedding or a scale), depthwise, pointwise, recurrent,
      bias, gamma, beta, mean, variance, embedding, or nothing; and the rest of the leaf.
    """
    leaf = leaf.partition(":")[0]
    low = leaf.lower()
    if low in _ROLES:
        return _ROLES[low], ""
    head, _, last = low.rpartition("_")
    if head and last in _ENDS:
        return _ROLES[last], leaf[: len(head)]
    numbered = re.fullmatch(r"([a-z]+?)_?(\d+)", low)
    if numbered and numbered[1] in _ROLES:
        return _ROLES[numbered[1]], numbered[2]
    start, _, rest = low.partition("_")
    if rest and start in _STARTS:
        return _ROLES[start], leaf[len(start) + 1 :]
    return "", leaf
