"""Runs the scenarios under `disable_v2_behavior()` on request, and records what they found."""

import os
import pathlib

import conformance_table
import scenarios
import tensorflow as tf


def pytest_configure(config):
    del config
    if scenarios.v1_behavior():
        tf.compat.v1.disable_v2_behavior()


def pytest_sessionfinish(session, exitstatus):
    del session, exitstatus
    path = os.environ.get("ESTIMATOR_CKPT_CONFORMANCE")
    if path and not scenarios.v1_behavior():
        conformance_table.record(pathlib.Path(path), scenarios.SCENARIOS, scenarios.RESULTS)
