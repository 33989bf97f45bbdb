"""How long training stands still for a save, and how much it gets done meanwhile.

Each row is a process that trains one model for a fixed time and saves every few seconds: with plain
TensorFlow's `Scaffold(saver=tf.train.Checkpoint)`, wrapped, and wrapped with async_save. A pause is
what a step takes in which a save falls, hooks included, less a usual step.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks import measure
from benchmarks.measure import Table

PLAIN, WRAPPED, ASYNC = "plain TF2", "wrapped", "wrapped, async_save"
_VARIABLES = 64
_SIDE = 1400  # of the matrices that a step multiplies


def trains(way: str, megabytes: str, seconds: str, every: str) -> measure.Run:
    """Trains for so many seconds in one of the ways, saving every so many seconds."""
    import estimator_ckpt
    from estimator_ckpt import compat

    compat.install()
    import tensorflow as tf

    model_fn = _model_fn(int(megabytes), with_checkpoint=way == PLAIN)
    if way != PLAIN:
        model_fn = estimator_ckpt.wrap_model_fn(model_fn, async_save=way == ASYNC)
    watch = _watch(float(seconds))
    with tempfile.TemporaryDirectory() as folder:
        config = tf.estimator.RunConfig(
            save_checkpoints_secs=float(every),
            keep_checkpoint_max=2,
            log_step_count_steps=None,
            save_summary_steps=None,
        )
        estimator = tf.estimator.Estimator(model_fn, folder, config)
        estimator.train(lambda: tf.data.Dataset.range(10**9), hooks=[watch])
    usual = statistics.median(watch.times)
    saves = max(1, int(float(seconds) / float(every)))
    pauses = sorted(each - usual for each in watch.times)[-saves:]
    return {
        "median": statistics.median(pauses),
        "worst": pauses[-1],
        "steps": len(watch.times) / sum(watch.times),
        "memory": measure.peak_memory(),
    }


def _model_fn(megabytes: int, *, with_checkpoint: bool) -> Callable[..., Any]:
    """Returns a model_fn whose steps compute, and change some of its many variables."""
    import tensorflow as tf

    tf1 = tf.compat.v1
    elements = megabytes * measure.MEGABYTE // _VARIABLES // 4

    def model_fn(features: Any, labels: Any, mode: str) -> Any:
        step = tf1.train.get_or_create_global_step()
        variables = [
            tf1.get_variable(f"w_{number}", [elements], initializer=tf1.zeros_initializer())
            for number in range(_VARIABLES)
        ]
        product = tf.matmul(*(tf.random.uniform([_SIDE, _SIDE]) for _ in range(2)))
        with tf.control_dependencies([product]):
            changed = [each.assign_add(tf.ones_like(each)) for each in variables[:4]]
        with tf.control_dependencies([tf.group(*changed)]):
            train_op = step.assign_add(1)
        scaffold = None
        if with_checkpoint:
            held = {each.op.name: each for each in variables}
            saver = tf.train.Checkpoint(var_list=held, step=step)
            scaffold = tf1.train.Scaffold(saver=saver)
        loss = tf.reduce_sum(product) * 0.0
        return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=train_op, scaffold=scaffold)

    return model_fn


def _watch(seconds: float) -> Any:
    """Returns a hook that measures from the end of a step to the end of the next one."""
    import tensorflow as tf

    class Watch(tf.compat.v1.train.SessionRunHook):
        def __init__(self) -> None:
            self.times: list[float] = []

        def after_create_session(self, session: Any, coord: Any) -> None:
            del session, coord
            self.last: float | None = None

        def after_run(self, run_context: Any, run_values: Any) -> None:
            del run_values
            now = time.perf_counter()
            if self.last is not None:  # the first step, and the save before it, warm up
                self.times.append(now - self.last)
            self.last = now
            if sum(self.times) > seconds:
                run_context.request_stop()

    return Watch()


def tables(quick: bool) -> Iterator[Table]:
    table = Table(
        "saving while training goes on",
        "How long the loop stands still for a save (median and worst), steps per second over all, "
        "and the most memory of the process; ratios are to plain TensorFlow's synchronous save.",
        ("data", "saved by", "pause", "worst", "of plain TF2", "steps/s", "of plain", "memory"),
    )
    sizes = ((64, 10, 2),) if quick else ((64, 9, 3), (256, 16, 4), (1024, 60, 6))
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
