"""Many variables in one checkpoint, and many checkpoints in one folder.

Beside a conversion stands what no program can do without: to read the source's index, sum up its
bytes, and write and sum up as many new ones as the conversion does.
"""

from __future__ import annotations

import contextlib
import io
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator

from benchmarks import limits, measure
from benchmarks.measure import Table

FORMATS = ("tf1", "tf2", "dual")


def make(prefix: str, variables: str) -> None:
    """Writes a checkpoint of each format."""
    from estimator_ckpt import convert

    measure.make_checkpoint(prefix, variables)
    for to in FORMATS:
        convert(prefix, f"{prefix}-{to}", to=to)


def converted(source: str, target: str, to: str) -> measure.Run:
    """Times a conversion, and then the least that it has to do."""
    from estimator_ckpt import convert
    from estimator_ckpt.bundle import checksums

    measure.load()
    seconds = measure.timed(lambda: convert(source, target, to=to))
    new = [path for path in pathlib.Path(target).parent.iterdir() if path.stat().st_nlink == 1]
    data = os.urandom(sum(path.stat().st_size for path in new))

    def least() -> None:
        checksums.extend(0, pathlib.Path(source + ".index").read_bytes())
        checksums.extend(0, data)
        pathlib.Path(target + ".least").write_bytes(data)

    return {"seconds": seconds, "least": measure.timed(least)}


def many(first: str, folder: str, count: str) -> None:
    """Fills a model_dir with copies of a small checkpoint."""
    from estimator_ckpt.checkpoint.opening import index_path, shard_path, write_state

    prefixes = [os.path.join(folder, f"model.ckpt-{number}") for number in range(int(count))]
    for prefix in prefixes:
        shutil.copy(index_path(first), index_path(prefix))
        shutil.copy(shard_path(first, 0, 1), shard_path(prefix, 0, 1))
    write_state(folder, prefixes[-1], prefixes)


COMMANDS = {
    "doctor": ["doctor", "{}"],
    "convert --all": ["convert", "{}", "{}/out", "--to=dual", "--all"],
}


def of_many(command: str, folder: str) -> measure.Run:
    """Times one of `COMMANDS` on a folder; its imports are done before."""
    from estimator_ckpt.cli import main

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        measure.load()
        words = [word.format(folder) for word in COMMANDS[command]]
        main.main([words[0], "--help"])
        return {"seconds": measure.timed(lambda: main.main(words))}


def tables(quick: bool) -> Iterator[Table]:
    variables, runs = (10_000, 1) if quick else (100_000, 2)
    by_pair = Table(
        f"convert {variables:,} variables",
        "The least is to read and sum up the source's index, and to write and sum up as many bytes "
        "as are written.",
        ("conversion", "time", "the least", "of the least"),
    )
    with tempfile.TemporaryDirectory(prefix="benchmarks_") as folder:
        prefix = os.path.join(folder, "m")
        measure.in_own_process("many", "make", prefix, variables)
        for old in FORMATS:
            for new in FORMATS:
                found = []
                for _ in range(runs):
                    with tempfile.TemporaryDirectory(dir=folder) as out:
                        task = ("converted", f"{prefix}-{old}", os.path.join(out, "m"), new)
                        found.append(measure.in_own_process("many", *task))
                cells = (
                    measure.seconds(measure.median(found)),
                    measure.seconds(measure.median(found, "least")),
                    measure.times(measure.median(found) / measure.median(found, "least")),
                )
                by_pair.rows.append((f"{old} to {new}", *cells))
                by_pair.runs[f"{old} to {new}"] = found
                if (old, new) == ("tf1", "tf2"):
                    by_pair.measures.append(
                        measure.measured(
                            f"`convert`, {variables:,} variables, {old} to {new}",
                            found,
                            wanted=None if quick else 0.5,
                            limit=(LEAST, [{"seconds": each["least"]} for each in found]),
                        )
                    )
    yield by_pair
    yield _of_folders(quick)


LEAST = "the index read and summed up, as many bytes summed up and written"
SIZES = {"doctor": (2_500, 5_000), "convert --all": (1_000, 2_000)}
LIMITS = {  # by command: what it is, whether files are written
    "doctor": ("their indexes, read from the page cache", False),
    "convert --all": ("as many small files, made and flushed", True),
}
MOST, LINEAR = 5.0, 1.2  # seconds for the larger folder; its time, of twice that of the smaller one


def _of_folders(quick: bool) -> Table:
    """The commands, on folders of which one has twice as many checkpoints as the other."""
    table = Table(
        "many checkpoints in a folder",
        "Small ones, of 10 variables; what is written is flushed to the disk, as it always is.",
        ("command", "checkpoints", "on", "time", "each"),
    )
    with tempfile.TemporaryDirectory(prefix="benchmarks_") as folder:
        first = os.path.join(folder, "model.ckpt-0")
        measure.in_own_process("measure", "make_checkpoint", first, 10)
        for where, parent in PLACES.items():
            for command, counts in SIZES.items():
                half = None
                for count in [number // 10 for number in counts] if quick else counts:
                    run = _of_folder(command, first, count, parent)
                    half = _enter(table, where, command, count, run, half)
    return table


PLACES = {"the disk": None}
if os.path.isdir("/dev/shm"):
    PLACES["tmpfs"] = "/dev/shm"


def _of_folder(command: str, first: str, count: int, parent: str | None) -> measure.Run:
    """Runs a command on a new folder, and then what the machine needs for the least of it."""
    with tempfile.TemporaryDirectory(prefix="benchmarks_", dir=parent) as folder:
        measure.in_own_process("many", "many", first, folder, count)
        indexes = [os.path.join(folder, f"model.ckpt-{number}.index") for number in range(count)]
        size = os.path.getsize(indexes[0])
        run = measure.in_own_process("many", "of_many", command, folder)
        if LIMITS[command][1]:
            limit = limits.small_files(folder, count, size, flushed=True)
        else:
            limit = limits.file_read(indexes)
        return {**run, "least": limit()["seconds"]}


def _enter(
    table: Table,
    where: str,
    command: str,
    count: int,
    run: measure.Run,
    half: measure.Run | None,
) -> measure.Run:
    """Adds the row, and for the larger folder the measures: its time, and if that is linear."""
    seconds = run["seconds"]
    cells = measure.seconds(seconds), measure.seconds(seconds / count)
    table.rows.append((f"`{command}`", f"{count:,}", where, *cells))
    table.runs[f"{command}, {count}, {where}"] = [run]
    if half:
        name = f"`{command}`, {count:,} checkpoints, on {where}"
        limit = (LIMITS[command][0], [{"seconds": run["least"]}])
        wanted = MOST if count == SIZES[command][-1] else None
        table.measures.append(measure.measured(name, [run], wanted=wanted, limit=limit))
        twice = [{"seconds": 2 * half["seconds"]}]
        table.measures.append(
            measure.measured(
                name, [run], of=("twice the time of half as many", twice), wanted=wanted and LINEAR
            )
        )
    return run
