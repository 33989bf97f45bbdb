"""The command line as a function, and a terminal that is none."""

from __future__ import annotations

import dataclasses

import pytest

from estimator_ckpt.cli import main


@dataclasses.dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


@pytest.fixture
def command(capfd):
    """Runs `estimator-ckpt` in this process, its output in a pipe."""

    def run(*arguments: object) -> Result:
        capfd.readouterr()
        code = main.main([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return Result(code, captured.out, captured.err)

    return run


@pytest.fixture
def on_terminal(monkeypatch):
    """Makes the command believe in a terminal, of the width that is given."""

    def pretend(columns: int) -> None:
        monkeypatch.setattr("estimator_ckpt.cli.output.on_terminal", lambda: True)
        monkeypatch.setenv("COLUMNS", str(columns))

    return pretend
