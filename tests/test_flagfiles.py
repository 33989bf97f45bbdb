"""The flagfiles of the examples for who has no checkout: the package brings them."""

from pathlib import Path

import pytest

from estimator_ckpt.examples import flagfiles

ROOT = Path(__file__).resolve().parent.parent
CONFIGS = {path.name: path.read_text(encoding="utf-8") for path in ROOT.glob("configs/*.flags")}


def test_all_are_put_into_the_folder_that_they_name_each_other_in(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert flagfiles.main([]) == 0
    written = {path.name: path.read_text(encoding="utf-8") for path in Path("configs").iterdir()}
    assert written == CONFIGS and len(CONFIGS) == 7
    assert capsys.readouterr().out.split() == [f"configs/{name}" for name in sorted(CONFIGS)]
    assert flagfiles.main([]) == 0  # again: they are equal


def test_one_that_was_changed_is_not_replaced(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("configs").mkdir()
    Path("configs/digits.flags").write_text("--max_steps=7\n", encoding="utf-8")
    assert flagfiles.main([]) == 2
    assert "configs/digits.flags would be replaced; nothing was written" in capsys.readouterr().err
    assert [path.name for path in Path("configs").iterdir()] == ["digits.flags"]


@pytest.mark.parametrize(("argument", "code"), [("--help", 0), ("-h", 0), ("digits", 2)])
def test_arguments_write_nothing(tmp_path, monkeypatch, argument, code):
    monkeypatch.chdir(tmp_path)
    assert flagfiles.main([argument]) == code
    assert not list(tmp_path.iterdir())
