"""What all tests share: a quiet TensorFlow, and checkpoints that other projects wrote."""

from __future__ import annotations

import importlib.metadata
import os
import pathlib

import pytest

from estimator_ckpt import compat

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before any test imports TensorFlow
compat.install()  # tests say tf.estimator, whatever the version of TensorFlow

_THIRD_PARTY = pathlib.Path(__file__).resolve().parents[2] / "shared" / "testdata"


@pytest.fixture(scope="session")
def third_party() -> pathlib.Path:
    """The folder of third-party checkpoints beside the project; read it in place."""
    if not _THIRD_PARTY.is_dir():
        pytest.skip("the third-party checkpoints (../shared/testdata) are not here")
    return _THIRD_PARTY


@pytest.fixture(scope="session", autouse=True)
def versions_in_the_results(record_testsuite_property) -> None:
    """Says in a JUnit file what it is about: tests/support/versions.py makes a table of them."""
    record_testsuite_property("tensorflow", importlib.metadata.version("tensorflow"))
