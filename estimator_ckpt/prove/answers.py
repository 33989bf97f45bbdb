"""Tries the answers of what a map asks: with each, a model is restored and its outputs compared.

tried = prove_answers(made, "old_job", keras_model, (model_fn, "old_job"), {"x": x})
tried.map            # with the answers that nothing but the right outputs allow
print(tried)
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from estimator_ckpt.errors import CheckpointArgumentError
from estimator_ckpt.live.objects import LiveObjects, variable_in
from estimator_ckpt.live.other_backends import by_path
from estimator_ckpt.live.restore import restore
from estimator_ckpt.messages import escaped
from estimator_ckpt.naming.variable_map import VariableMap
from estimator_ckpt.naming.variable_map_text import ANSWERS
from estimator_ckpt.prove.outputs import OutputProof, prove_outputs

_MOST = 64  # combinations of answers that are tried


@dataclass(frozen=True)
class Trial:
    """One answer for each question that was open.

    Attributes:
      answers: their letters, in the order of the questions.
      proof: the outputs with these answers beside those that are known.
    """

    answers: str
    proof: OutputProof


@dataclass(frozen=True)
class AnswersProof:
    """What came of trying all answers.

    Attributes:
      map: with those answers that all trials have whose outputs agree; where these differ, or none
        agrees, the question stays.
      open: the numbers of the questions that had no answer, from 1 on, as in the map's text.
      trials: each combination of answers.
    """

    map: VariableMap
    open: tuple[int, ...]
    trials: tuple[Trial, ...]

    @property
    def equal(self) -> bool:
        """Whether each question has its answer now, with which the outputs agree."""
        return all(self.map.asked[number - 1].answer is not None for number in self.open)

    def as_dict(self) -> dict[str, Any]:
        """Returns it with the answer, of what JSON has."""
        trials = [{"answers": each.answers, **each.proof.as_dict()} for each in self.trials]
        return {"equal": self.equal, "open": self.open, "trials": trials, "map": self.map.text()}

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        for trial in self.trials:
            pairs = zip(self.open, trial.answers)
            answers = ", ".join(f"question {number}: {letter}" for number, letter in pairs)
            word = "agrees" if trial.proof.equal else "differs"
            yield f"{answers}: {word}, by {trial.proof.largest:.3g} at most"
        for number in self.open:
            asked = self.map.asked[number - 1]
            if asked.answer is not None:
                title = asked.question.answers[asked.answer][0]
                yield escaped(f"question {number} is answered: {ANSWERS[asked.answer]}, {title}")
            elif any(trial.proof.equal for trial in self.trials):
                yield f"question {number} stays: the outputs agree with either answer"
            else:
                yield f"question {number} stays: the outputs agree with neither answer"
        yield from (f"note: {escaped(note)}" for note in self.trials[0].proof.notes)


def prove_answers(
    variable_map: VariableMap,
    checkpoint: str | os.PathLike[str],
    target: Any,
    reference: Any,
    inputs: Any = None,
    *,
    only: Sequence[str] = (),
    tolerance: float = 1e-5,
    seed: int = 0,
) -> AnswersProof:
    """Restores a model with each answer to what a map asks, and compares its outputs.

    Args:
      variable_map: a map with questions (`propose_map`); what it accepts is applied.
      checkpoint: whose variables it maps.
      target: the model that it maps to; it has its own values again when this returns.
      reference: what gives the right outputs, or {name: array}; as for `prove_outputs`.
      inputs: as for `prove_outputs`.
      only: outputs of the reference, as for `prove_outputs`.
      tolerance: as for `prove_outputs`.
      seed: of random inputs.

    Returns:
      The map with answers, and what was tried.

    Raises:
      CheckpointArgumentError: nothing is asked that has two answers, or too much; or as
        `prove_outputs`.
      VariableMismatchError: the map, once it is answered, leaves variables of the target out.
    """
    asked = variable_map.asked
    numbers = [
        number
        for number, each in enumerate(asked, start=1)
        if each.answer is None and each.question.answers
    ]
    if not numbers:
        raise CheckpointArgumentError("the map has no open question with two answers to try")
    counts = [range(len(asked[number - 1].question.answers)) for number in numbers]
    combinations = list(itertools.islice(itertools.product(*counts), _MOST + 1))
    if len(combinations) > _MOST:
        raise CheckpointArgumentError(
            f"{len(numbers)} open questions have more than {_MOST} combinations of answers; answer "
            "some of them in the map"
        )
    trials = []
    with _values_kept(target):
        for answers in combinations:
            restore(target, checkpoint, rename=_answered(variable_map, numbers, answers))
            proof = prove_outputs(
                reference, target, inputs, only=only, tolerance=tolerance, seed=seed
            )
            trials.append(Trial("".join(ANSWERS[answer] for answer in answers), proof))
    agreeing = [answers for answers, trial in zip(combinations, trials) if trial.proof.equal]
    found = [set(each) for each in zip(*agreeing)] or [set() for _ in numbers]
    settled = [each.pop() if len(each) == 1 else None for each in found]
    return AnswersProof(_answered(variable_map, numbers, settled), tuple(numbers), tuple(trials))


def _answered(
    variable_map: VariableMap, numbers: Sequence[int], answers: Sequence[int | None]
) -> VariableMap:
    asked = list(variable_map.asked)
    for number, answer in zip(numbers, answers):
        asked[number - 1] = replace(asked[number - 1], answer=answer)
    return replace(variable_map, asked=tuple(asked))


@contextlib.contextmanager
def _values_kept(target: Any) -> Iterator[None]:
    """Gives the variables of live objects their values back at the end."""
    kept = [(variable, variable.numpy()) for variable in _variables_of(target)]
    try:
        yield
    finally:
        for variable, value in kept:
            variable.assign(value)


def _variables_of(target: Any) -> list[Any]:
    found = by_path(target)
    if isinstance(found, Mapping):  # Keras 3 on another backend
        return [variable_in(each) for each in found.values()]
    live = LiveObjects(found).values.values()
    return [each.variable for each in live if each.variable is not None]
