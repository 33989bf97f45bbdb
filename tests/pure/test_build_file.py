"""BUILD can be evaluated, and names every module and every test once."""

from __future__ import annotations

import collections
import functools
import pathlib
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[2]
TEXT = (ROOT / "BUILD").read_text(encoding="utf-8")
RUNNER = "tests/pytest_main.py"


def evaluated() -> list[tuple[str, dict[str, Any]]]:
    """The rules that BUILD makes: (kind, attributes). Its language is a subset of Python."""
    rules: list[tuple[str, dict[str, Any]]] = []
    names: dict[str, Any] = {"glob": globbed}
    for name in ("exports_files", "licenses", "package"):
        names[name] = lambda *args, **attributes: None

    def rule(kind: str, **attributes: Any) -> None:
        rules.append((kind, attributes))

    def load(label: str, *symbols: str) -> None:
        assert label == "@rules_python//python:defs.bzl"
        names.update({symbol: functools.partial(rule, symbol) for symbol in symbols})

    names["load"] = load
    exec(TEXT, names)
    return rules


def globbed(patterns: list[str], exclude: tuple[str, ...] | list[str] = ()) -> list[str]:
    found = {path for pattern in patterns for path in ROOT.glob(pattern) if path.is_file()}
    left = {path for pattern in exclude for path in ROOT.glob(pattern)}
    return sorted(path.relative_to(ROOT).as_posix() for path in found - left)


def test_every_module_is_in_one_library_and_every_test_in_one_target():
    times = collections.Counter(
        src
        for kind, attributes in evaluated()
        if kind != "py_binary"
        for src in attributes["srcs"]
        if src != RUNNER
    )
    wanted = globbed(["estimator_ckpt/**/*.py", "tests/**/*.py"])
    assert times == {src: 1 for src in wanted if src != RUNNER}


def test_each_test_file_runs_itself_with_pytest():
    tests = [attributes for kind, attributes in evaluated() if kind == "py_test"]
    assert len(tests) > 50
    for attributes in tests:
        (path,) = attributes["args"]
        assert path in attributes["srcs"] and attributes["main"] == RUNNER


def test_what_a_rule_names_is_there():
    rules = evaluated()
    targets = {f":{attributes['name']}" for _, attributes in rules}
    assert len(targets) == len(rules)
    for _, attributes in rules:
        assert set(attributes.get("deps", ())) <= targets
        for path in (*attributes["srcs"], *attributes.get("data", ())):
            assert (ROOT / path).is_file(), path


def test_the_file_stays_short():
    assert TEXT.count("\n") <= 150
