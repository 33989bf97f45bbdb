"""Gives the EstimatorSpec of a model_fn what a wrapped job has: a Scaffold, and hooks.

    spec = rewrite_spec(model_fn(features, labels, mode), mode, config, params, JobOptions())

All else of the spec stays, and its hooks stay tuples. A TPUEstimatorSpec that runs without TPUs
gets the same; it has no hooks of its own for the chief, so the others don't get those.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from estimator_ckpt.autograph import not_converted
from estimator_ckpt.compat import estimator as tf_estimator
from estimator_ckpt.estimator.background.hooks import add_async_saving
from estimator_ckpt.estimator.listeners import SavingListenersHook
from estimator_ckpt.estimator.options import JobOptions
from estimator_ckpt.estimator.scaffold import checkpoint_scaffold, restoring_scaffold
from estimator_ckpt.estimator.spec_hooks import add_chief_hooks, add_hooks
from estimator_ckpt.estimator.tf1_copies.hooks import Tf1CheckpointSaverHook
from estimator_ckpt.estimator.train_op import warn_if_nothing_is_trained
from estimator_ckpt.estimator.warm_start_at_once import read_at_once
from estimator_ckpt.live.tensorflow_internals import is_export_for_training
from estimator_ckpt.messages import logger

_log = logger(__name__)
_SCAFFOLDS: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()
"""The Scaffolds that specs of wrapped model_fns have, each with a reference to its graph."""
_SAID: set[tuple[str | None, str]] = set()
"""The model_dirs of which it was said what is saved there."""


@not_converted
def rewrite_spec(spec: Any, mode: Any, config: Any, params: Any, options: JobOptions) -> Any:
    """Returns the spec with the Scaffold of its mode, and the hooks that the options ask for.

    Args:
      spec: what a model_fn returned. What is no spec is returned as it is: Estimator says what it
        should be. So is one that was rewritten before, and one that was made eagerly, as a test of
        a model_fn does: no job has it.
      mode: what the model_fn was called for.
      config: a RunConfig, or None.
      params: those of the model_fn, or None; TPUEstimator says there whether it has TPUs.
      options: of the job.
    """
    has_scaffold_fn = hasattr(spec, "scaffold_fn")  # a TPUEstimatorSpec
    if not (has_scaffold_fn or isinstance(spec, tf_estimator.EstimatorSpec)):
        return spec
    if tf.compat.v1.executing_eagerly_outside_functions() or is_wrapped(spec):
        return spec
    if options.warm_start_at_once:
        read_at_once(tf.compat.v1.get_default_graph())
    on_tpu = has_scaffold_fn and _may_use_tpu(params)
    if not has_scaffold_fn:
        spec = spec._replace(scaffold=_scaffold(spec.scaffold, mode, config, options))
    else:
        spec = _with_scaffold_fn(spec, mode, config, options, at_once=not on_tpu)
    if mode != tf_estimator.ModeKeys.TRAIN or is_export_for_training():
        return spec
    warn_if_nothing_is_trained(spec.train_op)
    return _with_hooks(spec, config, options, on_tpu=on_tpu)


def _may_use_tpu(params: Any) -> bool:
    return not isinstance(params, Mapping) or bool(params.get("use_tpu", True))


def _with_scaffold_fn(
    spec: Any, mode: str, config: Any, options: JobOptions, *, at_once: bool
) -> Any:
    """Replaces the `scaffold_fn` of a TPUEstimatorSpec; without TPUs, it is called right after."""
    make = spec.scaffold_fn or tf.compat.v1.train.Scaffold
    if not at_once:
        return spec._replace(scaffold_fn=lambda: _scaffold(make(), mode, config, options))
    made = _scaffold(make(), mode, config, options)
    return spec._replace(scaffold_fn=lambda: made)


def _with_hooks(spec: Any, config: Any, options: JobOptions, *, on_tpu: bool) -> Any:
    is_chief = config is None or config.is_chief
    if is_chief:
        _say_what_is_saved(config, options)
    if options.async_save and on_tpu:
        _log.warning("async_save has no effect on a TPUEstimator with TPUs, which has its own")
    elif options.async_save and config is not None:
        spec = add_async_saving(
            spec,
            config,
            when_busy=options.async_when_busy,
            sigterm_secs=options.async_sigterm_secs,
            memory=options.async_memory,
        )
    if options.saving_listeners:
        listeners = options.saving_listeners if is_chief else ()
        spec = add_hooks(spec, SavingListenersHook(listeners))
    if options.tf1_dir is not None:
        hook = Tf1CheckpointSaverHook(
            options.tf1_dir, on_error=options.tf1_on_error, take_over=options.tf1_take_over
        )
        spec = add_chief_hooks(spec, is_chief, hook)
    return spec


def _say_what_is_saved(config: Any, options: JobOptions) -> None:
    """Says it once a model_dir, however often training begins there and on how many devices."""
    said = (getattr(config, "model_dir", None), options.summary)
    if said not in _SAID:
        _SAID.add(said)
        _log.info("%s", options.summary)


def _scaffold(scaffold: Any, mode: str, config: Any, options: JobOptions) -> Any:
    modes = tf_estimator.ModeKeys
    if mode == modes.TRAIN and not is_export_for_training():
        made = checkpoint_scaffold(
            checkpoint_format=options.checkpoint_format,
            checkpoint_fn=options.checkpoint_fn,
            config=config,
            scaffold=scaffold,
            sync_data=options.sync_data,
            unchanged=options.unchanged,
            unchanged_files=options.unchanged_files,
            unchanged_room=options.unchanged_room,
        )
    else:
        made = restoring_scaffold(scaffold, config, evaluates=mode == modes.EVAL)
    _SCAFFOLDS[made] = weakref.ref(tf.compat.v1.get_default_graph())
    return made


def is_wrapped(spec: Any) -> bool:
    """Returns whether an EstimatorSpec is of a wrapped model_fn, whatever calls that."""
    scaffold = getattr(spec, "scaffold", None)
    graph = None if scaffold is None else _SCAFFOLDS.get(scaffold)
    return graph is not None and graph() is tf.compat.v1.get_default_graph()
