"""Saves with links to what has not changed, beside those that write everything, and the machine.

One process with one graph: before each save that is measured, its Saver saves once more, so that
what has changed since is known: a twentieth of the bytes, all of them, or nothing. The limits are
those of the same run: one pass over the same bytes in memory, to copy, to hash or to write them.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks import measure
from benchmarks.measure import Table

FULL, FULL_ASYNC = "all is written", "all is written, async_save"
LINKED = "linked, {} changed"
LINKED_ASYNC = "linked, {} changed, async_save"
SHARES = ("nothing", "5 %", "all")
COPY, HASH, WRITE = "one copy in memory", "one hash of it", "one write to a file"


def saves(variables: str, megabytes: str, rounds: str) -> dict[str, list[measure.Run]]:
    """Saves a graph's variables in each way; the first round warms up."""
    import tensorflow as tf

    tf1 = tf.compat.v1
    with tempfile.TemporaryDirectory() as folder, tf.Graph().as_default(), tf1.Session() as session:
        elements = int(megabytes) * measure.MEGABYTE // int(variables) // 4
        made = [
            tf1.get_variable(
                f"w_{number}",
                [elements],
                initializer=tf1.random_uniform_initializer(),
                use_resource=True,
            )
            for number in range(int(variables))
        ]
        tf1.train.get_or_create_global_step()
        whole, part = divmod(int(variables) * 5 / 100, 1)
        few = made[: int(whole)]
        rest = made[int(whole)][: int(elements * part)]
        changes = {
            "nothing": tf.no_op(),
            "5 %": tf.group(
                *(each.assign_add(tf.ones_like(each)) for each in few), rest.assign(rest + 1.0)
            ),
            "all": tf.group(*(each.assign_add(tf.ones_like(each)) for each in made)),
        }
        calls = _ways(folder, session, changes)
        session.run(tf1.global_variables_initializer())
        calls.update(_limits(folder, int(megabytes)))
        found = measure.in_turn(int(rounds) + 1, calls)
        return {way: runs[1:] for way, runs in found.items()}


def _ways(
    folder: str, session: Any, changes: dict[str, Any]
) -> dict[str, Callable[[], measure.Run]]:
    import estimator_ckpt
    from estimator_ckpt.estimator.unchanged.bounds import Bounds

    numbers = iter(range(10**6))

    def saver(name: str, *, links: bool, is_async: bool) -> Callable[[], measure.Run]:
        made = estimator_ckpt.CheckpointSaver("dual", sharded=True, max_to_keep=1)
        made.unchanged, made.async_save = Bounds() if links else None, is_async
        made.build()
        inside = os.path.join(folder, name)
        os.makedirs(inside)
        change = changes.get(next((share for share in SHARES if f" {share} " in name), "nothing"))

        def save() -> None:
            function = made.save_in_background if is_async else made.save
            function(session, os.path.join(inside, "m"), next(numbers), write_meta_graph=False)

        def call() -> measure.Run:
            if links:
                save()
                made.wait()
            session.run(change)
            before = {each.st_ino for each in measure.new_files(inside)}
            took = measure.timed(save)
            made.wait()
            new = [each for each in measure.new_files(inside) if each.st_ino not in before]
            return {"seconds": took, "written": sum(each.st_size for each in new)}

        return call

    calls = {}
    for is_async, full, linked in ((False, FULL, LINKED), (True, FULL_ASYNC, LINKED_ASYNC)):
        calls[full] = saver(full, links=False, is_async=is_async)
        for share in SHARES:
            name = linked.format(share)
            calls[name] = saver(name, links=True, is_async=is_async)
    return calls


def _limits(folder: str, megabytes: int) -> dict[str, Callable[[], measure.Run]]:
    """Returns what passes once over so many bytes, with as many threads as a save has."""
    import numpy as np

    from estimator_ckpt.estimator.unchanged.hashing import hash_all, in_threads

    data = np.random.default_rng(0).integers(0, 256, megabytes << 20, np.uint8)
    copy = np.zeros_like(data)
    step = 4 << 20
    starts = range(0, data.size, step)
    pieces = [memoryview(data)[start : start + step] for start in starts]
    path = os.path.join(folder, "file")

    def copy_piece(start: int) -> None:
        copy[start : start + step] = data[start : start + step]

    def write() -> None:
        with open(path, "wb") as file:
            for piece in pieces:
                file.write(piece)

    def timed(call: Callable[[], Any], written: int = 0) -> Callable[[], measure.Run]:
        def run() -> measure.Run:
            took = measure.timed(call)
            if os.path.exists(path):
                os.remove(path)
            return {"seconds": took, "written": written}

        return run

    sizes = [step] * len(starts)
    return {
        COPY: timed(lambda: in_threads(copy_piece, starts, sizes)),
        HASH: timed(lambda: hash_all(pieces)),
        WRITE: timed(write, data.size),
    }


def tables(quick: bool) -> Iterator[Table]:
    table = Table(
        "a save of what changed",
        '`unchanged="link"`, dual. The time is how long training stands still: the whole save, and '
        "with `async_save` its pause. Ratios are medians of the ratios within a round.",
        ("data, variables", "saved", "time", "of all written", "of one hash", "written", "of all"),
    )
    sizes = ((64, 64, 3),) if quick else ((1024, 64, 4),)
    for megabytes, variables, rounds in sizes:
        label = f"{measure.megabytes(megabytes)}, {variables:,}"
        found = measure.in_own_process("unchanged", "saves", variables, megabytes, rounds)
        for way, runs in found.items():
            full = FULL_ASYNC if way.endswith("async_save") else FULL
            table.rows.append(
                (
                    label,
                    way,
                    measure.seconds(measure.median(runs)),
                    measure.share(measure.ratio(runs, found[full])),
                    measure.share(measure.ratio(runs, found[HASH])),
                    measure.size(measure.median(runs, "written")),
                    measure.share(measure.ratio(runs, found[FULL], "written")),
                )
            )
            table.runs[f"{label}, {way}"] = runs
        table.measures.extend(_measures(label, found))
    yield table


def _measures(label: str, found: dict[str, list[measure.Run]]) -> Iterator[measure.Measure]:
    """What is wanted of saves with links."""
    few, all_of_it = LINKED.format("5 %"), LINKED.format("all")
    paused = LINKED_ASYNC.format("5 %")
    full, hashed = ("a full save", found[FULL]), (HASH, found[HASH])
    name = f"a save with links, {label}"
    yield measure.measured(
        f"{name}, 5 % changed: written", found[few], of=full, wanted=0.08, key="written"
    )
    yield measure.measured(f"{name}, 5 % changed", found[few], of=full, wanted=0.3, limit=hashed)
    yield measure.measured(
        f"{name}, 5 % changed: pause with async_save",
        found[paused],
        of=hashed,
        wanted=1.2,
        limit=hashed,
    )
    yield measure.measured(
        f"{name}, all changed", found[all_of_it], of=full, wanted=1.1, limit=(WRITE, found[WRITE])
    )
