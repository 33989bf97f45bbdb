"""Tells how many updates an optimizer of tf.compat.v1.train made, from the powers of its betas.

    counted_steps(adam, offered, names, account)       # Counted(4, "beta2_power", "beta_2")

Adam there has no counter, but multiplies `beta1_power` by its beta with each update. Where the live
optimizer has the same beta, the same float32 products lead to just the number that was saved, bit
for bit, or to none: nothing is approximated. The global step may have counted otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from estimator_ckpt.checkpoint.account import Account
from estimator_ckpt.naming.correspondence import Match
from estimator_ckpt.naming.object_graph import ObjectGraph
from estimator_ckpt.naming.roles import Role
from estimator_ckpt.naming.slots import beta_of

_MOST = 1_000_000
_SMALLEST = float(np.finfo(np.float32).tiny)  # TensorFlow takes what is smaller for 0


class Counted(NamedTuple):
    """What was told from a power: how many updates, which tensor, the optimizer's beta."""

    steps: int
    power: str
    beta: str


def optimizers_of(
    counters: Mapping[str, int], graph: ObjectGraph, objects: Mapping[int, Any]
) -> dict[str, Any]:
    """Finds the object with betas that each counter is of.

    Args:
      counters: {key: node}.
      graph: of the objects.
      objects: {node: object}.

    Returns:
      {key: optimizer; None for a counter of none that has betas}.
    """
    found = {
        node: held
        for number, held in objects.items()
        if counters and hasattr(held, "beta_2")
        for node in graph.children_of(number).values()
    }
    return {key: found.get(node) for key, node in counters.items()}


def with_counts(
    matches: Mapping[str, Match],
    optimizers: Mapping[str, Any],
    offered: Mapping[str, Role],
    names: Mapping[str, str],
    account: Account,
) -> dict[str, Match]:
    """Corrects what was found for the counters of optimizers by what powers tell.

    Args:
      matches: {key: what was found}.
      optimizers: {key of a counter: its optimizer, or None}.
      offered: {name: role}, of what the checkpoint offers.
      names: {new name: name in the checkpoint}.
      account: of the checkpoint.

    Returns:
      {key of a counter: its match}: the global step where that is the count, or nothing tells it;
      else the count.
    """
    counters = [role.slot for role in offered.values() if role.kind == "counter"]
    if not counters or not all(map(beta_of, counters)):
        return {}
    steps = {None, *(name for name, role in offered.items() if role.kind == "global_step")}
    return {
        key: _with_count(matches[key], optimizer, offered, names, account)
        for key, optimizer in optimizers.items()
        if matches[key].name in steps
    }


def _with_count(
    match: Match,
    optimizer: Any,
    offered: Mapping[str, Role],
    names: Mapping[str, str],
    account: Account,
) -> Match:
    counted = counted_steps(optimizer, offered, names, account)
    step = None if match.name is None else account.integer(names[match.name])
    if counted is None:
        return match if step is None else match._replace(reason=f"{step}, {match.reason}")
    if counted.steps == step:
        return match._replace(reason=f"the global step; by '{counted.power}' it is the count")
    other = "there is no global step" if step is None else f"the global step is {step}"
    reason = (
        f"{counted.steps} updates, as '{counted.power}' is {counted.beta} of this optimizer to the "
        f"power of {counted.steps + 1}; {other}"
    )
    return Match(counted.power, reason, counted.steps)


def counted_steps(
    optimizer: Any, offered: Mapping[str, Role], names: Mapping[str, str], account: Account
) -> Counted | None:
    """Returns the count that the powers of a checkpoint tell; None if they don't, or not one.

    With several optimizers, nothing tells which power is whose: all have to tell the same.
    """
    found: dict[str, dict[str, int | None]] = {}
    for name, role in offered.items():
        beta = beta_of(role.slot) if role.kind == "counter" else ""
        if beta:
            steps = _steps(account.float32(names[name]), _value(optimizer, beta))
            found.setdefault(beta, {})[name] = steps
    sure = [
        Counted(steps, name, beta)
        for beta, counts in found.items()
        if None not in counts.values()
        for name, steps in counts.items()
        if steps is not None
    ]
    return sure[0] if len({each.steps for each in sure}) == 1 else None


def _value(optimizer: Any, beta: str) -> float | None:
    value = getattr(optimizer, beta, None)
    if isinstance(value, tf.Variable) and tf.executing_eagerly():
        value = value.numpy()
    return float(value) if isinstance(value, (float, np.floating)) else None


def _steps(power: float | None, beta: float | None) -> int | None:
    """Returns how often a beta was multiplied by itself to get just this power, in float32."""
    if power is None or beta is None or not (0 < beta < 1 and _SMALLEST <= power < 1):
        return None
    about = math.log(power) / math.log(beta)
    if about > _MOST:
        return None
    powers = np.multiply.accumulate(np.full(int(1.01 * about) + 2, beta, np.float32))
    (same,) = np.nonzero(powers == np.float32(power))
    return int(same[0]) if len(same) == 1 else None
