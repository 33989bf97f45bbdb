"""One save of a job, in each format, beside what plain TensorFlow does.

Each size is one process with one graph: its variables are saved in each way in turn, and what was
written is removed after each, so that no way waits for the disk to take what another one wrote.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks import measure
from benchmarks.measure import Table

PLAIN, TWO_SAVERS = "plain TF2", "two Savers"


def saves(variables: str, megabytes: str, rounds: str) -> dict[str, list[measure.Run]]:
    """Saves a graph's variables in each way; the first round warms up."""
    import tensorflow as tf

    tf1 = tf.compat.v1
    with tempfile.TemporaryDirectory() as folder, tf.Graph().as_default(), tf1.Session() as session:
        elements = int(megabytes) * measure.MEGABYTE // int(variables) // 4
        for number in range(int(variables)):
            tf1.get_variable(f"w_{number}", [elements], initializer=tf1.ones_initializer())
        tf1.train.get_or_create_global_step()
        ways = _ways(folder)
        session.run(tf1.global_variables_initializer())
        numbers = iter(range(10**6))

        def save(way: str) -> measure.Run:
            inside = os.path.join(folder, way)
            os.makedirs(os.path.join(inside, "tf1"))
            number = next(numbers)
            took = measure.timed(lambda: [call(session, number) for call in ways[way]])
            written = sum(file.st_size for file in measure.new_files(inside))
            shutil.rmtree(inside)
            return {"seconds": took, "written": written}

        calls: dict[str, Callable[[], measure.Run]] = {
            way: (lambda way=way: save(way)) for way in ways
        }
        found = measure.in_turn(int(rounds) + 1, calls)
        return {way: runs[1:] for way, runs in found.items()}


def _ways(folder: str) -> dict[str, list[Callable[[Any, int], Any]]]:
    """Returns by name the calls that save in a way, each in a folder of its own."""
    import tensorflow as tf
    from tensorflow.python.checkpoint.graph_view import ObjectGraphView

    import estimator_ckpt

    tf1 = tf.compat.v1

    def call(saver: Any, way: str, below: str = "") -> Callable[[Any, int], Any]:
        prefix = os.path.join(folder, way, below, "model.ckpt")
        return lambda session, n: saver.save(session, prefix, n, write_meta_graph=False)

    def by_object() -> Any:  # as Scaffold.finalize makes it of a Checkpoint
        variables = {each.op.name: each for each in tf1.global_variables()}
        step = variables.pop("global_step")
        checkpoint = tf.train.Checkpoint(var_list=variables, step=step)
        objects = ObjectGraphView(checkpoint).frozen_saveable_objects()
        return tf1.train.Saver(objects, sharded=True)

    def by_name() -> Any:
        return tf1.train.Saver(sharded=True)

    def ours(checkpoint_format: str) -> Any:
        saver = estimator_ckpt.CheckpointSaver(checkpoint_format, sharded=True)
        saver.build()
        return saver

    ways = {
        PLAIN: [call(by_object(), PLAIN)],
        "plain TF1": [call(by_name(), "plain TF1")],
        TWO_SAVERS: [call(by_object(), TWO_SAVERS), call(by_name(), TWO_SAVERS, "tf1")],
        "wrapped, tf2": [call(ours("tf2"), "wrapped, tf2")],
        "wrapped, dual": [call(ours("dual"), "wrapped, dual")],
    }
    for way in ("wrapped, dual and TF1", "wrapped, dual and TF1, flushed"):
        saver = ours("dual")
        saver.sync_data = way.endswith("flushed")
        hook = estimator_ckpt.Tf1CheckpointSaverHook(os.path.join(folder, way, "tf1"), saver=saver)
        hook.begin()
        ways[way] = [call(saver, way)]
    return ways


def tables(quick: bool) -> Iterator[Table]:
    table = Table(
        "a save",
        "Two Savers are the obvious way to have both formats. Ratios are medians of the ratios of "
        "saves that follow each other in one process.",
        ("data, variables", "saved by", "time", "of plain TF2", "of two Savers", "on disk"),
    )
    sizes = ((64, 64, 5), (4, 1000, 3)) if quick else ((1024, 64, 4), (64, 64, 9), (64, 2_000, 5))
    for megabytes, variables, rounds in sizes:
        label = f"{measure.megabytes(megabytes)}, {variables:,}"
        found = measure.in_own_process("saving", "saves", variables, megabytes, rounds)
        for way, runs in found.items():
            table.rows.append(
                (
                    label,
                    way,
                    measure.seconds(measure.median(runs)),
                    measure.share(measure.ratio(runs, found[PLAIN])),
                    measure.share(measure.ratio(runs, found[TWO_SAVERS])),
                    measure.size(measure.median(runs, "written")),
                )
            )
            table.runs[f"{label}, {way}"] = runs
    yield table
