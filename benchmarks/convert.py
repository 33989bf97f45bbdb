"""Compares `estimator_ckpt.convert` with the migration guide's converter, in one run.

    python benchmarks/convert.py             # 64 MB, 256 MB and 1 GB
    python benchmarks/convert.py --quick     # 64 MB only
    python benchmarks/convert.py --json results.json

The guide's converter loads each tensor into a tf.Variable and saves a tf.train.Checkpoint. Each
measurement has a process of its own; its memory counts from after the imports. Bytes written are
those of new files; one that is a hard link to a file of the source is not new.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass

VARIABLES = 200
MEGABYTE = 2**20
SIZES = (64, 256, 1024)
RUNS = 3


@dataclass(frozen=True)
class Measurement:
    """What one conversion took; of several runs, the median time and the most memory."""

    converter: str
    megabytes: int
    seconds: float
    peak_memory_bytes: int
    written_bytes: int


def make_checkpoint(prefix: str, megabytes: int) -> None:
    """Writes a name-based checkpoint of 200 variables and the step."""
    import numpy as np
    import tensorflow as tf

    elements = megabytes * MEGABYTE // VARIABLES // 4
    random = np.random.default_rng(0)
    tensors = {
        f"layer_{number}/kernel": random.random(elements, np.float32) for number in range(VARIABLES)
    }
    tensors["global_step"] = np.int64(1000)
    tf.raw_ops.SaveV2(
        prefix=prefix,
        tensor_names=list(tensors),
        shape_and_slices=[""] * len(tensors),
        tensors=list(tensors.values()),
    )


def import_ours():
    """Returns a converter that rewrites the index."""
    from estimator_ckpt import convert

    return lambda source, target: convert(source, target, to="tf2")


def import_guide():
    """Returns the converter that the migration guide describes."""
    import tensorflow as tf

    def convert(source: str, target: str) -> None:
        reader = tf.train.load_checkpoint(source)
        variables = {}
        for name in reader.get_variable_to_dtype_map():
            variables[name] = tf.Variable(reader.get_tensor(name))
        tf.train.Checkpoint(vars=variables).save(target)

    return convert


CONVERTERS = {"guide": import_guide, "estimator_ckpt": import_ours}


def peak_memory() -> int:
    """Returns the most memory that this process has had, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def convert_once(converter: str, source: str, target: str) -> dict[str, float]:
    """Converts, in this process; returns the time and the memory on top of the imports."""
    convert = CONVERTERS[converter]()
    before = peak_memory()
    start = time.perf_counter()
    convert(source, target)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "peak_memory_bytes": peak_memory() - before}


def in_own_process(*arguments: str) -> str:
    """Runs this script in a new process; returns the last line of its output."""
    root = pathlib.Path(__file__).resolve().parent.parent
    paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "",
    }
    done = subprocess.run(
        [sys.executable, __file__, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout.strip().rpartition("\n")[2]


def measure(converter: str, source: str, megabytes: int) -> Measurement:
    """Converts several times, each in a process and a directory of its own."""
    runs = []
    for _ in range(RUNS):
        with tempfile.TemporaryDirectory(dir=os.path.dirname(source)) as folder:
            target = os.path.join(folder, "converted")
            run = json.loads(in_own_process("--convert", converter, source, target))
            files = [path.stat() for path in pathlib.Path(folder).rglob("*") if path.is_file()]
            run["written_bytes"] = sum(file.st_size for file in files if file.st_nlink == 1)
            runs.append(run)
    return Measurement(
        converter,
        megabytes,
        sorted(run["seconds"] for run in runs)[RUNS // 2],
        max(run["peak_memory_bytes"] for run in runs),
        max(run["written_bytes"] for run in runs),
    )


def readable(count: float) -> str:
    """Returns a number of bytes with a unit."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.2f} GiB"


def row(*cells: object) -> str:
    """Returns a line of the table, its first column to the left."""
    return f"{cells[0]!s:<8}{cells[1]!s:<16}" + "".join(f"{cell!s:>14}" for cell in cells[2:])


def main() -> None:
    """Runs the benchmark, or one step of it where it is called by itself."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="only the smallest size, 64 MB")
    parser.add_argument("--json", metavar="FILE", help="also write the measurements to a file")
    # The two steps that have processes of their own.
    parser.add_argument("--make", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--convert", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.make:
        return make_checkpoint(arguments.make[0], int(arguments.make[1]))
    if arguments.convert:
        return print(json.dumps(convert_once(*arguments.convert)))
    results = []
    print(f"{VARIABLES} variables; the median of {RUNS} runs, memory on top of the imports\n")
    print(row("data", "converter", "time", "peak memory", "written", "faster"))
    for megabytes in SIZES[:1] if arguments.quick else SIZES:
        with tempfile.TemporaryDirectory(prefix="convert_benchmark_") as folder:
            source = os.path.join(folder, "source")
            in_own_process("--make", source, str(megabytes))
            pair = [measure(converter, source, megabytes) for converter in CONVERTERS]
        for result in pair:
            size = f"{megabytes} MB" if megabytes < 1024 else f"{megabytes // 1024} GB"
            ratio = pair[0].seconds / result.seconds
            print(
                row(
                    size,
                    result.converter,
                    f"{result.seconds:.4f} s",
                    readable(result.peak_memory_bytes),
                    readable(result.written_bytes),
                    f"{ratio:.0f} x",
                ),
                flush=True,
            )
        results += pair
    if arguments.json:
        text = json.dumps([asdict(result) for result in results], indent=2)
        pathlib.Path(arguments.json).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
