"""Compares the command-line tools with the plain way to do the same, in one run.

    python benchmarks/tools.py             # 1 GB, 100,000 variables
    python benchmarks/tools.py --quick     # 128 MB, 20,000 variables
    python benchmarks/tools.py --json results.json

Each measurement has a process of its own and counts from after the imports, but for `--help`, which
is a whole process. Ours and the plain one take turns; the ratio is the median of the pairs.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

MEGABYTE = 2**20


def make(prefix: str, variables: int, megabytes: int) -> None:
    """Writes a name-based checkpoint, and where it has many variables, the other formats of it."""
    import numpy as np
    import tensorflow as tf

    from estimator_ckpt import convert

    elements = max(1, megabytes * MEGABYTE // variables // 4)
    value = np.random.default_rng(0).random(elements, np.float32)
    tensors = {f"scope_{n // 100}/v_{n}": value + np.float32(n) for n in range(variables)}
    tf.raw_ops.SaveV2(
        prefix=prefix,
        tensor_names=list(tensors),
        shape_and_slices=[""] * len(tensors),
        tensors=list(tensors.values()),
    )
    for to in ("tf2", "dual") if not megabytes else ():
        convert(prefix, f"{prefix}-{to}", to=to)


def ours(task: str, prefix: str) -> float:
    """Times one of our tools; the first call in the process, its imports done before."""
    from estimator_ckpt import describe
    from estimator_ckpt.cli import main
    from estimator_ckpt.tools.diff import diff
    from estimator_ckpt.tools.verify import verify

    calls = {
        "verify": lambda: verify(prefix),
        "diff": lambda: diff(prefix, prefix + "-other"),
        "inspect": lambda: describe(prefix),
        "inspect, printed": lambda: main.main(["inspect", prefix]),
    }
    return timed(calls[task])


def plain(task: str, prefix: str) -> float:
    """Times the plain way: TensorFlow's own reader."""
    import numpy as np
    import tensorflow as tf

    def read_all() -> None:  # what checks a tensor's checksum is reading it
        reader = tf.train.load_checkpoint(prefix)
        for key in reader.get_variable_to_shape_map():
            reader.get_tensor(key)

    def compare() -> None:
        first, second = (tf.train.load_checkpoint(p) for p in (prefix, prefix + "-other"))
        for key in first.get_variable_to_shape_map():
            np.array_equal(first.get_tensor(key), second.get_tensor(key))

    def listing() -> None:
        tf.train.list_variables(prefix)

    def printed() -> None:
        for name, shape in tf.train.list_variables(prefix):
            print(name, shape)

    calls = {"verify": read_all, "diff": compare, "inspect": listing, "inspect, printed": printed}
    return timed(calls[task])


def timed(call) -> float:
    with contextlib.redirect_stdout(io.StringIO()):
        started = time.perf_counter()
        call()
        return time.perf_counter() - started


def help_seconds(module: str) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", module, "--help"], capture_output=True)
    return time.perf_counter() - started


def in_own_process(*arguments: object) -> float:
    ran = subprocess.run(
        [sys.executable, __file__, "--one", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    if ran.returncode:
        raise RuntimeError(ran.stderr[-2000:])
    return float(ran.stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="smaller checkpoints, fewer runs")
    parser.add_argument("--json", help="also write every measurement to this file")
    parser.add_argument("--one", nargs="*", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        who, *rest = arguments.one
        if who == "make":
            make(rest[0], int(rest[1]), int(rest[2]))
            print(0)
        else:
            print({"ours": ours, "plain": plain}[who](*rest))
        return
    megabytes, variables, runs = (128, 20_000, 3) if arguments.quick else (1024, 100_000, 3)
    results = []
    with tempfile.TemporaryDirectory() as folder:
        big, many = (os.path.join(folder, name) for name in ("big", "many"))
        for prefix in (big, big + "-other"):
            in_own_process("make", prefix, 200, megabytes)
        in_own_process("make", many, variables, 0)
        print("| task | plain TensorFlow | estimator_ckpt | faster |\n|---|---|---|---|")
        for task, prefix, what in (
            ("verify", big, f"every checksum of {megabytes:,} MB"),
            ("diff", big, f"two checkpoints of {megabytes:,} MB"),
            ("inspect", many, f"{variables:,} variables, tf1"),
            ("inspect", many + "-tf2", f"{variables:,} variables, tf2"),
            ("inspect", many + "-dual", f"{variables:,} variables, dual"),
            ("inspect, printed", many, f"{variables:,} variables"),
        ):
            pairs = [
                (in_own_process("plain", task, prefix), in_own_process("ours", task, prefix))
                for _ in range(runs)
            ]
            slow, fast = (statistics.median(column) for column in zip(*pairs))
            ratio = statistics.median(a / b for a, b in pairs)
            print(f"| {task}: {what} | {slow:.4f} s | {fast:.4f} s | {ratio:.1f} x |", flush=True)
            results.append({"task": task, "what": what, "pairs": pairs})
    modules = ("tensorflow.python.tools.inspect_checkpoint", "estimator_ckpt.cli.main")
    pairs = [tuple(map(help_seconds, modules)) for _ in range(runs)]
    slow, fast = (statistics.median(column) for column in zip(*pairs))
    ratio = statistics.median(a / b for a, b in pairs)
    what = "`--help` of `inspect_checkpoint` and `estimator-ckpt`, the whole process"
    print(f"| {what} | {slow:.3f} s | {fast:.3f} s | {ratio:.1f} x |")
    results.append({"task": "--help", "what": what, "pairs": pairs})
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps(results, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
