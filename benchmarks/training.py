"""A raw and a wrapped job: graph-building time, and steps a second."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator

from benchmarks import measure
from benchmarks.measure import Table

STEPS = 300
WAYS = ("raw", "wrapped")


def train(how: str, count: str) -> measure.Run:
    """Times the graph of a job up to its first step, and the steps after it."""
    import numpy as np

    import estimator_ckpt
    from estimator_ckpt import compat

    compat.install()
    import tensorflow as tf

    tf1 = tf.compat.v1
    times: dict[str, float] = {}
    variables = int(count)

    def model_fn(features, labels, mode):
        total = tf.reduce_sum(features)
        for number in range(variables):
            w = tf1.get_variable(f"scope_{number // 50}/w_{number}", [4, 4])
            total += tf.reduce_sum(w)
        train_op = tf1.train.MomentumOptimizer(1e-9, 0.9).minimize(
            total, tf1.train.get_global_step()
        )
        return tf.estimator.EstimatorSpec(mode, loss=total, train_op=train_op)

    class Clock(tf1.train.SessionRunHook):
        def after_create_session(self, session, coord):
            times["built"] = time.perf_counter()

        def before_run(self, run_context):
            times.setdefault("first", time.perf_counter())

        def end(self, session):
            times["last"] = time.perf_counter()

    if how == "wrapped":
        model_fn = estimator_ckpt.wrap_model_fn(model_fn)

    def input_fn():
        return tf.data.Dataset.from_tensors((np.float32([1.0]), np.float32([1.0]))).repeat()

    with tempfile.TemporaryDirectory() as folder:
        config = tf.estimator.RunConfig(save_summary_steps=None, log_step_count_steps=None)
        estimator = tf.estimator.Estimator(model_fn, folder, config)
        started = time.perf_counter()
        steps = STEPS if variables < 100 else STEPS // 6
        estimator.train(input_fn, steps=steps, hooks=[Clock()])
    return {
        "graph": times["built"] - started,
        "step": (times["last"] - times["first"]) / steps,
    }


def tables(quick: bool) -> Iterator[Table]:
    table = Table(
        "a job",
        "Graph-building time up to the first step, and one step, the job's saves included.",
        ("job", "graph built", "of raw", "one step", "of raw"),
    )
    for variables in (10,) if quick else (10, 500):
        found = measure.processes_in_turn(
            1 if quick or variables > 100 else 3,
            {how: ("training", "train", how, variables) for how in WAYS},
        )
        for how, runs in found.items():
            cells = []
            for name in ("graph", "step"):
                cells.append(measure.seconds(measure.median(runs, name)))
                cells.append(measure.share(measure.ratio(runs, found["raw"], name)))
            table.rows.append((f"{variables:,} variables, {how}", *cells))
            table.runs[f"{variables:,}, {how}"] = runs
    yield table
