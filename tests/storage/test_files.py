"""The file system, local and `ram://` (which has no hard links, as remote ones don't)."""

from __future__ import annotations

import errno
import os
import pathlib
import re
import subprocess
import sys

import pytest
import tensorflow as tf

from estimator_ckpt.errors import CheckpointWriteError
from estimator_ckpt.storage import files, protocol

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(params=["local", "ram"])
def folder(request, tmp_path):
    """An empty directory, of either file system."""
    if request.param == "local":
        yield str(tmp_path)
        return
    path = f"ram://files{tmp_path}"
    tf.io.gfile.makedirs(path)
    yield path
    tf.io.gfile.rmtree(path)


def refuse(code):
    def refused(*_, **__):
        raise OSError(code, os.strerror(code))

    return refused


def names(folder):
    return sorted(os.path.basename(path) for path in files.glob(folder, "*"))


def test_what_was_written_is_read_whole_or_in_part(folder):
    path = os.path.join(folder, "file")
    assert not files.exists(path)
    files.write(path, b"0123456789")
    assert files.exists(path)
    assert files.size(path) == 10
    assert files.read(path) == b"0123456789"
    assert files.read(path, 3, 4) == b"3456"
    assert files.read(path, 8) == b"89"
    assert files.modified(path) == pytest.approx(tf.io.gfile.stat(path).mtime_nsec / 1e9)


def test_directories_are_told_from_files(folder):
    below = os.path.join(folder, "a", "b")
    files.make_directory(below)
    files.make_directory(below)
    files.write(os.path.join(below, "file"), b"")
    assert files.is_directory(below)
    assert not files.is_directory(os.path.join(below, "file"))
    files.remove_tree(os.path.join(folder, "a"))
    files.remove_tree(os.path.join(folder, "a"))
    assert not files.exists(below)


def test_removing_what_is_not_there_is_no_error(folder):
    path = os.path.join(folder, "file")
    files.write(path, b"")
    files.remove(path)
    files.remove(path)
    assert names(folder) == []


def test_glob_is_sorted_and_takes_the_directory_literally(folder):
    strange = os.path.join(folder, "a[1]*")
    files.make_directory(strange)
    for name in ("b.index", "a.index", "c.data", "[x].index"):
        files.write(os.path.join(strange, name), b"")
    assert names(strange) == ["[x].index", "a.index", "b.index", "c.data"]
    assert files.glob(strange, "?.index") == [f"{strange}/a.index", f"{strange}/b.index"]
    assert files.glob(os.path.join(folder, "absent"), "*") == []


def plant(path, monkeypatch, planted):
    """Puts a stranger's file or link where the next staged name will be."""
    planted(f"{path}.staging-known")
    monkeypatch.setattr(files, "staging_name", lambda path: f"{path}.staging-known")


@pytest.mark.parametrize("exists", [True, False])
def test_staging_follows_no_link_that_a_stranger_has_planted(tmp_path, monkeypatch, exists):
    victim = tmp_path / "victim"
    if exists:
        victim.write_bytes(b"precious")
    path = str(tmp_path / "checkpoint")
    plant(path, monkeypatch, lambda staged: os.symlink(victim, staged))
    with pytest.raises(FileExistsError):
        files.write_atomically(path, b"new")
    assert victim.exists() == exists
    assert not exists or victim.read_bytes() == b"precious"
    assert not os.path.exists(path)
    assert os.path.islink(f"{path}.staging-known")  # it is the stranger's


def test_a_stranger_s_file_is_not_written_over(tmp_path, monkeypatch):
    path = str(tmp_path / "checkpoint")
    plant(path, monkeypatch, lambda staged: files.write(staged, b"precious"))
    with pytest.raises(FileExistsError):
        files.write_atomically(path, b"new")
    assert files.read(f"{path}.staging-known") == b"precious"


@pytest.mark.parametrize("how", ["directory", "link"])
def test_a_staging_directory_is_never_taken_over(tmp_path, monkeypatch, how):
    (tmp_path / "stranger").mkdir()
    (tmp_path / "stranger" / "precious").write_bytes(b"")
    make = os.mkdir if how == "directory" else lambda at: os.symlink(tmp_path / "stranger", at)
    plant(str(tmp_path / "ckpt"), monkeypatch, make)
    with pytest.raises(FileExistsError), files.staging_directory(str(tmp_path / "ckpt")):
        pass
    assert os.path.exists(tmp_path / "ckpt.staging-known")
    assert (tmp_path / "stranger" / "precious").exists()


def test_a_staging_directory_is_this_user_s_alone(tmp_path):
    umask = os.umask(0)
    try:
        with files.staging_directory(str(tmp_path / "new" / "ckpt")) as staging:
            assert os.stat(staging).st_mode & 0o777 == 0o700
            assert os.stat(tmp_path / "new").st_mode & 0o777 == 0o777
    finally:
        os.umask(umask)
    assert names(str(tmp_path / "new")) == []


def test_of_a_link_to_a_directory_only_the_link_is_removed(tmp_path):
    (tmp_path / "stranger").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "stranger")
    assert files.try_to_remove(str(tmp_path / "link"))
    assert names(str(tmp_path)) == ["stranger"]


def test_an_atomic_write_replaces_a_file_and_leaves_nothing_else(folder):
    path = os.path.join(folder, "file")
    files.write_atomically(path, b"old")
    files.write_atomically(path, b"new")
    assert files.read(path) == b"new"
    assert names(folder) == ["file"]


def test_an_atomic_write_that_fails_leaves_the_old_file_alone(folder, monkeypatch):
    path = os.path.join(folder, "file")
    files.write(path, b"old")
    monkeypatch.setattr(files, "rename", refuse(errno.EIO))
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        files.write_atomically(path, b"new")
    assert files.read(path) == b"old"
    assert names(folder) == ["file"]


def test_a_copy_has_the_bytes_and_is_no_link(folder):
    source, target = os.path.join(folder, "source"), os.path.join(folder, "target")
    files.write(source, b"bytes")
    files.copy(source, target)
    files.write_atomically(source, b"changed")
    assert files.read(target) == b"bytes"


def test_a_copy_takes_no_existing_file_s_place(folder):
    source, target = os.path.join(folder, "source"), os.path.join(folder, "target")
    files.write(source, b"bytes")
    files.write(target, b"other")
    with pytest.raises((OSError, tf.errors.AlreadyExistsError)):
        files.copy(source, target)
    assert files.read(target) == b"other"


def test_progress_is_told_for_each_chunk(tmp_path, monkeypatch):
    monkeypatch.setattr(protocol, "CHUNK", 4)
    (tmp_path / "source").write_bytes(b"0123456789")
    told = []
    target = str(tmp_path / "target")
    files.copy(str(tmp_path / "source"), target, lambda *said: told.append(said))
    assert told == [(target, 4, 10), (target, 8, 10), (target, 10, 10)]
    assert (tmp_path / "target").read_bytes() == b"0123456789"


def test_a_link_shares_the_bytes(tmp_path):
    (tmp_path / "source").write_bytes(b"bytes")
    assert files.try_link(str(tmp_path / "source"), str(tmp_path / "target"))
    assert (tmp_path / "target").samefile(tmp_path / "source")


def test_a_link_to_a_symbolic_link_is_one_to_the_file(tmp_path):
    (tmp_path / "real").write_bytes(b"bytes")
    (tmp_path / "symbolic").symlink_to("real")
    assert files.try_link(str(tmp_path / "symbolic"), str(tmp_path / "target"))
    assert not (tmp_path / "target").is_symlink()
    assert (tmp_path / "target").samefile(tmp_path / "real")


@pytest.mark.parametrize("code", ["EXDEV", "EPERM", "EOPNOTSUPP", "EMLINK", "ENOSYS"])
def test_a_file_system_without_links_is_no_error(tmp_path, monkeypatch, code):
    monkeypatch.setattr(os, "link", refuse(getattr(errno, code)))
    assert files.try_link(str(tmp_path / "source"), str(tmp_path / "target")) is False


@pytest.mark.parametrize("code", ["ENOSPC", "EIO", "ENOENT"])
def test_any_other_refusal_of_a_link_is_one(tmp_path, monkeypatch, code):
    monkeypatch.setattr(os, "link", refuse(getattr(errno, code)))
    with pytest.raises(OSError, match=os.strerror(getattr(errno, code))):
        files.try_link(str(tmp_path / "source"), str(tmp_path / "target"))


def test_nothing_remote_is_linked(tmp_path):
    assert files.try_link("ram://files/source", str(tmp_path / "target")) is False
    assert files.try_link(str(tmp_path / "source"), "ram://files/target") is False


def test_a_writable_directory_is_made_and_left_empty(folder):
    path = os.path.join(folder, "new", "directory")
    files.require_writable(os.path.join(path, "file"))
    assert files.is_directory(path)
    assert names(path) == []


def test_a_directory_below_a_file_is_refused_by_name(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    path = str(tmp_path / "file" / "below" / "it")
    with pytest.raises(CheckpointWriteError, match=r"can't write to the directory .*give a target"):
        files.require_writable(path)


def test_the_current_directory_is_named_as_a_dot(monkeypatch):
    monkeypatch.setattr("tempfile.TemporaryFile", refuse(errno.EACCES))
    with pytest.raises(CheckpointWriteError, match=r"'\.': Permission denied"):
        files.require_writable("file")


def test_no_spelling_hides_that_two_paths_are_the_same(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pathlib.Path("k/sub").mkdir(parents=True)
    pathlib.Path("links").mkdir()
    pathlib.Path("k/in.index").touch()
    os.link("k/in.index", "hard")
    for target, link in (("k", "folder"), ("k/in.index", "file"), ("no", "dangling")):
        os.symlink(target, link)
    os.symlink("../k", "links/k")
    os.symlink("loop", "loop")

    def is_same(first, second):
        try:
            return os.path.realpath(first) == os.path.realpath(second) or os.path.samefile(
                first, second
            )
        except (OSError, ValueError):
            return False

    stems = [
        *("k", "k/in.index", "k/in", "k/sub", "folder/in.index", "folder/in", "file", "hard"),
        *("dangling", "no", "loop", "links/../k/in.index", "links/k/in", "no/../k/in.index"),
        *("no/../k/in", "k/in.index/x", "k/in.index/..", "a\0b", ""),
    ]
    paths = [
        spelled
        for stem in stems
        for spelled in (stem, f"{stem}/", f"{stem}/.", f"./{stem}", f"{tmp_path}/{stem}")
    ]
    for first in paths:
        for second in paths:
            assert files.is_same(first, second) or not is_same(first, second), (first, second)


def test_tensorflow_reaches_google_s_store_by_itself_and_s3_by_a_plug_in():
    """As docs/stores.md says of each version; the plug-in there is the one that CI installs."""
    code = "import tensorflow as tf; print(tf.io.gfile.get_registered_schemes())"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "'gs'" in ran.stdout and "'s3'" not in ran.stdout
    page = (ROOT / "docs" / "stores.md").read_text()
    installed = re.search(r"^plugin_version=(.+)$", (ROOT / ".ci" / "run").read_text(), re.M)
    assert installed and f"`pip install tensorflow-io=={installed[1]}`" in page
