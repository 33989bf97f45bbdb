"""Adds hooks to the training part of an EstimatorSpec or a TPUEstimatorSpec.

    spec = add_hooks(spec, hook)                       # for every worker
    spec = add_chief_hooks(spec, config.is_chief, hook)
    training_hooks(spec)                               # all that it has

Hooks are tuples, as TensorFlow makes them: TPUEstimator adds tuples to them.
"""

from __future__ import annotations

from typing import Any

_CHIEF = "training_chief_hooks"


def training_hooks(spec: Any) -> tuple[Any, ...]:
    """Returns the hooks that a spec brings for training, those of the chief included."""
    return (*(spec.training_hooks or ()), *(getattr(spec, _CHIEF, None) or ()))


def add_hooks(spec: Any, *hooks: Any) -> Any:
    """Returns the spec with more hooks that each worker has."""
    return spec._replace(training_hooks=(*(spec.training_hooks or ()), *hooks))


def add_chief_hooks(spec: Any, is_chief: bool, *hooks: Any, first: bool = False) -> Any:
    """Returns the spec with more hooks that only the chief has.

    Args:
      spec: an EstimatorSpec, or a TPUEstimatorSpec, which has no such hooks: those of each worker
        get them, in the chief.
      is_chief: whether this process is the chief.
      *hooks: the hooks.
      first: whether they come before the chief's other hooks.
    """
    if not hasattr(spec, _CHIEF):
        return add_hooks(spec, *hooks) if is_chief else spec
    others = tuple(spec.training_chief_hooks or ())
    return spec._replace(**{_CHIEF: (*hooks, *others) if first else (*others, *hooks)})
