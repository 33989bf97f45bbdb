"""Finds the command that is asked for and runs it; what goes wrong becomes one message.

Synopsis:

    estimator-ckpt --help
    estimator-ckpt convert --help
    python -m estimator_ckpt inspect model_dir

With `--json`, what goes wrong is JSON on stdout, too: `{"error": "..."}`.

Exit codes: 0, done; 1, the answer is no (`verify`, `diff`, `doctor`); 2, something is wrong, and
the message on stderr says what; 130, interrupted.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence

from estimator_ckpt._version import __version__
from estimator_ckpt.cli.command import GROUPS, PROGRAM, Command, UsageError, wants_json, wrapped
from estimator_ckpt.cli.output import coloured, filled, print_json
from estimator_ckpt.cli.verbs import VERBS
from estimator_ckpt.errors import CheckpointError
from estimator_ckpt.messages import did_you_mean, escaped
from estimator_ckpt.storage import files

_TROUBLE = 2
_INTERRUPTED = 130  # 128 + SIGINT, as a shell has it
_READER_GONE = 141  # 128 + SIGPIPE


def run() -> None:
    """The console script: `estimator-ckpt`."""
    # One message on stderr, not TensorFlow's log around it. Who asks for the log gets it.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    _replace_unprintable()
    code = main(sys.argv[1:])
    if code == _READER_GONE:
        _forget_stdout()
    sys.exit(code)


def main(argv: Sequence[str]) -> int:
    """Runs one command line.

    Args:
      argv: the arguments, without the program's name.

    Returns:
      The exit code.
    """
    try:
        with files.looking_once():
            code = _dispatch(argv)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        return _READER_GONE
    except KeyboardInterrupt:
        return _INTERRUPTED
    except Exception as error:
        if not (isinstance(error, (UsageError, CheckpointError)) or files.is_refusal(error)):
            raise
        if wants_json(argv):
            print_json({"error": str(error)})
        word = coloured("error", "red", sys.stderr)
        print(f"{PROGRAM}: {word}: {escaped(error)}", file=sys.stderr)
        return _TROUBLE


def _dispatch(argv: Sequence[str]) -> int:
    if not argv:
        raise UsageError(f"no command given; {_expected()}")
    verb, *rest = argv
    if verb in ("--help", "-h", "-help", "help"):
        return _help(rest)
    if verb == "--version":
        print(f"{PROGRAM} {__version__}")
        return 0
    if verb.partition("=")[0] == "--completion":
        return _completion(verb.partition("=")[2])
    if verb.startswith("-") and (typed := next((word for word in rest if word in VERBS), None)):
        at = argv.index(typed)
        line = shlex.join((PROGRAM, *argv[at:], *argv[:at]))
        raise UsageError(f"'{verb}' is before the command; give flags behind it: `{line}`")
    return _find(verb).main(rest)


def _completion(shell: str) -> int:
    """`estimator-ckpt --completion=bash`."""
    from estimator_ckpt.cli.completion import SHELLS, script

    if shell not in SHELLS:
        raise UsageError(f"--completion={shell}: expected one of {', '.join(SHELLS)}")
    print(script(shell))
    return 0


def _help(argv: Sequence[str]) -> int:
    """`estimator-ckpt --help`, and `estimator-ckpt help convert`."""
    if argv and not argv[0].startswith("-"):
        return _find(argv[0]).main(["--help"])
    print(overview())
    return 0


def _find(verb: str) -> Command:
    if verb.startswith("-"):
        known = ("completion", "help", "version")
        suggestion = did_you_mean(verb.lstrip("-"), known, "--")
        raise UsageError(
            f"unknown flag '{verb}' before the command{suggestion or '; ' + _expected()}"
        )
    if verb not in VERBS:
        raise UsageError(
            f"unknown command '{verb}'{did_you_mean(verb, VERBS) or '; ' + _expected()}"
        )
    return VERBS[verb]


def _expected() -> str:
    return f"expected one of: {', '.join(VERBS)} (see `{PROGRAM} --help`)"


def overview() -> str:
    """Returns what `--help` without a command prints."""
    usages = {name: " ".join((name, *command.operands)) for name, command in VERBS.items()}
    width = max(map(len, usages.values()))
    groups: dict[str, list[str]] = {group: [] for group in GROUPS}
    for name, command in VERBS.items():
        line = f"  {usages[name]:<{width}}  {command.summary}"
        groups.setdefault(command.group, []).append(filled(line, " " * (width + 4)))
    paragraphs = (
        f"usage: {PROGRAM} COMMAND ... [flags]",
        wrapped(
            "Looks into TensorFlow checkpoints and converts them: name-based (tf1), object-based "
            "(tf2), or both on the same bytes (dual)."
        ),
        *("\n".join((f"{group}:", *lines)) for group, lines in groups.items() if lines),
        wrapped(
            f"`{PROGRAM} COMMAND --help` shows examples and the flags of a command; "
            f"`{PROGRAM} --version` says which version this is. More: docs/cli.md."
        ),
    )
    return "\n\n".join(paragraphs)


def _replace_unprintable() -> None:
    """Lets a terminal without UTF-8 show a checkpoint whose names need it, escaped."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def _forget_stdout() -> None:
    """Keeps Python from complaining, at exit, that it cannot flush into a closed pipe."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    run()
