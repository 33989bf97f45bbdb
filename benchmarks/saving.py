"""One save of a job, in each format, beside what plain TensorFlow does.

Each size is one process with one graph: its variables are saved in each way in turn, and what was
written is removed after each, so that no way waits for the disk to take what another one wrote.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from benchmarks import limits, measure
from benchmarks.measure import Table

PLAIN, TWO_SAVERS = "plain TF2", "two Savers"
BOTH = "wrapped, dual and TF1"
UNFLUSHED, FLUSHED = f"{BOTH}, nothing flushed", f"{BOTH}, flushed"
WAYS = (
    PLAIN,
    "plain TF1",
    TWO_SAVERS,
    "wrapped, tf2",
    "wrapped, dual",
    UNFLUSHED,
    BOTH,
    FLUSHED,
)
SOME = (PLAIN, TWO_SAVERS, UNFLUSHED, BOTH, FLUSHED)
FEW = (PLAIN, UNFLUSHED, BOTH)  # each takes long to make where there are many variables
WRITE, WRITE_FLUSHED = "a file written", "a file written and flushed"


def saves(variables: str, megabytes: str, rounds: str, *ways: str) -> dict[str, list[measure.Run]]:
    """Saves a graph's variables in each of the ways; the first round warms up."""
    import tensorflow as tf

    tf1 = tf.compat.v1
    with tempfile.TemporaryDirectory() as folder, tf.Graph().as_default(), tf1.Session() as session:
        elements = int(megabytes) * measure.MEGABYTE // int(variables) // 4
        for number in range(int(variables)):
            tf1.get_variable(f"w_{number}", [elements], initializer=tf1.ones_initializer())
        tf1.train.get_or_create_global_step()
        savers = {way: _way(folder, way) for way in ways}
        session.run(tf1.global_variables_initializer())
        numbers = iter(range(10**6))

        def save(way: str) -> measure.Run:
            inside = os.path.join(folder, way)
            os.makedirs(os.path.join(inside, "tf1"))
            number = next(numbers)
            with _nothing_flushed() if way == UNFLUSHED else contextlib.nullcontext():
                took = measure.timed(lambda: [call(session, number) for call in savers[way]])
            written = sum(file.st_size for file in measure.new_files(inside))
            shutil.rmtree(inside)
            return {"seconds": took, "written": written}

        size = int(megabytes) * measure.MEGABYTE
        calls: dict[str, Callable[[], measure.Run]] = {
            **{way: (lambda way=way: save(way)) for way in ways},
            WRITE: limits.file_write(folder, size),
            WRITE_FLUSHED: limits.file_write(folder, size, flushed=True),
        }
        found = measure.in_turn(int(rounds) + 1, calls)
        return {way: runs[1:] for way, runs in found.items()}


@contextlib.contextmanager
def _nothing_flushed() -> Iterator[None]:
    """Has no file and no directory wait for the disk, as nothing that TensorFlow writes does."""
    flush = os.fsync
    os.fsync = lambda descriptor: None
    try:
        yield
    finally:
        os.fsync = flush


def _way(folder: str, way: str) -> list[Callable[[Any, int], Any]]:
    """Returns the calls that save in a way, in a folder of its own."""
    import estimator_ckpt

    def call(saver: Any, below: str = "") -> Callable[[Any, int], Any]:
        prefix = os.path.join(folder, way, below, "model.ckpt")
        return lambda session, n: saver.save(session, prefix, n, write_meta_graph=False)

    plain = {
        PLAIN: lambda: [call(plain_saver())],
        "plain TF1": lambda: [call(_by_name())],
        TWO_SAVERS: lambda: [call(plain_saver()), call(_by_name(), "tf1")],
    }
    if way in plain:
        return plain[way]()
    checkpoint_format = "tf2" if way.endswith("tf2") else "dual"
    saver = estimator_ckpt.CheckpointSaver(checkpoint_format, sharded=True)
    saver.build()
    saver.sync_data = way == FLUSHED
    if way.startswith(BOTH):
        hook = estimator_ckpt.Tf1CheckpointSaverHook(os.path.join(folder, way, "tf1"), saver=saver)
        hook.begin()
    return [call(saver)]


def _by_name() -> Any:
    import tensorflow as tf

    return tf.compat.v1.train.Saver(sharded=True)


def plain_saver() -> Any:
    """Returns a Saver of the graph's variables as Scaffold.finalize makes it of a Checkpoint."""
    import tensorflow as tf
    from tensorflow.python.checkpoint.graph_view import ObjectGraphView

    variables = {each.op.name: each for each in tf.compat.v1.global_variables()}
    step = variables.pop("global_step")
    checkpoint = tf.train.Checkpoint(var_list=variables, step=step)
    objects = ObjectGraphView(checkpoint).frozen_saveable_objects()
    return tf.compat.v1.train.Saver(objects, sharded=True)


WANTED = {
    ("1 GB, 64", BOTH): 1.02,
    ("64 MB, 2,000", UNFLUSHED): 1.15,
    ("64 MB, 2,000", BOTH): 1.4,
    ("64 MB, 10,000", BOTH): 1.3,
}
SAID = {
    BOTH: "",
    UNFLUSHED: ", without the flushes of index, state and directories",
    FLUSHED: ", the tensors flushed, too",
}


def _measures(label: str, found: dict[str, list[measure.Run]]) -> Iterator[measure.Measure]:
    """What a job waits for: `dual` with TF1 checkpoints beside it."""
    for way, said in SAID.items():
        if way in found:
            limit = WRITE_FLUSHED if way == FLUSHED else WRITE
            yield measure.measured(
                f"a save, `dual` with TF1 beside it, {label} variables{said}",
                found[way],
                of=("plain TF2's save", found[PLAIN]),
                wanted=WANTED.get((label, way)),
                limit=(limit, found[limit]),
            )


def tables(quick: bool) -> Iterator[Table]:
    table = Table(
        "a save",
        "Two Savers are the obvious way to have both formats. Ratios are medians of the ratios of "
        "saves that follow each other in one process. `flushed`: the tensors, too (`sync_data`); "
        "`nothing flushed`: neither they nor index, state and directories, as in TensorFlow.",
        ("data, variables", "saved by", "time", "of plain TF2", "of two Savers", "on disk"),
    )
    sizes: Sequence[tuple[int, int, int, Sequence[str]]] = (
        (1024, 64, 5, SOME),
        (64, 64, 5, WAYS),
        (64, 2_000, 5, SOME),
        (64, 10_000, 4, FEW),
    )
    if quick:
        sizes = ((64, 64, 5, WAYS), (4, 1_000, 3, FEW))
    for megabytes, variables, rounds, ways in sizes:
        label = f"{measure.megabytes(megabytes)}, {variables:,}"
        found = measure.in_own_process("saving", "saves", variables, megabytes, rounds, *ways)
        for way in ways:
            runs, two = found[way], found.get(TWO_SAVERS)
            table.rows.append(
                (
                    label,
                    way,
                    measure.seconds(measure.median(runs)),
                    measure.share(measure.ratio(runs, found[PLAIN])),
                    measure.share(measure.ratio(runs, two)) if two else "",
                    measure.size(measure.median(runs, "written")),
                )
            )
        table.runs.update({f"{label}, {way}": runs for way, runs in found.items()})
        table.measures.extend(_measures(label, found))
    yield table
