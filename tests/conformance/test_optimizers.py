"""Optimizers: their slots and scalars go on exactly where they were."""

import jobs
import tensorflow as tf
from scenarios import conformance_test, scenario

tf1 = tf.compat.v1


@scenario("Optimizers")
def adam_resumes(job):
    """tf1 Adam: 8 steps equal 4 and 4."""
    job.train(jobs.adam_model_fn, steps=8, model_dir=job.folder / "at-once")
    for _ in range(2):
        job.train(jobs.adam_model_fn, steps=4)
    values = job.values()
    jobs.assert_equal_values(values, job.values(job.folder / "at-once"))
    return values


test_scenario = conformance_test(__name__)
