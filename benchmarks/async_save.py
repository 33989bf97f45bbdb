"""How long training stands still for a save, and how much it gets done meanwhile.

One process trains one model three ways, one after the other: plain TensorFlow's CheckpointSaverHook
with a `Scaffold(saver=tf.train.Checkpoint)`, the wrapped job, and the wrapped job with async_save.
Each trains for a fixed time and saves every few seconds. A pause is what a step takes in which a
save falls, less a usual step.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from typing import Any

from benchmarks import measure
from benchmarks.measure import Table

PLAIN, WRAPPED, ASYNC = "plain TF2", "wrapped", "wrapped, async_save"
_VARIABLES = 64


def trains(way: str, megabytes: str, seconds: str, every: str) -> measure.Run:
    """Trains for so many seconds in one of the ways, saving every so many seconds."""
    import estimator_ckpt
    from estimator_ckpt import compat

    compat.install()
    import tensorflow as tf

    tf1 = tf.compat.v1
    elements = int(megabytes) * measure.MEGABYTE // _VARIABLES // 4
    side = 1400

    def model_fn(features: Any, labels: Any, mode: str) -> Any:
        step = tf1.train.get_or_create_global_step()
        variables = [
            tf1.get_variable(f"w_{number}", [elements], initializer=tf1.zeros_initializer())
            for number in range(_VARIABLES)
        ]
        # A step that computes, and that changes some of the variables.
        product = tf.matmul(tf.random.uniform([side, side]), tf.random.uniform([side, side]))
        with tf.control_dependencies([product]):
            changed = [each.assign_add(tf.ones_like(each)) for each in variables[:4]]
        with tf.control_dependencies([tf.group(*changed)]):
            train_op = step.assign_add(1)
        scaffold = None
        if way == PLAIN:
            held = {each.op.name: each for each in variables}
            saver = tf.train.Checkpoint(var_list=held, step=step)
            scaffold = tf1.train.Scaffold(saver=saver)
        loss = tf.reduce_sum(product) * 0.0
        return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=train_op, scaffold=scaffold)

    class Watch(tf1.train.SessionRunHook):
        """Measures from the end of a step to the end of the next one, what hooks do included."""

        def __init__(self) -> None:
            self.times: list[float] = []
            self.started: float | None = None

        def after_run(self, run_context: Any, run_values: Any) -> None:
            del run_values
            now = time.perf_counter()
            if self.started is None:
                self.started = self.last = now
            self.times.append(now - self.last)
            self.last = now
            if now - self.started > float(seconds):
                run_context.request_stop()

    if way != PLAIN:
        model_fn = estimator_ckpt.wrap_model_fn(model_fn, async_save=way == ASYNC)
    watch = Watch()
    with tempfile.TemporaryDirectory() as folder:
        estimator = tf.estimator.Estimator(
            model_fn,
            folder,
            tf.estimator.RunConfig(
                save_checkpoints_secs=float(every),
                keep_checkpoint_max=2,
                log_step_count_steps=None,
                save_summary_steps=None,
            ),
        )
        estimator.train(lambda: tf.data.Dataset.range(10**9), hooks=[watch])
        took = sum(watch.times)
    usual = statistics.median(watch.times)
    saves = max(1, int(float(seconds) / float(every)))
    # The first save warms up: its memory is new to the process.
    pauses = sorted(each - usual for each in watch.times)[-saves:]
    return {
        "median": statistics.median(pauses),
        "worst": pauses[-1],
        "steps": len(watch.times) / took,
        "memory": measure.peak_memory(),
    }


def tables(quick: bool) -> Iterator[Table]:
    table = Table(
        "saving while training goes on",
        "How long the loop stands still for a save (median and worst), steps per second over all, "
        "and the most memory of the process; ratios are to plain TensorFlow's synchronous save.",
        ("data", "saved by", "pause", "worst", "of plain TF2", "steps/s", "of plain", "memory"),
    )
    sizes = ((64, 10, 2),) if quick else ((64, 20, 3), (256, 30, 4), (1024, 60, 6))
    for megabytes, seconds, every in sizes:
        found = {
            way: measure.in_own_process("async_save", "trains", way, megabytes, seconds, every)
            for way in (PLAIN, WRAPPED, ASYNC)
        }
        for way, run in found.items():
            table.rows.append(
                (
                    measure.megabytes(megabytes),
                    way,
                    measure.seconds(run["median"]),
                    measure.seconds(run["worst"]),
                    measure.share(run["median"] / found[PLAIN]["median"]),
                    f"{run['steps']:.1f}",
                    measure.share(run["steps"] / found[PLAIN]["steps"]),
                    measure.size(run["memory"]),
                )
            )
            table.runs[f"{megabytes} MB, {way}"] = [run]
    yield table
