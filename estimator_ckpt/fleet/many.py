"""Converts, checks, examines or compares many model_dirs.

    report = convert_many(["jobs/a", "jobs/b"], output_root="converted", to="tf2")
    report = convert_many([("jobs/a", "a_tf2")], to="tf2", workers=4, report="report.jsonl")
    verify_many(["jobs/a", "jobs/b"]).ok
    doctor_many(["jobs/a", "jobs/b"]).rows[0].formats
    diff_many([("jobs/a", "converted/jobs/a")]).counts

What can't be done is a row of the report, and stops nothing else.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any

from estimator_ckpt.errors import CheckpointArgumentError, CheckpointExistsError
from estimator_ckpt.fleet.listing import Given, ModelDir, in_places, model_dir, sorted_out
from estimator_ckpt.fleet.work import TARGETED, ModelDirReport, check_options
from estimator_ckpt.fleet.workers import run
from estimator_ckpt.messages import json_text, plain
from estimator_ckpt.shown import Shown
from estimator_ckpt.storage import files

Told = Callable[[ModelDirReport, int, int], None]
"""Called with each row as it comes, how many there are, and how many there will be."""

_STORE_THREADS = 16  # they wait for the store nearly all the time
_FIRST_BYTES = b'{"model_dir": '


@dataclass(frozen=True, repr=False)
class FleetReport(Shown):
    """What came of many model_dirs.

    Attributes:
      rows: of each, in the order in which they were given; what was given twice is there once.
    """

    rows: tuple[ModelDirReport, ...]

    @property
    def counts(self) -> dict[str, int]:
        """How many there are of each status."""
        return dict(Counter(row.status for row in self.rows))

    @property
    def ok(self) -> bool:
        """Whether all were done, and none is damaged, to be mended or different."""
        return not {"no", "failed"} & self.counts.keys()


def convert_many(
    model_dirs: Iterable[Given],
    *,
    output_root: str | os.PathLike[str] | None = None,
    source_root: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    report: str | os.PathLike[str] | None = None,
    told: Told | None = None,
    **options: Any,
) -> FleetReport:
    """Converts all checkpoints of many model_dirs, each into a directory of its own.

    What is there already is compared with what would be written, by keys, types, shapes and
    checksums, and skipped if it is equal; so this can be run again at any time.

    Args:
      model_dirs: paths, or pairs of a path and its target.
      output_root: where those go that have no target: `jobs/a` to `OUTPUT_ROOT/jobs/a`, `/data/a`
        to `OUTPUT_ROOT/data/a`, `s3://bucket/a` to `OUTPUT_ROOT/bucket/a`.
      source_root: a directory that all are below; their paths below `output_root` begin there.
      workers: how many are in work at once. By default a process a processor, and 16 threads where
        model_dirs are on a store.
      report: a local file for the rows as JSON, a line each, written as they come; one of an
        earlier run is replaced.
      told: called with each row as it comes, how many there are, and how many there will be.
      **options: as for `convert`, but for `like` and `progress`. `overwrite` replaces what is there
        and different.

    Returns:
      A row for each. `bytes` of a row are those linked, copied and written.

    Raises:
      CheckpointArgumentError: an option is unusable, or one has no place to go to.
      CheckpointExistsError: there is a file at `report` that is no report.
    """
    return many(
        "convert",
        model_dirs,
        output_root=output_root,
        source_root=source_root,
        workers=workers,
        report=report,
        told=told,
        **options,
    )


def verify_many(
    model_dirs: Iterable[Given],
    *,
    workers: int | None = None,
    report: str | os.PathLike[str] | None = None,
    told: Told | None = None,
    **options: Any,
) -> FleetReport:
    """Checks every checksum of all checkpoints that many model_dirs list.

    Args and errors are those of `convert_many`, options those of `verify`.
    """
    return many("verify", model_dirs, workers=workers, report=report, told=told, **options)


def doctor_many(
    model_dirs: Iterable[Given],
    *,
    workers: int | None = None,
    report: str | os.PathLike[str] | None = None,
    told: Told | None = None,
    **options: Any,
) -> FleetReport:
    """Looks over many model_dirs: their formats, steps and bytes, and what is wrong.

    Args and errors are those of `convert_many`; the option `wanted` says of the name of a
    checkpoint or file whether to tell of it.
    """
    return many("doctor", model_dirs, workers=workers, report=report, told=told, **options)


def diff_many(
    model_dirs: Iterable[Given],
    *,
    output_root: str | os.PathLike[str] | None = None,
    source_root: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    report: str | os.PathLike[str] | None = None,
    told: Told | None = None,
    **options: Any,
) -> FleetReport:
    """Compares many model_dirs with others, checkpoint by checkpoint of the same name.

    Args and errors are those of `convert_many`, where a target is what is compared with; options
    those of `diff`.
    """
    return many(
        "diff",
        model_dirs,
        output_root=output_root,
        source_root=source_root,
        workers=workers,
        report=report,
        told=told,
        **options,
    )


def many(
    verb: str,
    model_dirs: Iterable[Given],
    *,
    output_root: str | os.PathLike[str] | None = None,
    source_root: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    report: str | os.PathLike[str] | None = None,
    told: Told | None = None,
    **options: Any,
) -> FleetReport:
    """Does what a verb does with many model_dirs; the functions above say how."""
    if workers is not None and workers < 1:
        raise CheckpointArgumentError(f"workers={workers} should be 1 or more")
    check_options(verb, options)
    if isinstance(model_dirs, (str, bytes)):
        raise CheckpointArgumentError(f"model_dirs={model_dirs!r} is one path; give a list of them")
    chosen, refused = choose(verb, map(model_dir, model_dirs), output_root, source_root)
    to_do = [each for each in chosen if each not in refused]
    places = {each: number for number, each in enumerate(chosen)}
    rows: dict[int, ModelDirReport] = {}
    processes = workers or os.cpu_count() or 1
    threads = workers or (
        max(_STORE_THREADS, processes) if any(each.is_remote for each in to_do) else processes
    )
    with _report_file(report) as write, contextlib.ExitStack() as stack:

        def enter(number: int, row: ModelDirReport) -> None:
            rows[number] = row
            write(row)
            if told is not None:
                told(row, len(rows), len(chosen))

        for each, reason in refused.items():
            enter(places[each], refusal(verb, each, reason))
        running = run(to_do, verb, options, threads=threads, processes=processes)
        stack.enter_context(contextlib.closing(running))
        for number, row in running:
            enter(places[to_do[number]], row)
    return FleetReport(tuple(rows[number] for number in range(len(chosen))))


def choose(
    verb: str,
    given: Iterable[ModelDir],
    output_root: str | os.PathLike[str] | None = None,
    source_root: str | os.PathLike[str] | None = None,
) -> tuple[list[ModelDir], dict[ModelDir, str]]:
    """Returns what a verb has to do, each once with its place, and which of it can't be done."""
    if verb not in TARGETED:
        return sorted_out([ModelDir(each.source) for each in given], writes=False)
    root = None if output_root is None else os.fsdecode(output_root)
    below = None if source_root is None else os.fsdecode(source_root)
    return sorted_out(in_places(given, root, below), writes=verb == "convert")


def refusal(verb: str, each: ModelDir, reason: str) -> ModelDirReport:
    """Returns the row of what is not tried."""
    error = CheckpointArgumentError.__name__
    return ModelDirReport(each.source, each.target, verb, "failed", reason, error)


def json_line(row: ModelDirReport) -> str:
    """Returns a row as one line of JSON, with its end."""
    return json_text(plain(row), indent=None) + "\n"


@contextlib.contextmanager
def _report_file(
    path: str | os.PathLike[str] | None,
) -> Iterator[Callable[[ModelDirReport], None]]:
    """Gives a function that writes a row at once, whole: a reader sees it, a kill leaves it."""
    if path is None:
        yield lambda row: None
        return
    with _opened(os.fsdecode(path)) as file:
        yield lambda row: _write(file, json_line(row).encode())


def _write(file: IO[bytes], data: bytes) -> None:
    while data:  # one call, but for a pipe that is full
        data = data[file.write(data) :]


def _opened(path: str) -> IO[bytes]:
    if files.is_remote(path):
        raise CheckpointArgumentError(
            f"report='{path}' should be a local file: it grows row by row"
        )
    if os.path.isfile(path):
        with open(path, "rb") as file:
            begin = file.read(len(_FIRST_BYTES))
        if not _FIRST_BYTES.startswith(begin):
            raise CheckpointExistsError(
                f"'{path}' is there, and no report of an earlier run; give another name, or "
                "remove it"
            )
    return open(path, "wb", buffering=0)
