"""In what two sets of named arrays differ, bit for bit, and by how much.

compare_values({"w": left}, {"w": right})     # (ValueDifference("w", "values", 0.5, ...),)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from estimator_ckpt.messages import escaped


@dataclass(frozen=True)
class ValueDifference:
    """In what two arrays of one name differ.

    Attributes:
      name: of both.
      what: "values", "type" (another shape or element type), "missing" (only the first side has
        it) or "added" (only the second has it).
      largest: the largest absolute difference of values; None where there are no numbers or no two
        sides, NaN where only one side has a NaN.
      relative: the largest difference in proportion to the larger magnitude of the two values.
      place: indices of the largest absolute difference.
      detail: both types or, where there are no numbers, both values; else "".
    """

    name: str
    what: str
    largest: float | None = None
    relative: float | None = None
    place: tuple[int, ...] = ()
    detail: str = ""

    def __str__(self) -> str:
        name = escaped(self.name)
        if self.what in ("missing", "added"):
            return f"{name} is {self.what}"
        if self.largest is None:
            return f"{name} differs: {escaped(self.detail)}"
        return f"{name} {self.distance()}"

    def distance(self) -> str:
        """Returns by how much numbers differ, and where."""
        at = f" at {list(self.place)}" if self.place else ""
        return f"differs by {self.largest:.3g} ({self.relative:.3g} of the value){at}"


def compare_values(
    first: Mapping[str, Any], second: Mapping[str, Any]
) -> tuple[ValueDifference, ...]:
    """Compares arrays by name and bit for bit: a NaN equals itself, -0.0 is not 0.0.

    Args:
      first: {name: array}.
      second: the same of the other side.

    Returns:
      What differs, in the order of the first side, then what only the second has.
    """
    found = []
    for name in first:
        if name not in second:
            found.append(ValueDifference(name, "missing"))
        elif difference := compare_arrays(name, first[name], second[name]):
            found.append(difference)
    found += [ValueDifference(name, "added") for name in second if name not in first]
    return tuple(found)


def compare_arrays(name: str, first: Any, second: Any) -> ValueDifference | None:
    """Compares two arrays bit for bit; returns None where they are equal."""
    left, right = np.asarray(first), np.asarray(second)
    if left.shape != right.shape or left.dtype != right.dtype:
        types = [f"{each.dtype}{list(each.shape)}" for each in (left, right)]
        is_text = left.dtype.kind in "USO" and right.dtype.kind in "USO"
        if left.shape != right.shape or not is_text:
            return ValueDifference(name, "type", detail=" and ".join(types))
    if left.dtype.kind in "USO":
        return _compare_texts(name, left, right)
    if left.tobytes() == right.tobytes():
        return None
    return ValueDifference(name, "values", *distance(left, right))


def _compare_texts(name: str, left: Any, right: Any) -> ValueDifference | None:
    if left.tolist() == right.tolist():
        return None
    pairs = zip(left.ravel().tolist(), right.ravel().tolist())
    one, other = next(pair for pair in pairs if pair[0] != pair[1])
    return ValueDifference(name, "values", detail=f"{one!r} and {other!r}")


def distance(left: Any, right: Any) -> tuple[float, float, tuple[int, ...]]:
    """Works out how far two arrays of numbers and of one shape are apart.

    Returns:
      The largest absolute difference (NaN where one has a NaN and the other has not), the largest
      one in proportion to the larger of two magnitudes, and the indices of the former.
    """
    wide = np.complex128 if "c" in (left.dtype.kind, right.dtype.kind) else np.float64
    left, right = left.astype(wide), right.astype(wide)
    if not left.size:
        return 0.0, 0.0, ()
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.asarray(np.abs(left - right))
    apart[(left == right) | (np.isnan(left) & np.isnan(right))] = 0  # inf - inf and NaN - NaN
    scale = np.maximum(np.abs(left), np.abs(right))
    with np.errstate(invalid="ignore"):
        relative = np.divide(apart, scale, out=np.zeros(apart.shape), where=apart != 0)
    place = np.unravel_index(int(np.argmax(apart)), apart.shape)  # of the first NaN, if any
    return float(apart[place]), float(relative.max()), tuple(int(each) for each in place)
