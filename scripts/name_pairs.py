"""Counts what the matcher makes of pairs of networks whose true map is known.

    python scripts/name_pairs.py FOLDER                    # a table
    python scripts/name_pairs.py FOLDER --json             # a list of objects
    python scripts/name_pairs.py FOLDER --no-meta          # without the source's order of creation
    python scripts/name_pairs.py FOLDER --no-creation      # with the order of model.weights alone
    python scripts/name_pairs.py FOLDER --scramble=SEED    # the target's orders are shuffled

Each file of the folder, `*.json`, has `tf1`: rows `[name, shape, dtype, created]`; `tf2`: rows
`[object path, Keras name, shape, dtype, created]` in the order of `model.weights`; `map`: {TF1
name: object path}, which is used for counting only.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import random
import sys
from collections.abc import Sequence
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from estimator_ckpt.naming.matcher import NamedShape, Proposal, propose

COLUMNS = (
    *("pair", "mapped", "certain", "likely", "asked", "refused"),
    *("wrong_certain", "wrong_likely"),
)


def sides(
    pair: dict[str, Any], *, meta: bool = True, creation: bool = True, scramble: int | None = None
) -> tuple[list[NamedShape], list[NamedShape]]:
    """Returns the rows of both sides, with as many orders as asked for."""
    source = [
        NamedShape(name, tuple(shape), dtype, created if meta else None)
        for name, shape, dtype, created in pair["tf1"]
    ]
    listed = list(range(len(pair["tf2"])))
    made = [row[4] for row in pair["tf2"]]
    if scramble is not None:
        shuffled = random.Random(scramble)
        shuffled.shuffle(listed)
        shuffled.shuffle(made)
    target = [
        NamedShape(path, tuple(shape), dtype, created if creation else None, place, name)
        for (path, name, shape, dtype, _), created, place in zip(pair["tf2"], made, listed)
    ]
    return source, target


def counted(name: str, proposal: Proposal, truth: dict[str, str]) -> dict[str, Any]:
    """Compares a proposal with the truth."""
    certain, likely = proposal.pairs("certain"), proposal.pairs("likely")
    wrong = [
        sum(truth.get(one) != other for one, other in pairs.items()) for pairs in (certain, likely)
    ]
    asked = {name for question in proposal.questions for name in question.sources}
    refused = {name for refusal in proposal.refusals for name in refusal.sources}
    counts = (len(truth), len(certain), len(likely), len(asked), len(refused), *wrong)
    return dict(zip(COLUMNS, (name, *counts)))


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The counts as a Markdown table."""
    lines = [COLUMNS, tuple("---" for _ in COLUMNS)]
    lines += [tuple(str(row[column]) for column in COLUMNS) for row in rows]
    total = {column: sum(row[column] for row in rows) for column in COLUMNS[1:]}
    lines.append(("all", *(str(total[column]) for column in COLUMNS[1:])))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def measured(folder: pathlib.Path, **options: Any) -> list[dict[str, Any]]:
    """Reads all pairs of a folder and counts what is proposed for them."""
    rows = []
    for path in sorted(folder.glob("*.json")):
        pair = json.loads(path.read_text(encoding="utf-8"))
        proposal = propose(*sides(pair, **options))
        rows.append(counted(pair.get("name", path.stem), proposal, pair["map"]))
    return rows


def main() -> None:
    """Prints the table, or its rows as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=pathlib.Path, help="a folder of pairs, *.json")
    parser.add_argument("--json", action="store_true", help="print a list of objects")
    parser.add_argument("--no-meta", action="store_true", help="leave the source's order out")
    parser.add_argument(
        "--no-creation", action="store_true", help="leave the target's order of creation out"
    )
    parser.add_argument("--scramble", type=int, metavar="SEED", help="shuffle the target's orders")
    arguments = parser.parse_args()
    if not any(arguments.folder.glob("*.json")):
        parser.error(f"{arguments.folder} has no pairs (*.json)")
    rows = measured(
        arguments.folder,
        meta=not arguments.no_meta,
        creation=not arguments.no_creation,
        scramble=arguments.scramble,
    )
    print(json.dumps(rows, indent=1) if arguments.json else table(rows))


if __name__ == "__main__":
    main()
