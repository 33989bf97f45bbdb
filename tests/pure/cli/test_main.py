"""The command line around the commands: help, suggestions, errors, signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from estimator_ckpt import errors
from estimator_ckpt.cli import inspect, main

PROGRAM = [sys.executable, "-m", "estimator_ckpt.cli.main"]


@pytest.mark.parametrize("flag", ["--help", "-h", "help"])
def test_help_lists_the_commands(command, flag):
    result = command(flag)
    assert (result.code, result.err) == (0, "")
    for verb in main.COMMANDS.values():
        assert f"{verb.name} {' '.join(verb.operands)}" in result.out
        assert verb.summary in result.out


@pytest.mark.parametrize(
    "arguments", [("convert", "--help"), ("convert", "-h"), ("help", "convert")]
)
def test_help_of_a_command_lists_each_flag_with_its_default(command, arguments):
    result = command(*arguments)
    assert (result.code, result.err) == (0, "")
    assert "usage: estimator-ckpt convert SOURCE TARGET [flags]" in result.out
    for flag in (
        "--to=tf1|tf2|dual",
        "--container=VALUE",
        "--[no]overwrite",
        "--[no]copy",
        "--[no]json",
    ):
        assert f"\n  {flag}\n" in result.out
    assert "(default: false)" in result.out
    assert "repeat this option" not in result.out


def test_help_is_wrapped_to_the_terminal(command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "50")
    lines = command("inspect", "--help").out.splitlines()
    assert max(map(len, lines[1:])) <= 50


def test_help_works_beside_operands(command):
    result = command("convert", "a", "b", "--to=tf2", "--help")
    assert result.code == 0
    assert result.out.startswith("usage:")


def test_version(command):
    result = command("--version")
    assert (result.code, result.out) == (0, f"estimator-ckpt {main.__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "no command given; expected one of: inspect, doctor, verify"),
        (("convrt", "a", "b"), "unknown command 'convrt'; did you mean 'convert'?"),
        (("zzz",), "unknown command 'zzz'; expected one of: inspect, doctor, verify"),
        (("--versoin",), "unknown flag '--versoin' before the command; did you mean '--version'?"),
        (("convert", "a", "b", "--tto=tf2"), "unknown flag '--tto'; did you mean '--to'?"),
        (("convert", "a", "b", "--to=tf3"), "value should be one of <tf1|tf2|dual>"),
        (("convert", "a", "b", "--to"), "Missing value for flag --to"),
        (("convert", "a", "b"), "flag --to is required; give one of --to=tf1, --to=tf2, --to=dual"),
        (("convert", "a", "--to=tf2"), "missing TARGET; expected SOURCE TARGET"),
        (("inspect",), "missing CHECKPOINT; expected CHECKPOINT"),
        (("inspect", "a", "b"), "unexpected argument 'b'; expected only CHECKPOINT"),
        (("inspect", "a", "--include=("), "'(' is no regular expression"),
    ],
)
def test_wrong_usage_is_said_in_one_line(command, arguments, message):
    result = command(*arguments)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("estimator-ckpt: error: ")
    assert result.err.count("\n") == 1
    assert message in result.err


@pytest.mark.parametrize(
    ("raised", "code", "message"),
    [
        (
            errors.CheckpointError("found x, expected y"),
            2,
            "estimator-ckpt: error: found x, expected y\n",
        ),
        (PermissionError(13, "Permission denied", "m"), 2, "[Errno 13] Permission denied: 'm'\n"),
        (KeyboardInterrupt(), 130, ""),
        (BrokenPipeError(), 141, ""),
    ],
)
def test_what_goes_wrong_becomes_an_exit_code(command, monkeypatch, raised, code, message):
    def execute(operands, values):
        raise raised

    failing = inspect.COMMAND.__class__("fail", (), "Fails.", lambda values: None, execute)
    monkeypatch.setitem(main.COMMANDS, "fail", failing)
    result = command("fail")
    assert result.code == code
    assert result.err.endswith(message)
    assert "Traceback" not in result.err


def test_a_mistake_of_the_program_is_not_hidden(command, monkeypatch):
    def execute(operands, values):
        raise AttributeError("a bug")

    failing = inspect.COMMAND.__class__("fail", (), "Fails.", lambda values: None, execute)
    monkeypatch.setitem(main.COMMANDS, "fail", failing)
    with pytest.raises(AttributeError, match="a bug"):
        command("fail")


def test_an_interrupt_ends_it_with_130():
    code = (
        "import signal, sys, time; from estimator_ckpt.cli import main\n"
        # A shell that starts pytest in the background has its children ignore it.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "main._dispatch = lambda argv: (print('ready', flush=True), time.sleep(60))\n"
        "sys.exit(main.main([]))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, "", "")


def test_names_that_the_terminal_cannot_show_are_escaped(tmp_path):
    result = subprocess.run(
        [*PROGRAM, "inspect", str(tmp_path / "größe")],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        check=False,
    )
    assert result.returncode == 2
    assert b"gr\\xf6\\xdfe" in result.stderr
    assert b"Traceback" not in result.stderr
