"""Wrapped Estimator jobs whose model_dir is on a store, beside the same ones on the local disk."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
import store_job_tables
import store_jobs
import tensorflow as tf

needs_s3 = pytest.mark.skipif(
    not store_jobs.HAS_S3, reason="TensorFlow's plug-in for S3, tensorflow-io, is not here"
)


# On 2.15.1 those on Google's store give the same, and take minutes.
STORES = [
    pytest.param("s3", marks=needs_s3),
    pytest.param("gcs", marks=pytest.mark.one_version),
]


@pytest.fixture(scope="module", params=STORES)
def server(request):
    """A server of each store that TensorFlow reaches."""
    return request.getfixturevalue(f"{request.param}_server")


@pytest.fixture
def store(server):
    with server.new_store() as store:
        yield store


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """What a scenario gives on the local disk."""
    seen = {}

    def local(name):
        if name not in seen:
            seen[name] = store_jobs.run(name, str(tmp_path_factory.mktemp("local") / "job"))
        return seen[name]

    return local


def scenarios(*left_out):
    """The scenarios, of which one stands for the others from day to day."""
    return [
        pytest.param(name, marks=[] if name == "tf1_dir" else pytest.mark.slow)
        for name in store_jobs.SCENARIOS
        if name not in left_out
    ]


@pytest.mark.parametrize("name", scenarios())
def test_a_job_at_a_url_of_the_local_disk(name, local, tmp_path):
    store_jobs.assert_equal(store_jobs.run(name, f"file://{tmp_path}/job"), local(name))


# TensorFlow itself can't warm-start from there, nor rename a folder, as an export does, and cuts no
# file off that it writes anew, so that an unwrapped job damages the checkpoint that it begins with.
IN_MEMORY_FAIL = (
    *("warm start", "an unwrapped job with a hook"),
    *("wrapped and unwrapped by turns", "a step is saved again"),
)


@pytest.mark.parametrize("name", scenarios(*IN_MEMORY_FAIL))
def test_a_job_in_memory(name, local, tmp_path):
    store_jobs.assert_equal(store_jobs.run(name, f"ram://{tmp_path}/job"), local(name))
    tf.io.gfile.rmtree(f"ram://{tmp_path}")


@pytest.mark.slow
@pytest.mark.parametrize("name", scenarios())
def test_a_job_on_a_store(name, local, store):
    folder = f"{store.url}/a folder/job"
    seen = store_jobs.in_child(store.environment, store_jobs.run, name, folder)
    store_jobs.assert_equal(seen, local(name))


@pytest.mark.one_version
@pytest.mark.slow
@pytest.mark.parametrize(
    ("place", "name"), [("x//job", "tf1_dir"), ("x/./job", "async_save"), ("/job/", "resume")]
)
def test_a_job_whose_keys_only_tensorflow_can_name(place, name, local, gcs_store):
    folder = f"{gcs_store.url}/{place}"
    seen = store_jobs.in_child(gcs_store.environment, store_jobs.run, name, folder)
    store_jobs.assert_equal(seen, local(name))
    assert f"{place.rstrip('/')}/model.ckpt-8.index" in gcs_store.objects()


@pytest.mark.one_version
@pytest.mark.slow
def test_each_spelling_of_a_key_is_the_same_place_to_tensorflow_and_to_us(gcs_store):
    places = ["job", "a//job", "a/./job", "a/../job", "/job", ".", "..", "a/b//./job", "a//b//"]
    urls = [f"{gcs_store.url}/{place}" for place in places]
    store_jobs.in_child(gcs_store.environment, store_jobs.read_each_other, urls)


@pytest.mark.slow
def test_a_job_on_a_store_without_obstore(local, store):
    folder = f"{store.url}/job"
    seen = store_jobs.in_child(store.environment, store_jobs.run_without_obstore, "tf1_dir", folder)
    store_jobs.assert_equal(seen, local("tf1_dir"))
    assert not any(each.agent.startswith("object_store") for each in store.log)


@pytest.mark.one_version
@pytest.mark.slow
def test_where_tensorflow_has_no_access_to_googles_store_the_functions_have(gcs_store):
    environment = {**gcs_store.environment, "GOOGLE_AUTH_TOKEN_FOR_TESTING": ""}
    store_jobs.in_child(environment, store_jobs.convert_twice, f"{gcs_store.url}/converted")
    assert "converted.index" in gcs_store.objects()
    assert 401 in {each.status for each in gcs_store.log}


@needs_s3
@pytest.mark.slow
@pytest.mark.parametrize(("end", "code"), [("", -signal.SIGABRT), ("os._exit(0)", 0)])
def test_tensorflows_plugin_aborts_a_process_that_ends(end, code, s3_store):
    program = f"import os, tensorflow_io, tensorflow as tf; tf.io.gfile.exists('s3://b/a'); {end}"
    environment = {**os.environ, **s3_store.environment}
    ended = subprocess.run([sys.executable, "-c", program], env=environment, timeout=600)
    assert ended.returncode == code


@pytest.fixture(scope="module")
def save_traffic(server):
    """What one save asks of a server, by kind and number of variables."""
    counted = {}

    def traffic(kind, variables):
        if (kind, variables) not in counted:
            counted[kind, variables] = store_jobs.count_save(server, kind, variables)
        return counted[kind, variables]

    return traffic


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "variables"),
    [
        *((kind, 5) for kind in list(store_jobs.KINDS)[1:]),
        ("wrapped", 200),
        ("wrapped, `tf1_dir`", 200),
    ],
)
def test_a_wrapped_save_asks_no_more_of_a_store_than_a_plain_one(kind, variables, save_traffic):
    plain, wrapped = save_traffic("plain Estimator", variables), save_traffic(kind, variables)
    assert wrapped.requests <= plain.requests
    assert store_jobs.data_uploads(wrapped) == 1
    read = [each.key for each in wrapped.log if each.method == "GET" and each.key]
    assert not [key for key in read if not key.endswith(".json")]
    copies = [key for key in wrapped.copied if ".data-" in key]
    assert len(copies) == ("tf1_dir" in kind)
    assert all(key.startswith("job/tf1/") for key in copies)


@pytest.mark.slow
@pytest.mark.parametrize("options", store_job_tables.KILLED.values(), ids=str)
def test_a_job_that_is_killed_while_it_saves_goes_on(options, server):
    writes, wanted = store_jobs.count_writes(server, options)
    found = {}
    for number in range(3 if options else 8, writes, writes // 3):
        after = bool(number % 2)
        problems = store_jobs.kill(server, options, number, after=after, wanted=wanted)
        if problems:
            found[number, after] = problems
    assert not found
