"""A `file://` path is a local one, whatever the case of its scheme, wherever one is taken."""

import os

import pytest

from estimator_ckpt.cli import main
from estimator_ckpt.errors import CheckpointWriteError
from estimator_ckpt.storage import files, scratch


@pytest.fixture(params=["file://{}", "FILE://{}", "File://localhost{}"])
def url(request, tmp_path):
    return request.param.format(tmp_path / "file")


def test_it_is_the_same_file(url, tmp_path):
    files.write(url, b"0123")
    assert (tmp_path / "file").read_bytes() == b"0123"
    assert files.exists(url) and files.size(url) == 4 and files.read(url, 1, 2) == b"12"
    assert files.is_same(url, str(tmp_path / "file"))
    assert not files.is_same(url, str(tmp_path))


def test_it_is_not_copied_to_be_local(url, tmp_path, monkeypatch):
    monkeypatch.setattr(scratch, "scratch_path", None)
    files.write(url, b"0123")
    with files.local_copy(url) as path:
        assert os.path.samefile(path, tmp_path / "file") and os.path.isabs(path)
    assert files.exists(url)


def test_a_dry_run_says_that_nothing_can_be_put_there(url):
    files.write(url, b"0123")
    with pytest.raises(CheckpointWriteError, match="File exists"):
        files.require_place(url + "/it")
    with pytest.raises(CheckpointWriteError, match="Not a directory"):
        files.require_place(url + "/below/it")


def test_the_commands_take_it(url, tmp_path, capsys):
    import fleets

    folder = url.rpartition("/")[0]
    fleets.job(str(tmp_path / "job"), steps=(7,))
    for line in (
        f"inspect {folder}/job",
        f"convert {folder}/job {folder}/new/m --to=tf2",
        f"verify {folder}/new/m",
        f"export {folder}/job {folder}/w.npz",
        f"import {folder}/w.npz {folder}/back/m --to=tf1",
        f"report {folder}/job -o {folder}/r.html",
    ):
        assert main.main(line.split()) == 0, (line, capsys.readouterr().err)
    assert {"new", "w.npz", "back", "r.html"} <= set(os.listdir(tmp_path))
