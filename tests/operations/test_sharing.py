"""What checkpoints of a directory share by hard links is told, by inspect and by doctor."""

import os
import shutil

import numpy as np
import pytest

from estimator_ckpt import convert, describe, doctor
from estimator_ckpt.checkpoint import BundleWriter
from estimator_ckpt.cli import main
from estimator_ckpt.operations import shared_room


@pytest.fixture
def folder(tmp_path):
    """Two that share all of their data, and one that shares nothing."""
    for name in ("model.ckpt-1", "model.ckpt-3"):
        with BundleWriter(str(tmp_path / name)) as writer:
            writer.put(
                "v", writer.append(1, (1000,), [np.arange(1000, dtype=np.float32).tobytes()])
            )
            writer.put("global_step", writer.append(9, (), [np.int64(1).tobytes()]))
            writer.commit()
    convert(tmp_path / "model.ckpt-1", tmp_path / "model.ckpt-2", to="tf1")
    return tmp_path


def test_inspect_says_with_which_a_checkpoint_shares_how_much(folder, capsys):
    found = describe(folder / "model.ckpt-2")
    assert found.shares == (("model.ckpt-1", 4008),)
    assert describe(folder / "model.ckpt-3").shares == ()
    assert main.main(["inspect", str(folder / "model.ckpt-2")]) == 0
    assert "shares 3.9 KiB with model.ckpt-1" in capsys.readouterr().err


def test_doctor_says_what_is_shared_and_what_room_that_saves(folder):
    (problem,) = [each.problem for each in doctor(folder).findings if "share" in each.problem]
    assert "they have 12,024 bytes, and take 8,016 on the disk" in problem
    assert "damage to 2 of them: 'model.ckpt-2', 'model.ckpt-1'" in problem


def test_copies_share_nothing(folder, tmp_path_factory):
    copied = shutil.copytree(folder, tmp_path_factory.mktemp("copied") / "job")
    assert describe(copied / "model.ckpt-2").shares == ()
    assert not [each for each in doctor(copied).findings if "share" in each.problem]


def test_a_link_from_another_directory_is_not_told(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    name = "model.ckpt-3.data-00000-of-00001"
    os.link(folder / name, other / name)
    assert describe(folder / "model.ckpt-3").shares == ()


def test_inspect_asks_nothing_of_the_other_checkpoints(folder, monkeypatch):
    own = str(folder / "model.ckpt-2")
    asked = []
    stat = os.stat
    monkeypatch.setattr(
        os, "stat", lambda path, *rest, **more: asked.append(str(path)) or stat(path, *rest, **more)
    )
    assert describe(own).shares == (("model.ckpt-1", 4008),)
    assert [path for path in asked if "model.ckpt-" in path and not path.startswith(own)] == []


def test_a_folder_of_another_spelling_shares_as_much(folder, monkeypatch):
    monkeypatch.chdir(folder)
    for prefix in (f"file://{folder}/model.ckpt-2", "model.ckpt-2", "./model.ckpt-2"):
        assert describe(prefix).shares == (("model.ckpt-1", 4008),), prefix


def test_a_file_that_goes_while_doctor_looks_is_no_error(folder, monkeypatch):
    size = shared_room.files.size

    def going(path):
        if path.endswith("model.ckpt-3.data-00000-of-00001"):
            raise FileNotFoundError(path)
        return size(path)

    monkeypatch.setattr(shared_room.files, "size", going)
    told = shared_room.told_of_sharing(str(folder), sorted(os.listdir(folder)))
    assert "they have 8,016 bytes, and take 4,008 on the disk" in told
