"""Object paths and the keys made of them.

    variable_key("var_list", "dnn/kernel")   # var_list/dnn.Skernel/.ATTRIBUTES/VARIABLE_VALUE
    parse_key(key).path                      # ("var_list", "dnn/kernel")

Source: TensorFlow's `python/trackable/trackable_utils.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

VARIABLE_VALUE = "VARIABLE_VALUE"
_ATTRIBUTES = "/.ATTRIBUTES/"
_VARIABLE = _ATTRIBUTES + VARIABLE_VALUE
_SLOT = ".OPTIMIZER_SLOT"
_BELOW_SLOT = f"/{_SLOT}/"
_PLACE = re.compile(r"(?:[^/]+/)*vars/[^/]+")
OPTIMIZER_PLACE = "optimizer/vars/"
"""What begins the place of an optimizer's value in Keras' own files."""


class ObjectKey(NamedTuple):
    """A key taken apart.

    Attributes:
      path: names of the objects from the root on, unescaped.
      attribute: what is saved of the last of them; `VARIABLE_VALUE` for a variable.
    """

    path: tuple[str, ...]
    attribute: str


def escape(part: str) -> str:
    """Escapes one part of a path: `.` becomes `..`, `/` becomes `.S`."""
    if "." in part:
        part = part.replace(".", "..")
    return part.replace("/", ".S")


def unescape(part: str) -> str:
    """Undoes `escape`, in one pass, so that `a..Sb` is `a.Sb` and not `a./b`."""
    if "." not in part:
        return part
    if ".." not in part:
        return part.replace(".S", "/")
    return ".".join([piece.replace(".S", "/") for piece in part.split("..")])


def variable_key(*path: str) -> str:
    """Returns the key of the variable at a path from the root object."""
    return "/".join(map(escape, path)) + _VARIABLE


def variable_keys(container: str, names: Iterable[str]) -> list[str]:
    """Returns the keys of variables that an object holds by name.

    Args:
      container: the name of the object, an attribute of the root.
      names: of the variables.
    """
    above, names = escape(container) + "/", list(names)
    # All at once, where no name has a zero in it.
    escaped = escape("\0".join(names)).split("\0") if names else []
    if len(escaped) != len(names):
        escaped = list(map(escape, names))
    return [f"{above}{name}{_VARIABLE}" for name in escaped]


def is_object_key(key: str) -> bool:
    """Returns whether a key has the form of an object path with an attribute."""
    return _ATTRIBUTES in key


def is_place(name: str) -> bool:
    """Returns whether a name is a place in Keras' own files, such as `layers/dense/vars/0`."""
    return _PLACE.fullmatch(name) is not None


def is_variable_key(key: str) -> bool:
    """Returns whether an object key is that of a variable's value."""
    return key.endswith(_VARIABLE)


def is_slot_key(key: str) -> bool:
    """Returns whether an object key is that of an optimizer's slot."""
    return _BELOW_SLOT in key


def parse_key(key: str) -> ObjectKey:
    """Takes an object key apart.

    Args:
      key: one for which `is_object_key` is true.

    Returns:
      Its path and attribute. The parts of a slot's path have `.OPTIMIZER_SLOT` among them.
    """
    path, _, attribute = key.partition(_ATTRIBUTES)
    parts = path.split("/")
    if "." in path:
        parts = [unescape(part) if "." in part and part != _SLOT else part for part in parts]
    return ObjectKey(tuple(parts), unescape(attribute) if "." in attribute else attribute)


def container_and_name(key: str) -> tuple[str, str] | None:
    """Returns the path of a variable if it has two parts, and None for any other key.

    What `parse_key` gives, in a third of the time: it is what most keys of a job are like.
    """
    if not key.endswith(_VARIABLE):
        return None
    container, slash, name = key[: -len(_VARIABLE)].partition("/")
    return (unescape(container), unescape(name)) if slash and "/" not in name else None


def attribute_of(key: str) -> str:
    """Returns what is saved of the object that an object key is for."""
    attribute = key.partition(_ATTRIBUTES)[2]
    return unescape(attribute) if "." in attribute else attribute


def path_name(key: str) -> str:
    """Returns the name that an object path gives: `model/dense/kernel`; other keys as they are.

    Args:
      key: an object key. What is saved of an object that is no variable stays the last part.
    """
    if not is_object_key(key):
        return key
    path, attribute = parse_key(key)
    return "/".join(path if attribute == VARIABLE_VALUE else (*path, attribute))
