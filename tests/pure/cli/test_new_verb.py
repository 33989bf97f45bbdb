"""A module that is put among the verbs is a command, and nothing else has to know of it."""

from __future__ import annotations

import pathlib
import re
import sys

from estimator_ckpt.cli import main, verbs

ROOT = pathlib.Path(__file__).resolve().parents[3]
GENERATED = {"README.md", "CONTRIBUTING.md", "docs/commands.md", "tests/golden/help.txt"}


def test_a_module_among_the_verbs_is_a_command(command, monkeypatch, tmp_path):
    text = (ROOT / "estimator_ckpt" / "cli" / "verbs" / "prefix.py").read_text(encoding="utf-8")
    (tmp_path / "first_part.py").write_text(text.replace('"prefix"', '"first-part"'))
    monkeypatch.setattr(verbs, "__path__", [*verbs.__path__, str(tmp_path)])
    monkeypatch.setattr(main, "VERBS", verbs.Verbs())
    monkeypatch.setitem(sys.modules, f"{verbs.__name__}.first_part", None)  # gone afterwards
    del sys.modules[f"{verbs.__name__}.first_part"]
    assert "first-part CHECKPOINT..." in command("--help").out
    assert command("help", "first-part").out.startswith("usage: estimator-ckpt first-part")
    result = command("first-part", tmp_path / "nothing")
    assert (result.code, result.out) == (2, "")
    assert "did you mean 'first-part'?" in command("first-prt").err


def test_nothing_but_its_module_its_docs_and_its_test_names_the_verb_of_the_example():
    found = set()
    for path in [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("estimator_ckpt/**/*.py"),
    ]:
        name = path.relative_to(ROOT).as_posix()
        if name not in (*GENERATED, "CHANGELOG.md") and re.search(
            r"estimator-ckpt prefix\b|verbs[./]prefix\b", path.read_text(encoding="utf-8")
        ):
            found.add(name)
    tests = [path for path in ROOT.glob("tests/**/*.py") if path != pathlib.Path(__file__)]
    for path in tests:
        if re.search(r"command\(\s*\"prefix\"", path.read_text(encoding="utf-8")):
            found.add(path.relative_to(ROOT).as_posix())
    assert found == {
        "estimator_ckpt/cli/verbs/prefix.py",
        "docs/cli.md",
        "tests/cli/test_prefix.py",
    }
