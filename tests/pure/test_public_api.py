"""The public names, and the signatures of those that need no TensorFlow, are the committed ones."""

from __future__ import annotations

import public_api

import estimator_ckpt

REMEDY = "if that is meant, say so in CHANGELOG.md and run: python tests/support/public_api.py"


def test_the_public_names_are_the_committed_ones():
    committed = {public_api.name_of(line) for line in public_api.committed()}
    assert committed == set(estimator_ckpt.__all__), REMEDY


def test_signatures_are_the_committed_ones():
    names = [name for name in estimator_ckpt.__all__ if not public_api.needs_tensorflow(name)]
    committed = [line for line in public_api.committed() if public_api.name_of(line) in names]
    assert len(names) > 30
    assert public_api.lines(names) == committed, REMEDY
