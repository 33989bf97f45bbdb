"""The numbers of one variable, or of a part of it.

found = numbers("model_dir", "dense/kernel[:3, -1]")
found.name, found.part, found.array
print(found.text(width=80))
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from estimator_ckpt.bundle.dtypes import dtype_name
from estimator_ckpt.checkpoint import arrays
from estimator_ckpt.checkpoint.account import open_account
from estimator_ckpt.errors import CheckpointArgumentError
from estimator_ckpt.messages import near

_PART = re.compile(r"(?P<name>.+?)\[(?P<part>[^\[\]]*)\]", re.DOTALL)


@dataclass(frozen=True)
class Numbers:
    """What a variable holds.

    Attributes:
      name: of the variable.
      part: the slice of it that `array` is, as numpy writes it; empty for all of it.
      shape: of the whole variable.
      dtype: TensorFlow's name of the element type.
      array: the numbers.
    """

    name: str
    part: str
    shape: tuple[int, ...]
    dtype: str
    array: arrays.Array

    def text(self, width: int = 80) -> str:
        """Returns the numbers as numpy prints them: of more than 1,000, the outer ones."""
        return np.array2string(self.array, max_line_width=width, separator=", ")


def numbers(checkpoint: str | os.PathLike[str], what: str, *, names: str = "auto") -> Numbers:
    """Reads a variable.

    Args:
      checkpoint: as for `describe`.
      what: its name, and a slice of it in brackets if only that is wanted: `kernel[0, :3]`.
      names: how variables are called, "auto" or "path".

    Raises:
      CheckpointArgumentError: there is no such variable or slice, or its values are no numbers or
        strings.
      CheckpointError: as `describe`.
    """
    account = open_account(checkpoint, names)
    name, part = what, ""
    if name not in account.key_of and (found := _PART.fullmatch(what)):
        name, part = found["name"], found["part"]
    if name not in account.key_of:
        raise CheckpointArgumentError(
            f"the checkpoint has no variable '{name}'{near(name, account.key_of.keys())}"
        )
    entry = account.entries[account.key_of[name]]
    index = _index(part, what)
    array = arrays.read_array(account.checkpoint, entry)
    try:
        taken = np.asarray(array[index])
    except IndexError as error:
        raise CheckpointArgumentError(
            f"'{what}' is no part of it: the shape of '{name}' is {list(entry.shape)}"
        ) from error
    return Numbers(name, part, tuple(entry.shape), dtype_name(entry.dtype), taken)


def _index(part: str, what: str) -> tuple[Any, ...]:
    try:
        return tuple(_one(each.strip()) for each in part.split(",")) if part.strip() else ()
    except ValueError as error:
        raise CheckpointArgumentError(
            f"'{what}': [{part}] is no slice; give whole numbers and START:STOP:STEP, as [0, :3]"
        ) from error


def _one(text: str) -> Any:
    if text == "...":
        return ...
    if ":" not in text:
        return int(text)
    bounds = [int(bound) if bound.strip() else None for bound in text.split(":")]
    if len(bounds) > 3:
        raise ValueError(text)
    if len(bounds) == 3 and bounds[2] == 0:
        raise ValueError("the step of a slice is 0")
    return slice(*bounds)
