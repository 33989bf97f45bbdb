"""Object paths and the keys made of them.

    variable_key("var_list", "dnn/kernel")   # var_list/dnn.Skernel/.ATTRIBUTES/VARIABLE_VALUE
    parse_key(key).path                      # ("var_list", "dnn/kernel")

Source: TensorFlow's `python/trackable/trackable_utils.py`.
"""

from __future__ import annotations

import re
from typing import NamedTuple

VARIABLE_VALUE = "VARIABLE_VALUE"
_ATTRIBUTES = "/.ATTRIBUTES/"
_SLOT = ".OPTIMIZER_SLOT"
_ESCAPED = re.compile(r"\.([.S])")


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
    return part.replace(".", "..").replace("/", ".S")


def unescape(part: str) -> str:
    """Undoes `escape`, in one pass, so that `a..Sb` is `a.Sb` and not `a./b`."""
    return _ESCAPED.sub(lambda found: "." if found[1] == "." else "/", part)


def variable_key(*path: str) -> str:
    """Returns the key of the variable at a path from the root object."""
    return "/".join(map(escape, path)) + _ATTRIBUTES + VARIABLE_VALUE


def is_object_key(key: str) -> bool:
    """Returns whether a key has the form of an object path with an attribute."""
    return _ATTRIBUTES in key


def is_slot_key(key: str) -> bool:
    """Returns whether an object key is that of an optimizer's slot."""
    return f"/{_SLOT}/" in key


def parse_key(key: str) -> ObjectKey:
    """Takes an object key apart.

    Args:
      key: one for which `is_object_key` is true.

    Returns:
      Its path and attribute. The parts of a slot's path have `.OPTIMIZER_SLOT` among them.
    """
    path, _, attribute = key.partition(_ATTRIBUTES)
    parts = (part if part == _SLOT else unescape(part) for part in path.split("/"))
    return ObjectKey(tuple(parts), unescape(attribute))
