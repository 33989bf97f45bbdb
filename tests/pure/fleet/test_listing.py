"""Lists of model_dirs, in whatever way they are written; where what comes of them goes."""

from __future__ import annotations

import os
import pathlib

import pytest

from estimator_ckpt.errors import CheckpointArgumentError, CheckpointNotFoundError
from estimator_ckpt.fleet.listing import (
    ModelDir,
    in_places,
    model_dir,
    read_list,
    sorted_out,
)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"a\nb\n", [("a", None), ("b", None)]),
        (b"a\nb", [("a", None), ("b", None)]),
        (b"a\r\nb\tc\r\n", [("a", None), ("b", "c")]),
        (b"\xef\xbb\xbfa\n", [("a", None)]),
        (b"# all\n\n  # more\n   \na\n", [("a", None)]),
        (b"  a job/with spaces \t out of it \n", [("a job/with spaces", "out of it")]),
        ("größe/日本\n".encode(), [("größe/日本", None)]),
        (b"a#b\n", [("a#b", None)]),
        (b"s3://bucket/a b\tgs://bucket/c\n", [("s3://bucket/a b", "gs://bucket/c")]),
        (b"\xff\xfe\n", [(os.fsdecode(b"\xff\xfe"), None)]),
        (b"", []),
        (b"# nothing\n", []),
    ],
)
def test_a_list_is_read(tmp_path, data, found):
    path = tmp_path / "dirs.txt"
    path.write_bytes(data)
    assert read_list(str(path)) == found


@pytest.mark.parametrize("line", [b"a\tb\tc", b"a\t\tb", b"a\0b"])
def test_a_line_that_can_not_be_understood_is_told_with_its_number(tmp_path, line):
    path = tmp_path / "dirs.txt"
    path.write_bytes(b"# first\n" + line + b"\n")
    with pytest.raises(CheckpointArgumentError, match=r"dirs\.txt:2: "):
        read_list(str(path))


def test_a_list_that_is_not_there_is_told(tmp_path):
    with pytest.raises(CheckpointNotFoundError, match="no list of model_dirs"):
        read_list(str(tmp_path / "dirs.txt"))
    with pytest.raises(CheckpointArgumentError, match="is a directory"):
        read_list(str(tmp_path))


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ("a", "out/a"),
        ("./a/../b/", "out/b"),
        ("jobs/a b", "out/jobs/a b"),
        ("/data/jobs/a", "out/data/jobs/a"),
        ("s3://bucket/jobs/a/", "out/bucket/jobs/a"),
        ("gs://bucket/a/../../../b", "out/b"),
    ],
)
def test_the_place_below_a_root_is_the_path_as_it_is_given(source, place):
    assert in_places([ModelDir(source)], "out") == [(source, place)]
    assert in_places([ModelDir(source)], "s3://x/y/")[0].target == place.replace(
        "out", "s3://x/y", 1
    )
    assert in_places([ModelDir(source, "mine")], "out") == [(source, "mine")]


def test_a_path_that_leads_out_is_placed_by_its_whole_path(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (placed,) = in_places([ModelDir("../jobs/a")], "out")
    assert placed.target == f"out{tmp_path}/jobs/a"


@pytest.mark.parametrize(
    ("source", "root", "place"),
    [
        ("/data/jobs/a", "/data/jobs", "out/a"),
        ("/data/jobs/a", "/data/", "out/jobs/a"),
        ("s3://b/jobs/a", "s3://b/jobs/", "out/a"),
        ("jobs/x/a", "jobs", "out/x/a"),
    ],
)
def test_a_root_of_the_sources_shortens_the_places(source, root, place):
    assert in_places([ModelDir(source)], "out", root)[0].target == place


@pytest.mark.parametrize("source", ["/other/a", "/data", "/database/a", "s3://data/a"])
def test_what_is_not_below_the_root_of_the_sources_is_refused(source):
    with pytest.raises(CheckpointArgumentError, match="is not below"):
        in_places([ModelDir(source)], "out", "/data")


def test_without_a_place_nothing_is_begun():
    with pytest.raises(CheckpointArgumentError, match="'a' has no target"):
        in_places([ModelDir("a")])


def test_what_leads_to_one_place_is_taken_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to("a")
    spelled = ["a", "./a", "a/", "link", str(tmp_path / "a"), "s3://b/x", "s3://b//x/"]
    spelled += [f"file://{tmp_path}/a", f"FILE://localhost{tmp_path}/link"]
    chosen, refused = sorted_out([ModelDir(path) for path in spelled], writes=False)
    assert chosen == [("a", None), ("s3://b/x", None)] and not refused
    # Other targets are other conversions.
    pairs = [ModelDir("a", "x"), ModelDir("link", "x"), ModelDir("link", "y")]
    assert sorted_out(pairs) == ([("a", "x"), ("link", "y")], {})


def test_nobody_writes_where_others_write_or_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    (tmp_path / "to_c").symlink_to("c")
    given = [
        ModelDir("a", "x"),
        ModelDir("b", "./x"),
        ModelDir("a", "to_c"),
        ModelDir("c", "c/"),
        ModelDir("b", "y"),
        ModelDir("c", "c/inside"),
    ]
    chosen, refused = sorted_out(given)
    assert chosen == given
    assert set(refused) == set(given[:4])
    assert "is that of 'b', too" in refused[given[0]] and "is that of 'a', too" in refused[given[1]]
    assert "'c', a source too" in refused[given[2]] and "is its source" in refused[given[3]]
    assert sorted_out(given, writes=False) == (given, {})


def test_what_is_no_path_is_told():
    assert model_dir(pathlib.Path("a")) == ("a", None)
    assert model_dir(("a", pathlib.Path("b"))) == ("a", "b")
    for wrong in (None, 3, ("a", "b", "c"), ("a", 3)):
        with pytest.raises(CheckpointArgumentError, match="neither a path nor a pair"):
            model_dir(wrong)
