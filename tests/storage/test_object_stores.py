"""Object stores: real requests to local servers of S3 and of Google Cloud Storage."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys
import time

import pytest

from estimator_ckpt.storage import connecting, files, object_store, ranges

PART = 5 * 1024 * 1024  # the least that S3 takes for a part


def keys(store):
    return sorted(store.objects())


def test_what_was_written_is_read_whole_or_in_part(object_store):
    path = object_store.url + "/job/file"
    assert not files.exists(path)
    files.write(path, b"0123456789")
    assert files.exists(path)
    assert files.size(path) == 10
    assert files.read(path) == b"0123456789"
    assert files.read(path, 3, 4) == b"3456"
    assert files.read(path, 8) == b"89"
    assert files.read(path, 8, 100) == b"89"
    assert files.read(path, 20, 1) == b""
    assert abs(files.modified(path) - time.time()) < 60
    assert keys(object_store) == ["job/file"]


@pytest.mark.parametrize("spelled", ["{}//job/./file", "{}/x/../job/file", "{}/job/file/"])
def test_a_path_is_the_object_however_it_is_spelled(object_store, spelled, monkeypatch):
    # Where it is loaded, `gs://` is read as it does: tests/estimator/test_jobs_on_stores.py.
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    object_store.put("job/file", b"data")
    assert files.read(spelled.format(object_store.url)) == b"data"


def test_directories_are_the_beginnings_of_names(object_store):
    for key in ("job/a/file", "job/b", "job/.hidden", "job-2/file"):
        object_store.put(key, b"")
    job = object_store.url + "/job"
    assert files.is_directory(job) and files.is_directory(job + "/")
    assert not files.exists(job)
    assert not files.is_directory(job + "/b")
    assert not files.is_directory(object_store.url + "/jo")
    assert files.names(job) == [".hidden", "a", "b"]
    assert files.names(job + "/absent") == []
    assert files.glob(job + "/", "*") == [job + "/a", job + "/b"]
    assert files.names(object_store.url) == ["job", "job-2"]
    files.remove_tree(job)
    assert keys(object_store) == ["job-2/file"]


def test_a_mark_of_a_directory_is_no_file_in_it(s3_store):
    s3_store.put("job/", b"")  # as other tools make it
    s3_store.put("job/file", b"")
    assert files.names(s3_store.url + "/job") == ["file"]


@pytest.mark.parametrize("size", [0, 1, PART, 2 * PART, 2 * PART + 1])
def test_a_large_file_is_put_in_parts_and_is_all_there(object_store, size, monkeypatch):
    monkeypatch.setattr("estimator_ckpt.storage.object_store.PART", PART)
    data, path = os.urandom(size), object_store.url + "/file"
    with object_store.counted() as traffic, files.new_file(path) as file:
        for start in range(0, size, 999_983):
            file.write(data[start : start + 999_983])
    assert object_store.objects()["file"] == data
    assert traffic.uploaded < size + 2000
    beside = (
        1 if object_store.url.startswith("az") else 2
    )  # the beginning, but on Azure, and the end
    assert traffic.requests == (1 if size <= PART else beside + -(-size // PART))
    assert b"".join(chunk for chunk in files.read_chunks(path, 0, size)) == data


@pytest.mark.parametrize("size", [10, 12 * 1024 * 1024])
def test_who_gives_up_leaves_no_object_and_no_parts(s3_store, size, monkeypatch):
    monkeypatch.setattr("estimator_ckpt.storage.object_store.PART", PART)
    with pytest.raises(KeyError), files.new_file(s3_store.url + "/file") as file:
        file.write(b"x" * size)
        raise KeyError
    assert keys(s3_store) == []
    opened = [each for each in s3_store.log if each.query.startswith("uploads")]
    ended = [each for each in s3_store.log if each.method == "DELETE"]
    assert len(opened) == len(ended)


def test_a_refused_part_is_told_and_leaves_nothing(s3_store, monkeypatch):
    if "aborts" in s3_store.lacks:
        pytest.skip("this server ends no upload")
    monkeypatch.setattr("estimator_ckpt.storage.object_store.PART", PART)
    s3_store.at_write(2, lambda: 403)
    with pytest.raises(PermissionError), files.new_file(s3_store.url + "/file") as file:
        for _ in range(6):
            file.write(bytes(PART))
    assert keys(s3_store) == []


def test_a_copy_within_a_store_moves_no_byte(object_store):
    data = os.urandom(100_000)
    object_store.put("a", data)
    with object_store.counted() as traffic:
        files.copy(object_store.url + "/a", object_store.url + "/b/c")
    assert object_store.objects() == {"a": data, "b/c": data}
    assert traffic.copied == ["b/c"]
    assert (traffic.requests, traffic.uploaded) == (1, 0)
    assert traffic.downloaded < 1000


def test_a_copy_from_bucket_to_bucket_is_whole_and_moves_no_byte_on_s3(object_store):
    data = os.urandom(100_000)
    object_store.put("a/b", data)
    with object_store.server.new_store() as other:
        with object_store.counted() as traffic, other.counted() as received:
            files.copy(object_store.url + "/a/b", other.url + "/c/d e")
        assert other.objects() == {"c/d e": data}
        if object_store.url.startswith("s3"):
            assert (traffic.requests, received.requests) == (0, 1)
            assert received.copied == ["c/d e"] and received.uploaded == 0
        with pytest.raises(FileNotFoundError):
            files.copy(object_store.url + "/absent", other.url + "/c")


@pytest.mark.parametrize("has_boto3", [True, False])
def test_what_s3_does_not_copy_in_one_piece_is_copied_in_parts(s3_store, has_boto3, monkeypatch):
    if has_boto3:
        pytest.importorskip("boto3")
    else:
        monkeypatch.setitem(sys.modules, "boto3", None)
    data = os.urandom(100_000)
    s3_store.put("a", data)
    monkeypatch.setattr("estimator_ckpt.storage.object_store.is_too_large_to_copy", bool)
    s3_store.at_write(1, lambda: 400)  # as it does for more than 5 GB
    with s3_store.counted() as traffic:
        files.copy(s3_store.url + "/a", s3_store.url + "/b")
    assert s3_store.objects() == {"a": data, "b": data}
    assert (traffic.uploaded < 1000) == has_boto3


@pytest.mark.parametrize("size", [0, 5, ranges.REQUEST, ranges.REQUEST + 1])
def test_a_file_comes_and_goes_by_few_requests(object_store, size, tmp_path):
    if not size and "empty ranges" in object_store.lacks:
        pytest.skip("this server breaks off where an empty object is read")
    data = os.urandom(size)
    object_store.put("a", data)
    told = []
    with object_store.counted() as traffic:
        files.copy(object_store.url + "/a", str(tmp_path / "a"), lambda *said: told.append(said))
    assert (tmp_path / "a").read_bytes() == data
    assert traffic.requests == max(1, -(-size // ranges.REQUEST))
    assert not size or told[-1] == (str(tmp_path / "a"), size, size)
    files.copy(str(tmp_path / "a"), object_store.url + "/b")
    assert object_store.objects()["b"] == data


def test_no_existing_object_is_replaced_by_a_copy_from_here(object_store, tmp_path):
    object_store.put("a", b"precious")
    (tmp_path / "a").write_bytes(b"other")
    with pytest.raises(FileExistsError):
        files.copy(str(tmp_path / "a"), object_store.url + "/a")
    assert object_store.objects()["a"] == b"precious"


def test_a_commit_takes_nobody_s_place(object_store):
    path = object_store.url + "/ckpt.index"
    first, second = files.stage(path, b"first"), files.stage(path, b"second")
    files.commit(first, path, b"first", replace=False)
    if "conditions" in object_store.lacks:
        files.commit(second, path, b"second", replace=False)  # the last one wins
    else:
        with pytest.raises(FileExistsError):
            files.commit(second, path, b"second", replace=False)
        assert files.read(path) == b"first"
    files.commit(second, path, b"second", replace=True)
    assert object_store.objects() == {"ckpt.index": b"second"}


def test_a_commit_whose_answer_was_lost_has_come_about(object_store):
    path = object_store.url + "/ckpt.index"
    object_store.at_write(2, lambda: 503, after=True)
    files.commit(files.stage(path, b"data"), path, b"data", replace=False)
    assert object_store.objects() == {"ckpt.index": b"data"}


def test_many_files_are_removed_by_few_requests(s3_store):
    paths = [f"{s3_store.url}/file-{number}" for number in range(50)]
    for number in range(50):
        s3_store.put(f"file-{number}", b"")
    with s3_store.counted() as traffic:
        files.remove_many(paths)
    assert keys(s3_store) == []
    assert traffic.requests == 1


def test_removing_what_is_not_there_is_no_error(object_store):
    object_store.put("b", b"")
    files.remove(object_store.url + "/a")
    files.remove_many([object_store.url + "/a", object_store.url + "/b"])
    files.remove_tree(object_store.url + "/absent")
    assert keys(object_store) == []


def test_ranges_come_in_few_requests(object_store):
    data = os.urandom(3_000_000)
    object_store.put("a", data)
    wanted = [(start, 10_000) for start in range(0, 2_000_000, 10_000)] + [(2_900_000, 7)]
    with object_store.counted() as traffic:
        found = list(files.read_ranges(object_store.url + "/a", wanted))
    assert found == [data[start : start + length] for start, length in wanted]
    assert traffic.requests == 2
    assert traffic.downloaded == 2_000_007


def test_an_open_file_asks_when_it_is_read(object_store):
    data = os.urandom(500_000)
    object_store.put("a", data)
    with object_store.counted() as traffic, files.open_file(object_store.url + "/a") as file:
        pass
    assert traffic.requests == 0
    with object_store.counted() as traffic, files.open_file(object_store.url + "/a") as file:
        file.seek(1000)
        assert file.read(100) + file.read(200) == data[1000:1300]
        assert file.read(300_000) == data[1300:301_300]
    assert traffic.requests == 2
    assert traffic.downloaded <= 300_000 + 64 * 1024
    with files.open_file(object_store.url + "/a") as file:
        file.seek(-5, os.SEEK_END)
        assert file.read() == data[-5:]
        assert file.read(4) == b""
        file.seek(0)
        assert file.read() == data


def test_a_command_asks_once(object_store):
    object_store.put("job/checkpoint", b"state")
    path = object_store.url + "/job/checkpoint"
    with object_store.counted() as traffic, files.looking_once():
        for _ in range(3):
            assert files.is_directory(object_store.url + "/job")
            assert files.names(object_store.url + "/job") == ["checkpoint"]
            assert files.exists(path) and files.size(path) == 5
            assert not files.exists(object_store.url + "/job/absent")
            assert files.read(path) == b"state"
    assert traffic.by_method() == {"LIST": 1, "GET": 1}
    object_store.put("job/checkpoint", b"newer")
    assert files.read(path) == b"newer"  # nothing is remembered longer


def test_a_command_knows_what_it_has_done(object_store):
    folder = object_store.url + "/job"
    with files.looking_once():
        assert files.names(folder) == []
        files.write(folder + "/a/b", b"1")
        assert files.names(folder) == ["a"]
        assert files.is_directory(folder + "/a")
        assert files.size(folder + "/a/b") == 1
        files.write(folder + "/a/b", b"22")
        assert files.read(folder + "/a/b") == b"22"
        files.rename(folder + "/a/b", folder + "/c")
        assert not files.exists(folder + "/a/b")
        assert files.read(folder + "/c") == b"22"
        assert "c" in files.names(folder)


def test_what_is_staged_for_a_store_is_on_the_local_disk_and_this_user_s(s3_store):
    with files.staging_directory(s3_store.url + "/ckpt") as staging:
        assert os.path.isdir(staging)
        assert os.stat(os.path.dirname(staging)).st_mode & 0o777 == 0o700
    assert not os.path.exists(staging)
    path = files.staging_path(s3_store.url + "/ckpt.data")
    files.write(path, b"data")
    files.rename(path, s3_store.url + "/ckpt.data")
    assert not os.path.exists(path)
    assert s3_store.objects() == {"ckpt.data": b"data"}


def test_errors_say_what_to_do(s3_store, gcs_store, monkeypatch):
    for store in (s3_store, gcs_store):
        with pytest.raises(FileNotFoundError) as missing:
            files.read(store.url + "/absent")
        assert missing.value.filename == store.url + "/absent"
    with pytest.raises(FileNotFoundError, match="there is no bucket 'nobody-has-this'"):
        files.names("s3://nobody-has-this/job")
    for store, told in ((s3_store, "AWS_PROFILE"), (gcs_store, "GOOGLE_APPLICATION_CREDENTIALS")):
        store.at_write(1, lambda: 403)
        with pytest.raises(PermissionError, match=told):
            files.write(store.url + "/a", b"")
    with pytest.raises(OSError, match=r"s3://bucket/name"):
        files.read("s3://")


def test_azure_s_refusals_say_what_to_do(azure_store, monkeypatch):
    with pytest.raises(FileNotFoundError, match="there is no container 'nobody-has-this'"):
        files.names("az://nobody-has-this/job")
    told = "AZURE_STORAGE_CONNECTION_STRING"
    wrong = "c2VjcmV0LXdvcmQ="
    monkeypatch.setenv(told, re.sub("AccountKey=[^;]*", f"AccountKey={wrong}", os.environ[told]))
    for ask in (files.read, files.names, lambda path: files.write(path, b"")):
        with pytest.raises(PermissionError, match=f"refuses access .*{told}") as refused:
            ask(azure_store.url + "/a")
        assert "\n" not in str(refused.value) and wrong not in str(refused.value)


def test_a_store_that_can_t_be_reached_is_named_without_credentials(s3_store, monkeypatch):
    monkeypatch.setattr(connecting, "_RETRIES", {"max_retries": 0})
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://user:secret-word@127.0.0.1:9")
    with pytest.raises(ConnectionError, match=r"127.0.0.1:9; see to AWS_ENDPOINT_URL") as refused:
        files.read(s3_store.url + "/a")
    assert "secret" not in str(refused.value)
    assert refused.value.__cause__ is None


FORKED = """
import os, sys
from estimator_ckpt.storage import files
print(files.read(sys.argv[1]))
child = os.fork()
if not child:
    try:
        files.read(sys.argv[1])
    except OSError as error:
        print(error)
    sys.stdout.flush()
    os._exit(0)
os.waitpid(child, 0)
print(files.read(sys.argv[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_of_what_has_used_a_store_is_told_and_does_not_wait_for_ever(s3_store):
    s3_store.put("a", b"data")
    ran = subprocess.run(
        [sys.executable, "-u", "-c", FORKED, s3_store.url + "/a"],
        env={**os.environ, "PYTHONPATH": os.getcwd()},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert ran.stdout.count("b'data'") == 2, ran
    assert 'get_context("spawn")' in ran.stdout


@pytest.mark.parametrize(
    "path, told",
    [
        ("s3://bucket/a", "AWS_PROFILE"),
        ("gs://bucket/a", "GOOGLE_APPLICATION_CREDENTIALS"),
        ("az://container/a", "AZURE_STORAGE_ACCOUNT"),
    ],
)
def test_without_credentials_it_is_said_how_to_give_them(path, told, monkeypatch, tmp_path):
    for name in list(os.environ):
        if name.startswith(("AWS_", "GOOGLE_", "AZURE_", "S3_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(connecting, "_RETRIES", {"max_retries": 0})
    # No machine has an account here.
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("GCE_METADATA_HOST", "127.0.0.1:9")
    monkeypatch.setenv("GCE_METADATA_IP", "127.0.0.1:9")
    with pytest.raises(PermissionError, match=told):
        files.read(path)


def test_a_profile_is_taken(s3_store, monkeypatch, tmp_path):
    s3_store.put("a", b"data")
    endpoint = s3_store.environment["AWS_ENDPOINT_URL"]
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    (tmp_path / "config").write_text(
        f"[profile mine]\nregion = us-east-1\nendpoint_url = {endpoint}\n"
    )
    (tmp_path / "credentials").write_text(
        f"[mine]\naws_access_key_id = {s3_store.environment['AWS_ACCESS_KEY_ID']}\n"
        f"aws_secret_access_key = {s3_store.environment['AWS_SECRET_ACCESS_KEY']}\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_PROFILE", "mine")
    assert files.read(s3_store.url + "/a") == b"data"
    monkeypatch.setattr(connecting, "_of_boto3", lambda: None)  # as where there is none
    connecting._connect.cache_clear()
    assert files.read(s3_store.url + "/a") == b"data"


def test_the_endpoint_of_tensorflow_s_plug_in_is_taken(s3_store, monkeypatch):
    s3_store.put("a", b"data")
    endpoint = s3_store.environment["AWS_ENDPOINT_URL"]
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.setenv("S3_ENDPOINT", endpoint.partition("://")[2])
    monkeypatch.setenv("S3_USE_HTTPS", "0")
    assert files.read(s3_store.url + "/a") == b"data"


def test_the_part_that_is_tested_is_smaller_than_the_real_one():
    assert object_store.PART > PART


def test_the_largest_file_is_as_large_as_is_said():
    page = (pathlib.Path(__file__).resolve().parents[2] / "docs" / "stores.md").read_text()
    most = 10_000 * object_store.PART  # parts, as S3 and Google's XML interface have it
    assert (
        f"more than {most // 2**30} GiB can't be written from here (10,000 parts of 16 MiB)" in page
    )
