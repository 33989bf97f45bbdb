"""How long it takes to propose a map, and how that grows with the number of variables."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks import measure
from benchmarks.measure import Table

SIZES = (125, 250, 500, 1000, 2000)
NETWORKS = {
    "numbered layers of one shape": "numbered",
    "layers of one shape without numbers": "alike",
    "numbers on one side, words on the other": "mixed",
    "a shape for each variable": "different",
}


def propose(network: str, variables: str) -> measure.Run:
    """Proposes a map of so many variables to as many (a task)."""
    from estimator_ckpt.naming import matcher

    sides = rows(network, int(variables))
    return {"seconds": measure.timed(lambda: matcher.propose(*sides))}


def rows(network: str, count: int) -> tuple[list, list]:
    """The rows of both sides; each variable is a layer, which is the most that there can be."""
    from estimator_ckpt.naming.matcher import NamedShape

    def named(side: str, number: int) -> str:
        if network == "alike" or (network == "mixed" and side == "other"):
            # Words that the other side has not.
            letters = "".join(chr(ord("c") + int(digit)) for digit in f"{number:04d}")
            return f"{side}{letters}/kernel"
        return f"{side}/layer_{number}/kernel"

    sides = []
    for side in ("one", "other"):
        shapes = [(8, 8 + number) if network == "different" else (8, 8) for number in range(count)]
        sides.append(
            [
                NamedShape(named(side, number), shape, created=number, listed=number)
                for number, shape in enumerate(shapes)
            ]
        )
    return sides[0], sides[1]


def tables(quick: bool) -> Iterator[Table]:
    table = Table(
        "a map that makes itself",
        "`matcher.propose` of so many variables to as many; each is a layer of its own.",
        ("network", *(f"{size:,} x {size:,}" for size in SIZES)),
    )
    for title, network in NETWORKS.items():
        cells = []
        for size in SIZES[:3] if quick else SIZES:
            runs = measure.processes_in_turn(
                1 if quick or size >= 1000 else 3, {title: ("matching", "propose", network, size)}
            )[title]
            table.runs[f"{title}, {size}"] = runs
            cells.append(measure.seconds(measure.median(runs)))
        table.rows.append((title, *cells, *[""] * (len(SIZES) - len(cells))))
    yield table
