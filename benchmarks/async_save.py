"""How long training stands still for a save, and how much it gets done meanwhile.

Each row is a process that trains one model for a fixed time and saves every few seconds: with plain
TensorFlow's `Scaffold(saver=tf.train.Checkpoint)`, wrapped, and wrapped with async_save. A pause is
what a step takes in which a save falls, hooks included, less a usual step.

What a pause is beside a copy in memory is measured in one process, in turn: there it is the time
from the call of the save until the next step may run.
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks import limits, measure, saving
from benchmarks.measure import Table

PLAIN, WRAPPED, ASYNC = "plain TF2", "wrapped", "wrapped, async_save"
BESIDE, KEPT = "wrapped, TF1 beside", "wrapped, async_save, memory kept"
LINK, LINK_ASYNC = "wrapped, links", "wrapped, links, async_save"
MODES = (PLAIN, WRAPPED, BESIDE, ASYNC, KEPT, LINK, LINK_ASYNC)
COPY, COPY_BY_ALL = "one copy of it in memory", "a copy by a thread for each core"
_VARIABLES = 64
_SIDE = 1400  # of the matrices that a step multiplies


def trains(way: str, megabytes: str, seconds: str, every: str) -> measure.Run:
    """Trains for so many seconds in one of the ways, saving every so many seconds."""
    import estimator_ckpt
    from estimator_ckpt import compat

    compat.install()
    import tensorflow as tf

    model_fn = _model_fn(int(megabytes), with_checkpoint=way == PLAIN)
    watch = _watch(float(seconds))
    with tempfile.TemporaryDirectory() as folder:
        if way != PLAIN:
            model_fn = estimator_ckpt.wrap_model_fn(
                model_fn,
                async_save=way in (ASYNC, KEPT, LINK_ASYNC),
                unchanged="link" if way in (LINK, LINK_ASYNC) else "write",
                async_memory="keep" if way == KEPT else "give_back",
                tf1_dir=os.path.join(folder, "tf1") if way == BESIDE else None,
            )
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


def pauses(variables: str, megabytes: str, rounds: str) -> dict[str, list[measure.Run]]:
    """Saves in a session, in turn with a copy in memory; the first round warms up."""
    import tensorflow as tf

    import estimator_ckpt

    tf1 = tf.compat.v1
    size = int(megabytes) * measure.MEGABYTE
    with tempfile.TemporaryDirectory() as folder, tf.Graph().as_default(), tf1.Session() as session:
        tf1.train.get_or_create_global_step()
        for number in range(int(variables)):
            elements = size // int(variables) // 4
            tf1.get_variable(f"w_{number}", [elements], initializer=tf1.ones_initializer())
        plain = saving.plain_saver()
        savers = {}
        for way in (ASYNC, KEPT):
            savers[way] = saver = estimator_ckpt.CheckpointSaver("dual", sharded=True)
            saver.async_save = saver.prepares_memory = True
            saver.keeps_memory = way == KEPT
            saver.build()
        session.run(tf1.global_variables_initializer())
        numbers = iter(range(10**6))

        def save(call: Callable[..., Any]) -> measure.Run:
            prefix, number = os.path.join(folder, "saved", "model.ckpt"), next(numbers)
            os.makedirs(os.path.dirname(prefix))
            seconds = measure.timed(lambda: call(session, prefix, number, write_meta_graph=False))
            for each in savers.values():
                each.wait()
            shutil.rmtree(os.path.dirname(prefix))
            return {"seconds": seconds}

        ways = {
            PLAIN: lambda: save(plain.save),
            ASYNC: lambda: save(savers[ASYNC].save_in_background),
            KEPT: lambda: save(savers[KEPT].save_in_background),
            COPY: limits.memory_copy(size),
            COPY_BY_ALL: limits.memory_copy(size, limits.cores()),
        }
        found = measure.in_turn(int(rounds) + 1, ways)
        return {way: runs[1:] for way, runs in found.items()}


WANTED = {("1 GB, 64", COPY): 1.5, ("1 GB, 64", PLAIN): 0.05, ("64 MB, 10,000", PLAIN): 0.2}


def _pauses(quick: bool) -> Iterator[Table]:
    table = Table(
        "a pause beside a copy in memory",
        "One process, in turn: plain TensorFlow's save, the pause of one with `async_save`, and a "
        "copy of as many bytes from memory that was touched to memory that was touched.",
        ("data, variables", "saved by", "pause", "of plain TF2", "of a copy", COPY, COPY_BY_ALL),
    )
    sizes = ((64, 64, 5), (4, 1_000, 3)) if quick else ((1024, 64, 4), (64, 10_000, 4))
    for megabytes, variables, rounds in sizes:
        label = f"{measure.megabytes(megabytes)}, {variables:,}"
        found = measure.in_own_process("async_save", "pauses", variables, megabytes, rounds)
        plain, copy, by_all = (found[way] for way in (PLAIN, COPY, COPY_BY_ALL))
        for way in (PLAIN, ASYNC, KEPT):
            runs = found[way]
            table.rows.append(
                (
                    label,
                    way,
                    measure.seconds(measure.median(runs)),
                    measure.share(measure.ratio(runs, plain)),
                    measure.share(measure.ratio(runs, copy)),
                    measure.seconds(measure.median(copy)),
                    measure.seconds(measure.median(by_all)),
                )
            )
        table.runs.update({f"{label}, {way}": runs for way, runs in found.items()})
        for way, said in ((ASYNC, ""), (KEPT, ", its memory kept")):
            for beside, whose in ((COPY, COPY), (PLAIN, "plain TF2's save")):
                table.measures.append(
                    measure.measured(
                        f"the pause of an asynchronous save{said}, {label} variables",
                        found[way],
                        of=(whose, found[beside]),
                        wanted=WANTED.get((label, beside)),
                        limit=(COPY_BY_ALL, by_all),
                    )
                )
    yield table


def tables(quick: bool) -> Iterator[Table]:
    yield from _pauses(quick)
    table = Table(
        "saving while training goes on",
        "How long the loop stands still for a save (median and worst), steps per second over all, "
        "and the most memory of the process; ratios are to plain TensorFlow's synchronous save.",
        ("data", "saved by", "pause", "worst", "of plain TF2", "steps/s", "of plain", "memory"),
    )
    sizes = ((16, 3, 1),) if quick else ((64, 6, 2), (1024, 9, 3))
    for megabytes, seconds, every in sizes:
        found = {
            way: measure.in_own_process("async_save", "trains", way, megabytes, seconds, every)
            for way in (MODES if megabytes == sizes[-1][0] and not quick else (PLAIN, ASYNC))
        }
        for way, run in found.items():
            table.rows.append(
                (
                    measure.megabytes(megabytes),
                    way,
                    measure.seconds(run["median"]),
                    measure.seconds(run["worst"]),
                    measure.share(run["median"] / found[PLAIN]["median"]),
                    measure.per_second(run["steps"]),
                    measure.share(run["steps"] / found[PLAIN]["steps"]),
                    measure.size(run["memory"]),
                )
            )
            table.runs[f"{megabytes} MB, {way}"] = [run]
            if megabytes == sizes[-1][0]:
                table.measures.append(
                    measure.measured(
                        f"memory of a training process, {measure.megabytes(megabytes)}, {way}",
                        [run],
                        key="memory",
                        of=("plain TF2's", [found[PLAIN]]),
                        limit=("the variables", [{"memory": megabytes * measure.MEGABYTE}]),
                    )
                )
    yield table
