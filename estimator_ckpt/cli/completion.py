"""Completion of `estimator-ckpt` in a shell: its verbs, their flags, and what a flag may be.

    source <(estimator-ckpt --completion=bash)      # in ~/.bashrc
    source <(estimator-ckpt --completion=zsh)       # in ~/.zshrc, behind compinit
    estimator-ckpt --completion=fish | source       # in config.fish

The script has all of it in it: no program runs while one types.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator

from estimator_ckpt.cli.command import PROGRAM, Command
from estimator_ckpt.cli.verbs import VERBS

_BASH = """\
_estimator_ckpt() {
    local verb="${COMP_WORDS[1]}" line="${COMP_LINE:0:COMP_POINT}" words="" name
    local word="${line##* }"  # whole: bash may have split it at its "="
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W "@verbs@ --help --version" -- "$word"))
        return
    fi
    case "$word" in --*) ;; *) return ;; esac
    name="${word%%=*}" && name="--${name#--}"
    word="--$(tr - _ <<< "${name#--}")${word:${#name}}"
    case "$verb" in
@cases@
    esac
    COMPREPLY=($(compgen -W "$words" -- "$word"))
    case "${COMPREPLY[0]-}" in *=) compopt -o nospace ;; esac
    case "$word$COMP_WORDBREAKS" in *=*=*) COMPREPLY=("${COMPREPLY[@]#*=}") ;; esac
}
complete -o default -F _estimator_ckpt @program@"""

_ZSH = """\
_estimator_ckpt() {
    local -a words_of
    if (( CURRENT == 2 )); then
        words_of=(@verbs@)
        compadd -a words_of
        return
    fi
    case "$PREFIX" in -*) ;; *) _files; return ;; esac
    case "${words[2]}" in
@cases@
    esac
    compadd -- "${(@M)words_of:#*=}" -S ''
    compadd -- "${(@)words_of:#*=}"
}
compdef _estimator_ckpt @program@"""


def script(shell: str) -> str:
    """Returns the script that a shell reads; `shell` is one of `SHELLS`."""
    return SHELLS[shell]()


def _bash() -> str:
    cases = (f'        {name}) words="{" ".join(_flags(verb))}" ;;' for name, verb in _verbs())
    return _filled(_BASH, cases)


def _zsh() -> str:
    cases = (
        f"        {name}) words_of=({' '.join(map(shlex.quote, _flags(verb)))}) ;;"
        for name, verb in _verbs()
    )
    return _filled(_ZSH, cases)


def _filled(text: str, cases: Iterator[str]) -> str:
    values = {"verbs": " ".join(sorted(VERBS)), "cases": "\n".join(cases), "program": PROGRAM}
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text


def _fish() -> str:
    lines = []
    for name, verb in _verbs():
        summary = shlex.quote(verb.summary)
        lines.append(f"complete -c {PROGRAM} -n __fish_use_subcommand -f -a {name} -d {summary}")
        for word in _flags(verb):
            flag, separator, value = word.removeprefix("--").partition("=")
            of = f"complete -c {PROGRAM} -n '__fish_seen_subcommand_from {name}' -l {flag}"
            lines.append(f"{of} -r{f' -a {value}' if value else ''}" if separator else of)
    return "\n".join(lines)


def _flags(verb: Command) -> list[str]:
    """Returns the flags of a verb as they are typed, up to the `=` where a value follows."""
    words = []
    values = verb.new_flags()
    for name in values:
        flag = values[name]
        choices = getattr(flag.parser, "enum_values", ())
        if flag.name != name:  # a short name
            continue
        if flag.boolean:
            words.append(f"--no{name}" if flag.default else f"--{name}")
        else:
            words += [f"--{name}={choice}" for choice in choices] or [f"--{name}="]
    return words


def _verbs() -> Iterator[tuple[str, Command]]:
    return ((name, VERBS[name]) for name in sorted(VERBS))


SHELLS: dict[str, Callable[[], str]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
"""Those that there is a script for."""
