"""Restoring a job's variables, and TF2 objects, from each format beside plain TensorFlow.

One process a size; everything is read in turn, from the page cache.
"""

from __future__ import annotations

import glob
import os
import tempfile
from collections.abc import Callable, Iterator

from benchmarks import limits, measure
from benchmarks.measure import Table

PLAIN = {"session": "tf1, by tf1.train.Saver", "objects": "tf2, by tf.train.Checkpoint"}
READ = "its files, read from the page cache"
# What takes longest of all formats is what is wanted to be so little of TensorFlow's.
WANTED = {
    ("4 MB, 2,000", "session"): 1.1,
    ("64 MB, 10,000", "session"): 1.1,
    ("4 MB, 2,000", "objects"): 0.9,
}
SAID = {
    "session": ("a restore by the wrapped job", "tf1.train.Saver's"),
    "objects": ("`restore` into TF2 objects", "tf.train.Checkpoint's"),
}

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
        return _in_turn(int(rounds), ways, prefixes["tf2"])


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
    return _in_turn(int(rounds), ways, prefixes["tf2"])


def _in_turn(
    rounds: int, ways: dict[str, Callable[[], None]], prefix: str
) -> dict[str, list[measure.Run]]:
    calls = {
        way: (lambda call=call: {"seconds": measure.timed(call)}) for way, call in ways.items()
    }
    calls[READ] = limits.file_read(sorted(glob.glob(glob.escape(prefix) + ".*")))
    return {way: runs[1:] for way, runs in measure.in_turn(rounds + 1, calls).items()}


def tables(quick: bool) -> Iterator[Table]:
    table = Table(
        "restoring",
        "Into the variables of a graph, and into eager ones; the ratio is to TensorFlow's own way "
        "from its own format.",
        ("data, variables", "from", "time", "of plain"),
    )
    sizes = (
        (1024, 64, 3, tuple(PLAIN)),
        (4, 2_000, 5, tuple(PLAIN)),
        (64, 10_000, 5, ("session",)),
    )
    if quick:
        sizes = ((64, 64, 5, tuple(PLAIN)),)
    for megabytes, variables, rounds, tasks in sizes:
        label = f"{measure.megabytes(megabytes)}, {variables:,}"
        with tempfile.TemporaryDirectory(prefix="benchmarks_") as folder:
            measure.in_own_process("restoring", "make", folder, variables, megabytes)
            for task in tasks:
                found = measure.in_own_process("restoring", task, folder, rounds)
                _enter(table, label, task, found)
    yield table


def _enter(table: Table, label: str, task: str, found: dict[str, list[measure.Run]]) -> None:
    """Adds the rows of a size, and the measure, which is of the format that takes longest."""
    plain = found[PLAIN[task]]
    slowest, most = "", 0.0
    for way, runs in found.items():
        table.runs[f"{label}, {way}"] = runs
        if way == READ:
            continue
        ratio = measure.ratio(runs, plain)
        table.rows.append((label, way, measure.seconds(measure.median(runs)), measure.share(ratio)))
        if runs is not plain and ratio > most:
            slowest, most = way, ratio
    what, whose = SAID[task]
    table.measures.append(
        measure.measured(
            f"{what}, {label} variables, the slowest format",
            found[slowest],
            of=(whose, plain),
            wanted=WANTED.get((label, task)),
            limit=(READ, found[READ]),
        )
    )
