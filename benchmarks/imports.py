"""How long it takes until something is done: imports, the help, commands on a small checkpoint."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator

from benchmarks import measure
from benchmarks.measure import Table

_PROGRAM = ["-m", "estimator_ckpt.cli.main"]
COMMANDS = {
    "`python -c pass`": ["-c", "pass"],
    "`import estimator_ckpt`": ["-c", "import estimator_ckpt"],
    "`from estimator_ckpt import convert`": ["-c", "from estimator_ckpt import convert"],
    "`estimator-ckpt --help`": ["-m", "estimator_ckpt.cli.main", "--help"],
    "`estimator-ckpt inspect`": [*_PROGRAM, "inspect", "{}"],
    "`estimator-ckpt verify`": [*_PROGRAM, "verify", "{}"],
    "`estimator-ckpt diff`": [*_PROGRAM, "diff", "{}", "{}"],
    "`estimator-ckpt convert`": [*_PROGRAM, "convert", "{}", "{}-2", "--to=tf2", "--overwrite"],
    "`import tensorflow`": ["-c", "import tensorflow"],
}
PLAIN = "`import tensorflow`"
WANTED = {  # in seconds
    "`from estimator_ckpt import convert`": 0.06,
    **{name: 0.15 for name in COMMANDS if name.startswith("`estimator-ckpt ")},
}


def _run(arguments: list[str]) -> measure.Run:
    command = [sys.executable, *arguments]
    environment = measure.environment()
    return {
        "seconds": measure.timed(
            lambda: subprocess.run(command, check=True, capture_output=True, env=environment)
        )
    }


def tables(quick: bool) -> Iterator[Table]:
    table = Table("a start", "The whole process.", ("command", "time", "of `import tensorflow`"))
    with tempfile.TemporaryDirectory(prefix="benchmarks_") as folder:
        prefix = os.path.join(folder, "m")
        measure.in_own_process("measure", "make_checkpoint", prefix, 10)
        ways = {
            name: (lambda command=command: _run([word.format(prefix) for word in command]))
            for name, command in COMMANDS.items()
        }
        found = measure.in_turn(2 if quick else 7, ways)
    for name, runs in found.items():
        cells = (
            measure.seconds(measure.median(runs)),
            measure.share(measure.ratio(runs, found[PLAIN])),
        )
        table.rows.append((name, *cells))
        table.runs[name] = runs
        if name in WANTED:
            table.measures.append(
                measure.measured(
                    f"a start: {name}",
                    runs,
                    wanted=WANTED[name],
                    limit=("`python -c pass`", found["`python -c pass`"]),
                )
            )
    yield table
