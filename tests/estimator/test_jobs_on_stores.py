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
