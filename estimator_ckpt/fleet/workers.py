"""Does many things at once: what waits for a store in threads, what computes in processes.

    for number, row in run(model_dirs, "verify", {}, threads=4, processes=2):
        print(number, row)

A thread either does the work or hands it to a process and waits. A process that dies takes down
what it worked on, and nothing else: another one takes its place. Processes are new interpreters:
they inherit nothing, neither locks nor TensorFlow, and don't run the caller's `__main__` again.
"""

from __future__ import annotations

import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Generator, Mapping, Sequence
from typing import Any

from estimator_ckpt.fleet.listing import ModelDir
from estimator_ckpt.fleet.work import ModelDirReport, failed, work

# What a new interpreter runs. -I keeps the current directory out of where modules are looked for,
# as if it were one of them; the caller's own path comes first of all.
_FLAGS = ("-I", "-c")
_PROGRAM = """\
import signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
import pickle, sys
sys.path[:] = pickle.load(sys.stdin.buffer)
from estimator_ckpt.fleet.worker import main
main()
"""
_PATIENCE = 10.0  # seconds that what is interrupted has to tidy up


def run(
    model_dirs: Sequence[ModelDir],
    verb: str,
    options: Mapping[str, Any],
    *,
    threads: int,
    processes: int,
) -> Generator[tuple[int, ModelDirReport], None, None]:
    """Does all, and yields a row for each as it is done.

    Args:
      model_dirs: what there is to do.
      verb: what.
      options: how.
      threads: how many are in work at once.
      processes: how many of those that are on local disks.

    Yields:
      (place in `model_dirs`, its row). Whoever stops asking, or is interrupted, ends what is in
      work: its processes tidy up, as those of a command do; its threads finish one model_dir.
    """
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(len(model_dirs)):
        waiting.put(number)
    done: queue.SimpleQueue[tuple[int, ModelDirReport]] = queue.SimpleQueue()
    stopped = threading.Event()
    pool = _Processes(verb, options, processes)

    def serve() -> None:
        while not stopped.is_set():
            try:
                number = waiting.get_nowait()
            except queue.Empty:
                return
            each = model_dirs[number]
            row = work(verb, each, options) if each.is_remote else pool.work(each)
            done.put((number, row))

    # Daemons: the program may end while one waits for a store that does not answer.
    serving = [
        threading.Thread(target=serve, name=f"model_dirs-{number}", daemon=True)
        for number in range(min(threads, len(model_dirs)))
    ]
    try:
        for thread in serving:
            thread.start()
        for _ in model_dirs:
            yield done.get()
    finally:
        stopped.set()
        pool.end()
        for thread in serving:
            if thread.ident is not None:
                thread.join(_PATIENCE)


class _Processes:
    """Processes that are started when they are needed, and used again.

    Args:
      verb: what they do.
      options: how.
      count: how many there are at most.
    """

    def __init__(self, verb: str, options: Mapping[str, Any], count: int):
        self._verb = verb
        self._options = options
        self._free: queue.LifoQueue[_Process | None] = queue.LifoQueue()
        for _ in range(count):
            self._free.put(None)
        self._lock = threading.Lock()
        self._all: list[_Process] = []
        self._ended = False

    def work(self, model_dir: ModelDir) -> ModelDirReport:
        """Does one, or says that the process that worked on it has died."""
        row = ModelDirReport(model_dir.source, model_dir.target, self._verb, "failed")
        process = self._free.get()
        try:
            if process is None or not process.is_alive:
                process = self._started()
            return process.work(model_dir)
        except Exception as error:  # it can't be started, or what it says can't be understood
            return failed(row, error)
        finally:
            self._free.put(process)

    def _started(self) -> _Process:
        with self._lock:
            if self._ended:
                raise ChildProcessError("it was interrupted")
            process = _Process(self._verb, self._options)
            self._all = [each for each in self._all if each.is_alive] + [process]
        return process

    def end(self) -> None:
        """Ends all, whatever they do: what they have staged is removed first."""
        with self._lock:
            self._ended = True
            processes = self._all
        for process in processes:
            process.ask_to_end()
        for process in processes:
            process.wait()


class _Process:
    """A new interpreter that does one model_dir after the other."""

    def __init__(self, verb: str, options: Mapping[str, Any]):
        self._process = subprocess.Popen(
            [sys.executable, *_FLAGS, _PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._begin: tuple[object, ...] = (sys.path, (verb, dict(options)))

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def work(self, model_dir: ModelDir) -> ModelDirReport:
        """Does one.

        Raises:
          ChildProcessError: the process ended before it was done.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            for each in (*self._begin, model_dir):
                pickle.dump(each, self._process.stdin)
            self._begin = ()
            self._process.stdin.flush()
            row = pickle.load(self._process.stdout)
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            self._process.kill()  # it may live, and just have closed a pipe
            raise ChildProcessError(_how_it_ended(self._process.wait())) from error
        assert isinstance(row, ModelDirReport)
        return row

    def ask_to_end(self) -> None:
        self._process.terminate()

    def wait(self) -> None:
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _how_it_ended(code: int) -> str:
    how = f"with exit code {code}"
    if code < 0:
        try:
            how = f"by {signal.Signals(-code).name}"
        except ValueError:
            how = f"by signal {-code}"
    return (
        f"the process that worked on it ended {how}; nothing of it is half done: try it again, "
        "alone or with fewer workers if memory was short"
    )
