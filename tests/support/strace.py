"""Runs a function in a process of its own, under strace: counts its file-changing system calls, and
sends it a signal at one of them or lets that one fail.

    calls = strace.run(function, root).calls                    # those below the directory `root`
    strace.run(function, root, at=calls[7], fault="signal=SIGKILL")
    strace.run(function, root, at=calls[7], fault="error=ENOSPC")

The process is forked from this one, so that it has TensorFlow already, and traced from the first
line of the function on. Only its main thread is: have TensorFlow run everything there. strace
counts the calls of each kind by itself, so a call is known by its kind and number; what a faulty
run did up to there is to be compared with the run that was counted.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Callable

_KINDS = (  # `?` for those that not every machine has
    "?rename,?renameat,?renameat2,?link,?linkat,?symlink,?symlinkat,?unlink,?unlinkat,?rmdir,"
    "?mkdir,?mkdirat,?open,?openat,?creat,?write,?writev,?pwrite64,?pwritev,?sendfile,"
    "?copy_file_range,?fsync,?fdatasync,?truncate,?ftruncate"
)
_CALL = re.compile(r"(?P<kind>\w+)\((?P<arguments>.*)")
_FOR_READING = re.compile(r"O_RDONLY(?!.*O_(CREAT|TMPFILE|TRUNC))")
_TIMES = 10  # not without end: handling a signal may be a call that brings the next one
_SET_PTRACER, _ANY = 0x59616D61, -1
# What differs from one run to the next.
_RANDOM = (
    (re.compile(r"\.staging-[0-9a-f]{8}-\d+-[0-9a-f]{24}"), ".staging-*"),
    (re.compile(r"(tempstate|\.tmp)[0-9a-f]+"), r"\1*"),
    (re.compile(r"_temp_?[0-9a-f]{32}"), "_temp_*"),
    (re.compile(r"\b\d+<"), "<"),  # the number of an open file
)


@dataclasses.dataclass(frozen=True)
class Call:
    """A system call that changes a file: its kind, its number among those, and what it did."""

    kind: str
    number: int
    text: str


@dataclasses.dataclass(frozen=True)
class Run:
    """What came of a process: exit code (negative for a signal), output, calls below its root."""

    code: int
    output: str
    calls: tuple[Call, ...]


def is_here() -> bool:
    return shutil.which("strace") is not None


def fork(function: Callable[[], object], output: pathlib.Path, gate: int | None = None) -> int:
    """Starts a function in a process of its own; its output goes to a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 99
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        if gate is not None:
            ctypes.CDLL(None).prctl(_SET_PTRACER, _ANY, 0, 0, 0)
            os.read(gate, 1)
        code = int(function() or 0)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
        code = 1
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def finish(pid: int, output: pathlib.Path) -> tuple[int, str]:
    """Waits for such a process; returns its exit code and what it has written."""
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), output.read_text(errors="replace")


def run(
    function: Callable[[], object],
    root: pathlib.Path,
    at: Call | None = None,
    *,
    fault: str = "",
    again: bool = False,
) -> Run:
    """Runs a function that works below `root` under strace; beside that, it leaves two files.

    Args:
      function: what is run.
      root: a directory.
      at: the call at which something happens.
      fault: what does: a signal or an error.
      again: whether it does at the next calls of that kind, too.
    """
    log, output = root.with_suffix(".strace"), root.with_suffix(".output")
    log.unlink(missing_ok=True)
    options = ["-y", "-s", "0", "-e", f"trace={_KINDS}"]
    if at is not None:
        when = f"{at.number}..{at.number + _TIMES - 1}" if again else str(at.number)
        options += ["-e", f"inject={at.kind}:{fault}:when={when}"]
    gate, opener = os.pipe()
    pid = fork(function, output, gate)
    tracer = subprocess.Popen(
        ["strace", *options, "-o", str(log), "-p", str(pid)], stderr=subprocess.PIPE
    )
    try:
        _wait_for_tracer(pid, tracer)
        os.write(opener, b"x")
        code, text = finish(pid, output)
    finally:
        os.close(gate)
        os.close(opener)
        tracer.wait()
        tracer.stderr.close()
    return Run(code, text, tuple(_read(log, root)))


def _wait_for_tracer(pid: int, tracer: subprocess.Popen) -> None:
    while True:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        if "TracerPid:\t0\n" not in status:
            # Attached. strace is ready for calls once it has restarted the process.
            if "State:\tt" not in status:
                return
        elif tracer.poll() is not None:
            os.kill(pid, 9)
            raise RuntimeError(f"strace can't trace: {tracer.stderr.read().decode()}")
        time.sleep(0.001)


def _read(log: pathlib.Path, root: pathlib.Path):
    counts: dict[str, int] = {}
    for line in log.read_text(errors="replace").splitlines():
        call = _CALL.match(line)
        if not call:
            continue
        kind, arguments = call["kind"], call["arguments"]
        counts[kind] = counts.get(kind, 0) + 1
        is_read = kind.startswith("open") and _FOR_READING.search(arguments)
        if f"{root}/" in arguments and "events.out.tfevents" not in arguments and not is_read:
            yield Call(kind, counts[kind], _normal(f"{kind}({arguments}", root))


def _normal(text: str, root: pathlib.Path) -> str:
    text = re.sub(r"\)? +(= .*|<unfinished \.\.\.>)?$", "", text.replace(f"{root}/", ""))
    for pattern, replacement in _RANDOM:
        text = pattern.sub(replacement, text)
    return text
