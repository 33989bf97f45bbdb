"""What a model_dir costs by its checkpoints: fitted on some, checked on others."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks import measure
from benchmarks.fleet import (
    KINDS,
    LATENCY,
    PROCESSES,
    THREADS,
    Served,
    fill,
    kind_of,
    names,
    served,
)
from benchmarks.measure import Quantity, Table

# Of S3, a second and a prefix: https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance.html
STORE_WRITES, STORE_READS = 3_500, 5_500
TERMS = ("a model_dir", "a checkpoint", "a variable of each")


def fitted(costs: dict[str, float]) -> list[float]:
    """Fits what each of the terms costs, by {name of a model_dir: its cost}."""
    import numpy as np

    terms = np.array([_terms(name) for name in costs])
    return [float(each) for each in np.linalg.lstsq(terms, list(costs.values()), rcond=None)[0]]


def predicted(fit: Sequence[float], model_dirs: Sequence[str]) -> float:
    """Returns what all of them cost by a fit."""
    return sum(sum(cost * number for cost, number in zip(fit, _terms(name))) for name in model_dirs)


def _terms(name: str) -> tuple[int, int, int]:
    checkpoints, variables, _ = kind_of(name)
    return 1, checkpoints, checkpoints * variables


def costs(quick: bool, folder: str, server: Served) -> Iterator[Table]:
    """Fits a cost model on some, checks it on ten times as many, and says it of a million."""
    few, many = (30, 120) if quick else (200, 2000)
    table = Table(
        "costs",
        f"What `convert` costs, fitted on {few:,} model_dirs of {len(KINDS)} kinds and checked on "
        f"{many:,} others: what the model says of them, as part of what was measured.",
        ("cost", *TERMS, f"{many:,} others", "by the model"),
    )
    measured: list[tuple[list[str], dict[str, dict[str, float]]]] = []
    for first, count in ((0, few), (few, many)):
        chosen = names(100_000 + first, count)
        server.ask("fill", 100_000 + first, count, False)
        run = measure.in_own_process(
            "fleet", "converted", THREADS, " ".join(server.urls), "new", *chosen
        )
        local = f"{folder}/kinds-{first}"
        fill(local, 100_000 + first, count, simple=False)
        alone = measure.in_own_process("fleet", "converted", PROCESSES, local, f"{local}-out")
        shutil.rmtree(local)
        shutil.rmtree(f"{local}-out")
        measured.append((chosen, _by_cost(chosen, server.ask("log"), run, alone)))
    (_, fit_on), (others, check_on) = measured
    fits = {}
    for cost, values in fit_on.items():
        fits[cost] = fitted(values)
        total = sum(check_on[cost].values())
        shown = (
            measure.seconds if "seconds" in cost else measure.size if "bytes" in cost else _count
        )
        table.rows.append(
            (
                cost,
                *map(shown, fits[cost]),
                shown(total),
                measure.share(predicted(fits[cost], others) / total),
            )
        )
        table.runs[cost] = [dict(zip(TERMS, fits[cost]))]
    yield table
    yield million(fits)


def _count(value: float) -> Quantity:
    return Quantity(value, f"{value:,.2f}" if abs(value) < 100 else f"{value:,.0f}")


def _by_cost(
    chosen: Sequence[str], log: Sequence[Any], run: measure.Run, alone: measure.Run
) -> dict[str, dict[str, float]]:
    zeros = dict.fromkeys(chosen, 0.0)
    writes, reads, sent, received = (dict(zeros) for _ in range(4))
    for method, key, copied, up, down in log:
        name = next((part for part in key.split("/") if part in zeros), None)
        if name is None:
            continue  # a listing, whose directory is in the query
        (writes if copied or (method != "GET" and method != "HEAD") else reads)[name] += 1
        sent[name] += up
        received[name] += down
    listed = sum(1 for method, key, *_ in log if method == "GET" and not key) / len(chosen)
    reads = {name: value + listed for name, value in reads.items()}
    return {
        "requests that write": writes,
        "requests that read": reads,
        "bytes to the store": sent,
        "bytes from the store": received,
        f"seconds, S3 at {1000 * LATENCY:.0f} ms": {name: run[f"row {name}"] for name in chosen},
        "seconds, local disk": {name: alone[f"row {name}"] for name in chosen},
    }


def million(fits: dict[str, list[float]]) -> Table:
    """Says what a million takes on 500 workers."""
    workers, count = 500, 1_000_000
    table = Table(
        "a million on 500 workers",
        f"By this model, for model_dirs of 5 checkpoints of 100 variables on a store at "
        f"{1000 * LATENCY:.0f} ms. S3 takes {STORE_WRITES:,} writes and {STORE_READS:,} reads a "
        "second of a prefix.",
        ("what", "by the model"),
    )

    def each(cost: str) -> float:
        model_dir, checkpoint, variable = fits[cost]
        return model_dir + 5 * checkpoint + 500 * variable

    seconds = next(each(cost) for cost in fits if cost.startswith("seconds, S3"))
    writes, reads = each("requests that write"), each("requests that read")
    latency_bound = count * seconds / workers
    store_bound = count * max(writes / STORE_WRITES, reads / STORE_READS)
    keeps = store_bound / latency_bound
    table.rows[:] = [
        ("requests that write", _count(count * writes)),
        ("requests that read", _count(count * reads)),
        (
            "bytes to and from the store",
            measure.size(count * (each("bytes to the store") + each("bytes from the store"))),
        ),
        ("hours, if nothing but the workers limits it", _count(latency_bound / 3600)),
        ("writes a second then", _count(count * writes / latency_bound)),
        ("reads a second then", _count(count * reads / latency_bound)),
        ("hours, as one prefix of S3 allows", _count(store_bound / 3600)),
        ("the bottleneck", "the store's requests" if keeps > 1 else "the workers"),
        ("workers that one prefix keeps busy", _count(min(1.0, 1 / keeps) * workers)),
    ]
    table.runs["a model_dir"] = [{"seconds": seconds, "writes": writes, "reads": reads}]
    return table


def tables(quick: bool) -> Iterator[Table]:
    with tempfile.TemporaryDirectory(prefix="benchmarks_") as folder, served() as server:
        yield from costs(quick, folder, server)
