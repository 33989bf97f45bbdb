"""Wraps a model_fn, so that its job saves TF2 or dual checkpoints and restores any.

    estimator = tf.estimator.Estimator(wrap_model_fn(model_fn), model_dir="model_dir")

    @wrap_model_fn(checkpoint_format="tf2", tf1_dir="model_dir/tf1")     # or as a decorator
    def model_fn(features, labels, mode): ...

The wrapped function takes what the original takes; Estimator sees no other difference.
"""

from __future__ import annotations

import functools
import inspect
import logging
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, overload

import tensorflow as tf

from estimator_ckpt.compat import estimator as tf_estimator
from estimator_ckpt.errors import CheckpointArgumentError
from estimator_ckpt.estimator.async_save import WHEN_BUSY, add_async_saving
from estimator_ckpt.estimator.emission import ON_ERROR
from estimator_ckpt.estimator.hooks import Tf1CheckpointSaverHook
from estimator_ckpt.estimator.listeners import SavingListenersHook
from estimator_ckpt.estimator.scaffold import CheckpointFn, checkpoint_scaffold, restoring_scaffold
from estimator_ckpt.estimator.train_op import warn_if_nothing_is_trained
from estimator_ckpt.tensorflow_internals import is_export_for_training

_log = logging.getLogger(__name__)

ModelFn = Callable[..., Any]
_WRAPPED = "_estimator_ckpt_wrapped"
_FORMATS = ("dual", "tf2")
_SCAFFOLDS: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()
"""The Scaffolds that wrapped model_fns have returned, each with a reference to its graph."""


@overload
def wrap_model_fn(
    model_fn: ModelFn,
    *,
    checkpoint_format: str = ...,
    checkpoint_fn: CheckpointFn | None = ...,
    tf1_dir: str | None = ...,
    saving_listeners: Sequence[Any] = ...,
    tf1_on_error: str = ...,
    sync_data: bool = ...,
    async_save: bool = ...,
    async_when_busy: str = ...,
) -> ModelFn: ...


@overload
def wrap_model_fn(
    model_fn: None = ...,
    *,
    checkpoint_format: str = ...,
    checkpoint_fn: CheckpointFn | None = ...,
    tf1_dir: str | None = ...,
    saving_listeners: Sequence[Any] = ...,
    tf1_on_error: str = ...,
    sync_data: bool = ...,
    async_save: bool = ...,
    async_when_busy: str = ...,
) -> Callable[[ModelFn], ModelFn]: ...


def wrap_model_fn(
    model_fn: ModelFn | None = None,
    *,
    checkpoint_format: str = "dual",
    checkpoint_fn: CheckpointFn | None = None,
    tf1_dir: str | None = None,
    saving_listeners: Sequence[Any] = (),
    tf1_on_error: str = "continue",
    sync_data: bool = False,
    async_save: bool = False,
    async_when_busy: str = "wait",
) -> Any:
    """Wraps a model_fn: its job saves object-based checkpoints, and restores whatever lies there.

    In TRAIN the EstimatorSpec gets a `tf1.train.Scaffold` whose saver is a `tf.train.Checkpoint`.
    In PREDICT its saver is a Saver that restores any format, in EVAL that Saver is in the SAVERS
    collection: TensorFlow freezes a Checkpoint on export, and InMemoryEvaluatorHook takes none.
    All else of the spec stays.

    Args:
      model_fn: as for `tf.estimator.Estimator`, with any of the arguments that this passes.
      checkpoint_format: "dual", readable by name and by object, or "tf2", by object only.
      checkpoint_fn: called with {name: variable} and the global step after model_fn has built a
        training graph; returns the `tf.train.Checkpoint` to save. By default it is
        `Checkpoint(var_list={name: variable}, step=global_step)`.
      tf1_dir: also emit name-based checkpoints into this directory, one for each of the job's.
      saving_listeners: `tf.compat.v1.train.CheckpointSaverListener`s that the chief calls as
        `Estimator.train` calls its own, also under MultiWorkerMirroredStrategy, where Estimator
        takes none. One that asks for a stop there is heard one step later.
      tf1_on_error: what to do where a checkpoint can't be put into `tf1_dir`, as on a full disk:
        "continue" training and log what to run later, or "stop" with the error. Where the job's
        own checkpoint can't be saved, training always stops.
      sync_data: flush the tensors to the disk before a checkpoint appears, so that a power cut
        takes no checkpoint that is listed. The index and the state file are flushed in any case.
      async_save: copy the variables in memory at a save, and write the checkpoint, with all that
        follows a save, while training goes on. It needs memory for one more copy of them. Where
        variables are on parameter servers, it has no effect, and says so.
      async_when_busy: what a save does that comes while the one before is still being written:
        "wait" for it, or "skip" this one, which is logged. The final save always waits, and so
        do workers in step (MultiWorkerMirroredStrategy).

    Returns:
      A model_fn for Estimator. Without `model_fn`, a decorator that returns it.

    Raises:
      CheckpointArgumentError: the format, or what to do, is none of these.
    """
    if checkpoint_format not in _FORMATS:
        raise CheckpointArgumentError(
            f"checkpoint_format='{checkpoint_format}' is none of {', '.join(_FORMATS)}; "
            "for name-based checkpoints beside the job's give tf1_dir, or don't wrap the model_fn"
        )
    if tf1_on_error not in ON_ERROR:
        raise CheckpointArgumentError(
            f"tf1_on_error='{tf1_on_error}' is neither of {', '.join(ON_ERROR)}"
        )
    if async_when_busy not in WHEN_BUSY:
        raise CheckpointArgumentError(
            f"async_when_busy='{async_when_busy}' is neither of {', '.join(WHEN_BUSY)}"
        )
    if model_fn is None:
        return functools.partial(
            wrap_model_fn,
            checkpoint_format=checkpoint_format,
            checkpoint_fn=checkpoint_fn,
            tf1_dir=tf1_dir,
            saving_listeners=saving_listeners,
            tf1_on_error=tf1_on_error,
            sync_data=sync_data,
            async_save=async_save,
            async_when_busy=async_when_busy,
        )
    if getattr(model_fn, _WRAPPED, False):
        return model_fn
    settings = _Settings(
        checkpoint_format,
        checkpoint_fn,
        tf1_dir,
        tuple(saving_listeners),
        tf1_on_error,
        sync_data,
        async_when_busy if async_save else None,
    )
    return _with_signature(model_fn, settings.rewrite)


@dataclass(frozen=True)
class _Settings:
    """What `wrap_model_fn` was called with, and what it makes of an EstimatorSpec."""

    format: str
    checkpoint_fn: CheckpointFn | None
    tf1_dir: str | None
    listeners: tuple[Any, ...]
    tf1_on_error: str
    sync_data: bool
    async_when_busy: str | None
    """None to save while training stands still."""

    def rewrite(self, spec: Any, mode: str, config: Any) -> Any:
        """Returns the spec with the Scaffold of its mode, or as it is if that was done already."""
        if is_wrapped(spec):
            return spec
        if isinstance(spec, tf_estimator.EstimatorSpec):
            scaffold = self._scaffold(spec.scaffold, mode, config)
            spec = spec._replace(scaffold=scaffold)
            hooks = "training_chief_hooks"
        elif hasattr(spec, "scaffold_fn"):  # a TPUEstimatorSpec
            make = spec.scaffold_fn or tf.compat.v1.train.Scaffold
            spec = spec._replace(scaffold_fn=lambda: self._scaffold(make(), mode, config))
            hooks = "training_hooks"
        else:
            return spec  # Estimator says what it should be
        if mode != tf_estimator.ModeKeys.TRAIN or is_export_for_training():
            return spec
        warn_if_nothing_is_trained(spec.train_op)
        if self.async_when_busy and hooks == "training_hooks":
            _log.warning("async_save has no effect on a TPUEstimator, which has its own")
        elif self.async_when_busy and config is not None:
            spec = add_async_saving(spec, config, self.async_when_busy)
        if self.listeners:
            is_chief = config is None or config.is_chief
            listening = SavingListenersHook(self.listeners if is_chief else ())
            spec = spec._replace(training_hooks=[*(spec.training_hooks or ()), listening])
        if self.tf1_dir is None:
            return spec
        hook = Tf1CheckpointSaverHook(
            self.tf1_dir,
            keep_max=config.keep_checkpoint_max if config else 5,
            keep_every_n_hours=config.keep_checkpoint_every_n_hours if config else 10000,
            on_error=self.tf1_on_error,
        )
        return spec._replace(**{hooks: [*(getattr(spec, hooks) or ()), hook]})

    def _scaffold(self, scaffold: Any, mode: str, config: Any) -> Any:
        modes = tf_estimator.ModeKeys
        if mode == modes.TRAIN and not is_export_for_training():
            scaffold = checkpoint_scaffold(
                checkpoint_format=self.format,
                checkpoint_fn=self.checkpoint_fn,
                config=config,
                scaffold=scaffold,
                sync_data=self.sync_data,
            )
        else:
            scaffold = restoring_scaffold(scaffold, config, evaluates=mode == modes.EVAL)
        _SCAFFOLDS[scaffold] = weakref.ref(tf.compat.v1.get_default_graph())
        return scaffold


def is_wrapped(spec: Any) -> bool:
    """Returns whether an EstimatorSpec is of a wrapped model_fn, whatever calls that."""
    scaffold = getattr(spec, "scaffold", None)
    graph = None if scaffold is None else _SCAFFOLDS.get(scaffold)
    return graph is not None and graph() is tf.compat.v1.get_default_graph()


def _with_signature(model_fn: ModelFn, rewrite: Callable[[Any, str, Any], Any]) -> ModelFn:
    """Makes a function that takes what model_fn takes, and mode and config in any case.

    Estimator passes by keyword what it finds among a function's positional arguments, so
    those are given to it as a signature; functools.wraps would hide them.
    """
    taken = _parameters(model_fn)
    added = [name for name in ("mode", "config") if name not in taken]
    order = [*taken, *added]
    parameters = [_optional(name) if name in added else taken[name] for name in order]

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        given = dict(zip(order, args))
        given.update(kwargs)
        passed = {name: value for name, value in given.items() if name in taken}
        spec = model_fn(**passed)
        return rewrite(spec, given.get("mode") or spec.mode, given.get("config"))

    wrapped.__name__ = getattr(model_fn, "__name__", type(model_fn).__name__)
    wrapped.__doc__ = model_fn.__doc__
    wrapped.__module__ = getattr(model_fn, "__module__", __name__)
    setattr(wrapped, "__signature__", inspect.Signature(parameters))  # noqa: B010
    setattr(wrapped, _WRAPPED, True)
    return wrapped


_PASSED = ("features", "labels", "mode", "params", "config")


def _parameters(model_fn: ModelFn) -> dict[str, inspect.Parameter]:
    """Returns those arguments of a model_fn that Estimator passes, as positional ones."""
    positional = inspect.Parameter.POSITIONAL_OR_KEYWORD
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    found = inspect.signature(model_fn, follow_wrapped=False).parameters
    # As Estimator sees it: a decorator that names the arguments may well give others to what it
    # decorates. One that takes any has those of what it decorates, or all.
    takes_any = "mode" not in found and any(each.kind in variable for each in found.values())
    if takes_any:
        found = inspect.signature(model_fn).parameters
    bound = _bound_keywords(model_fn)
    taken = {
        name: inspect.Parameter(name, positional)
        for name, parameter in found.items()
        if parameter.kind not in variable and name not in bound
        # One of another name is for Estimator to refuse, unless it needs no value.
        if name in _PASSED or parameter.default is inspect.Parameter.empty
    }
    if takes_any and any(each.kind == inspect.Parameter.VAR_KEYWORD for each in found.values()):
        for name in set(_PASSED) - bound:
            taken.setdefault(name, inspect.Parameter(name, positional))
    return taken


def _bound_keywords(model_fn: Any) -> set[str]:
    """Returns the arguments that a partial function has values for."""
    bound: set[str] = set()
    while isinstance(model_fn, functools.partial):
        bound |= set(model_fn.keywords)
        model_fn = model_fn.func
    return bound


def _optional(name: str) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=None)
