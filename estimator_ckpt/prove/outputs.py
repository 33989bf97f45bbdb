"""Compares what two models give on the same inputs, output by output and layer by layer.

    proof = prove_outputs((model_fn, "old_job"), keras_model, {"x": x})
    print(proof)
    assert proof.equal

Outputs are matched by name, two lists by position, and else by shape and order, which is said;
layers by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from estimator_ckpt.errors import CheckpointArgumentError
from estimator_ckpt.messages import escaped, listed
from estimator_ckpt.prove.sides import ONE_INPUT, Side, SideRun, make_side
from estimator_ckpt.prove.values import distance

_BATCH = 4  # of random inputs
_FAR = 0.1  # a relative difference that is said where it lies within the absolute tolerance


@dataclass(frozen=True)
class OutputDifference:
    """One output, or one layer's, of both sides.

    Attributes:
      left: its name on the left.
      right: its name on the right.
      by: how they were matched: "name", "given" (by the caller), "position" (in two lists), or
        "shape" (and order).
      agree: whether all values are within the tolerance.
      largest: the largest absolute difference, NaN where only one side has a NaN, or both have
        nothing else.
      relative: the largest difference in proportion to the larger magnitude of the two values.
      place: indices of the largest absolute difference.
      note: what the numbers do not tell, as of NaNs on both sides; else "".
    """

    left: str
    right: str
    by: str
    agree: bool
    largest: float
    relative: float
    place: tuple[int, ...]
    note: str = ""


@dataclass(frozen=True)
class OutputProof:
    """What two models gave on the same inputs.

    Attributes:
      left: how the left side is called.
      right: how the right side is called.
      tolerance: values agree if they differ by no more than this, absolutely or relatively.
      outputs: those that both sides have.
      layers: outputs of layers that both sides have, in the order of the model that has layers.
      notes: what was not compared, and what was not given.
      unmatched: outputs that were to be compared and that only one side has.
    """

    left: str
    right: str
    tolerance: float
    outputs: tuple[OutputDifference, ...]
    layers: tuple[OutputDifference, ...]
    notes: tuple[str, ...]
    unmatched: tuple[str, ...] = ()

    @property
    def equal(self) -> bool:
        """Whether both sides have all outputs and these agree; layers only tell where they part."""
        return not self.unmatched and all(each.agree for each in self.outputs)

    @property
    def largest(self) -> float:
        """The largest difference of any output."""
        return float(np.max([each.largest for each in self.outputs]))

    def as_dict(self) -> dict[str, Any]:
        """Returns it with the answer, of what JSON has."""
        return {"equal": self.equal, **asdict(self)}

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield escaped(f"{self.left} beside {self.right}, tolerance {self.tolerance:g}")
        for kind, rows in (("layer", self.layers), ("output", self.outputs)):
            for row in rows:
                yield escaped(f"{kind} {_row_text(row)}")
        yield from (f"note: {escaped(note)}" for note in self.notes)
        yield "EQUAL within the tolerance" if self.equal else "DIFFERENT"


def _row_text(row: OutputDifference) -> str:
    names = row.left if row.left == row.right else f"{row.left} and {row.right}"
    how = {"shape": " (matched by shape and order)", "position": " (matched by position)"}
    at = f" at {list(row.place)}" if row.place else ""
    word = "agrees" if row.agree else "DIFFERS"
    text = f"{word}, by {row.largest:.3g} at most ({row.relative:.3g} of it){at}"
    return f"{names}{how.get(row.by, '')}: {text}" + (f"; {row.note}" if row.note else "")


def prove_outputs(
    left: Any,
    right: Any,
    inputs: Any = None,
    *,
    names: Mapping[str, str] | None = None,
    only: Sequence[str] = (),
    tolerance: float = 1e-5,
    seed: int = 0,
) -> OutputProof:
    """Runs two models on the same inputs, and compares their outputs and those of their layers.

    Args:
      left: a Keras 2 or 3 model, or another callable that takes the inputs; the path of a
        SavedModel, or (path, signature); (model_fn, checkpoint) or (model_fn, checkpoint, params),
        which predicts as an Estimator does; or {name: array}, outputs that are known.
      right: likewise.
      inputs: {name: array}, or the array of a model with a single input. None: random ones, as far
        as one of the models says what it takes: normal numbers, and 0 or 1 for integers.
      names: {left: right} of outputs and layers that are called differently.
      only: the outputs of the left side that are compared. Empty: all; one that only one side has
        is a difference.
      tolerance: values agree if they differ by no more than this, absolutely or relatively.
      seed: of random inputs.

    Returns:
      The differences.

    Raises:
      CheckpointArgumentError: a side can't be run, the inputs don't fit, no output is on both
        sides, there are no elements to compare, or the tolerance is no number from 0 on.
      CheckpointNotFoundError: there is no checkpoint for a model_fn.
    """
    if not 0 <= tolerance < float("inf"):
        raise CheckpointArgumentError(f"tolerance={tolerance:g} must be a number from 0 on")
    sides = make_side(left), make_side(right)
    notes = []
    if inputs is None:
        inputs, note = _random_inputs(sides, seed)
        notes.append(note)
    if not isinstance(inputs, Mapping):
        inputs = {ONE_INPUT: inputs}
    given = {name: np.asarray(value) for name, value in inputs.items()}
    for name, value in given.items():
        _require_elements(f"input '{name}'" if name else "the input", value, "give some examples")
    runs = _run_both(sides, given, dict(names or {}))
    if unknown := [name for name in only if name not in runs[0].outputs]:
        raise CheckpointArgumentError(
            f"only={listed(unknown)}: {sides[0].title} gives {listed(runs[0].outputs)}"
        )
    rows, lonely = _matched(runs, names or {}, only, tolerance)
    if not rows:
        shapes = [
            listed(f"{name} {list(value.shape)}" for name, value in run.outputs.items())
            for run in runs
        ]
        raise CheckpointArgumentError(
            f"no output of {sides[0].title} ({shapes[0]}) is one of {sides[1].title} "
            f"({shapes[1]}) by its name or shape; say which are, by names="
        )
    unmatched = [*lonely[0], *([] if only else lonely[1])]
    for side, alone in zip(sides, lonely):
        if unmatched and alone:
            notes.append(
                f"only {side.title} has {listed(alone)}; only= (--only) says which outputs of "
                f"{sides[0].title} are compared, names= (--names) which are called differently"
            )
    if only:
        notes.append(f"no other outputs were compared than {listed(only)}")
    layers = tuple(_compare_layers(runs, names or {}, tolerance))
    titles = sides[0].title, sides[1].title
    return OutputProof(*titles, tolerance, tuple(rows), layers, tuple(notes), tuple(unmatched))


def _require_elements(what: str, value: Any, wanted: str) -> None:
    if not value.size:
        raise CheckpointArgumentError(
            f"{what} has the shape {list(value.shape)}, without elements, so there is nothing to "
            f"compare: {wanted}"
        )


def _random_inputs(sides: tuple[Side, Side], seed: int) -> tuple[dict[str, Any], str]:
    specs = next((side.inputs for side in sides if side.inputs), None)
    if specs is None:
        raise CheckpointArgumentError(
            "neither side says what it takes; give the inputs, as {name: array}"
        )
    random = np.random.RandomState(seed)
    found = {}
    for name, spec in specs.items():
        shape = [_BATCH if size is None else size for size in spec.shape.as_list()]
        if spec.dtype.is_floating:
            found[name] = random.randn(*shape).astype(spec.dtype.as_numpy_dtype)
        elif spec.dtype.is_integer or spec.dtype.is_bool:
            found[name] = random.randint(0, 2, shape).astype(spec.dtype.as_numpy_dtype)
        else:
            raise CheckpointArgumentError(
                f"input '{name}' is of {spec.dtype.name}, for which there are no random ones; "
                "give the inputs, as {name: array}"
            )
    return found, f"the inputs were random, of seed {seed}: {listed(found)}"


def _run_both(
    sides: tuple[Side, Side], inputs: Mapping[str, Any], names: dict[str, str]
) -> list[SideRun]:
    """Runs both; first the one that knows its layers, which the other is then asked for."""
    order = (1, 0) if sides[0].needs_layers else (0, 1)
    first, second = order
    runs: dict[int, SideRun] = {first: sides[first].run(inputs, {})}
    called = names if first == 0 else {right: left for left, right in names.items()}
    layers = {
        called.get(name, name): next(iter(tensors.values()))
        for name, tensors in runs[first].layers.items()
        if len(tensors) == 1
    }
    runs[second] = sides[second].run(inputs, layers)
    return [runs[0], runs[1]]


def _matched(
    runs: list[SideRun], names: Mapping[str, str], only: Sequence[str], tolerance: float
) -> tuple[list[OutputDifference], tuple[list[str], list[str]]]:
    """Compares the outputs that are on both sides; returns what only each of them has, too."""
    left, right = runs[0].outputs, runs[1].outputs
    given = {name: names[name] for name in left if names.get(name) in right}
    by_place = all(run.is_list for run in runs)
    same = dict(zip(left, right if by_place else left))
    pairs = {name: (other, "given") for name, other in given.items()}
    for name, other in same.items():
        if name not in given and other in right and other not in given.values():
            pairs[name] = other, "position" if by_place else "name"
    rest = [name for name in right if name not in {other for other, _ in pairs.values()}]
    chosen = [name for name in left if name in only or not only]
    for name in chosen:
        fitting = [other for other in rest if _comparable(left[name], right[other])]
        if name not in pairs and fitting:
            pairs[name] = fitting[0], "shape"
            rest.remove(fitting[0])
    rows = []
    for name in chosen:
        if name in pairs:
            other, by = pairs[name]
            _require_elements(f"output '{name}'", left[name], "give other inputs, or only=")
            rows.append(_compare(name, other, by, left[name], right[other], tolerance))
    return rows, ([name for name in chosen if name not in pairs], rest)


def _comparable(left: Any, right: Any) -> bool:
    return bool(left.shape == right.shape and left.dtype.kind == right.dtype.kind)


def _compare(
    name: str, other: str, by: str, left: Any, right: Any, tolerance: float
) -> OutputDifference:
    if left.shape != right.shape:
        raise CheckpointArgumentError(
            f"output '{name}' has the shape {list(left.shape)} on the left, and '{other}' "
            f"{list(right.shape)} on the right; say which outputs correspond, by names="
        )
    if {left.dtype.kind, right.dtype.kind} & set("SUO"):
        same = left.astype(str).tolist() == right.astype(str).tolist()
        return OutputDifference(name, other, by, same, 0.0 if same else float("nan"), 0.0, ())
    wide = np.result_type(left, right, np.float64)
    left, right = left.astype(wide), right.astype(wide)
    both = np.isnan(left) & np.isnan(right)
    if both.all():
        note = "nothing to compare: NaN everywhere on both sides"
        return OutputDifference(name, other, by, False, float("nan"), float("nan"), (), note)
    largest, relative, place = distance(left, right)
    agree = bool(np.allclose(left, right, rtol=tolerance, atol=tolerance, equal_nan=True))
    notes = []
    if both.any():
        notes.append(f"NaN at the same {both.sum()} of {both.size} places on both sides")
    magnitudes = np.abs([left[~both], right[~both]])
    if agree and relative > _FAR and magnitudes.max() <= tolerance:
        notes.append(
            f"it agrees only as all values are below the tolerance, {magnitudes.max():.3g} at most"
        )
    return OutputDifference(name, other, by, agree, largest, relative, place, "; ".join(notes))


def _compare_layers(
    runs: list[SideRun], names: Mapping[str, str], tolerance: float
) -> Iterator[OutputDifference]:
    """Compares layers by name; of several tensors of a scope, the one that is nearest."""
    left, right = runs[0].layers, runs[1].layers
    called = {name: names.get(name, name) for name in left}
    back = {other: name for name, other in called.items()}
    for other in right if len(right) else ():
        name = back.get(other, other)
        if name not in left:
            continue
        by = "given" if name in names else "name"
        rows = [
            _compare(one if len(left[name]) > 1 else name, another, by, a, b, tolerance)
            for one, a in left[name].items()
            for another, b in right[other].items()
            if a.shape == b.shape and a.size and a.dtype.kind in "fc"
        ]
        if rows:
            yield min(rows, key=lambda row: (np.isnan(row.largest), row.largest))
