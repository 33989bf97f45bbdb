"""Which variables are the slots of others, and which slots of two optimizers mean the same.

    parse_slot("training/Adam/dnn/kernel/m")     # [SlotName("dnn/kernel", "m", "adam"), ...]
    meaning("adam", "m"), meaning("adam", "Adam")        # both "adam: mean of gradients"

Names alone prove nothing: `logits/kernel` lies below a variable `logits`, and is no slot of it. So
a slot is told from a *known* slot name, a variable that is there, and a shape that fits it; what
the object graph says of slots comes first (see `estimator_ckpt.naming.optimizers`).

The names are those of tf.compat.v1.train, tf.keras.optimizers.legacy, tf.keras.optimizers since
2.11, Keras 3, and of the widespread optimizers of BERT, tensor2tensor and TensorFlow Addons.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

AVERAGE = "ExponentialMovingAverage"


class SlotName(NamedTuple):
    """What a name would say if it were a slot's.

    Attributes:
      variable: name of the variable.
      slot: what the optimizer calls the slot, such as `m` or `Adam_1`.
      optimizer: the optimizer's kind, such as `adam`; "" where the name doesn't tell.
    """

    variable: str
    slot: str
    optimizer: str


# By the optimizer's kind: {slot: what its values are}. Slots of one kind and meaning can take each
# other's place; others can't, also if they have the same name. `momentum` of SGD, for example, sums
# up updates in Keras, but gradients in tf.compat.v1.train.MomentumOptimizer.
_ADAM = {
    "m": "mean of gradients",
    "v": "mean of squares",
    "vhat": "largest mean of squares",
    "Adam": "mean of gradients",
    "Adam_1": "mean of squares",
    "adam_m": "mean of gradients",
    "adam_v": "mean of squares",
    "momentum": "mean of gradients",
    "velocity": "mean of squares",
    "velocity_hat": "largest mean of squares",
}
_RMSPROP = {
    "rms": "mean of squares",
    "velocity": "mean of squares",
    "momentum": "sum of updates",
    "mg": "mean of gradients",
    "average_gradient": "mean of gradients",
}
_MEANINGS: dict[str, dict[str, str]] = {
    "adam": _ADAM,
    "adamw": {**_ADAM, "AdamW": "mean of gradients", "AdamW_1": "mean of squares"},
    "lazyadam": {**_ADAM, "LazyAdam": "mean of gradients", "LazyAdam_1": "mean of squares"},
    "lamb": {**_ADAM, "LAMB": "mean of gradients", "LAMB_1": "mean of squares"},
    "nadam": {**_ADAM, "Nadam": "mean of gradients", "Nadam_1": "mean of squares"},
    "adamax": {
        "m": "mean of gradients",
        "momentum": "mean of gradients",
        "v": "largest gradient",
        "u": "largest gradient",
        "norm": "largest gradient",
        "AdaMax": "mean of gradients",
        "AdaMax_1": "largest gradient",
    },
    "sgd": {"momentum": "sum of updates", "m": "sum of updates"},
    "momentum": {"Momentum": "sum of gradients", "momentum": "sum of gradients"},
    "rmsprop": _RMSPROP,
    "adagrad": {"accumulator": "sum of squares", "Adagrad": "sum of squares"},
    "adadelta": {
        "accum": "mean of squares",
        "accum_grad": "mean of squares",
        "accumulated_grad": "mean of squares",
        "Adadelta": "mean of squares",
        "accum_update": "mean of squared updates",
        "accum_var": "mean of squared updates",
        "accumulated_delta_var": "mean of squared updates",
        "Adadelta_1": "mean of squared updates",
    },
    "ftrl": {
        "accum": "sum of squares",
        "accumulator": "sum of squares",
        "Ftrl": "sum of squares",
        "linear": "linear term",
        "Ftrl_1": "linear term",
    },
    "lion": {"m": "mean of gradients", "momentum": "mean of gradients"},
    "adafactor": {"r": "rows", "c": "columns", "v": "mean of squares", "vr": "rows"},
    "muon": {"momentum": "sum of gradients", "velocity": "mean of squares"},
}
# Kinds whose slots mean the same.
_SAME = dict.fromkeys(("adamw", "lazyadam", "lamb", "nadam"), "adam")
# What tf.compat.v1.train optimizers, and those made like them, put behind the variable's name.
_TF1_KINDS = {
    "Adam": "adam",
    "AdamW": "adamw",
    "LazyAdam": "lazyadam",
    "LAMB": "lamb",
    "adam_m": "adam",
    "adam_v": "adam",
    "Momentum": "momentum",
    "RMSProp": "rmsprop",
    "Adagrad": "adagrad",
    "Adadelta": "adadelta",
    "Ftrl": "ftrl",
    "AdaMax": "adamax",
    "Nadam": "nadam",
    **dict.fromkeys(
        ("AdagradDA", "ProximalAdagrad", "Adafactor", "SM3", "Yogi", "LARS", "LARSOptimizer"), ""
    ),
    **dict.fromkeys(("ShampooOptimizer", "PowerSign", "AddSign", "NovoGrad", "RectifiedAdam"), ""),
    **dict.fromkeys(("GradientDescentAccumulator", "MovingAverage", "gradient_accumulation"), ""),
}
_KERAS_SLOTS = frozenset(
    slot
    for slots in _MEANINGS.values()
    for slot in slots
    if slot.islower() and slot not in _TF1_KINDS
) | {"m", "v", "slow", "average", "vc", "accumulator"}
_BEHIND = _KERAS_SLOTS | _TF1_KINDS.keys() | {AVERAGE}
# The longest first, so that `velocity_hat` is not taken for a `hat` of something.
_KERAS3_SLOTS = sorted(
    (
        *("momentum", "velocity", "velocity_hat", "accumulator", "linear", "norm"),
        *("accumulated_grad", "accumulated_delta_var", "average_gradient", "gradient_accumulator"),
    ),
    key=len,
    reverse=True,
)
_KERAS3 = re.compile(rf"(?P<variable>.+)_(?P<slot>{'|'.join(_KERAS3_SLOTS)})")
_HYPERPARAMETERS = frozenset(
    (
        *("beta_1", "beta_2", "decay", "learning_rate", "momentum", "rho", "epsilon", "beta"),
        *("learning_rate_power", "l1_regularization_strength", "l2_regularization_strength"),
        *("weight_decay", "loss_scale", "current_loss_scale", "good_steps"),
    )
)
COUNTERS = frozenset(("iter", "iteration", "iterations"))
# Both multiply up Nadam's momenta, which grow by 0.96**(0.004 * step) and by 0.96**step.
_PRODUCTS = {
    "momentum_cache": "nadam: product of momenta that grow slowly",
    "_u_product": "nadam: product of momenta that grow fast",
}
_POWER = re.compile(r"beta([12])_power(?:_\d+)?")
# Slots that only one kind of optimizer of Keras since 2.11 has.
_TELLING = {
    "velocity": "rmsprop",
    "u": "adamax",
    "accumulated_grad": "adadelta",
    "linear": "ftrl",
    "r": "adafactor",
}
_KINDS = frozenset(_MEANINGS)
_DIGITS = "0123456789"
_KERAS = "keras"  # one of Keras since 2.11, which does not tell its own name


def may_be_slot(name: str) -> bool:
    """Returns whether `parse_slot` may yield anything: at once, as there may be 100,000 names."""
    scopes, slash, last = name.rpartition("/")
    return bool(slash) and (_is_last_of_slot(last) or _are_scopes_of_slot(scopes))


@functools.lru_cache(maxsize=4096)
def _are_scopes_of_slot(scopes: str) -> bool:
    return not _KERAS_SLOTS.isdisjoint(scopes.split("/"))


def _is_last_of_slot(last: str) -> bool:
    # What number it has is of no account: so it is asked once for all of a row.
    stem = last.rstrip(_DIGITS)
    return _is_behind(last if last in _BEHIND or stem == last else f"{stem}0")


@functools.lru_cache(maxsize=4096)
def _is_behind(last: str) -> bool:
    return _without_number(last, _BEHIND) in _BEHIND or _KERAS3.fullmatch(last) is not None


def _without_number(last: str, known: Collection[str]) -> str:
    """Returns what is numbered, as `Adam` of `Adam_1`; what is known as it is, or has no number."""
    stem, _, number = last.rpartition("_")
    return stem if number.isdecimal() and last not in known else last


def kind_behind(last: str) -> str | None:
    """Returns the kind of optimizer that puts this behind a variable's name, as in `w/Adam_1`.

    Args:
      last: the last part of a name.

    Returns:
      The kind, "" for one whose slots are not known in detail, or None if none of
      tf.compat.v1.train and the like does.
    """
    return _TF1_KINDS.get(_without_number(last, _TF1_KINDS))


@functools.lru_cache(maxsize=4096)
def kind_of_optimizer(scope: str) -> str:
    """Returns the kind of an optimizer from its own name: `adam_w_1` is `adamw`; "" if unknown."""
    kind = re.sub(r"(_\d+)$", "", scope.rpartition("/")[2]).replace("_", "").lower()
    return kind if kind in _KINDS else ""


def parse_slot(name: str, *, is_slot: bool = False) -> Iterator[SlotName]:
    """Yields what a name would say if it were that of a slot, the likeliest first.

    Args:
      name: of a tensor, as in a name-based checkpoint or as the object graph has it.
      is_slot: whether it is known to be one, so that `m/dense/kernel` can be nothing else.

    Yields:
      Readings of it. Whether there is such a variable, and of what shape, is for others to see.
    """
    *scopes, last = name.split("/")
    base = _without_number(last, _BEHIND)
    if base in _BEHIND:  # `dense/kernel/Adam_1`, `Adam/dense/kernel/m`
        slot = last if base in _TF1_KINDS or base == AVERAGE else base
        for start in range(len(scopes)):
            kind = _TF1_KINDS.get(base) or kind_of_optimizer(scopes[start - 1] if start else "")
            yield SlotName("/".join(scopes[start:]), slot, kind)
        for variable in _of_part(scopes):
            yield SlotName(variable, slot, _TF1_KINDS.get(base, ""))
    if not _KERAS_SLOTS.isdisjoint(scopes):  # `Adam/m/dense/kernel`
        for at in range(len(scopes)):
            kind = kind_of_optimizer(scopes[at - 1]) if at else ""
            kind = kind or (_KERAS if is_slot else "")
            if scopes[at] in _KERAS_SLOTS and kind:
                yield SlotName("/".join([*scopes[at + 1 :], last]), scopes[at], kind)
    if scopes and (matched := _KERAS3.fullmatch(last)):
        # `adam/net_dense_kernel_momentum`: each `/` of the variable's path has become `_`.
        yield SlotName(matched["variable"], matched["slot"], kind_of_optimizer(scopes[-1]))


def _of_part(scopes: Sequence[str]) -> Iterator[str]:
    """Yields the variables whose part a slot may be of: `w` of `w/part_0/Ftrl`, `w/t_0/Adagrad`.

    tf.compat.v1.train calls the slot of `w/part_0`, made in a scope such as `dnn/` that stands
    before the variable's own name once more, by what is left of `dnn/w/part_0/Adagrad` behind
    `len("w/part_0/")` characters (`slot_creator.py`): a tail of `w/part_0/`, as long as the scope.
    """
    if not scopes[-1:] or not scopes[-1][-1:].isdecimal():
        return
    for at in range(len(scopes) - 1, 0, -1):
        variable, tail = "/".join(scopes[:at]), "/".join(scopes[at:])
        if f"{variable}/part_".endswith(tail.rstrip("0123456789")):
            yield variable


def fits_variable(shape: tuple[int, ...], variable: tuple[int, ...]) -> bool:
    """Returns whether a slot of this shape can be one of a variable of that shape.

    It has the variable's shape, or is a factor of it, as those of Adafactor (rows, columns) and SM3
    (one dimension, the others 1) are; Adafactor gives what it does not need one element.
    """
    if shape == variable:
        return True
    if len(variable) < 2:
        return False
    if len(shape) == len(variable) - 1:
        return shape in (variable[:-1], variable[:-2] + variable[-1:])
    if len(shape) == len(variable):
        same = [size for size, whole in zip(shape, variable) if size == whole]
        return bool(same) and all(size in (1, whole) for size, whole in zip(shape, variable))
    return len(shape) == 1 and shape[0] in variable


def is_factored(slot: SlotName) -> bool:
    """Returns whether a slot may be a factor of its variable's shape; those of Adam never are."""
    return not slot.slot.startswith(AVERAGE) and slot.optimizer in ("", "adafactor", _KERAS)


def power(name: str) -> str:
    """Returns which product over the steps so far a scalar of an optimizer is called as.

    `beta1_power` and `beta2_power` are those of tf.compat.v1.train's Adam. `momentum_cache`, of
    legacy Nadam, and `_u_product`, of Nadam since Keras 2.11, are products by other schedules.

    Args:
      name: of the tensor, or what the optimizer calls it.

    Returns:
      Words that are equal where one can take another's place; "" for none of them.
    """
    last = name.rpartition("/")[2]
    return last if _POWER.fullmatch(last) else _PRODUCTS.get(last, "")


def beta_of(name: str) -> str:
    """Returns whose powers a scalar is called as, as Keras calls it: `beta_1`; "" for no beta's."""
    found = _POWER.fullmatch(name.rpartition("/")[2])
    return f"beta_{found[1]}" if found else ""


def is_counter(name: str) -> bool:
    """Returns whether a scalar is called as optimizers of Keras call their own step counter."""
    scope, _, last = name.rpartition("/")
    return last in COUNTERS and (not scope or bool(kind_of_optimizer(scope)))


def is_hyperparameter(name: str) -> bool:
    """Returns whether a scalar is called as optimizers of Keras call what they can be set to."""
    scope, _, last = name.rpartition("/")
    return last in _HYPERPARAMETERS and bool(kind_of_optimizer(scope))


@functools.lru_cache(maxsize=4096)
def meaning(kind: str, slot: str, siblings: frozenset[str] = frozenset()) -> str:
    """Returns what a slot's values are, in words that are equal where one can take another's place.

    Args:
      kind: of the optimizer; "" where it is not known.
      slot: what it calls the slot.
      siblings: all slots of the same variable. They tell which of RMSProp's numbered slots is
        which, and the kind of an optimizer of Keras that does not tell it otherwise.

    Returns:
      The meaning; "" where it is not known.
    """
    if slot.startswith("RMSProp"):
        return f"rmsprop: {_rmsprop(slot, siblings)}"
    kind = _kind_by_slots(siblings) if kind == _KERAS else kind
    found = _MEANINGS.get(kind, {}).get(slot)
    return f"{_SAME.get(kind, kind)}: {found}" if found else ""


def _rmsprop(slot: str, siblings: frozenset[str]) -> str:
    """A centered one makes `mg` before `momentum`."""
    if slot == "RMSProp":
        return _RMSPROP["rms"]
    is_centered = "RMSProp_2" in siblings
    return _RMSPROP["mg" if slot == "RMSProp_1" and is_centered else "momentum"]


def _kind_by_slots(slots: frozenset[str]) -> str:
    """Returns the kind of an optimizer of Keras since 2.11 that has just such slots, or ""."""
    if slots in (frozenset("mv"), frozenset(("m", "v", "vhat"))):
        return "adam"
    for slot, kind in _TELLING.items():
        if slot in slots:
            return kind
    return "adagrad" if slots == {"accumulator"} else ""
