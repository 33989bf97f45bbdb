"""The command line around the commands: help, suggestions, errors, signals."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys

import pytest

from estimator_ckpt import errors
from estimator_ckpt.cli import main
from estimator_ckpt.cli.command import Command, anchor
from estimator_ckpt.hyphens import with_underscores

PROGRAM = [sys.executable, "-m", "estimator_ckpt"]


@pytest.mark.parametrize("flag", ["--help", "-h", "help"])
def test_help_lists_the_commands(command, monkeypatch, flag):
    monkeypatch.setenv("COLUMNS", "200")
    result = command(flag)
    assert (result.code, result.err) == (0, "")
    for verb in main.VERBS.values():
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
        "--container=NAME",
        "--overwrite",
        "--copy",
        "--json",
    ):
        assert f"\n  {flag}\n" in result.out
    assert "(default: step)" in result.out and "false" not in result.out
    assert "repeat this option" not in result.out


def test_help_is_wrapped_to_the_terminal(command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "50")
    lines = command("inspect", "--help").out.splitlines()
    assert max(map(len, lines[1:])) <= 50


DOCS = pathlib.Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("verb", main.VERBS)
@pytest.mark.parametrize("width", [80, 160])
def test_help_has_examples_names_of_arguments_and_a_link_and_is_as_wide(
    command, monkeypatch, verb, width
):
    monkeypatch.setenv("COLUMNS", str(width))
    out = command(verb, "--help").out
    lines = out.splitlines()
    assert width // 2 < max(map(len, lines)) <= width
    examples = out.split("\nexamples:\n")[1].split("\n\n")[0].replace(" \\\n", " ")
    assert len(examples.splitlines()) >= 3
    for example in examples.splitlines():
        words = shlex.split(re.split(r" (?:\|\||&&|\|) ", example)[0])
        assert words[:2] == [main.PROGRAM, verb]
        main.VERBS[verb].new_flags()(with_underscores(words, main.VERBS[verb].new_flags()))
    assert "=VALUE" not in out
    assert "(default: true)" not in out and "(default: false)" not in out
    page, _, where = lines[-1].removeprefix("more: ").partition("#")
    headings = [
        line[3:] for line in (DOCS / page).read_text("utf-8").splitlines() if line[:3] == "## "
    ]
    assert where in map(anchor, headings)


@pytest.mark.parametrize("verb", main.VERBS)
def test_with_json_errors_are_json_too(command, verb, tmp_path):
    operands = ["nothing"] * len(main.VERBS[verb].operands)
    result = command(verb, *operands, "--json")
    assert result.code == 2
    assert f"estimator-ckpt: error: {json.loads(result.out)['error']}\n" == result.err
    result = command(verb, "--json", "--nonsense")
    assert (result.code, "--nonsense" in json.loads(result.out)["error"]) == (2, True)


def test_python_m_is_the_command_line():
    ran = subprocess.run([*PROGRAM, "--version"], capture_output=True, text=True, check=True)
    assert ran.stdout == f"estimator-ckpt {main.__version__}\n"


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
        ((), "no command given; expected one of: average, cast, compact"),
        (("convrt", "a", "b"), "unknown command 'convrt'; did you mean 'convert'?"),
        (("zzz",), "unknown command 'zzz'; expected one of: average, cast, compact"),
        (("--versoin",), "unknown flag '--versoin' before the command; did you mean '--version'?"),
        (("convert", "a", "b", "--tto=tf2"), "unknown flag '--tto'; did you mean '--to'?"),
        (("convert", "a", "b", "--to=tf3"), "--to=tf3: expected 'tf1', 'tf2' or 'dual'"),
        (("convert", "a", "b", "--to"), "Missing value for flag --to"),
        (("convert", "a", "b"), "flag --to is required; give one of --to=tf1, --to=tf2, --to=dual"),
        (("convert", "a", "--to=tf2"), "missing TARGET; expected SOURCE TARGET"),
        (("inspect",), "missing CHECKPOINT...; expected CHECKPOINT..."),
        (("map", "a", "b"), "unexpected argument 'b'; expected only CHECKPOINT"),
        (("inspect", "a", "--include=("), "--include=(: '(' is no regular expression"),
        (("average", "a", "b", "--last=three"), "--last=three: expected a positive integer"),
        (("average", "a", "b", "--last=0"), "--last=0: expected a positive integer"),
        (("diff", "a", "b", "--tolerance=-1"), "--tolerance=-1: expected a non-negative number"),
        (("inspect", "a", "--values=maybe"), "--values=maybe: expected true or false"),
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

    failing = Command("fail", (), "Fails.", lambda values: None, execute)
    monkeypatch.setattr(main, "VERBS", {"fail": failing})
    result = command("fail")
    assert result.code == code
    assert result.err.endswith(message)
    assert "Traceback" not in result.err


def test_a_mistake_of_the_program_is_not_hidden(command, monkeypatch):
    def execute(operands, values):
        raise AttributeError("a bug")

    failing = Command("fail", (), "Fails.", lambda values: None, execute)
    monkeypatch.setattr(main, "VERBS", {"fail": failing})
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
    out, err = process.communicate(timeout=600)
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
