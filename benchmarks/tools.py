"""The command-line tools beside the plain way to do the same, with TensorFlow's own reader."""

from __future__ import annotations

import contextlib
import glob
import io
import os
import shutil
import tempfile
from collections.abc import Iterator

from benchmarks import limits, measure
from benchmarks.measure import Table


def converted(prefix: str) -> measure.Run:
    """Makes the other formats of a checkpoint beside it."""
    from estimator_ckpt import convert

    return {
        to: measure.timed(lambda to=to: convert(prefix, f"{prefix}-{to}", to=to))
        for to in ("tf2", "dual")
    }


def ours(task: str, prefix: str) -> measure.Run:
    """Times one of our tools; the first call in the process, its imports done before."""
    from estimator_ckpt import describe
    from estimator_ckpt.cli import main
    from estimator_ckpt.operations.diff import diff
    from estimator_ckpt.operations.verify import verify

    calls = {
        "verify": lambda: verify(prefix),
        "diff": lambda: diff(prefix, prefix + "-other"),
        "inspect": lambda: describe(prefix),
        "inspect, printed": lambda: main.main(["inspect", prefix]),
    }
    return _timed(calls[task])


def plain(task: str, prefix: str) -> measure.Run:
    """Times the plain way."""
    import numpy as np
    import tensorflow as tf

    def read_all() -> None:  # what checks a tensor's checksum is reading it
        reader = tf.train.load_checkpoint(prefix)
        for key in reader.get_variable_to_shape_map():
            reader.get_tensor(key)

    def compare() -> None:
        first, second = (tf.train.load_checkpoint(p) for p in (prefix, prefix + "-other"))
        for key in first.get_variable_to_shape_map():
            np.array_equal(first.get_tensor(key), second.get_tensor(key))

    def listing() -> None:
        tf.train.list_variables(prefix)

    def printed() -> None:
        for name, shape in tf.train.list_variables(prefix):
            print(name, shape)

    calls = {"verify": read_all, "diff": compare, "inspect": listing, "inspect, printed": printed}
    return _timed(calls[task])


def _timed(call) -> measure.Run:
    measure.load()
    with contextlib.redirect_stdout(io.StringIO()):
        return {"seconds": measure.timed(call)}


def tables(quick: bool) -> Iterator[Table]:
    table = Table(
        "the tools",
        "Beside TensorFlow's own reader, which checks a tensor by reading it.",
        ("tool", "of", "plain TensorFlow", "estimator_ckpt", "faster"),
    )
    megabytes, variables, count = (128, 20_000, 1) if quick else (1024, 100_000, 3)
    with tempfile.TemporaryDirectory(prefix="benchmarks_") as folder:
        big, many = (os.path.join(folder, name) for name in ("big", "many"))
        measure.in_own_process("measure", "make_checkpoint", big, 200, megabytes)
        for path in glob.glob(glob.escape(big) + ".*"):  # a copy, of the same bytes elsewhere
            shutil.copy(path, path.replace(big, big + "-other", 1))
        measure.in_own_process("measure", "make_checkpoint", many, variables)
        measure.in_own_process("tools", "converted", many)
        for task, prefix, what in (
            ("verify", big, measure.megabytes(megabytes)),
            ("diff", big, f"twice {measure.megabytes(megabytes)}"),
            ("inspect", many, f"{variables:,} variables, tf1"),
            ("inspect", many + "-tf2", f"{variables:,} variables, tf2"),
            ("inspect", many + "-dual", f"{variables:,} variables, dual"),
            ("inspect, printed", many, f"{variables:,} variables"),
        ):
            found = measure.processes_in_turn(
                count, {who: ("tools", who, task, prefix) for who in ("plain", "ours")}
            )
            slow, fast = found["plain"], found["ours"]
            cells = (
                measure.seconds(measure.median(slow)),
                measure.seconds(measure.median(fast)),
                measure.times(measure.ratio(slow, fast)),
            )
            table.rows.append((f"`{task}`", what, *cells))
            table.runs.update({f"{task}, {what}, {who}": runs for who, runs in found.items()})
            if task == "inspect, printed":
                read = limits.file_read([prefix + ".index"])
                table.measures.append(
                    measure.measured(
                        f"`estimator-ckpt inspect`, printed, {what}",
                        fast,
                        of=("`tf.train.list_variables`, printed", slow),
                        wanted=None if quick else 0.67,
                        limit=("its index, read from the page cache", [read(), read()]),
                    )
                )
    yield table
