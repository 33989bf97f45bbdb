"""Functions that a command line names: `package.module:function`.

model_fn = load_function("model_fn", "my.model:model_fn")
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from typing import Any

from absl import flags

from estimator_ckpt.messages import nearest

REFERENCE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
"""What such a name looks like."""


def load_function(flag: str, reference: str) -> Callable[..., Any]:
    """Imports what a flag such as `--model_fn=package.module:function` names.

    Args:
      flag: the flag's name, for messages.
      reference: `package.module:function`; the function may be an attribute of a class.

    Returns:
      The function.

    Raises:
      absl.flags.IllegalFlagValueError: there is no such module, or no such function in it (near
        names are suggested), or the module can't be imported.
    """
    module_name, _, path = reference.partition(":")
    found: Any = _load_module(flag, reference, module_name)
    where = module_name
    for name in path.split("."):
        if not hasattr(found, name):
            raise flags.IllegalFlagValueError(
                f"--{flag}={reference}: {where} has no {name!r}{_suggest(name, found)}"
            )
        found, where = getattr(found, name), f"{where}.{name}"
    if not callable(found):
        raise flags.IllegalFlagValueError(
            f"--{flag}={reference}: expected a function, found a {type(found).__name__}"
        )
    function: Callable[..., Any] = found
    return function


def _load_module(flag: str, reference: str, module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}."):
            raise flags.IllegalFlagValueError(
                f"--{flag}={reference}: there is no module {error.name!r}; modules are looked for "
                "in the current folder, in PYTHONPATH and among what is installed"
            ) from None
        raise flags.IllegalFlagValueError(
            f"--{flag}={reference}: importing {module} failed: {error}"
        ) from error


def _suggest(name: str, module: Any) -> str:
    public = [key for key in dir(module) if not key.startswith("_")]
    if found := nearest(name, public):
        return f"; did you mean {' or '.join(found)}?"
    functions = [key for key in public if callable(getattr(module, key))]
    return f"; it has {', '.join(functions[:8])}" if functions else ""
