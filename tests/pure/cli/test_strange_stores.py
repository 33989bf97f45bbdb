"""Stores that are not as they should be: each command says so in a line, with an exit code of 2."""

from __future__ import annotations

import sys

import numpy as np
import pytest

pytest.importorskip("obstore")
pytest.importorskip("werkzeug")

import stores

from estimator_ckpt.cli import main
from estimator_ckpt.storage import by_boto3, connecting, files

VERBS = [
    "inspect {}",
    "verify {}",
    "doctor {}",
    "diff {} {}",
    "prefix {}",
    "convert {} {}2/new --to=tf2",
]


@pytest.fixture
def job(s3_store, tmp_path):
    np.savez(tmp_path / "values.npz", w=np.ones(3, np.float32), global_step=np.int64(7))
    place = f"{s3_store.url}/job"
    line = f"import {tmp_path}/values.npz {place}/ --to=tf1"
    assert main.main(line.split()) == 0
    return place


def put(store, key):
    try:
        store.put(key, b"junk")
    except stores.UnusableKeyError as error:
        pytest.skip(str(error))
    if key not in store.objects():
        pytest.skip(f"this server makes another key of '{key}'")


def told(capsys, line, *parts):
    capsys.readouterr()
    assert main.main(line.split()) == 2, line
    err = capsys.readouterr().err
    assert "Traceback" not in err and len(err.splitlines()) == 1, err
    assert all(part in err for part in parts), err


@pytest.mark.parametrize("endpoint", ["127.0.0.1:9", "localhost", "http://", "ftp://x:1"])
@pytest.mark.parametrize("verb", VERBS)
def test_an_endpoint_that_is_not_whole(job, monkeypatch, capsys, endpoint, verb):
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    told(capsys, verb.format(job, job), "must be whole, such as http://127.0.0.1:9000")


def test_a_list_of_many_does_not_wait_for_ever(job, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "127.0.0.1:9")
    (tmp_path / "dirs.txt").write_text(f"{job}\n{job}2\n")
    assert main.main(["doctor", f"--from-file={tmp_path / 'dirs.txt'}"]) == 2
    assert capsys.readouterr().out.count("must be whole") == 2


def test_a_password_of_an_endpoint_is_not_shown(job, monkeypatch, capsys):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "ftp://somebody:secret@host:1")
    assert main.main(["inspect", job]) == 2
    assert "secret" not in capsys.readouterr().err


@pytest.mark.parametrize("verb", VERBS)
def test_a_profile_that_there_is_not(job, monkeypatch, capsys, verb, tmp_path):
    pytest.importorskip("boto3")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_PROFILE", "nosuch")
    told(capsys, verb.format(job, job), "nosuch", "AWS_PROFILE")


@pytest.mark.parametrize("key", ["/x", "job//junk", "job/./junk", "//"])
def test_keys_that_are_no_paths_stop_no_other_folder(
    s3_store, job, monkeypatch, capsys, key, tmp_path
):
    monkeypatch.setitem(sys.modules, "boto3", None)
    for_others = f"import {tmp_path}/values.npz {s3_store.url}/other/ --to=tf1"
    assert main.main(for_others.split()) == 0
    put(s3_store, key)
    capsys.readouterr()
    code = main.main(["verify", "-r", s3_store.url, "--format=tsv"])
    shown = capsys.readouterr()
    rows = [line for line in shown.out.splitlines() if "other" in line]
    assert rows and all("done" in row for row in rows), shown  # whatever is in the others
    if key.startswith("job/"):
        for verb in VERBS[:3]:
            told(capsys, verb.format(job), "with an empty part ('//')", "pip install boto3")
    else:
        assert code == 0


@pytest.mark.parametrize("key", ["job//junk", "job/./junk", "job/../junk", "job//", "job///x"])
def test_keys_that_are_no_paths_are_passed_over_where_boto3_is(s3_store, job, capsys, caplog, key):
    pytest.importorskip("boto3")
    put(s3_store, key)
    before = s3_store.objects()
    for verb in VERBS[:3]:
        assert main.main(verb.format(job).split()) == 0, verb
    said = caplog.text + capsys.readouterr().err
    assert f"'{s3_store.url}/job/" in said and "is passed over" in said, said
    assert main.main(f"convert {job} {job}/two --to=tf2 --all".split()) == 0
    after = s3_store.objects()
    assert {name: after[name] for name in before} == before
    with files.looking_once():
        assert sorted(files.names(job)) == sorted(
            {name.split("/")[1] for name in after if name != key and name.startswith("job/")}
        )


def test_what_the_store_refuses_boto3_is_an_os_error(s3_store):
    pytest.importorskip("boto3")
    with pytest.raises(OSError, match="NoSuchBucket"):
        by_boto3.list_folder(connecting.connect("s3", "no-such"), "s3://no-such/job")


def test_on_other_stores_it_is_said_which_key_is_no_path(gcs_store, capsys, tmp_path):
    np.savez(tmp_path / "values.npz", w=np.ones(3, np.float32))
    assert main.main(f"import {tmp_path}/values.npz {gcs_store.url}/job/ --to=tf1".split()) == 0
    gcs_store.put("job//junk", b"junk")
    capsys.readouterr()
    told(capsys, f"inspect {gcs_store.url}/job", "'//'", "job//")
