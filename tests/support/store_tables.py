"""Counts what commands ask of stores, kills them at each request that writes, and prints both.

    python tests/support/store_tables.py                    # both tables of docs/stores.md
    python tests/support/store_tables.py --write            # puts them there
    python tests/support/store_tables.py --only="convert --all" --kills

Servers are those of stores.py; no TensorFlow takes part. Ends with 1 if anything was lost.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import hashlib
import io
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any
from unittest import mock

import numpy as np
import stores

from estimator_ckpt.checkpoint import BundleWriter, open_checkpoint
from estimator_ckpt.checkpoint.opening import read_state
from estimator_ckpt.cli import main as command_line
from estimator_ckpt.operations.verify import verify
from estimator_ckpt.storage import files

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "stores.md"
TENSOR = 64 * 1024
FEW, MANY = 5, 200
KINDS = {"S3": stores.s3_server, "GCS": stores.gcs_server}


@dataclasses.dataclass(frozen=True)
class Scenario:
    """A command line; {} is the store, {here} a local directory.

    Attributes:
      name: in the tables.
      line: what is typed.
      again: what is typed after it was killed, if that is something else.
      before: what is done first.
      large: whether there is one tensor of 24 MiB, so that files go up in parts.
    """

    name: str
    line: str
    again: str = ""
    before: str = ""
    large: bool = False

    @property
    def writes(self) -> bool:
        """Whether it writes to the store."""
        return "{}/out" in self.line


_CONVERT = "convert {}/job {}/out/ckpt --to=tf2"
SCENARIOS = (
    Scenario("inspect", "inspect {}/job"),
    Scenario("inspect --values", "inspect {}/job --values"),
    Scenario("verify", "verify {}/job"),
    Scenario("diff", "diff {}/job {}/other/model.ckpt-10"),
    Scenario("diff --values", "diff {}/job {}/other/model.ckpt-10 --values"),
    Scenario("convert to a local disk", "convert {}/job {here}/ckpt --to=tf2"),
    Scenario("export to a local disk", "export {}/job {here}/all.npz"),
    Scenario("convert", _CONVERT),
    Scenario(
        "convert --overwrite",
        "convert {}/job {}/out/ckpt --to=tf1 --overwrite",
        before=_CONVERT,
    ),
    Scenario(
        "convert --all",
        "convert {}/job {}/out --to=tf2 --all",
        again="convert {}/job {}/out --to=tf2 --all --overwrite",
    ),
    Scenario("rename", "rename {}/job {}/out/ckpt --rename=layer_0/=first/"),
    Scenario("drop", "drop {}/job {}/out/ckpt --pattern=layer_0/ --nodry_run"),
    Scenario("ema", "ema {}/job {}/out/ckpt --nodry_run"),
    Scenario("compact", "compact {}/job {}/out/ckpt"),
    Scenario("average", "average {}/job {}/other/model.ckpt-10 {}/out/ckpt"),
    Scenario("cast", "cast {}/job {}/out/ckpt --to=bfloat16"),
    Scenario("cast, in parts", "cast {}/job {}/out/ckpt --to=float16", large=True),
    Scenario("convert from a local disk", "convert {here}/job {}/out/ckpt --to=tf2"),
    Scenario("export", "export {}/job {}/out/all.npz"),
    Scenario("import", "import {here}/values.npz {}/out/ckpt --to=tf1"),
)
WRITING = tuple(scenario for scenario in SCENARIOS if scenario.writes)


def write_checkpoint(prefix: str, tensors: int, seed: int, size: int = TENSOR) -> None:
    """Writes a name-based checkpoint with averages."""
    random = np.random.default_rng(seed)
    with BundleWriter(prefix) as writer:
        for number in range(tensors // 2 + 1):
            for suffix in ("", "/ExponentialMovingAverage")[: 2 if number < tensors // 2 else 1]:
                if number == tensors // 2 and tensors % 2 == 0:
                    continue
                data = random.standard_normal(size // 4).astype("float32")
                entry = writer.append(1, data.shape, [data.tobytes()])
                writer.put(f"layer_{number}/kernel{suffix}", entry)
        writer.put("global_step", writer.append(9, (), [np.int64(10).tobytes()]))
        writer.commit()


class Sources:
    """What the commands read, made once."""

    def __init__(self, folder: pathlib.Path, tensors: int, size: int = TENSOR):
        self.folder = folder
        write_checkpoint(f"{folder}/job/model.ckpt-10", tensors, 0, size)
        write_checkpoint(f"{folder}/other/model.ckpt-10", tensors, 1, size)
        (folder / "job" / "checkpoint").write_text(
            'model_checkpoint_path: "model.ckpt-10"\nall_model_checkpoint_paths: "model.ckpt-10"\n'
        )
        np.savez(folder / "values.npz", **{"layer_0/kernel": np.ones(10, "float32")})
        self.objects = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for name in ("job", "other")
            for path in (folder / name).iterdir()
        }

    def put(self, store: stores.Store) -> None:
        """Puts them into a store."""
        for key, data in self.objects.items():
            store.put(key, data)

    def line(self, template: str, store: stores.Store) -> list[str]:
        """Returns a command line on a store."""
        return [
            word.replace("{}", store.url).replace("{here}", str(self.folder))
            for word in shlex.split(template)
        ]


@contextlib.contextmanager
def new_store(server: Any) -> Iterator[stores.Store]:
    """Makes a store that this process reaches, and those that it starts."""
    with server.new_store() as store, mock.patch.dict(os.environ, store.environment):
        yield store


def run(line: list[str]) -> None:
    """Runs a command in this process, as in one of its own: TensorFlow may be loaded in this one.

    Raises:
      AssertionError: it failed.
    """
    said, loaded = io.StringIO(), sys.modules.pop("tensorflow", None)
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            code = command_line.main(line)
    finally:
        if loaded is not None:
            sys.modules["tensorflow"] = loaded
    assert code == 0 or line[0] == "diff", (line, said.getvalue())


def count(scenario: Scenario, server: Any, sources: Sources) -> stores.Traffic:
    """Returns what a command asks of a store."""
    with new_store(server) as store:
        sources.put(store)
        if scenario.before:
            run(sources.line(scenario.before, store))
        with store.counted() as traffic:
            run(sources.line(scenario.line, store))
    for left in (*sources.folder.glob("ckpt*"), *sources.folder.glob("all.npz")):
        left.unlink()
    return traffic


def values(path: str) -> dict[str, str]:
    """Returns {key: digest} of a complete checkpoint, or of another file as a whole."""
    if path.endswith(".npz"):
        with np.load(io.BytesIO(files.read(path))) as arrays:
            return {key: hashlib.sha256(arrays[key].tobytes()).hexdigest() for key in arrays}
    found = verify(path)
    assert found.ok, found
    checkpoint = open_checkpoint(path)
    return {
        key: hashlib.sha256(b"".join(map(checkpoint.read_bytes, entry.stored))).hexdigest()
        for key, entry in checkpoint.index.entries.items()
    }


def results(store: stores.Store) -> dict[str, dict[str, str]]:
    """Returns {name: values} of all that was written; it has to be complete."""
    found = {}
    for key in store.objects():
        folder, _, name = key.rpartition("/")
        if folder == "out" and name.endswith(".npz"):
            found[name] = values(f"{store.url}/{key}")
        elif folder == "out" and name.endswith(".index"):
            found[name] = values(f"{store.url}/{key}"[: -len(".index")])
        elif folder == "out" and name == "checkpoint":
            latest, listed = read_state(f"{store.url}/out")
            assert latest in listed
            found[name] = {os.path.basename(prefix): str(values(prefix)) for prefix in listed}
    return found


def kill(
    scenario: Scenario, server: Any, sources: Sources, number: int, *, after: bool
) -> list[str]:
    """Kills a command at its n-th request that writes; returns what is wrong then."""
    with new_store(server) as store:
        sources.put(store)
        reference = _reference(scenario, server, sources)
        old: dict[str, dict[str, str]] = {}
        if scenario.before:
            run(sources.line(scenario.before, store))
            old = results(store)
        process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, *sources.line(scenario.line, store)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        store.at_write(number, process.kill, after=after)
        _, said = process.communicate(b"\n", timeout=600)
        if process.returncode != -9:
            return [f"it was not killed: {said.decode()[-500:]}"]
        problems = []
        try:
            for name, found in results(store).items():
                if found not in (reference[name], old.get(name)):
                    problems.append(f"{name} is neither the old nor the new one")
        except Exception as error:
            problems.append(f"what is there is not complete: {error!r}")
        try:
            run(sources.line(scenario.again or scenario.line, store))
            if results(store) != reference:
                problems.append("run again, the result is another one")
        except Exception as error:
            # All may be done, although nobody was told.
            if not ("exists" in repr(error) and results(store) == reference):
                problems.append(f"it can't be run again: {error!r}")
        left = [key for key in store.objects() if ".staging-" in key]
        if left and not any("exists" in each for each in problems):
            with files.looking_once():
                problems += [] if _is_tidied(store) else [f"left over: {left}"]
        for key, data in sources.objects.items():
            if store.objects().get(key) != data:
                problems.append(f"{key} has changed")
        return problems


def _is_tidied(store: stores.Store) -> bool:
    """Returns whether the next command that writes there removes what was left over."""
    from estimator_ckpt.checkpoint.leftovers import remove_leftovers

    remove_leftovers(f"{store.url}/out")
    return not any(".staging-" in key for key in store.objects())


_PROGRAM = """
import sys
from estimator_ckpt.cli import main
sys.stdin.readline()
sys.exit(main.main(sys.argv[1:]))
"""
_REFERENCES: dict[tuple[str, Any, Any], tuple[int, dict[str, dict[str, str]]]] = {}


def _measured(
    scenario: Scenario, server: Any, sources: Sources
) -> tuple[int, dict[str, dict[str, str]]]:
    key = (scenario.name, server, sources)
    if key not in _REFERENCES:
        with new_store(server) as store:
            sources.put(store)
            if scenario.before:
                run(sources.line(scenario.before, store))
            before = store.writes
            run(sources.line(scenario.line, store))
            _REFERENCES[key] = store.writes - before, results(store)
    return _REFERENCES[key]


def _reference(scenario: Scenario, server: Any, sources: Sources) -> dict[str, dict[str, str]]:
    return _measured(scenario, server, sources)[1]


def writes(scenario: Scenario, server: Any, sources: Sources) -> int:
    """Returns how many requests of a command write something."""
    return _measured(scenario, server, sources)[0]


def _size(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 50_000 else f"{size / 1e3:.1f} kB"


def requests_table(scenarios: tuple[Scenario, ...]) -> str:
    """Returns the table of requests and bytes."""
    rows = [
        f"| command | S3: requests, {FEW} tensors | {MANY} tensors | GCS: {FEW} tensors "
        f"| {MANY} tensors | up, {MANY} tensors | down, {MANY} tensors | copied by the store |",
        "|---|---|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        of = {
            tensors: Sources(pathlib.Path(folder) / str(tensors), tensors)
            for tensors in (FEW, MANY)
        }
        servers = [stack.enter_context(make()) for make in KINDS.values()]
        for scenario in (each for each in scenarios if not each.large):
            cells, last = [], None
            for server in servers:
                for tensors in (FEW, MANY):
                    traffic = count(scenario, server, of[tensors])
                    cells.append(str(traffic.requests))
                    last = last if server is not servers[0] else traffic
            assert last is not None
            copied = len(last.copied)
            cells += [
                _size(last.uploaded),
                _size(last.downloaded),
                f"{copied} file{'s' * (copied != 1)}" if copied else "",
            ]
            rows.append(f"| {scenario.name} | {' | '.join(cells)} |")
    return "\n".join(rows)


def kills_table(scenarios: tuple[Scenario, ...]) -> tuple[str, list[str]]:
    """Returns the table of kills, and what was lost."""
    rows = [
        "| command | S3: requests that write | kills | GCS: requests that write | kills | lost |",
        "|---|---|---|---|---|---|",
    ]
    sums = [0] * 5
    lost: list[str] = []
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        small = Sources(pathlib.Path(folder) / "small", FEW)
        large = Sources(pathlib.Path(folder) / "large", 1, 40 * 1024 * 1024)
        servers = {kind: stack.enter_context(make()) for kind, make in KINDS.items()}
        for scenario in (each for each in scenarios if each.writes):
            sources = large if scenario.large else small
            numbers, before = [], len(lost)
            for kind, server in servers.items():
                total = writes(scenario, server, sources)
                for number in range(1, total + 1):
                    for after in (False, True):
                        problems = kill(scenario, server, sources, number, after=after)
                        at = f"{scenario.name}, {kind}, {'after' if after else 'before'} {number}"
                        for each in problems:
                            print(f"{at}: {each}", file=sys.stderr)
                            lost.append(f"{at}: {each}")
                numbers += [total, 2 * total]
            numbers.append(len(lost) - before)
            sums = [first + second for first, second in zip(sums, numbers)]
            rows.append(f"| {scenario.name} | {' | '.join(map(str, numbers))} |")
    rows.append(f"| all | {' | '.join(map(str, sums))} |")
    return "\n".join(rows), lost


def put_into(text: str, name: str, table: str) -> str:
    """Returns a page's text with another table between the markers of a name."""
    pattern = re.compile(rf"(<!-- {name}: begin -->\n).*?(<!-- {name}: end -->)", re.DOTALL)
    assert pattern.search(text), name
    return pattern.sub(lambda found: f"{found[1]}{table}\n{found[2]}", text)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the tables into the page")
    parser.add_argument("--only", help="one scenario")
    parser.add_argument("--kills", action="store_true", help="no table of requests")
    parser.add_argument("--requests", action="store_true", help="no table of kills")
    options = parser.parse_args()
    scenarios = tuple(each for each in SCENARIOS if options.only in (None, each.name))
    tables, lost = {}, []
    if not options.kills:
        tables["requests"] = requests_table(scenarios)
    if not options.requests:
        tables["kills"], lost = kills_table(scenarios)
    for name, table in tables.items():
        print(f"{table}\n")
        if options.write and not options.only:
            PAGE.write_text(put_into(PAGE.read_text("utf-8"), name, table), "utf-8")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
