"""What the matcher takes and what it answers.

    row = NamedShape("dnn/logits/kernel", (16, 3), "float32", created=9)
    proposal = propose([row], [...])
    proposal.pairs("certain", "likely")      # {source: target}
    proposal.questions, proposal.refusals, proposal.unmapped_source

Rows and answers are values: they compare, and print as what they are.
"""

from __future__ import annotations

from dataclasses import dataclass

CERTAIN, LIKELY = "certain", "likely"
PINNED = "pinned"
SAME_VALUES = "the only ones with these values"
SAME_LAYER = "of one layer with what has the same values"
KNOWN = (PINNED, SAME_LAYER)
"""Reasons that no other evidence can deny."""
"""The reason of a pair that was given."""


@dataclass(frozen=True)
class NamedShape:
    """One variable, as far as it can be told without its value.

    Attributes:
      name: a name (`dnn/logits/kernel`), or an object path (`model/layer_with_weights-3/kernel`).
      shape: its dimensions.
      dtype: as TensorFlow calls it, `float32`.
      created: its place in the order of creation, where that is known.
      listed: its place in a list such as `model.weights`, which is not the order of creation.
      second_name: another name of the same variable; with an object path, Keras' own.
      checksum: of its value, where that is known and tells anything: not of one that begins so.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    created: int | None = None
    listed: int | None = None
    second_name: str | None = None
    checksum: int | None = None


@dataclass(frozen=True)
class Pair:
    """A variable of the source, the one of the target that gets its value, and why.

    Attributes:
      source: a name.
      target: a name.
      confidence: `certain` or `likely`.
      reason: what speaks for it.
      reshaped: the shape that it gets, where that is another one for the same bytes; else None.
      also: the second name of the target.
    """

    source: str
    target: str
    confidence: str
    reason: str
    reshaped: tuple[int, ...] | None = None
    also: str = ""


@dataclass(frozen=True)
class Question:
    """Variables that look alike, and the ways in which they can be mapped.

    Attributes:
      sources: names.
      targets: names.
      reason: why it can't be told.
      answers: each a title and a whole map of these variables, {source: target} as pairs.
    """

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    reason: str
    answers: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = ()


@dataclass(frozen=True)
class Refusal:
    """Variables that correspond, but only after their values are changed.

    Attributes:
      sources: names.
      targets: names.
      transformation: what has to be done, as a line of a map has it, `transpose(1, 0)`; where that
        can't be told, in a word: `transpose`, `split`, `concat`, `gates`, `cast`.
      reason: the same in a sentence.
    """

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    transformation: str
    reason: str


@dataclass(frozen=True)
class Unmapped:
    """A variable that gets nothing or goes nowhere, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Proposal:
    """A map from source to target, in classes of confidence.

    Attributes:
      mapped: pairs that are certain or likely, in the order of the target.
      questions: what can't be decided from names, shapes and orders.
      refusals: what needs other values.
      unmapped_source: the rest of the source.
      unmapped_target: the rest of the target.
    """

    mapped: tuple[Pair, ...] = ()
    questions: tuple[Question, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    unmapped_source: tuple[Unmapped, ...] = ()
    unmapped_target: tuple[Unmapped, ...] = ()

    def pairs(self, *confidences: str) -> dict[str, str]:
        """Returns {source: target} of what is this confident (default: certain alone)."""
        wanted = confidences or (CERTAIN,)
        return {pair.source: pair.target for pair in self.mapped if pair.confidence in wanted}
