"""Runs the fuzz targets under atheris, and says how many inputs in how long.

    python tests/support/fuzz.py                     # a million inputs, over all targets
    python tests/support/fuzz.py --seconds=60        # at most a minute in all
    python tests/support/fuzz.py --only=index --runs=5000000
    python tests/support/fuzz.py --seeds             # writes the corpus's first inputs anew

Needs the extra `fuzz` (`pip install -e ".[fuzz]"`). An input that raises what it must not is put
into the corpus, where the everyday tests try it from then on. Each target is a process of its own.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import fuzz_targets

# How many of a hundred inputs a target gets.
_SHARES = {
    "table": 15,
    "index": 15,
    "object_graph": 10,
    "names": 8,
    "rename": 8,
    "renames": 8,
    "flags": 1,
    "strings": 5,
    "npz": 9,
    "safetensors": 9,
    "state": 4,
    "owner": 1,
    "terminal": 7,
}


def run(target: str, runs: int, seconds: int) -> tuple[int, int]:
    """Fuzzes a target in a new process; returns how many inputs it had, in how many seconds."""
    with tempfile.TemporaryDirectory() as found:
        crash = pathlib.Path(found) / "crash"
        kept = pathlib.Path(found) / "kept"
        kept.mkdir()
        options = [
            f"-runs={runs}",
            f"-artifact_prefix={crash}",
            "-max_len=2048",
            "-timeout=600",
            "-rss_limit_mb=2048",
            "-print_final_stats=1",
        ]
        if seconds:
            options.append(f"-max_total_time={seconds}")
        corpus = [str(kept), str(fuzz_targets.CORPUS / target)]
        ran = subprocess.run(
            [sys.executable, __file__, "--target", target, *options, *corpus],
            capture_output=True,
            text=True,
            errors="replace",
        )
        crashed = sorted(pathlib.Path(found).glob("crash*"))
        for path in crashed:
            name = hashlib.sha1(path.read_bytes()).hexdigest()[:12]
            (fuzz_targets.CORPUS / target / name).write_bytes(path.read_bytes())
        if ran.returncode or crashed:
            raise SystemExit(f"{target}: {ran.stdout[-3000:]}{ran.stderr[-3000:]}")
    done = re.search(r"Done (\d+) runs in (\d+) second", ran.stderr)
    if done is None:
        raise SystemExit(f"{target} said nothing of its runs: {ran.stderr[-3000:]}")
    return int(done[1]), int(done[2])


def fuzz(target: str, options: list[str]) -> None:
    """Fuzzes a target in this process, which atheris ends."""
    import atheris

    logging.disable(logging.WARNING)  # what is said of an input is not of interest here

    with atheris.instrument_imports(include=["estimator_ckpt"]):
        for name in [name for name in sys.modules if name.startswith("estimator_ckpt")]:
            del sys.modules[name]
        del sys.modules["fuzz_targets"]
        import fuzz_targets as instrumented
    atheris.Setup([sys.argv[0], *options], instrumented.TARGETS[target])
    atheris.Fuzz()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=1_000_000, help="inputs, over all targets")
    parser.add_argument("--seconds", type=int, default=0, help="at most so long, over all targets")
    parser.add_argument("--only", choices=fuzz_targets.TARGETS, help="one target")
    parser.add_argument("--seeds", action="store_true", help="write the first inputs anew")
    parser.add_argument("--target", help=argparse.SUPPRESS)
    arguments, options = parser.parse_known_args()
    if arguments.target:
        return fuzz(arguments.target, options)
    if arguments.seeds:
        for target, found in fuzz_targets.make_seeds().items():
            (fuzz_targets.CORPUS / target).mkdir(parents=True, exist_ok=True)
            for name, data in found.items():
                (fuzz_targets.CORPUS / target / name).write_bytes(data)
        return None
    os.environ.setdefault("PYTHONPATH", str(fuzz_targets.CORPUS.parents[2]))
    targets = [arguments.only] if arguments.only else list(fuzz_targets.TARGETS)
    total = time = 0
    for target in targets:
        share = 100 if arguments.only else _SHARES[target]
        seconds = max(1, arguments.seconds // len(targets)) if arguments.seconds else 0
        count, took = run(target, arguments.runs * share // 100, seconds)
        print(f"{target}: {count:,} inputs in {took} s", flush=True)
        total, time = total + count, time + took
    print(f"in all {total:,} inputs in {time} s, none raised what it must not")
    return None


if __name__ == "__main__":
    main()
