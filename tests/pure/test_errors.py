"""Every error of this library says what it says on one line, whatever the names in it."""

from __future__ import annotations

import pickle

import pytest

from estimator_ckpt import errors

ERRORS = [value for value in vars(errors).values() if isinstance(value, type)]


@pytest.mark.parametrize("kind", ERRORS)
def test_the_message_is_escaped_and_what_was_given_is_kept(kind):
    error = kind("there is no 'a\n\x1b[2K\u202eb' in 'C:\\job'")
    assert str(error) == "there is no 'a\\n\\x1b[2K\\u202eb' in 'C:\\job'"
    assert error.args == ("there is no 'a\n\x1b[2K\u202eb' in 'C:\\job'",)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
