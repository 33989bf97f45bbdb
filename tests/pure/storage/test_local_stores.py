"""The servers in this process that other tests have for object stores, as obstore sees them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

obstore = pytest.importorskip("obstore")

CLIENT = """
import sys, obstore
sys.stdin.readline()
from obstore.store import from_url
store = from_url(sys.argv[1], client_options={"allow_http": True}, retry_config={"max_retries": 0})
for number in range(5):
    obstore.put(store, f"a/{number}", b"12345")
"""


@pytest.fixture(params=["s3", "gcs"])
def object_store(request):
    return request.getfixturevalue(f"{request.param}_store")


@pytest.fixture
def client(object_store):
    return obstore.store.from_url(
        object_store.url, client_options={"allow_http": True}, retry_config={"max_retries": 1}
    )


def test_objects_are_kept_listed_copied_and_removed(object_store, client):
    obstore.put(client, "a/b c+é.txt", b"hello")
    obstore.put(client, "a/d/e", b"more")
    obstore.copy(client, "a/b c+é.txt", "copy")
    assert bytes(obstore.get(client, "copy").bytes()) == b"hello"
    assert bytes(obstore.get_range(client, "copy", start=1, end=3)) == b"el"
    listed = obstore.list_with_delimiter(client, "a")
    assert [each["path"] for each in listed["objects"]] == ["a/b c+é.txt"]
    assert listed["common_prefixes"] == ["a/d"]
    obstore.delete(client, ["a/b c+é.txt", "a/d/e"])
    assert object_store.objects() == {"copy": b"hello"}
    with pytest.raises(FileNotFoundError):
        obstore.get(client, "a/d/e")


def test_what_is_there_can_be_left_alone(object_store, client):
    obstore.put(client, "a", b"1", mode="create")
    with pytest.raises(obstore.exceptions.AlreadyExistsError):
        obstore.put(client, "a", b"2", mode="create")
    assert object_store.objects() == {"a": b"1"}


def test_long_lists_come_in_pages(object_store, client):
    for number in range(2100):
        object_store.put(f"a/{number:04}", b"")
        object_store.put(f"b/{number % 7}/{number:04}", b"")
    with object_store.counted() as traffic:
        assert len(obstore.list(client, "a").collect()) == 2100
    assert traffic.by_method() == {"LIST": 3}
    assert len(obstore.list_with_delimiter(client, "b")["common_prefixes"]) == 7


def test_requests_are_counted_with_their_bytes(object_store, client):
    data = os.urandom(12_000_000)
    with object_store.counted() as up:
        obstore.put(client, "big", data, chunk_size=5 * 2**20)
    assert up.by_method() == {"POST": 2, "PUT": 3}
    assert len(data) <= up.uploaded <= len(data) + 1000
    with object_store.counted() as down:
        assert (
            bytes(obstore.get_range(client, "big", start=100, end=2_000_100)) == data[100:2000100]
        )
        obstore.copy(client, "big", "copy")
    assert (down.requests, down.downloaded, down.uploaded) == (2, 2_000_000, 0)
    assert down.copied == ["copy"]


@pytest.mark.parametrize("after", [False, True])
def test_a_client_is_killed_at_its_third_write(object_store, after):
    command = [sys.executable, "-c", CLIENT, object_store.url]
    process = subprocess.Popen(command, stdin=subprocess.PIPE)
    object_store.at_write(3, process.kill, after=after)
    process.communicate(b"\n", timeout=600)  # now it may begin
    assert process.returncode < 0
    assert len(object_store.objects()) == (3 if after else 2)


def test_a_store_answers_what_it_is_told_to(object_store, client):
    object_store.at_write(1, lambda: 403)
    with pytest.raises(obstore.exceptions.PermissionDeniedError):
        obstore.put(client, "a", b"1")
    object_store.at_write(1, lambda: 503)  # obstore tries again
    obstore.put(client, "a", b"1")
    assert [each.status for each in object_store.log] == [403, 503, 200]
