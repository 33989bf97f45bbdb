"""Runs the scenarios under `disable_v2_behavior()` on request, and prints them as a table."""

import pathlib

import scenarios
import tensorflow as tf


def pytest_addoption(parser):
    parser.addoption("--conformance-table", help="write the table of scenarios to this file")


def pytest_configure(config):
    del config
    if scenarios.v1_behavior():
        tf.compat.v1.disable_v2_behavior()


def pytest_terminal_summary(terminalreporter, config):
    path = config.getoption("--conformance-table", default=None)
    if path:
        pathlib.Path(path).write_text(scenarios.table() + "\n", encoding="utf-8")
        terminalreporter.write_line(f"conformance table: {path}")
