"""Which variables are the slots of others, told from their names.

    slot_of("dnn/kernel/Adam_1", names)          # "dnn/kernel"
    is_optimizer_state("beta1_power", names)     # True

A checkpoint doesn't say what a tensor was for; optimizers name their slots after the variable.
"""

from __future__ import annotations

import re
from collections.abc import Collection

# Slots of tf.compat.v1.train optimizers and of tf.keras.optimizers.legacy ones.
_SLOT_NAMES = frozenset(
    (
        *("Adam", "AdamW", "Adagrad", "Adadelta", "Ftrl", "Momentum", "RMSProp", "LAMB"),
        *("AdaMax", "Nadam", "adam_m", "adam_v", "m", "v", "vhat", "rms", "mg", "momentum"),
        *("accumulator", "linear", "accum_grad", "accum_var", "ExponentialMovingAverage"),
    )
)
_OPTIMIZER_SCALARS = re.compile(
    r"(.*/)?(beta[12]_power(_\d+)?|(Adam|SGD|RMSprop|Adagrad|Adadelta|Adamax|Nadam|Ftrl)(_\d+)?/"
    r"(iter|beta_1|beta_2|decay|learning_rate|momentum|rho|epsilon|momentum_cache"
    r"|beta|learning_rate_power|l[12]_regularization_strength))"
)


def slot_of(name: str, names: Collection[str]) -> str | None:
    """Returns the variable whose slot `name` is, or None.

    Args:
      name: of a variable.
      names: of all variables of the checkpoint or graph (a set, as it is searched).

    Returns:
      The longest name of another variable that `name` extends by one part, also below the
      optimizer's own scope (`training/Adam/dense/kernel/m` for `dense/kernel`).
    """
    parent, _, last = name.rpartition("/")
    if parent in names:
        return parent
    if not _is_slot_name(last):
        return None
    while "/" in parent:
        parent = parent.partition("/")[2]
        if parent in names:
            return parent
    return None


def _is_slot_name(last: str) -> bool:
    """Whether an optimizer calls a slot so; a second one of that name has a number behind it."""
    stem, _, number = last.rpartition("_")
    return last in _SLOT_NAMES or (stem in _SLOT_NAMES and number.isdecimal())


def is_optimizer_state(name: str, names: Collection[str]) -> bool:
    """Returns whether a variable is an optimizer's: a slot, or a scalar such as `beta1_power`."""
    return bool(_OPTIMIZER_SCALARS.fullmatch(name)) or slot_of(name, names) is not None


# What tf.keras.optimizers call the slots of tf.compat.v1.train optimizers, and of BERT's.
_TF1_SLOTS: dict[str, tuple[str, ...]] = {
    "m": ("Adam", "AdamW", "adam_m", "LAMB"),
    "v": ("Adam_1", "AdamW_1", "adam_v", "LAMB_1"),
    "momentum": ("Momentum", "RMSProp_1"),
    "rms": ("RMSProp",),
    "accumulator": ("Adagrad", "Ftrl"),
    "linear": ("Ftrl_1",),
    "accum_grad": ("Adadelta",),
    "accum_var": ("Adadelta_1",),
}
_COUNTERS = ("iter", "iteration", "iterations")


def corresponding_slots(name: str) -> list[str]:
    """Returns what a Keras optimizer's variable may be called in a name-based checkpoint.

    Args:
      name: `Adam/dense/kernel/m` (legacy), `Adam/m/dense/kernel` or `m/dense/kernel` (new), or that
        of the optimizer's counter.

    Returns:
      Names of the same slot as `tf.compat.v1.train` optimizers have it; for a counter, the step.
    """
    *scopes, last = name.split("/")
    if last in _COUNTERS:
        return ["global_step"]
    found = []
    for start in range(len(scopes) + 1):
        if last in _TF1_SLOTS:
            found += ["/".join([*scopes[start:], slot]) for slot in _TF1_SLOTS[last]]
        if start < len(scopes) and scopes[start] in _TF1_SLOTS:
            variable = [*scopes[start + 1 :], last]
            found += ["/".join([*variable, slot]) for slot in _TF1_SLOTS[scopes[start]]]
    return found
