"""`convert` beside what one does without it: load every tensor, save again.

The migration guide's converter loads each tensor into a tf.Variable and saves a
tf.train.Checkpoint; the way back is the same with a Saver. Time and memory count from after the
imports. Bytes written are those of new files; a hard link to a file of the source is not new.
"""

from __future__ import annotations

import os
import pathlib
import tempfile
from collections.abc import Iterator

from benchmarks import measure
from benchmarks.measure import Table

VARIABLES = 200
COLUMNS = ("time", "peak memory", "written", "faster")


def make(prefix: str, variables: str, megabytes: str) -> None:
    """Writes a name-based source, and an object-based one beside it that shares its bytes."""
    from estimator_ckpt import convert

    measure.make_checkpoint(prefix, variables, megabytes)
    convert(prefix, prefix + "-tf2", to="tf2")


def ours(source: str, target: str, to: str) -> measure.Run:
    from estimator_ckpt import convert

    return _measured(lambda: convert(source, target, to=to))


def guide(source: str, target: str, to: str) -> measure.Run:
    import tensorflow as tf

    def convert() -> None:
        reader = tf.train.load_checkpoint(source)
        variables = {}
        for name in reader.get_variable_to_dtype_map():
            if name == "_CHECKPOINTABLE_OBJECT_GRAPH":
                continue
            variables[name] = tf.Variable(reader.get_tensor(name))
        if to == "tf1":
            tf.compat.v1.train.Saver(variables).save(None, target, write_meta_graph=False)
        else:
            tf.train.Checkpoint(vars=variables).save(target)

    return _measured(convert)


def _measured(call) -> measure.Run:
    measure.load()
    before = measure.peak_memory()
    seconds = measure.timed(call)
    return {"seconds": seconds, "memory": measure.peak_memory() - before}


def _once(who: str, source: str, to: str) -> measure.Run:
    with tempfile.TemporaryDirectory(dir=os.path.dirname(source)) as folder:
        run = measure.in_own_process("convert", who, source, os.path.join(folder, "out"), to)
        files = [path.stat() for path in pathlib.Path(folder).rglob("*") if path.is_file()]
        return {**run, "written": sum(file.st_size for file in files if file.st_nlink == 1)}


def _compare(table: Table, source: str, to: str, label: str, runs: int, beside: int) -> None:
    """Adds two rows: the plain way, if it is to run at all, and ours."""
    found: dict[str, list[measure.Run]] = {}
    if beside:
        found["guide"] = [_once("guide", source, to) for _ in range(beside)]
    found["estimator_ckpt"] = [_once("ours", source, to) for _ in range(runs)]
    for who, rows in found.items():
        faster = ""
        if who != "guide":
            faster = "-"
            if beside:
                faster = measure.times(
                    measure.median(found["guide"]) / measure.median(found["estimator_ckpt"])
                )
        name = "load and save" if who == "guide" else who
        cells = (
            measure.seconds(measure.median(rows)),
            measure.size(max(run["memory"] for run in rows)),
            measure.size(max(run["written"] for run in rows)),
        )
        table.rows.append((label, name, *cells, faster))
        table.runs[f"{label}, {name}"] = rows


def tables(quick: bool) -> Iterator[Table]:
    runs = 1 if quick else 2
    by_size = Table(
        "convert, by size",
        f"To `tf2`, {VARIABLES} variables, beside the migration guide's converter.",
        ("data", "by", *COLUMNS),
    )
    by_format = Table(
        "convert, by format",
        f"{VARIABLES} variables. `dual` is both at once; loading and saving can only write "
        "one more checkpoint beside the source.",
        ("conversion", "by", *COLUMNS),
    )
    biggest = 64 if quick else 1024
    for megabytes in (64,) if quick else (64, 1024, 4096):
        with tempfile.TemporaryDirectory(prefix="benchmarks_") as folder:
            source = os.path.join(folder, "source")
            measure.in_own_process("convert", "make", source, VARIABLES, megabytes)
            fits = measure.memory() > 3 * megabytes * measure.MEGABYTE
            beside = (1 if megabytes > 1024 else runs) if fits else 0
            size = measure.megabytes(megabytes)
            _compare(by_size, source, "tf2", size, runs, beside)
            if megabytes == biggest:
                pairs = (("tf2", "tf1", source + "-tf2"), ("tf1", "dual", source))
                for old, new, path in pairs:
                    _compare(by_format, path, new, f"{old} to {new}, {size}", runs, beside)
    yield by_size
    yield by_format
    by_count = Table(
        "convert, by number of variables",
        "To `tf2`, 64 MB; loading and saving 100,000 variables takes minutes and is left out.",
        ("variables", "by", *COLUMNS),
    )
    for count in (10, 100_000) if quick else (10, 1_000, 10_000, 100_000):
        with tempfile.TemporaryDirectory(prefix="benchmarks_") as folder:
            source = os.path.join(folder, "source")
            measure.in_own_process("convert", "make", source, count, 64)
            beside = 0 if count > 10_000 else 1 if count > 1_000 else runs
            _compare(by_count, source, "tf2", f"{count:,}", runs, beside)
    yield by_count
