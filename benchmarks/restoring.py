"""Restoring a job's variables, and TF2 objects, from each format beside plain TensorFlow.

One process a size; everything is read in turn, from the page cache.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator

from benchmarks import measure
from benchmarks.measure import Table

PLAIN = {"session": "tf1, by tf1.train.Saver", "objects": "tf2, by tf.train.Checkpoint"}


FORMATS = ("tf1", "tf2", "dual")


def make(folder: str, variables: str, megabytes: str) -> None:
    """Writes a checkpoint in each format."""
    from estimator_ckpt import convert

    prefixes = _prefixes(folder)
    measure.make_checkpoint(prefixes["tf1"], variables, megabytes)
    for name in ("tf2", "dual"):
        convert(prefixes["tf1"], prefixes[name], to=name)


def _prefixes(folder: str) -> dict[str, str]:
    return {name: os.path.join(folder, name) for name in FORMATS}


def session(folder: str, rounds: str) -> dict[str, list[measure.Run]]:
    """Restores the variables of a graph."""
    import tensorflow as tf

    import estimator_ckpt

    tf1 = tf.compat.v1
    prefixes = _prefixes(folder)
    with tf.Graph().as_default(), tf1.Session() as sess:
        for name, shape in tf.train.list_variables(prefixes["tf1"]):
            if name != "global_step":
                tf1.get_variable(name, shape, initializer=tf1.zeros_initializer())
        tf1.train.get_or_create_global_step()
        plain = tf1.train.Saver(sharded=True)
        wrapped = estimator_ckpt.CheckpointSaver("dual", sharded=True)
        wrapped.build()
        ways: dict[str, Callable[[], None]] = {
            PLAIN["session"]: lambda: plain.restore(sess, prefixes["tf1"])
        }
        for name, prefix in prefixes.items():
            ways[f"{name}, by the wrapped job"] = lambda p=prefix: wrapped.restore(sess, p)
        return _in_turn(int(rounds), ways)


def objects(folder: str, rounds: str) -> dict[str, list[measure.Run]]:
    """Restores eager variables that a Checkpoint holds."""
    import tensorflow as tf

    import estimator_ckpt

    prefixes = _prefixes(folder)
    held = {
        name: tf.Variable(tf.zeros(shape), name=name)
        for name, shape in tf.train.list_variables(prefixes["tf1"])
        if name != "global_step"
    }
    step = tf.Variable(0, dtype=tf.int64, name="global_step")
    target = tf.train.Checkpoint(var_list=held, step=step)
    ways: dict[str, Callable[[], None]] = {
        PLAIN["objects"]: lambda: target.restore(prefixes["tf2"]).assert_consumed()
    }
    for name, prefix in prefixes.items():
        ways[f"{name}, by estimator_ckpt.restore"] = lambda p=prefix: estimator_ckpt.restore(
            target, p
        )
    return _in_turn(int(rounds), ways)


def _in_turn(rounds: int, ways: dict[str, Callable[[], None]]) -> dict[str, list[measure.Run]]:
    calls = {
        way: (lambda call=call: {"seconds": measure.timed(call)}) for way, call in ways.items()
    }
    return {way: runs[1:] for way, runs in measure.in_turn(rounds + 1, calls).items()}


def tables(quick: bool) -> Iterator[Table]:
    table = Table(
        "restoring",
        "Into the variables of a graph, and into eager ones; the ratio is to TensorFlow's own way "
        "from its own format.",
        ("data, variables", "from", "time", "of plain"),
    )
    for megabytes, variables, rounds in (
        ((64, 64, 5),) if quick else ((1024, 64, 5), (4, 2_000, 5), (64, 10_000, 3))
    ):
        with tempfile.TemporaryDirectory(prefix="benchmarks_") as folder:
            measure.in_own_process("restoring", "make", folder, variables, megabytes)
            for task, plain in PLAIN.items():
                found = measure.in_own_process("restoring", task, folder, rounds)
                label = f"{measure.megabytes(megabytes)}, {variables:,}"
                for way, runs in found.items():
                    cells = (
                        measure.seconds(measure.median(runs)),
                        measure.share(measure.ratio(runs, found[plain])),
                    )
                    table.rows.append((label, way, *cells))
                    table.runs[f"{label}, {way}"] = runs
    yield table
