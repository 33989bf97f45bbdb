"""Which variables are the slots of others, told from their names.

    slot_of("dnn/kernel/Adam_1", names)          # "dnn/kernel"
    is_optimizer_state("beta1_power", names)     # True

A checkpoint doesn't say what a tensor was for; optimizers name their slots after the variable.
"""

from __future__ import annotations

import re
from collections.abc import Collection

# Slots of tf.compat.v1.train optimizers and of tf.keras.optimizers.legacy ones.
_SLOT_NAMES = re.compile(
    r"(Adam|AdamW|Adagrad|Adadelta|Ftrl|Momentum|RMSProp|LAMB|AdaMax|Nadam"
    r"|adam_[mv]|m|v|vhat|rms|mg|momentum|accumulator|linear|accum_grad|accum_var"
    r"|ExponentialMovingAverage)(_\d+)?"
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
    if not _SLOT_NAMES.fullmatch(last):
        return None
    while "/" in parent:
        parent = parent.partition("/")[2]
        if parent in names:
            return parent
    return None


def is_optimizer_state(name: str, names: Collection[str]) -> bool:
    """Returns whether a variable is an optimizer's: a slot, or a scalar such as `beta1_power`."""
    return bool(_OPTIMIZER_SCALARS.fullmatch(name)) or slot_of(name, names) is not None
