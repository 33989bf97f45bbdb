"""What came of proving a job: what was compared, and in what it differs.

print(proof)
proof.verdict      # "equal", "different" or "not repeatable"
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from estimator_ckpt.messages import escaped
from estimator_ckpt.prove.values import ValueDifference

EQUAL, DIFFERENT, NOT_REPEATABLE = "equal", "different", "not repeatable"
_SHOWN = 3


@dataclass(frozen=True)
class Aspect:
    """What was seen of two runs, of one kind.

    Attributes:
      name: "variables", "slots", "metrics", "predictions", "summaries", "checkpoints" (what is in
        each that is listed), "files" or "tf1 copies" (against the raw job's checkpoints).
      compared: how many values.
      differences: those that differ.
      note: how the run failed there, as the raw one did not; else "".
    """

    name: str
    compared: int
    differences: tuple[ValueDifference, ...]
    note: str = ""

    @property
    def equal(self) -> bool:
        """Whether all is equal bit for bit."""
        return not self.differences


@dataclass(frozen=True)
class Comparison:
    """A run beside the raw one that it has to equal.

    Attributes:
      title: which run, such as "wrapped, resumed raw".
      aspects: what was compared.
      failure: how the run failed, with the last lines that it wrote; else "".
    """

    title: str
    aspects: tuple[Aspect, ...]
    failure: str = ""

    @property
    def equal(self) -> bool:
        """Whether the run succeeded, and all is equal bit for bit."""
        return not self.failure and all(aspect.equal for aspect in self.aspects)


@dataclass(frozen=True)
class JobProof:
    """Whether a job does wrapped what it does raw.

    Attributes:
      model_fn: as package.module:function.
      input_fn: likewise.
      steps: up to which global step it was trained.
      seed: from which all runs began.
      options: of `wrap_model_fn`, those that are not its defaults.
      raw: the raw job beside itself. Where it differs, it was not wrapped at all.
      wrapped: the wrapped job, and each resumed from the other, beside the raw one.
    """

    model_fn: str
    input_fn: str
    steps: int
    seed: int
    options: Mapping[str, Any]
    raw: tuple[Comparison, ...]
    wrapped: tuple[Comparison, ...]

    @property
    def verdict(self) -> str:
        """The answer: "equal", "different", or "not repeatable", and then nothing can be said."""
        if not all(each.equal for each in self.raw):
            return NOT_REPEATABLE
        return EQUAL if all(each.equal for each in self.wrapped) else DIFFERENT

    @property
    def equal(self) -> bool:
        """Whether the job is repeatable, and equal bit for bit when it is wrapped."""
        return self.verdict == EQUAL

    def as_dict(self) -> dict[str, Any]:
        """Returns it with the verdict, of what JSON has."""
        return {"verdict": self.verdict, **asdict(self)}

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield escaped(
            f"{self.model_fn} on {self.input_fn}: {self.steps} steps, resumed at "
            f"{self.steps // 2}; seed {self.seed} for TensorFlow, random and numpy.random"
        )
        for comparison in (*self.raw, *self.wrapped):
            yield from _comparison_lines(comparison)
        yield {
            EQUAL: "EQUAL bit for bit, raw and wrapped, resumed from one another",
            DIFFERENT: "DIFFERENT: this job does not do wrapped what it does raw",
            NOT_REPEATABLE: "NOT REPEATABLE: the raw job differs from itself, so nothing can be "
            "said. Give its input and its random operations a seed, or try --deterministic",
        }[self.verdict]


def _comparison_lines(comparison: Comparison) -> Iterator[str]:
    if comparison.failure:
        yield f"{comparison.title}: FAILS"
        yield f"  {escaped(comparison.failure)}"
        return
    word = "equal" if comparison.equal else "DIFFERS"
    counts = [f"{each.name} {each.compared:,}" for each in comparison.aspects if not each.note]
    yield f"{comparison.title}: {word} ({', '.join(counts)})"
    for aspect in comparison.aspects:
        if aspect.note:
            yield f"  {aspect.name}: {escaped(aspect.note)}"
        for difference in aspect.differences[:_SHOWN]:
            yield f"  {aspect.name}: {difference}"
        if len(aspect.differences) > _SHOWN:
            yield f"  {aspect.name}: {len(aspect.differences) - _SHOWN:,} more differ"
