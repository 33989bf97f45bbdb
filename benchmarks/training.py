"""Compares a raw and a wrapped job: graph-building time, steps a second, and what saving costs.

    python benchmarks/training.py             # 10 and 2,000 variables; saves of 1 GB
    python benchmarks/training.py --quick     # saves of 64 MB, fewer runs
    python benchmarks/training.py --json results.json

Each measurement has a process of its own; raw and wrapped ones take turns, so that a machine that
changes its speed changes it for both. The table has medians, and the median of the ratios pair by
pair.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

STEPS = 300
VARIABLES = (10, 2000)
SAVERS = ("tf2", "dual", "dual+tf1", "two savers")
MEGABYTE = 2**20


def build_and_step(how: str, variables: int) -> dict[str, float]:
    """Times the graph of a job up to its first step, and the steps after it."""
    import numpy as np
    import tensorflow as tf

    import estimator_ckpt

    tf1 = tf.compat.v1
    times: dict[str, float] = {}

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


def save(how: str, megabytes: int) -> dict[str, float]:
    """Times one save, and counts the bytes on disk after it; each file of several links once."""
    import tensorflow as tf

    import estimator_ckpt

    tf1 = tf.compat.v1
    count = 64
    with tempfile.TemporaryDirectory() as folder, tf.Graph().as_default(), tf1.Session() as session:
        step = tf1.train.get_or_create_global_step()
        elements = megabytes * MEGABYTE // count // 4
        variables = [
            tf1.get_variable(f"w_{number}", [elements], initializer=tf1.ones_initializer())
            for number in range(count)
        ]
        calls = _savers(how, folder, variables, step, estimator_ckpt, tf, tf1, session)
        session.run(tf1.global_variables_initializer())
        for number in range(2):  # the first save warms up
            started = time.perf_counter()
            for call in calls:
                call(number)
            seconds = time.perf_counter() - started
            seen = {}
            for path in pathlib.Path(folder).rglob(f"*-{number}.*"):
                seen[path.stat().st_ino] = path.stat().st_size
        return {"save": seconds, "bytes": float(sum(seen.values()))}


def _savers(how, folder, variables, step, estimator_ckpt, tf, tf1, session):
    """Returns the calls that save a step in a way."""
    prefix = os.path.join(folder, "model.ckpt")
    beside = os.path.join(folder, "tf1", "model.ckpt")
    held = {variable.op.name: variable for variable in variables}
    if how in ("tf2", "two savers"):  # as Scaffold.finalize makes it of a Checkpoint
        from tensorflow.python.checkpoint.graph_view import ObjectGraphView

        checkpoint = tf.train.Checkpoint(var_list=held, step=step)
        by_object = tf1.train.Saver(
            ObjectGraphView(checkpoint).frozen_saveable_objects(), sharded=True
        )
        calls = [lambda n: by_object.save(session, prefix, n, write_meta_graph=False)]
        if how == "two savers":
            os.makedirs(os.path.dirname(beside))
            by_name = tf1.train.Saver(sharded=True)
            calls.append(lambda n: by_name.save(session, beside, n, write_meta_graph=False))
        return calls
    saver = estimator_ckpt.CheckpointSaver("dual", sharded=True)
    saver.build()
    if how == "dual+tf1":
        hook = estimator_ckpt.Tf1CheckpointSaverHook(os.path.dirname(beside), saver=saver)
        hook.begin()
    return [lambda n: saver.save(session, prefix, n, write_meta_graph=False)]


def in_own_process(*arguments: object) -> dict[str, float]:
    """Runs one measurement of this file in a new process."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    ran = subprocess.run(
        [sys.executable, __file__, "--one", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=600,
        env=environment,
    )
    if ran.returncode:
        raise RuntimeError(ran.stderr[-2000:])
    return json.loads(ran.stdout.splitlines()[-1])


def compare(ways: list[tuple[object, ...]], runs: int) -> list[list[dict[str, float]]]:
    """Measures several ways in turn, `runs` times each."""
    found: list[list[dict[str, float]]] = [[] for _ in ways]
    for _ in range(runs):
        for number, way in enumerate(ways):
            found[number].append(in_own_process(*way))
    return found


def median(rows: list[dict[str, float]], name: str) -> float:
    return statistics.median(row[name] for row in rows)


def ratio(rows: list[dict[str, float]], base: list[dict[str, float]], name: str) -> float:
    return statistics.median(row[name] / other[name] for row, other in zip(rows, base))


def training_table(runs: int, results: list[dict[str, object]]) -> None:
    print("| job | graph built | ratio | one step | ratio |\n|---|---|---|---|---|")
    for variables in VARIABLES:
        ways: list[tuple[object, ...]] = [("train", how, variables) for how in ("raw", "wrapped")]
        raw, wrapped = compare(ways, runs)
        for how, rows in (("raw", raw), ("wrapped", wrapped)):
            cells = [f"{variables:,} variables, {how}"]
            for name, scale, unit in (("graph", 1, "s"), ("step", 1000, "ms")):
                cells.append(f"{median(rows, name) * scale:.3f} {unit}")
                cells.append(f"{ratio(rows, raw, name):.2f}")
            print(f"| {' | '.join(cells)} |", flush=True)
            results.append({"job": cells[0], "runs": rows})


def saving_table(megabytes: int, runs: int, results: list[dict[str, object]]) -> None:
    print(f"\n| save of {megabytes:,} MB | time | ratio | on disk |\n|---|---|---|---|")
    found = compare([("save", how, megabytes) for how in SAVERS], runs)
    for how, rows in zip(SAVERS, found):
        size = median(rows, "bytes") / MEGABYTE
        cells = [how, f"{median(rows, 'save'):.3f} s", f"{ratio(rows, found[0], 'save'):.2f}"]
        print(f"| {' | '.join([*cells, f'{size:,.0f} MB'])} |", flush=True)
        results.append({"save": how, "megabytes": megabytes, "runs": rows})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small saves, fewer runs")
    parser.add_argument("--json", help="also write every measurement to this file")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        what, how, size = arguments.one
        measured = {"train": build_and_step, "save": save}[what](how, int(size))
        print(json.dumps(measured))
        return
    results: list[dict[str, object]] = []
    runs = 2 if arguments.quick else 5
    training_table(runs, results)
    saving_table(64 if arguments.quick else 1024, runs, results)
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps(results, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
