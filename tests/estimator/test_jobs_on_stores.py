"""Wrapped Estimator jobs whose model_dir is on a store, beside the same ones on the local disk."""

from __future__ import annotations

import pytest
import store_jobs
import tensorflow as tf

needs_s3 = pytest.mark.skipif(
    not store_jobs.HAS_S3, reason="TensorFlow's plug-in for S3, tensorflow-io, is not here"
)


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


# TensorFlow itself can't warm-start from there, and cuts off no file that it writes anew, so that
# an unwrapped job damages the checkpoint that it begins with.
@pytest.mark.parametrize("name", scenarios("warm start", "wrapped and unwrapped by turns"))
def test_a_job_in_memory(name, local, tmp_path):
    store_jobs.assert_equal(store_jobs.run(name, f"ram://{tmp_path}/job"), local(name))
    tf.io.gfile.rmtree(f"ram://{tmp_path}")


@needs_s3
@pytest.mark.parametrize("name", scenarios())
def test_a_job_on_s3(name, local, s3_store):
    folder = f"{s3_store.url}/a folder/job"
    seen = store_jobs.in_child(s3_store.environment, store_jobs.run, name, folder)
    store_jobs.assert_equal(seen, local(name))


@pytest.fixture(scope="module")
def save_traffic(s3_server):
    """What one save asks of the server, by kind and number of variables."""
    counted = {}

    def traffic(kind, variables):
        if (kind, variables) not in counted:
            counted[kind, variables] = store_jobs.count_save(s3_server, kind, variables)
        return counted[kind, variables]

    return traffic


@needs_s3
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
