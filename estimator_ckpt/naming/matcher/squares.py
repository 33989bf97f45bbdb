"""Square kernels that may be transposed on the other side, which no shape tells: they are asked.

    changed, doubted, question = squares.doubted(decided, recognized, known={})

Others of the same leaves tell it: those that have to be transposed, and those that fit as they are
and would not if they were. Where none does, the words do by which frameworks call either layout.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from estimator_ckpt.naming.matcher.layers import Layer
from estimator_ckpt.naming.matcher.questions import row_pairs
from estimator_ckpt.naming.matcher.refusals import Recognized
from estimator_ckpt.naming.matcher.rows import LIKELY, Question
from estimator_ckpt.naming.matcher.shapes import hides_turning, is_square, squeezed, turned_order
from estimator_ckpt.naming.matcher.verdicts import Verdict
from estimator_ckpt.naming.matcher.words import may_be_out_in, slashed
from estimator_ckpt.naming.transformations import Transpose


def doubted(
    decided: Mapping[Layer, Verdict], recognized: Iterable[Recognized], known: Mapping[str, str]
) -> tuple[dict[Layer, Verdict], dict[Layer, Layer], Question | None]:
    """Finds the squares of which it can't be told whether they are transposed.

    Args:
      decided: the layers that correspond.
      recognized: what is refused.
      known: {source: target} of the variables that were pinned, or have the same values.

    Returns:
      The verdicts that become less sure; the layers that are asked, with their partners; and one
      question about these.
    """
    turned = {
        _leaves(one, other)
        for each in recognized
        if each.kind == "transpose"
        for one in each.sources
        for other in each.targets
    }
    told, hidden = set(), []
    for layer, verdict in sorted(decided.items(), key=lambda item: item[0].key):
        target = verdict.target
        if target is None or len(squeezed(layer.main.shape)) < 2:
            continue
        is_known = known.get(layer.main.name) == target.main.name
        if is_known or not _hides_turning(layer, target):
            told.add(_leaves(layer, target))
        else:
            hidden.append((layer, target, verdict))
    changed: dict[Layer, Verdict] = {}
    asked: dict[Layer, Layer] = {}
    for layer, target, verdict in hidden:
        leaves = _leaves(layer, target)
        if leaves in turned or (leaves not in told and _may_be_turned(layer, target)):
            asked[layer] = target
        elif turned and is_square(layer.main.shape):
            reason = f"{verdict.reason}; square, while others have to be transposed"
            changed[layer] = Verdict(target, LIKELY, reason)
    return changed, asked, _question(asked, bool(turned)) if asked else None


def _leaves(one: Layer, other: Layer) -> tuple[str, str]:
    return _leaf(one), _leaf(other)


def _leaf(layer: Layer) -> str:
    return slashed(layer.main.name).rpartition("/")[2]


def _hides_turning(one: Layer, other: Layer) -> bool:
    """Whether the shapes fit both as they are and transposed."""
    return hides_turning(one.main.shape, other.main.shape, not may_be_out_in(_leaf(other)))


def _may_be_turned(one: Layer, other: Layer) -> bool:
    """Whether just one of two leaves is called as frameworks call what is `[out, in]`."""
    if "embedding" in {*one.rows, *other.rows}:
        return False
    mine, theirs = (may_be_out_in(leaf) for leaf in _leaves(one, other))
    return mine != theirs


def _question(asked: Mapping[Layer, Layer], has_turned: bool) -> Question:
    leaves = sorted({" and ".join(_leaves(one, other)) for one, other in asked.items()})
    steps = {
        str(Transpose(turned_order(len(one.main.shape), not may_be_out_in(_leaf(other)))))
        for one, other in asked.items()
        if len(one.main.shape) == len(other.main.shape)
    }
    others = "others of their kind are transposed" if has_turned else "nothing else tells"
    pin = f"' : {' or '.join(sorted(steps))}'" if steps else "a transpose"
    answer = tuple(pair for one, other in asked.items() for pair in row_pairs(one, other))
    return Question(
        sources=_names(asked),
        targets=_names(asked.values()),
        reason=(
            f"they are square, and {others} ({', '.join(leaves)}): [out, in] on one side and "
            f"[in, out] on the other? If so, pin the lines of kernels with {pin} behind them"
        ),
        answers=(("as they are", answer),),
    )


def _names(layers: Iterable[Layer]) -> tuple[str, ...]:
    return tuple(row.name for layer in layers for row in layer.rows.values())
