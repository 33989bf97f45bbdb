"""Runs a program, unchanged, with every Estimator of it wrapped.

    python -m estimator_ckpt.wrap job.py --its=flags
    python -m estimator_ckpt.wrap --tf1_dir={model_dir}/tf1 -m my.job --its=flags

What stands before the program are the options of `wrap_model_fn`. Whatever kind of Estimator it is
(of TensorFlow 1 or 2, canned, for a TPU, from a Keras model, of a class of the program's own),
wherever and in whichever thread it is made: its model_fn is called as ever, and the spec that
comes back is that of a wrapped one. A model_fn that the program wraps itself stays as it is.
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
import threading
import weakref
from collections.abc import Sequence
from typing import Any

from absl import flags

from estimator_ckpt import compat
from estimator_ckpt import flags as checkpoint_flags
from estimator_ckpt.compat.program import Program
from estimator_ckpt.errors import EstimatorUnavailableError
from estimator_ckpt.hyphens import with_underscores

_USAGE = "usage: python -m estimator_ckpt.wrap [OPTION ...] (SCRIPT | -m MODULE) [ARGUMENT ...]"
_HELP = ("--help", "-help", "-h", "--helpfull")
_FORMATS = ("dual", "tf2")
_HOME = "tensorflow_estimator.python.estimator.estimator"


def main(arguments: Sequence[str]) -> int:
    """Runs the program that a command line names, with its Estimators wrapped.

    Args:
      arguments: options, then `SCRIPT [ARGUMENT ...]` or `-m MODULE [ARGUMENT ...]`.

    Returns:
      The exit code of a program that ends by itself, 0; 2 if the command line is none, 1 if there
      can be no Estimators here.

    Raises:
      BaseException: what the program raises, `SystemExit` with its exit code, too.
    """
    options = make_options()
    try:
        program = parse(arguments, options)
    except flags.Error as error:
        print(f"error: {error}\n{_USAGE}", file=sys.stderr)
        return 2
    if program is None:
        asked = any(each in _HELP for each in arguments)
        print(
            f"{_USAGE}\n{options.get_help() if asked else ''}",
            file=sys.stdout if asked else sys.stderr,
        )
        return 0 if asked else 2
    try:
        compat.install()
    except EstimatorUnavailableError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    wrapping = wrap_all_estimators(options)
    process = os.getpid()
    try:
        program.run()
    finally:
        if os.getpid() == process:  # not in a child that the program has forked
            _tell(wrapping)
    return 0


def make_options() -> flags.FlagValues:
    """Returns the options, not parsed yet: apart from the program's, which may have their names."""
    options = flags.FlagValues()
    options.set_gnu_getopt(False)  # they end where the program begins
    checkpoint_flags.define_wrapping_flags(options, formats=_FORMATS)
    return options


def parse(arguments: Sequence[str], options: flags.FlagValues) -> Program | None:
    """Parses the options that stand before the program.

    Args:
      arguments: options, then the program with its own arguments, which are left alone.
      options: gets the values.

    Returns:
      The program, or None if there is none.

    Raises:
      absl.flags.Error: an option is unknown, or its value is not usable.
    """
    before = list(arguments[: arguments.index("-m")] if "-m" in arguments else arguments)
    if before[:1] and before[0] in _HELP:
        return None
    spelled = with_underscores(before, options, up_to_operand=True)
    rest = options([_USAGE, *spelled])[1:]  # up to the first that is no option
    return Program.parse([*rest, *arguments[len(before) :]])


class Wrapping:
    """Whose model_fns have been called in this process, and whether they needed to be wrapped."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[int, Any] = {}
        self._counts = {True: 0, False: 0}
        self._made = 0

    def note_made(self) -> None:
        """Counts an Estimator that is made, whose model_fn may never be called."""
        with self._lock:
            self._made += 1

    def note(self, estimator: Any, by_program: bool) -> None:
        """Counts an Estimator, once."""
        with self._lock:
            seen = self._seen.get(id(estimator))
            if seen is None or seen() is not estimator:
                self._seen[id(estimator)] = weakref.ref(estimator)
                self._counts[by_program] += 1

    def __str__(self) -> str:
        text = f"Estimators wrapped: {self._counts[False]}"
        if self._counts[True]:
            text += f", wrapped by the program itself: {self._counts[True]}"
        if self._made and not any(self._counts.values()):
            text += f" (of {self._made} that the program made, no model_fn was called)"
        return text


class _Nesting(threading.local):
    """How deep a thread is in calls of model_fns: one may be made of that of another Estimator."""

    depth = 0

    def __enter__(self) -> bool:
        self.depth += 1
        return self.depth == 1

    def __exit__(self, *error: object) -> None:
        self.depth -= 1


def wrap_all_estimators(options: flags.FlagValues) -> Wrapping:
    """Has each Estimator of this process behave as if its model_fn was wrapped.

    Args:
      options: the parsed flags of `define_wrapping_flags`. `{model_dir}` in `--tf1_dir` stands for
        that of the Estimator.

    Returns:
      What tells how many there were.
    """
    import tensorflow as tf

    from estimator_ckpt.estimator.job_spec import is_wrapped

    wrapping, nesting = Wrapping(), _Nesting()
    estimator_class = importlib.import_module(_HOME).Estimator  # the base of each of them
    call_unwrapped = estimator_class._call_model_fn

    # AutoGraph converts what calls a model_fn under a strategy, and has nothing to do here.
    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
    def as_wrapped(estimator: Any, spec: Any, mode: str, config: Any) -> Any:
        wrapping.note(estimator, by_program=is_wrapped(spec))

        def model_fn(features: Any, labels: Any, mode: str, config: Any) -> Any:
            return spec

        wrapped = checkpoint_flags.wrap_from_flags(
            model_fn, model_dir=estimator.model_dir, flag_values=options
        )
        return wrapped(None, None, mode, config)

    def _call_model_fn(self: Any, features: Any, labels: Any, mode: str, config: Any) -> Any:
        with nesting as is_outermost:
            spec = call_unwrapped(self, features, labels, mode, config)
        return as_wrapped(self, spec, mode, config) if is_outermost else spec

    make_unwrapped = estimator_class.__init__

    @functools.wraps(make_unwrapped)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        make_unwrapped(self, *args, **kwargs)
        wrapping.note_made()

    estimator_class.__init__ = __init__
    estimator_class._call_model_fn = _call_model_fn
    return wrapping


def _tell(wrapping: Wrapping) -> None:
    """Says how many there were, where the program has left a place to say it."""
    if sys.stderr is not None and not sys.stderr.closed:
        print(f"estimator_ckpt.wrap: {wrapping}", file=sys.stderr)


if __name__ == "__main__":
    # By its name, as this module will not be `__main__` for long.
    sys.exit(importlib.import_module("estimator_ckpt.wrap").main(sys.argv[1:]))
