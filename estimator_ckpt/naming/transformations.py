"""What has to be done to values before they are another variable's: data, shapes and text.

    made = Transformation.parse("split(0, 0:28), gates(i c f+1 o -> i f c o)")
    made.result([Kind((60, 128), "float32")])         # Kind(shape=(28, 128), dtype='float32')
    str(made)                                         # the text again

Steps are applied one after another. Pure: no value is touched here, `checkpoint.transforming` does
that.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Union

from estimator_ckpt.bundle.dtypes import DTYPE_NAMES
from estimator_ckpt.errors import CheckpointArgumentError

Shape = tuple[int, ...]
_NUMBERS = re.compile(r"(b?float|u?int|bool)")
_STEP = re.compile(r"\s*(\w+)\(([^()]*)\)\s*(?:,|$)")
_GATE = re.compile(r"([A-Za-z_]\w*)([+-]\d+(?:\.\d+)?)?")
FORMS = (
    "reshape(768, 12, 64), transpose(1, 0), split(axis, start:stop), concat(axis), "
    "gates(i c f+1 o -> i f c o), cast(float16)"
)
"""All steps, as they are written."""


class Kind(NamedTuple):
    """Shape and type of a tensor; the type as TensorFlow calls it, `float32`."""

    shape: Shape
    dtype: str


@dataclass(frozen=True)
class Reshape:
    """The same elements in the same order, in another shape."""

    shape: Shape

    def __str__(self) -> str:
        return f"reshape({_listed(self.shape)})"

    def of(self, kind: Kind) -> Kind:
        """Returns what becomes of a tensor."""
        _require(
            math.prod(self.shape) == math.prod(kind.shape),
            f"{list(kind.shape)} has {math.prod(kind.shape)} elements, "
            f"{list(self.shape)} {math.prod(self.shape)}",
        )
        return Kind(self.shape, kind.dtype)


@dataclass(frozen=True)
class Transpose:
    """The dimensions in another order, as numpy's `transpose`."""

    axes: Shape

    def __str__(self) -> str:
        return f"transpose({_listed(self.axes)})"

    def of(self, kind: Kind) -> Kind:
        """Returns what becomes of a tensor."""
        rank = len(kind.shape)
        _require(
            sorted(self.axes) == list(range(rank)),
            f"{list(kind.shape)} has {rank} dimensions; give each of {list(range(rank))} once",
        )
        return Kind(tuple(kind.shape[axis] for axis in self.axes), kind.dtype)


@dataclass(frozen=True)
class Split:
    """What lies between two places along an axis."""

    axis: int
    start: int
    stop: int

    def __str__(self) -> str:
        return f"split({self.axis}, {self.start}:{self.stop})"

    def of(self, kind: Kind) -> Kind:
        """Returns what becomes of a tensor."""
        axis = axis_in(self.axis, kind.shape)
        _require(
            0 <= self.start < self.stop <= kind.shape[axis],
            f"axis {self.axis} of {list(kind.shape)} goes from 0 to {kind.shape[axis]}",
        )
        return _with_size(kind, axis, self.stop - self.start)


@dataclass(frozen=True)
class Concat:
    """Several tensors, one behind the other along an axis."""

    axis: int

    def __str__(self) -> str:
        return f"concat({self.axis})"

    def of(self, *kinds: Kind) -> Kind:
        """Returns what becomes of tensors."""
        axis = axis_in(self.axis, kinds[0].shape)
        first = _with_size(kinds[0], axis, 0)
        for kind in kinds:
            _require(
                len(kind.shape) == len(first.shape) and _with_size(kind, axis, 0) == first,
                f"{kind.dtype} {list(kind.shape)} and {kinds[0].dtype} {list(kinds[0].shape)} "
                f"differ in more than axis {self.axis}",
            )
        return _with_size(kinds[0], axis, sum(kind.shape[axis] for kind in kinds))


@dataclass(frozen=True)
class Gates:
    """Equal blocks along an axis in another order, with numbers added to some.

    Attributes:
      old: the names of the blocks, in their order.
      new: the same names in the order that they get.
      added: what is added to each of `old`; the bias of a forget gate gets what cells of
        TensorFlow 1 add to it at each step.
      axis: along which the blocks lie.
    """

    old: tuple[str, ...]
    new: tuple[str, ...]
    added: tuple[float, ...] = ()
    axis: int = -1

    def __str__(self) -> str:
        numbers = [f"{number:+g}" if number else "" for number in self.added or [0] * len(self.old)]
        old = " ".join(name + number for name, number in zip(self.old, numbers))
        where = "" if self.axis == -1 else f", axis={self.axis}"
        return f"gates({old} -> {' '.join(self.new)}{where})"

    def of(self, kind: Kind) -> Kind:
        """Returns what becomes of a tensor."""
        axis = axis_in(self.axis, kind.shape)
        _require(
            kind.shape[axis] % len(self.old) == 0,
            f"axis {self.axis} of {list(kind.shape)} is no {len(self.old)} equal blocks",
        )
        _require(
            not is_integer(kind.dtype) or all(number.is_integer() for number in self.added),
            f"{kind.dtype} has whole numbers only, and no fraction can be added",
        )
        _require(kind.dtype != "bool" or not any(self.added), "nothing can be added to bool")
        return kind


@dataclass(frozen=True)
class Cast:
    """The same numbers in another type; an integer type (or bool) has to have each."""

    dtype: str

    def __str__(self) -> str:
        return f"cast({self.dtype})"

    def of(self, kind: Kind) -> Kind:
        """Returns what becomes of a tensor."""
        _require(bool(_NUMBERS.match(kind.dtype)), f"{kind.dtype} can't be cast to {self.dtype}")
        return Kind(kind.shape, self.dtype)


Step = Union[Reshape, Transpose, Split, Concat, Gates, Cast]


@dataclass(frozen=True)
class Transformation:
    """Steps in order; the first may be a `concat`, and no other.

    Raises:
      CheckpointArgumentError: there are none, or a later one is a `concat`.
    """

    steps: tuple[Step, ...]

    def __post_init__(self) -> None:
        _require(bool(self.steps), f"there is no step; there are {FORMS}")
        if any(isinstance(step, Concat) for step in self.steps[1:]):
            raise CheckpointArgumentError("concat(axis) can only be the first step")

    @classmethod
    def parse(cls, text: str) -> Transformation:
        """Reads steps, one behind the other with commas between.

        Raises:
          CheckpointArgumentError: they can't be understood.
        """
        steps, at = [], 0
        while at < len(text.rstrip()):
            found = _STEP.match(text, at)
            if found is None:
                raise CheckpointArgumentError(
                    f"'{text[at:].strip()}' is no transformation; there are {FORMS}"
                )
            steps.append(_step(found[1], found[2].strip()))
            at = found.end()
        return cls(tuple(steps))

    def __str__(self) -> str:
        return ", ".join(map(str, self.steps))

    def result(self, kinds: Sequence[Kind]) -> Kind:
        """Returns shape and type of what becomes of tensors.

        Raises:
          CheckpointArgumentError: a step can't be applied to what it gets.
        """
        return self.results(kinds)[-1]

    def results(self, kinds: Sequence[Kind]) -> list[Kind]:
        """Returns shape and type of what each step gives; raises as `result`."""
        if len(kinds) > 1 and not isinstance(self.steps[0], Concat):
            raise CheckpointArgumentError("several variables become one by concat(axis) first")
        found: list[Kind] = []
        for step in self.steps:
            try:
                found.append(step.of(*(found[-1:] or kinds)))
            except CheckpointArgumentError as error:
                raise CheckpointArgumentError(f"{step} does not fit: {error}") from error
        return found

    @property
    def keeps_bytes(self) -> bool:
        """Whether the same bytes in the same order are what comes of it."""
        return all(isinstance(step, Reshape) for step in self.steps)

    @property
    def result_shape(self) -> Shape | None:
        """The shape that it gives whatever it gets, if its last step is a `reshape`."""
        last = self.steps[-1]
        return last.shape if isinstance(last, Reshape) else None

    @property
    def splits(self) -> bool:
        """Whether it takes a part, so that others may take the rest."""
        return any(isinstance(step, Split) for step in self.steps)

    @property
    def is_of_numbers(self) -> bool:
        """Whether it is the same for tensors of any shape."""
        return all(isinstance(step, Cast) for step in self.steps)

    @property
    def of_slots(self) -> Transformation:
        """What becomes of slots: the same, with nothing added."""
        return Transformation(
            tuple(
                replace(step, added=()) if isinstance(step, Gates) else step for step in self.steps
            )
        )

    @property
    def of_floats(self) -> Transformation | None:
        """The same without casts to integer types; None if nothing is left."""
        steps = [
            step for step in self.steps if not (isinstance(step, Cast) and is_integer(step.dtype))
        ]
        return Transformation(tuple(steps)) if steps else None

    def may_refuse(self, kinds: Sequence[Kind]) -> bool:
        """Returns whether values may turn out not to fit, which are changed to integers or as such.

        Raises as `result`.
        """
        return any(
            is_integer(after.dtype) and isinstance(step, (Cast, Gates))
            for step, after in zip(self.steps, self.results(kinds))
        )


@dataclass(frozen=True)
class Change:
    """A line of a map that changes values.

    Attributes:
      sources: names; of more than one, a `concat` makes one.
      target: the name of what gets the result.
      transformation: what has to be done.
      reason: what is said of it.
      line: its number in a text.
    """

    sources: tuple[str, ...]
    target: str
    transformation: Transformation
    reason: str = ""
    line: int = field(default=0, compare=False)

    @property
    def splits(self) -> bool:
        """Whether it takes a part of its source, so that other lines may take the rest."""
        return self.transformation.splits

    @property
    def name(self) -> str:
        """What the result is called before it has its new name: the source where it is one."""
        if len(self.sources) == 1 and not self.splits:
            return self.sources[0]
        return f"{', '.join(self.sources)} : {self.transformation}"


def is_integer(dtype: str) -> bool:
    """Returns whether a type has whole numbers only; bool has two."""
    return dtype.startswith(("int", "uint", "bool"))


def axis_in(axis: int, shape: Shape) -> int:
    """Returns an axis, which may be counted from the end, from the start.

    Raises:
      CheckpointArgumentError: there is none.
    """
    _require(-len(shape) <= axis < len(shape), f"{list(shape)} has no axis {axis}")
    return axis % len(shape)


def _with_size(kind: Kind, axis: int, size: int) -> Kind:
    return Kind((*kind.shape[:axis], size, *kind.shape[axis + 1 :]), kind.dtype)


def _step(word: str, text: str) -> Step:
    form = next((each for each in FORMS.split("), ") if each.startswith(f"{word}(")), None)
    if form is None:
        raise CheckpointArgumentError(f"there is no transformation '{word}'; there are {FORMS}")
    try:
        return _READERS[word](text)
    except ValueError:
        raise CheckpointArgumentError(
            f"'{word}({text})' can't be understood; it is written as {form.rstrip(')')})"
        ) from None


def _numbers(text: str) -> Shape:
    return tuple(int(each) for each in text.split(",")) if text else ()


def _read_reshape(text: str) -> Step:
    shape = _numbers(text)
    if any(size < 0 for size in shape):
        raise ValueError
    return Reshape(shape)


def _read_split(text: str) -> Step:
    axis, places = text.split(",")
    start, stop = places.split(":")
    return Split(int(axis), int(start), int(stop))


def _read_gates(text: str) -> Step:
    order, comma, axis = text.partition(",")
    old, new = (side.split() for side in order.split("->"))
    found = [_GATE.fullmatch(each) for each in old]
    names = tuple(each[1] for each in found if each)
    if len(names) < len(old) or len(set(names)) < len(names) or sorted(names) != sorted(new):
        raise ValueError
    added = tuple(float(each[2] or 0) for each in found if each)
    if comma and not axis.strip().startswith("axis="):
        raise ValueError
    place = int(axis.strip()[len("axis=") :]) if comma else -1
    return Gates(names, tuple(new), added if any(added) else (), place)


def _read_cast(text: str) -> Step:
    if text not in DTYPE_NAMES.values() or not _NUMBERS.match(text):
        raise ValueError
    return Cast(text)


_READERS = {
    "reshape": _read_reshape,
    "transpose": lambda text: Transpose(_numbers(text)),
    "split": _read_split,
    "concat": lambda text: Concat(int(text)),
    "gates": _read_gates,
    "cast": _read_cast,
}


def _listed(numbers: Shape) -> str:
    return ", ".join(map(str, numbers))


def _require(fine: bool, problem: str) -> None:
    if not fine:
        raise CheckpointArgumentError(problem)
