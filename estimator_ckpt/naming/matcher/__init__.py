"""Which variable of a checkpoint is which one of a model, told from names, shapes and orders.

    from estimator_ckpt.naming import matcher

    proposal = matcher.propose(checkpoint_rows, model_rows)
    proposal.pairs("certain", "likely")        # {source: target}
    proposal.questions                         # what has to be asked, with both answers

Pure: rows in, a proposal out. What is certain may be applied by itself; what is likely when that
is accepted; a mirror image is asked; what needs other values is refused, with the transformation.
"""

from __future__ import annotations

from estimator_ckpt.naming.matcher.proposing import propose as propose
from estimator_ckpt.naming.matcher.proposing import require_fitting_pins as require_fitting_pins
from estimator_ckpt.naming.matcher.rows import CERTAIN as CERTAIN
from estimator_ckpt.naming.matcher.rows import LIKELY as LIKELY
from estimator_ckpt.naming.matcher.rows import PINNED as PINNED
from estimator_ckpt.naming.matcher.rows import NamedShape as NamedShape
from estimator_ckpt.naming.matcher.rows import Pair as Pair
from estimator_ckpt.naming.matcher.rows import Proposal as Proposal
from estimator_ckpt.naming.matcher.rows import Question as Question
from estimator_ckpt.naming.matcher.rows import Refusal as Refusal
from estimator_ckpt.naming.matcher.rows import Unmapped as Unmapped
from estimator_ckpt.naming.matcher.shapes import same_bytes as same_bytes
