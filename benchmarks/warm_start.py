"""Warm-starting a graph, beside tf.estimator.WarmStartSettings.

The time is that of making the settings, of `tf.train.warm_start` with them, as Estimator calls it,
and of running the initializers. A "cold" start is the last alone: what a job takes without any.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator

from benchmarks import measure
from benchmarks.measure import Table

WAYS = ("plain", "ours", "at once", "cold")


def start(who: str, count: str, prefix: str) -> measure.Run:
    """Warm-starts from a checkpoint of `count` variables; a cold start takes nothing of it."""
    import estimator_ckpt
    from estimator_ckpt import compat

    compat.install()
    import tensorflow as tf

    from estimator_ckpt.estimator.warm_start_at_once import read_at_once

    tf1 = tf.compat.v1
    with tf.Graph().as_default() as graph, tf1.Session() as session:
        names = [name for name, _ in tf.train.list_variables(prefix) if name != "global_step"]
        for name in names:
            tf1.get_variable(name, [1])
        tf1.train.get_or_create_global_step()

        def begin() -> None:
            if who == "at once":
                read_at_once(graph)
            if who == "ours":
                tf1.train.warm_start(*estimator_ckpt.warm_start_settings(prefix))
            elif who != "cold":
                tf1.train.warm_start(*tf.estimator.WarmStartSettings(prefix))
            session.run(tf1.global_variables_initializer())

        return {"seconds": measure.timed(begin)}


def tables(quick: bool) -> Iterator[Table]:
    table = Table(
        "a warm start",
        "Settings, graph and initializers, from a `tf1` checkpoint; at once: TensorFlow's settings "
        "on a job that is wrapped with `warm_start_at_once`; cold: the initializers of a job that "
        "starts from nothing.",
        (
            *("variables", "TensorFlow's", "ours", "ours / TensorFlow's"),
            *("at once / TensorFlow's", "at once / cold"),
        ),
    )
    for count in (200,) if quick else (10, 1_000, 10_000):
        runs = 1 if quick or count > 10 else 2
        # With 10,000 TensorFlow's own takes half a minute, and ours what TensorFlow's takes.
        ways = WAYS if count <= 1_000 else ("plain", "at once", "cold")
        with tempfile.TemporaryDirectory(prefix="benchmarks_") as folder:
            prefix = os.path.join(folder, "source")
            measure.in_own_process("measure", "make_checkpoint", prefix, count)
            found = measure.processes_in_turn(
                runs, {who: ("warm_start", "start", who, count, prefix) for who in ways}
            )
        plain, ours = found["plain"], found.get("ours")
        table.rows.append(
            (
                f"{count:,}",
                measure.seconds(measure.median(plain)),
                measure.seconds(measure.median(ours)) if ours else "",
                measure.share(measure.ratio(ours, plain)) if ours else "",
                measure.share(measure.ratio(found["at once"], plain)),
                measure.share(measure.ratio(found["at once"], found["cold"])),
            )
        )
        table.runs.update({f"{count:,}, {who}": runs for who, runs in found.items()})
        if count != 10:
            table.measures.append(
                measure.measured(
                    f"a warm start with `warm_start_at_once`, {count:,} variables",
                    found["at once"],
                    of=("TensorFlow's", plain),
                    wanted=0.1 if count == 10_000 else None,
                    limit=("a cold start", found["cold"]),
                )
            )
    yield table
