"""Completion, in the shells themselves: what they offer where somebody presses Tab."""

import os
import pty
import selectors
import shlex
import shutil
import signal
import subprocess
import tempfile
import time

import pytest

from estimator_ckpt.cli import main
from estimator_ckpt.cli.verbs import VERBS

# {shell: what completes the line that is its first argument, with the script as its second}.
ASK = {
    "bash": """
        eval "$2"; COMP_WORDS=($1); [ "${1% }" = "$1" ] || COMP_WORDS+=("")
        COMP_LINE="$1"; COMP_POINT=${#1}; COMP_WORDBREAKS=" "
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); compopt() { :; }
        _estimator_ckpt; printf '%s\\n' "${COMPREPLY[@]}"
    """,
    "zsh": """
        compdef() { :; }
        compadd() {
            local all=() each
            for each; do case "$each" in -a) all=(${(P)argv[-1]}); break;; -*S|'') ;; --) ;;
                --*) all+=("$each") ;; esac; done
            print -l -- $all
        }
        _files() { :; }
        eval "$2"; words=(${(z)1}); [[ "$1" == *' ' ]] && words+=('')
        CURRENT=$#words; PREFIX="${words[CURRENT]}"; _estimator_ckpt
    """,
    "fish": """
        echo $argv[2] | source; complete -C $argv[1] | string replace -r "\\t.*" ""; true
    """,
}


def offered(shell: str, line: str) -> list[str]:
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} here")
    from estimator_ckpt.cli.completion import script

    options = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
    command = [shell, *options, "-c", ASK[shell], *(["ask"] if shell != "fish" else [])]
    done = subprocess.run(
        [*command, line, script(shell)], capture_output=True, text=True, timeout=600, check=True
    )
    assert not done.stderr, done.stderr
    return [word for word in done.stdout.splitlines() if word]


@pytest.mark.parametrize("shell", ASK)
def test_verbs_are_offered_first(shell):
    assert set(VERBS) <= set(offered(shell, "estimator-ckpt "))


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_then_the_flags_of_the_verb(shell, verb):
    found = {word.partition("=")[0] for word in offered(shell, f"estimator-ckpt {verb} --")}
    values = VERBS[verb].new_flags()
    names = {name for name in values if values[name].name == name}
    wanted = {
        f"--no{name}" if values[name].boolean and values[name].default else f"--{name}"
        for name in names
    }
    assert wanted <= found


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_and_what_a_flag_may_be(shell):
    words = offered(shell, "estimator-ckpt convert --to")
    assert {"--to=tf1", "--to=tf2", "--to=dual"} <= set(words)


def test_another_shell_is_refused(capsys):
    assert main.main(["--completion=tcsh"]) == 2
    assert "expected one of bash, zsh, fish" in capsys.readouterr().err


@pytest.mark.parametrize("shell", ASK)
def test_the_command_prints_the_script(shell, capsys):
    assert main.main([f"--completion={shell}"]) == 0
    out = capsys.readouterr().out
    assert out.strip() and shlex.split(out.splitlines()[-1])[-1] and "estimator-ckpt" in out


def typed(keys: str, wanted: str) -> str:
    """What an interactive bash shows after keys, up to what is wanted, or for some seconds."""
    from estimator_ckpt.cli.completion import script

    child, terminal = pty.fork()
    if child == 0:
        os.environ.update(PS1="$ ", TERM="dumb", INPUTRC="/dev/null")
        os.execvp("bash", ["bash", "--norc", "--noprofile", "-i"])
    shown = b""
    ready = selectors.DefaultSelector()  # select() takes no descriptor above 1,023
    try:
        ready.register(terminal, selectors.EVENT_READ)
        os.write(terminal, b"bind 'set enable-bracketed-paste off'\n")
        with tempfile.NamedTemporaryFile("w", suffix=".bash") as file:
            file.write(script("bash"))
            file.flush()
            os.write(terminal, f"source {file.name}; echo rea''dy\n".encode())
            for text, until in ((None, "ready"), (keys, wanted)):
                if text is not None:
                    shown = b""
                    os.write(terminal, text.encode())
                deadline = time.monotonic() + 300
                while until.encode() not in shown and time.monotonic() < deadline:
                    if ready.select(0.1):
                        shown += os.read(terminal, 4096)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        ready.close()
        os.close(terminal)
    return shown.decode()


@pytest.mark.skipif(shutil.which("bash") is None or os.name == "nt", reason="there is no bash here")
@pytest.mark.parametrize(
    ("keys", "wanted"),
    [
        ("estimator-ckpt insp\t", "estimator-ckpt inspect "),
        ("estimator-ckpt --ver\t", "--version "),
        ("estimator-ckpt convert --to=d\t", "--to=dual "),
        ("estimator-ckpt inspect --format=c\t", "--format=csv "),
        ("estimator-ckpt convert --to=\t\t", "dual"),
        ("estimator-ckpt drop --dry-\t", "_run "),
        ("estimator-ckpt drop a b --patt\t", "--pattern="),
    ],
)
def test_in_bash_itself(keys, wanted):
    assert wanted in typed(keys, wanted)
