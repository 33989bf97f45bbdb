"""Kills the library, tells it to go, or fails it at each file-changing system call, and prints what
was lost.

    python tests/support/fault_table.py                      # every call of every scenario
    python tests/support/fault_table.py --every=7 --scenario="digits job" --faults=kills

Needs strace (Debian: apt-get install strace). Ends with 1 if anything was lost.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import pathlib
import pickle
import shutil
import signal
import sys
import tempfile
import time
import traceback

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import strace

_ERRORS = {
    "EIO": "",
    "ENOSPC": "open creat write mkdir link rename",
    "EMFILE": "open creat",
    "EACCES": "open creat mkdir link rename unlink rmdir",
    "EXDEV": "link",
    "EPERM": "link",
}

_ATTEMPTS = 5


@dataclasses.dataclass(frozen=True)
class Fault:
    """The place of a call, and what happens there.

    Attributes:
      place: of the call.
      error: that it gets; if there is none, the process gets a signal.
      signal: "SIGKILL" or "SIGTERM".
      again: whether it gets the signal at the next calls of this kind, too.
    """

    place: int
    error: str = ""
    signal: str = "SIGKILL"
    again: bool = False

    @property
    def group(self) -> str:
        return "errors" if self.error else "kills" if self.signal == "SIGKILL" else "sigterms"


def faults_of(calls: tuple[strace.Call, ...], wanted: str, every: int, sigterms: bool) -> list:
    """All that can happen at some calls: at each `every`th of them; SIGTERM if that is obeyed."""
    places = range(len(calls))
    found = [Fault(place) for place in places]
    found += [
        Fault(place, error)
        for error, kinds in _ERRORS.items()
        for place, call in enumerate(calls)
        if not kinds or call.kind.startswith(tuple(kinds.split()))
    ]
    if sigterms:
        found += [
            Fault(place, signal="SIGTERM", again=again)
            for again in (False, True)
            for place in places
        ]
    return [fault for fault in found if wanted in ("all", fault.group)][::every]


class Sweep:
    """One scenario with all its faults."""

    def __init__(self, scenario, folder: pathlib.Path):
        self._scenario = scenario
        self._folder = folder
        self._template = folder / "template"
        self._template.mkdir(parents=True)
        scenario.prepare(self._template)
        self.reference = scenario.reference(self._template)
        for extra in ("everything", "done"):
            shutil.rmtree(self._template / extra, ignore_errors=True)
        self.calls = self._count()
        assert self.calls, "no call was seen"

    def problems(self, number: int, fault: Fault) -> list[str]:
        """Runs the scenario with a fault; returns what is wrong after it."""
        name = f"fault-{number:05d}"
        try:
            for attempt in range(_ATTEMPTS):
                root = self._fresh(name)
                run = self._run(root, fault)
                # A thread that saves while training goes on takes turns of its own: where that is
                # so again and again, it was killed a call earlier or later.
                was_killed = fault.group == "kills" and run.code == -signal.SIGKILL
                if self._was_meant(run, fault) or (was_killed and attempt == _ATTEMPTS - 1):
                    found = self._scenario.problems(root, self.reference, run, fault.error)
                    if fault.group == "sigterms" and run.code != -signal.SIGTERM:
                        found.append(f"it ended with {run.code}: {run.output[-300:]}")
                    return found
                # This process has imported a module more, so that another file less is opened.
                self._remove(root)
                self.calls = self._count()
            return [f"the fault was not where it was meant: {run.code} {run.calls[-1:]}"]
        except Exception:
            return [traceback.format_exc()]
        finally:
            self._remove(self._folder / name)

    def _count(self) -> tuple[strace.Call, ...]:
        root = self._fresh(f"count-{os.getpid() % 100_000:05d}")
        run = strace.run(lambda: self._scenario.run(root), root)
        assert run.code == 0, run.output
        self._remove(root)
        return run.calls

    def _run(self, root: pathlib.Path, fault: Fault) -> strace.Run:
        return strace.run(
            lambda: self._scenario.run(root),
            root,
            self.calls[fault.place],
            fault=f"error={fault.error}" if fault.error else f"signal={fault.signal}",
            again=fault.again,
        )

    def _was_meant(self, run: strace.Run, fault: Fault) -> bool:
        """Returns whether all went as counted up to the call, and it was that one."""
        texts = [
            [call.text for call in calls[: fault.place + 1]] for calls in (run.calls, self.calls)
        ]
        if fault.group != "kills":
            return texts[0] == texts[1]
        return texts[0] == texts[1] and len(run.calls) == fault.place + 1 and run.code == -9

    def _remove(self, root: pathlib.Path) -> None:
        for path in self._folder.glob(f"{root.name}*"):  # all names are of one length
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _fresh(self, name: str) -> pathlib.Path:
        """A folder to run in; names are of one length, as files with paths in them have a size."""
        root = self._folder / name
        shutil.copytree(self._template, root)
        return root


def in_parallel(sweep: Sweep, faults: list[Fault], workers: int) -> list[tuple[Fault, list[str]]]:
    """Tries all faults; returns those after which something was wrong."""
    outputs = []
    for worker in range(workers):
        path = sweep._folder / f"worker-{worker}"

        def work(worker=worker, path=path):
            mine = [
                (fault, found)
                for number, fault in enumerate(faults)
                if number % workers == worker and (found := sweep.problems(number, fault))
            ]
            path.write_bytes(pickle.dumps(mine))

        outputs.append((strace.fork(work, path.with_suffix(".log")), path))
    results = []
    for pid, path in outputs:
        code, text = strace.finish(pid, path.with_suffix(".log"))
        assert code == 0, text
        results += pickle.loads(path.read_bytes())
    return results


def main() -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenario", action="append", help="its name; all by default")
    parser.add_argument("--faults", choices=["kills", "errors", "sigterms", "all"], default="all")
    parser.add_argument("--every", type=int, default=1, help="only each so manyth fault")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    if not strace.is_here():
        sys.exit("there is no strace here; on Debian: apt-get install strace")

    import fault_scenarios  # imports TensorFlow, once for all processes

    print("| scenario | calls counted | kills | errors | SIGTERMs | lost | seconds |")
    print("|---|---|---|---|---|---|---|")
    lost = []
    for scenario in fault_scenarios.SCENARIOS:
        if arguments.scenario and scenario.name not in arguments.scenario:
            continue
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="faults") as folder:
            sweep = Sweep(scenario, pathlib.Path(folder).resolve())
            faults = faults_of(
                sweep.calls, arguments.faults, arguments.every, scenario.heeds_sigterm
            )
            wrong = in_parallel(sweep, faults, arguments.workers)
        groups = [fault.group for fault in faults]
        numbers = [
            len(sweep.calls),
            *map(groups.count, ("kills", "errors", "sigterms")),
            len(wrong),
        ]
        took = f"{time.monotonic() - started:.0f}"
        print("|", " | ".join([scenario.name, *map(str, numbers), took]), "|", flush=True)
        lost += [(scenario.name, fault, sweep.calls[fault.place], found) for fault, found in wrong]
    for name, fault, call, found in lost:
        print(f"\n{name}, {fault.error or fault.signal} at {call.text}:", *found, sep="\n  ")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
