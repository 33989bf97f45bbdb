"""Wraps a model_fn, so that its job saves TF2 or dual checkpoints and restores any.

    estimator = tf.estimator.Estimator(wrap_model_fn(model_fn), model_dir="model_dir")

    @wrap_model_fn(checkpoint_format="tf2", tf1_dir="model_dir/tf1")     # or as a decorator
    def model_fn(features, labels, mode): ...

The wrapped function takes what the original takes; Estimator sees no other difference.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from estimator_ckpt.errors import CheckpointArgumentError
from estimator_ckpt.estimator.job_spec import rewrite_spec
from estimator_ckpt.estimator.options import JobOptions
from estimator_ckpt.estimator.scaffold import CheckpointFn

ModelFn = Callable[..., Any]
_OPTIONS = "_estimator_ckpt_options"


def wrap_model_fn(
    model_fn: ModelFn | None = None,
    *,
    checkpoint_format: str = "dual",
    checkpoint_fn: CheckpointFn | None = None,
    tf1_dir: str | None = None,
    saving_listeners: Sequence[Any] = (),
    tf1_on_error: str = "continue",
    tf1_take_over: bool = False,
    sync_data: bool = False,
    async_save: bool = False,
    async_when_busy: str = "wait",
    async_memory: str = "give_back",
    async_sigterm_secs: float = 120.0,
    warm_start_at_once: bool = False,
    unchanged: str = "write",
    unchanged_files: int = 8,
    unchanged_room: float = 2.0,
) -> ModelFn:
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
      tf1_take_over: whether this job may have the `tf1_dir` of another one, as after that job was
        copied; else that is refused.
      sync_data: flush the tensors to the disk before a checkpoint appears, so that a power cut
        takes no checkpoint that is listed. The index and the state file are flushed in any case.
      async_save: copy the variables in memory at a save, and write the checkpoint, with all that
        follows a save, while training goes on. It needs memory for one more copy of them. Where
        variables are on parameter servers, it has no effect, and says so.
      async_when_busy: what a save does that comes while the one before is still being written:
        "wait" for it, or "skip" this one, which is logged. The final save always waits, and so
        do workers in step (MultiWorkerMirroredStrategy).
      async_memory: with async_save, what becomes of the memory for the copies when they are
        written: "give_back", the system takes it where it needs it, and then the next save stands
        still until it is there again; or "keep" it for the next save.
      async_sigterm_secs: with async_save, SIGTERM lets the step at hand end and a final checkpoint
        be made; when so many seconds have passed, the process ends in any case.
      warm_start_at_once: have a warm start (Estimator's `warm_start_from`, of any kind) read many
        tensors at once, instead of each by an operation of its own: the same values, much sooner
        where there are many variables. What can't be read so, as a variable with a vocabulary or
        one of MirroredStrategy, is read as ever, which is logged.
      unchanged: what a save does with variables, and with blocks of large ones, that have not
        changed since the last one: "write" them again, or "link" the data file that has them: the
        checkpoint is an ordinary one, of several data files. Needs the package xxhash, and a
        model_dir on a disk with hard links; else all is written, which is logged.
      unchanged_files: with "link", the most data files that a checkpoint may have.
      unchanged_room: with "link", the most bytes that these may have, in multiples of the bytes
        that the checkpoint needs.

    Returns:
      A model_fn for Estimator. Without `model_fn`, a decorator that returns it.

    Raises:
      CheckpointArgumentError: an option is none of its choices or too small, the package that
        "link" needs is not installed, `model_fn` is no function that returns an EstimatorSpec (a
        Keras model, an Estimator, a class, an `async` function, ...), or is wrapped already, with
        other options.
    """
    options = JobOptions(
        checkpoint_format=checkpoint_format,
        checkpoint_fn=checkpoint_fn,
        tf1_dir=tf1_dir,
        saving_listeners=saving_listeners,
        tf1_on_error=tf1_on_error,
        tf1_take_over=tf1_take_over,
        sync_data=sync_data,
        async_save=async_save,
        async_when_busy=async_when_busy,
        async_memory=async_memory,
        async_sigterm_secs=async_sigterm_secs,
        warm_start_at_once=warm_start_at_once,
        unchanged=unchanged,
        unchanged_files=unchanged_files,
        unchanged_room=unchanged_room,
    )
    if model_fn is None:
        return functools.partial(_wrap, options=options)
    return _wrap(model_fn, options)


def is_wrapped(model_fn: ModelFn) -> bool:
    """Returns whether a model_fn is one that `wrap_model_fn` has returned."""
    return hasattr(model_fn, _OPTIONS)


def _wrap(model_fn: ModelFn, options: JobOptions) -> ModelFn:
    _require_function(model_fn)
    earlier = getattr(model_fn, _OPTIONS, None)
    if earlier is None:
        return _with_signature(model_fn, options)
    if differing := options.differences(earlier):
        raise CheckpointArgumentError(
            f"this model_fn is wrapped already, with other options ({', '.join(differing)}); "
            "wrap it once, with those that are meant"
        )
    return model_fn


def _require_function(model_fn: Any) -> None:
    """Makes sure that something can be called as a model_fn."""
    if told := _what_else(model_fn):
        raise CheckpointArgumentError("wrap_model_fn takes a model_fn, and this is " + told)


def _what_else(given: Any) -> str:
    """Says what something is that is no model_fn, and what to give instead; "" if it is one."""
    kind = type(given).__name__
    if inspect.isclass(given):
        return (
            f"the class {given.__name__}; give a function or an instance of it that can be called"
        )
    if _is_of_keras(given):
        return (
            f"the Keras {kind} '{given.name}'; give a function that calls it and returns an "
            "EstimatorSpec. To load a checkpoint into it, call restore(model, checkpoint); to make "
            'a Keras file of one, convert(checkpoint, "model.keras", like=model)'
        )
    if inspect.iscoroutinefunction(given) or inspect.isgeneratorfunction(given):
        return (
            f"{_name(given)}, which returns no EstimatorSpec when it is called, as it is `async` "
            "or has a `yield`; give a plain function"
        )
    if callable(given):
        return ""
    if callable(getattr(given, "model_fn", None)):
        return (
            f"a {kind}; wrap its model_fn: "
            "tf.estimator.Estimator(wrap_model_fn(estimator.model_fn), ...)"
        )
    if kind in ("EstimatorSpec", "_TPUEstimatorSpec", "TPUEstimatorSpec"):
        return f"the {kind} that one has returned; give the function, without calling it"
    return f"{given!r:.100}; give the function that returns an EstimatorSpec"


def _name(function: Any) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    return str(function.__name__)


def _is_of_keras(given: Any) -> bool:
    """Returns whether something is a model or a layer of Keras 2 or 3, which need no import."""
    return any(
        each.__name__ == "Layer"
        and each.__module__.startswith(("keras.", "tf_keras.", "tensorflow.python.keras."))
        for each in type(given).__mro__
    )


def _with_signature(model_fn: ModelFn, options: JobOptions) -> ModelFn:
    """Makes a function that takes what model_fn takes, and mode and config in any case.

    Estimator passes by keyword what it finds among a function's positional arguments, so
    those are given to it as a signature; functools.wraps would hide them.
    """
    taken = _parameters(model_fn)
    added = [name for name in ("mode", "config") if name not in taken]
    parameters = [*taken.values(), *map(_optional, added)]
    own = inspect.signature(model_fn).parameters.values()
    by_position = [each.name for each in own if each.kind == each.POSITIONAL_OR_KEYWORD]
    takes_any = any(each.kind == each.VAR_POSITIONAL for each in own)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        given = {**dict(zip([*by_position, *added], args)), **kwargs}
        count = len(args) if takes_any else len(by_position)
        own_args = (*args[:count], *args[count + len(added) :])
        spec = model_fn(*own_args, **{name: kwargs[name] for name in kwargs if name not in added})
        mode = given.get("mode") or getattr(spec, "mode", None)
        return rewrite_spec(spec, mode, given.get("config"), given.get("params"), options)

    wrapped.__name__ = getattr(model_fn, "__name__", type(model_fn).__name__)
    wrapped.__doc__ = model_fn.__doc__
    wrapped.__module__ = getattr(model_fn, "__module__", __name__)
    setattr(wrapped, "__signature__", inspect.Signature(parameters))  # noqa: B010
    setattr(wrapped, _OPTIONS, options)
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
