"""Many model_dirs on any runner of Apache Beam (extra `beam`), as `convert_many` does them here.

    with beam.Pipeline(options=options) as pipeline:
        given = pipeline | beam.Create(["s3://jobs/a", ("s3://jobs/b", "s3://new/b")])
        found = given | ModelDirs("convert", output_root="s3://new", to="tf2")
        found.reports | beam.Map(print)      # a ModelDirReport each
        found.failed | beam.Map(print)       # those that could not be done

    python -m estimator_ckpt.fleet.beam convert --from_file=dirs.txt --output_root=out --to=tf2 \
        --report=rows --runner=DirectRunner

Counters are in the namespace `estimator_ckpt`: for `convert` `converted`, `skipped` and `failed`,
for other verbs their statuses; and `checkpoints` and `bytes`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics, MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions, SetupOptions

from estimator_ckpt.errors import CheckpointArgumentError
from estimator_ckpt.fleet.listing import (
    Given,
    ModelDir,
    in_places,
    model_dir,
    read_list,
    real,
    why_not,
)
from estimator_ckpt.fleet.many import json_line, refusal
from estimator_ckpt.fleet.work import TARGETED, VERBS, ModelDirReport, check_options, may_pass, work
from estimator_ckpt.naming import NameFilter

NAMESPACE = "estimator_ckpt"
REPORTS, FAILED = "reports", "failed"


class ModelDirs(beam.PTransform):
    """Does what a verb does with each model_dir that is given: a path, or a pair of paths.

    What leads to the same places is done once, and nothing is written where another one is read or
    written. What is converted already is compared and skipped.

    Args:
      verb: "convert", "verify", "doctor", "diff" or "inspect".
      output_root: as for `convert_many`.
      source_root: as for `convert_many`.
      retry: leave what may be gone at another try (the network, a store that is busy) to the
        runner, by raising it: most runners try again, and some give up the whole pipeline in the
        end, as the local one does at once. Without that all errors are in `failed`.
      **options: of the verb's function, as for `convert_many`.

    Returns:
      Two PCollections of `ModelDirReport`: `.reports`, and `.failed`, the dead letters.

    Raises:
      CheckpointArgumentError: an option is unusable.
    """

    def __init__(
        self,
        verb: str = "convert",
        *,
        output_root: str | os.PathLike[str] | None = None,
        source_root: str | os.PathLike[str] | None = None,
        retry: bool = False,
        **options: Any,
    ):
        super().__init__()
        if verb not in VERBS:
            raise CheckpointArgumentError(f"verb='{verb}' should be one of {', '.join(VERBS)}")
        check_options(verb, options)
        self._verb = verb
        self._roots = tuple(
            None if root is None else os.fsdecode(root) for root in (output_root, source_root)
        )
        self._retry = retry
        self._options = options

    def expand(self, given: Any) -> Any:
        """Returns what comes of a PCollection of model_dirs."""
        placed = given | "place" >> beam.ParDo(_Place(self._verb, *self._roots)).with_outputs(
            FAILED, main="placed"
        )
        once = (
            placed.placed
            | "by place" >> beam.FlatMap(_by_place, self._verb)
            | beam.GroupByKey()
            | "sort out" >> beam.ParDo(_SortOut(self._verb)).with_outputs(FAILED, main="once")
        )
        done = once.once | self._verb >> beam.ParDo(
            _Work(self._verb, self._options, self._retry)
        ).with_outputs(FAILED, main=REPORTS)
        failed = (
            (placed.failed, once.failed)
            | "refused" >> beam.Flatten()
            | "count" >> beam.Map(_counted)
        )
        return _Found(done.reports, (done.failed, failed) | beam.Flatten())


class _Found(tuple):  # type: ignore[type-arg]
    """What comes out, by name."""

    def __new__(cls, reports: Any, failed: Any) -> _Found:
        return super().__new__(cls, (reports, failed))

    @property
    def reports(self) -> Any:
        """Of what was done."""
        return self[0]

    @property
    def failed(self) -> Any:
        """Of what could not be done."""
        return self[1]


class _Place(beam.DoFn):
    def __init__(self, verb: str, output_root: str | None, source_root: str | None):
        self._verb = verb
        self._roots = output_root, source_root

    def process(self, given: Given) -> Iterator[Any]:
        each = model_dir(given)
        if self._verb not in TARGETED:
            yield ModelDir(each.source)
            return
        try:
            yield from in_places([each], *self._roots)
        except CheckpointArgumentError as error:
            yield beam.pvalue.TaggedOutput(FAILED, refusal(self._verb, each, str(error)))


def _by_place(each: ModelDir, verb: str) -> Iterator[tuple[bytes, tuple[str, ModelDir]]]:
    """Yields what has to be looked at together, by the place where it meets."""
    if verb == "convert" and each.target is not None:
        yield os.fsencode(real(each.target)), ("writes", each)
        yield os.fsencode(real(each.source)), ("reads", each)
    else:
        places = [os.fsencode(real(path)) for path in each if path is not None]
        yield b"\0".join(places), ("looks", each)


class _SortOut(beam.DoFn):
    def __init__(self, verb: str):
        self._verb = verb

    def process(self, row: tuple[bytes, Iterable[tuple[str, ModelDir]]]) -> Iterator[Any]:
        by_kind: dict[str, list[ModelDir]] = {}
        for kind, each in row[1]:
            by_kind.setdefault(kind, []).append(each)
        if "looks" in by_kind:
            yield min(by_kind["looks"], key=str)
        read = min((each.source for each in by_kind.get("reads", ())), default=None)
        first: dict[str, ModelDir] = {}
        for each in sorted(by_kind.get("writes", ()), key=str):
            first.setdefault(real(each.source), each)
        sources = [each.source for each in first.values()]
        for each in first.values():
            reason = why_not(each, read, sources)
            if reason is None:
                yield each
            else:
                yield beam.pvalue.TaggedOutput(FAILED, refusal(self._verb, each, reason))


def _counted(row: ModelDirReport) -> ModelDirReport:
    name = "converted" if (row.verb, row.status) == ("convert", "done") else row.status
    Metrics.counter(NAMESPACE, name).inc()
    Metrics.counter(NAMESPACE, "checkpoints").inc(row.checkpoints)
    Metrics.counter(NAMESPACE, "bytes").inc(row.bytes)
    return row


class _Work(beam.DoFn):
    def __init__(self, verb: str, options: dict[str, Any], retry: bool):
        self._verb = verb
        self._options = options
        self._retry = retry

    def process(self, each: ModelDir) -> Iterator[Any]:
        raises = may_pass if self._retry else (lambda error: False)
        row = _counted(work(self._verb, each, self._options, raises))
        yield beam.pvalue.TaggedOutput(FAILED, row) if row.status == "failed" else row


def counts(result: Any) -> dict[str, int]:
    """Returns the counters of a pipeline that has run, as far as its runner tells them."""
    found: Counter[str] = Counter()
    for metric in result.metrics().query(MetricsFilter().with_namespace(NAMESPACE))["counters"]:
        found[metric.key.metric.name] += (
            metric.committed if metric.committed is not None else metric.attempted
        )
    return dict(found)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a verb on a list of model_dirs; returns the exit code of `estimator-ckpt`."""
    parser = argparse.ArgumentParser(
        prog="python -m estimator_ckpt.fleet.beam",
        description="Does a verb with many model_dirs, on any runner of Apache Beam.",
        epilog="All other flags are Beam's own: --runner, --direct_running_mode, --region, ...",
    )
    parser.add_argument("verb", choices=sorted(VERBS))
    parser.add_argument("--from_file", required=True, help="list that workers can read")
    parser.add_argument("--report", required=True, help="prefix of the files for JSON lines")
    parser.add_argument("--retry", action="store_true", help="leave passing errors to the runner")
    option = parser.add_argument_group("options of the verb").add_argument
    option("--output_root", help="where targets are that the list does not name")
    option("--source_root", help="a folder that all are below")
    option("--to", choices=("tf1", "tf2", "dual"))
    option("--rename", action="append", metavar="FROM=TO")
    option("--tolerance", type=float)
    for name in ("drop", "include", "exclude"):
        option(f"--{name}", action="append", metavar="REGEX")
    for name in ("averages", "container", "step", "names"):
        option(f"--{name}")
    for name in ("copy", "compact", "overwrite", "dry_run", "values"):
        option(f"--{name}", action="store_true", default=None)
    known, others = parser.parse_known_args(argv)
    given = {name: value for name, value in vars(known).items() if value is not None}
    verb, path, report, retry = (
        given.pop(name) for name in ("verb", "from_file", "report", "retry")
    )
    if "rename" in given:
        given["rename"] = "\n".join(given["rename"])
    if verb != "convert" and {"include", "exclude"} & given.keys():
        given["wanted"] = NameFilter(given.pop("include", ".*"), given.pop("exclude", None))
    try:
        transform = ModelDirs(verb, retry=retry, **given)
    except (CheckpointArgumentError, TypeError) as error:
        parser.error(str(error))
    options = PipelineOptions(others)
    options.view_as(SetupOptions).save_main_session = False
    pipeline = beam.Pipeline(options=options)
    # Read where it runs: a list of a million is too long for a description of a pipeline.
    lists = pipeline | "list" >> beam.Create([path])
    found = lists | "read" >> beam.FlatMap(read_list) | transform
    for name, rows in (("", found.reports), ("-failed", found.failed)):
        lines = rows | f"lines{name}" >> beam.Map(lambda row: json_line(row).rstrip("\n"))
        lines | f"write{name}" >> beam.io.WriteToText(report + name, ".jsonl")
    result = pipeline.run()
    result.wait_until_finish()
    told = counts(result)
    print(", ".join(f"{value:,} {name}" for name, value in sorted(told.items())), file=sys.stderr)
    return 2 if told.get("failed") else 1 if told.get("no") else 0


if __name__ == "__main__":
    # As the module that workers import, not as this program, whose classes they could not find.
    from estimator_ckpt.fleet import beam as module

    sys.exit(module.main())
