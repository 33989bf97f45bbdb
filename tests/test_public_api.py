"""The signatures of what needs TensorFlow are the committed ones; tests/pure has the others."""

from __future__ import annotations

import public_api

import estimator_ckpt

REMEDY = "if that is meant, say so in CHANGELOG.md and run: python tests/support/public_api.py"


def test_signatures_are_the_committed_ones():
    names = [name for name in estimator_ckpt.__all__ if public_api.needs_tensorflow(name)]
    committed = [line for line in public_api.committed() if public_api.name_of(line) in names]
    assert len(names) > 10
    assert public_api.lines(names) == committed, REMEDY
