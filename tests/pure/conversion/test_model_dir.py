"""A folder of n checkpoints takes n times as much as one: counted, not timed."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import threading
import time
from collections import Counter

import pytest

from estimator_ckpt import CheckpointWriteError, convert_all, doctor, verify
from estimator_ckpt.checkpoint import BundleWriter
from estimator_ckpt.checkpoint.opening import write_state

# What Python says of each call that looks at a directory or at a name in it.
LATE = 17  # a step that is not begun before another is done, as 16 are written at once
EVENTS = frozenset(("os.listdir", "os.scandir"))
counted: Counter[str] = Counter()
counting = False
counting_reads = False


def count(event: str, arguments: tuple[object, ...]) -> None:
    if counting and event in EVENTS:
        counted[event] += 1
    if counting_reads and event == "open" and str(arguments[0]).endswith(".index"):
        counted[str(arguments[0])] += 1


sys.addaudithook(count)  # there is no way to remove it, so there is one for all tests


def job(folder, number):
    """A model_dir with this many checkpoints, and what a loop over lists would take for them."""
    folder.mkdir()
    prefixes = [str(folder / f"model.ckpt-{step}") for step in range(number)]
    for step, prefix in enumerate(prefixes):
        with BundleWriter(prefix) as writer:
            writer.put("w", writer.append(1, (2,), [b"\0" * 8]))
            writer.put("global_step", writer.append(9, (), [struct.pack("<q", step)]))
            writer.commit()
    write_state(str(folder), prefixes[-1], prefixes)
    return folder


def lines_run(work) -> int:
    """Counts the lines of Python that some work runs, of this package and what it calls."""
    lines: list[bool] = []

    def trace(frame, event, argument):
        lines.append(event == "line")  # of any thread
        return trace

    threading.settrace(trace)
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(None)
        threading.settrace(None)
    return sum(lines)


def listings(work) -> int:
    """Counts how often some work lists a directory."""
    global counting
    counted.clear()
    counting = True
    try:
        work()
    finally:
        counting = False
    return sum(counted.values())


@pytest.mark.parametrize("options", [{}, {"compact": True}, {"copy": True}, {"overwrite": True}])
def test_a_directory_is_listed_once_for_all_conversions(tmp_path, options):
    found = []
    for number in (1, 4, 24):  # the first loads what is loaded once
        source = job(tmp_path / f"source{number}", number)
        target = tmp_path / f"target{number}"
        found.append(
            listings(
                lambda source=source, target=target: convert_all(
                    source, target, to="dual", **options
                )
            )
        )
        assert len(list(target.glob("*.index"))) == number
    assert found[1] == found[2] <= 3


def test_a_directory_is_listed_once_for_a_diagnosis(tmp_path):
    small, large = job(tmp_path / "small", 4), job(tmp_path / "large", 24)
    found = [listings(lambda: doctor(small)), listings(lambda: doctor(large))]
    assert found[0] == found[1] <= 3


@pytest.mark.parametrize("work", ["convert", "doctor"])
def test_the_work_grows_as_the_number_does(tmp_path, work):
    """Twice as much for twice as many; a loop over all for each would be four times as much."""
    found = []
    for number in (1, 30, 60):  # the first loads what is loaded once
        source = job(tmp_path / f"source{number}", number)
        target = tmp_path / f"target{number}"
        if work == "convert":
            found.append(lines_run(lambda: convert_all(source, target, to="tf2")))  # noqa: B023
        else:
            found.append(lines_run(lambda: doctor(source)))  # noqa: B023
    assert found[2] < 2.05 * found[1]


def test_leftovers_are_not_removed_by_a_dry_run(tmp_path):
    from estimator_ckpt.storage import staging

    source, target = job(tmp_path / "source", 2), tmp_path / "target"
    target.mkdir()
    name = staging.staging_name(str(target / "model.ckpt-1.index"))
    left = name.replace(f"-{os.getpid()}-", "-999999999-")
    (target / os.path.basename(left)).write_bytes(b"")
    convert_all(source, target, to="tf2", dry_run=True)
    assert os.listdir(target) == [os.path.basename(left)]
    convert_all(source, target, to="tf2")
    assert os.path.basename(left) not in os.listdir(target)


def test_what_another_process_puts_there_meanwhile_is_not_overwritten(tmp_path):
    """The directory is listed before; a data file that appears later keeps its bytes."""
    source, target = job(tmp_path / "source", 20), tmp_path / "target"
    theirs = target / f"model.ckpt-{LATE}.data-00000-of-00001"

    def interfere(path, done, total):
        if not theirs.exists():
            theirs.write_bytes(b"theirs")

    with pytest.raises(CheckpointWriteError):
        convert_all(source, target, to="tf1", copy=True, progress=interfere)
    assert theirs.read_bytes() == b"theirs"
    assert not (target / f"model.ckpt-{LATE}.index").exists()
    assert not (target / "checkpoint").exists()


KILLED = """
import sys
from estimator_ckpt import convert_all
convert_all(sys.argv[1], sys.argv[2], to="dual", resume=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="there is no such kill")
def test_what_a_kill_leaves_is_whole_and_the_next_run_goes_on_with_it(tmp_path):
    """Many are written at the same time; each appears at once, and the state file at the end."""
    number = 60
    source, target = job(tmp_path / "source", number), tmp_path / "target"
    convert_all(source, tmp_path / "wanted", to="dual")
    wanted = {path.name: path.read_bytes() for path in (tmp_path / "wanted").iterdir()}
    for few in (1, 20, 40):
        process = subprocess.Popen([sys.executable, "-c", KILLED, str(source), str(target)])
        while process.poll() is None and len(list(target.glob("*.index"))) < few:
            pass
        process.kill()
        process.wait()
        found = list(target.glob("*.index"))
        assert few <= len(found) <= number
        for path in found:
            assert verify(path.with_suffix("")).ok
    convert_all(source, target, to="dual", resume=True)
    assert {path.name: path.read_bytes() for path in target.iterdir()} == wanted


def test_of_many_that_fail_the_first_is_told_and_there_is_no_state_file(tmp_path):
    source, target = job(tmp_path / "source", 20), tmp_path / "target"
    target.mkdir()
    shards = [target / f"model.ckpt-{step}.data-00000-of-00002" for step in (LATE, LATE + 1)]

    def appear(path, done, total):  # of others, once the first is being written
        for shard in shards:
            if not shard.exists():
                shard.write_bytes(b"theirs")

    with pytest.raises(CheckpointWriteError, match=rf"model\.ckpt-{LATE}"):
        convert_all(source, target, to="tf2", copy=True, progress=appear)
    assert not (target / "checkpoint").exists()
    for path in target.glob("*.index"):
        assert verify(path.with_suffix("")).ok


def test_each_index_is_read_once(tmp_path, monkeypatch):
    source = job(tmp_path / "source", 20)
    counted.clear()
    with monkeypatch.context() as patched:
        patched.setattr(sys.modules[__name__], "counting_reads", True)
        convert_all(source, tmp_path / "target", to="dual")
    assert set(counted.values()) == {1}
    assert sum(path.startswith(str(source)) for path in counted) == 20


def test_progress_is_told_by_one_thread_at_a_time(tmp_path):
    inside, most = 0, 0

    def progress(path, done, total):
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        time.sleep(0.002)
        inside -= 1

    convert_all(
        job(tmp_path / "old", 20), tmp_path / "new", to="dual", copy=True, progress=progress
    )
    assert most == 1
