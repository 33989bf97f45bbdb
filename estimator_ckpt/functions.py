"""Functions that a command line names: `package.module:function`, and the params for a model_fn.

define_function_flag("model_fn", "The model_fn of the Estimator.", flag_values)
define_params_flag(flag_values)
model_fn = load_function("model_fn", "my.model:model_fn")
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable
from typing import Any

from absl import flags

from estimator_ckpt.messages import nearest

REFERENCE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
"""What such a name looks like."""

flags.disclaim_key_flags()  # those that are defined here are the caller's


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


def define_function_flag(name: str, text: str, flag_values: flags.FlagValues) -> None:
    """Defines a flag that names a function, with its validator; it may be left out."""
    flags.DEFINE_string(name, None, text, flag_values=flag_values)
    flags.register_validator(name, _is_reference, flag_values=flag_values)


def define_params_flag(flag_values: flags.FlagValues) -> None:
    """Defines `--params`, whose value is a dict or None."""
    flags.DEFINE(
        _ParamsParser(),
        "params",
        None,
        "The model_fn's params: a JSON object, or name=value,name=value.",
        flag_values=flag_values,
        serializer=_ParamsSerializer(),
    )


def _is_reference(value: str | None) -> bool:
    if value is None or REFERENCE.fullmatch(value):
        return True
    message = "expected package.module:function"
    module, _, function = value.rpartition(".")
    if module and ":" not in value and REFERENCE.fullmatch(f"{module}:{function}"):
        message += f"; did you mean {module}:{function}?"
    raise flags.ValidationError(message)


class _ParamsParser(flags.ArgumentParser):  # type: ignore[type-arg]  # none in absl 1.0
    """Parses a JSON object, or name=value pairs whose values may be JSON, into a dict."""

    syntactic_help = "a JSON object, or name=value,name=value"

    def parse(self, argument: Any) -> dict[str, Any] | None:
        if argument is None or isinstance(argument, dict):
            return argument
        text = str(argument).strip()
        return self._parse_object(text) if text.startswith("{") else self._parse_pairs(text)

    def flag_type(self) -> str:
        return "params"

    def _parse_object(self, text: str) -> dict[str, Any]:
        try:
            params: dict[str, Any] = json.loads(text)
            return params
        except ValueError as error:
            raise ValueError(f"expected {self.syntactic_help}; as JSON: {error}") from None

    def _parse_pairs(self, text: str) -> dict[str, Any]:
        params: dict[str, Any] = {}
        for pair in filter(None, (part.strip() for part in text.split(","))):
            name, equals, value = pair.partition("=")
            if not name or not equals:
                raise ValueError(
                    f"expected {self.syntactic_help}; {pair!r} is no name=value "
                    "(a value with a comma in it needs the JSON form)"
                )
            params[name.strip()] = _json_or_text(value.strip())
        return params


class _ParamsSerializer(flags.ArgumentSerializer):  # type: ignore[type-arg]
    def serialize(self, value: Any) -> str:
        return json.dumps(value, sort_keys=True)


def _json_or_text(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value
