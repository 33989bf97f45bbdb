"""What checksums cost with google-crc32c, where the package crc32c is not installed."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator

from benchmarks import measure
from benchmarks.measure import Table

PACKAGES = ("crc32c", "google_crc32c")


def _with(package: str) -> None:
    """Hides the other packages from this process."""
    for other in PACKAGES:
        if other != package:
            sys.modules[other] = None  # type: ignore[assignment]
    __import__(package)


def verified(package: str, prefix: str) -> measure.Run:
    """Checks all bytes of a checkpoint, which is in the page cache."""
    _with(package)
    from estimator_ckpt.operations.verify import verify

    return {"seconds": measure.timed(lambda: verify(prefix))}


def described(package: str, prefix: str) -> measure.Run:
    """Reads the index of a checkpoint."""
    _with(package)
    from estimator_ckpt import describe

    return {"seconds": measure.timed(lambda: describe(prefix))}


def tables(quick: bool) -> Iterator[Table]:
    table = Table(
        "checksums",
        "With the package crc32c, and with google-crc32c where that one is not installed.",
        ("tool", "of", "crc32c", "google-crc32c", "of crc32c"),
    )
    megabytes, variables, count = (128, 20_000, 1) if quick else (1024, 100_000, 3)
    with tempfile.TemporaryDirectory(prefix="benchmarks_") as folder:
        big, many = (os.path.join(folder, name) for name in ("big", "many"))
        measure.in_own_process("measure", "make_checkpoint", big, 200, megabytes)
        measure.in_own_process("measure", "make_checkpoint", many, variables)
        for tool, task, prefix, what in (
            ("verify", "verified", big, measure.megabytes(megabytes)),
            ("inspect", "described", many, f"{variables:,} variables"),
        ):
            ways = {package: ("checksums", task, package, prefix) for package in PACKAGES}
            found = measure.processes_in_turn(count, ways)
            fast, slow = (found[package] for package in PACKAGES)
            cells = (
                measure.seconds(measure.median(fast)),
                measure.seconds(measure.median(slow)),
                measure.share(measure.ratio(slow, fast)),
            )
            table.rows.append((f"`{tool}`", what, *cells))
            table.runs.update({f"{tool}, {name}": runs for name, runs in found.items()})
    yield table
