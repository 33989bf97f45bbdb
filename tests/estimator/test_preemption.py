"""What SIGTERM does to a process that watches for it, and to its children: real processes."""

import contextlib
import signal
import subprocess
import sys
import threading
import time

import pytest

from estimator_ckpt.estimator.background import preemption
from estimator_ckpt.estimator.background.preemption import PreemptionNotice

# The module by itself, as importing TensorFlow takes seconds.
PRELUDE = f"""
import ctypes, importlib.util, logging, multiprocessing, os, signal, subprocess, sys
import threading, time
logging.basicConfig(format="%(message)s")
spec = importlib.util.spec_from_file_location("preemption", {preemption.__file__!r})
preemption = sys.modules["preemption"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(preemption)
preemption._PATIENCE_SECS = 600

def hang():
    '''Blocks in C, without the GIL, and no signal ends that.'''
    lock, libc = ctypes.create_string_buffer(64), ctypes.CDLL(None)
    libc.pthread_mutex_lock(lock)
    print("hangs", flush=True)
    libc.pthread_mutex_lock(lock)

def watch(**options):
    notice = preemption.PreemptionNotice(**options)
    notice.watch()
    return notice
"""
MAIN = "\nif __name__ == '__main__':\n"
TOLD = "SIGTERM: training stops after this step, and saves a final checkpoint\n"


def run(code):
    command = [sys.executable, "-c", PRELUDE + code]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=600)
    return ran.returncode, ran.stdout, ran.stderr


@contextlib.contextmanager
def started(code):
    command = [sys.executable, "-c", PRELUDE + code]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_the_signal_is_noted_and_obeyed_later():
    code = """
notice = watch()
signal.raise_signal(signal.SIGTERM)
print('given', notice.is_given, flush=True)
notice.obey()
print('not reached')
"""
    assert run(code) == (-signal.SIGTERM, "given True\n", TOLD)


def test_without_a_signal_all_is_as_before():
    notice = PreemptionNotice()
    notice.watch()
    assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
    notice.obey()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert signal.set_wakeup_fd(-1) == -1
    assert "SIGTERM watchdog" not in {each.name for each in threading.enumerate()}
    notice.watch()  # the next session
    notice.obey()


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda number, frame: None])
def test_a_program_that_handles_the_signal_is_left_alone(handler):
    before = signal.signal(signal.SIGTERM, handler)
    try:
        notice = PreemptionNotice()
        notice.watch()
        notice.obey()
        assert signal.getsignal(signal.SIGTERM) == handler
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_program_with_a_wakeup_fd_is_left_alone_and_that_is_said():
    code = """
import socket
mine = socket.socketpair()
mine[1].setblocking(False)
signal.set_wakeup_fd(mine[1].fileno())
watch()
print(signal.getsignal(signal.SIGTERM) == signal.SIG_DFL, signal.set_wakeup_fd(-1) != -1)
"""
    returned, printed, errors = run(code)
    assert (returned, printed) == (0, "True True\n")
    assert "wakeup fd of its own" in errors


def test_a_handler_that_the_program_puts_in_later_is_kept_and_not_taken_for_ours():
    code = """
notice = watch(deadline_secs=1)
signal.signal(signal.SIGTERM, lambda *_: print("theirs", flush=True))
signal.raise_signal(signal.SIGTERM)
time.sleep(1.5)
print(notice.is_given, flush=True)
notice.obey()
signal.raise_signal(signal.SIGTERM)
"""
    assert run(code) == (0, "theirs\nFalse\ntheirs\n", "")


def test_a_later_handler_that_calls_ours_is_heard_and_ends_the_process_after_the_watch():
    code = """
notice = watch()
before = signal.getsignal(signal.SIGTERM)
signal.signal(signal.SIGTERM, lambda *passed: (print("theirs", flush=True), before(*passed)))
if sys.argv[1:]:
    notice.obey()
signal.raise_signal(signal.SIGTERM)
print(notice.is_given, flush=True)
notice.obey()
"""
    assert run(code) == (-signal.SIGTERM, "theirs\nTrue\n", TOLD)
    after_the_watch = run(code.replace("sys.argv[1:]", "True"))
    assert after_the_watch == (-signal.SIGTERM, "theirs\n", "")


def test_outside_the_main_thread_nothing_is_watched():
    notice = PreemptionNotice()
    thread = threading.Thread(target=notice.watch)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_process_that_hangs_ends_after_the_deadline_as_it_would_without():
    with started("watch(deadline_secs=2)\nhang()") as process:
        assert process.stdout.readline() == "hangs\n"
        before = time.monotonic()
        process.terminate()
        errors = process.communicate(timeout=600)[1]
        assert time.monotonic() - before >= 2
        assert process.returncode == -signal.SIGTERM
    assert errors == TOLD + "SIGTERM, 2 s ago: the process ends as it is\n"


@pytest.mark.parametrize("hangs", [True, False])
def test_a_second_signal_ends_the_process_at_once(hangs):
    wait = "hang()" if hangs else "print('hangs', flush=True)\ntime.sleep(1000)"
    with started("watch(deadline_secs=1000)\n" + wait) as process:
        assert process.stdout.readline() == "hangs\n"
        process.terminate()
        assert process.stderr.readline() == TOLD
        time.sleep(1.5)
        process.terminate()
        assert process.wait(600) == -signal.SIGTERM
        assert process.stderr.read() == "SIGTERM again: the process ends as it is\n"


def test_one_that_follows_at_once_is_the_same_signal():
    """`timeout` sends it twice; here, what follows at once is what follows within 1000 s."""
    longer = "preemption._SAME_SIGNAL_SECS *= 1000\nwatch(deadline_secs=1000)\n"
    with started(longer + "hang()") as process:
        assert process.stdout.readline() == "hangs\n"
        process.terminate()
        assert process.stderr.readline() == TOLD
        process.terminate()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1.5)


def test_a_log_that_hangs_does_not_keep_the_process():
    code = """
preemption._PATIENCE_SECS = 1
watch(deadline_secs=1)
logging.root.handlers[0].acquire()
hang()
"""
    with started(code) as process:
        assert process.stdout.readline() == "hangs\n"
        process.terminate()
        assert process.wait(600) == -signal.SIGTERM


# What a child finds, and how it ends; `terminate` there must end it.
CHILDREN = (
    PRELUDE
    + """
def facts(*ignored):
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    fd = signal.set_wakeup_fd(-1)
    return signal.getsignal(signal.SIGTERM) == signal.SIG_DFL, len(blocked), fd

def wait(pipe):
    pipe.send(facts())
    time.sleep(1000)

def nested(pipe):
    process, found = child(multiprocessing.get_context("fork"))
    pipe.send(found)
    time.sleep(1000)

def child(context, target=wait):
    ours, theirs = context.Pipe()
    process = context.Process(target=target, args=(theirs,))
    process.start()
    found = ours.recv()
    process.terminate()
    process.join(600)
    return process.exitcode, found

def in_thread(function):
    found = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join()
    return found[0]

def pool():
    with multiprocessing.get_context("fork").Pool(2) as workers:
        found = workers.map(facts, range(4))
    workers.join()
    return -15, found[0]

def command(**options):
    code = "import signal, time; print(signal.getsignal(15), flush=True); time.sleep(1000)"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, **options
    )
    found = process.stdout.readline().strip()
    process.terminate()
    return process.wait(600), (found in ("0", "Handlers.SIG_DFL"), 0, -1)

CASES = {
    "fork": lambda: child(multiprocessing.get_context("fork")),
    "fork in a thread": lambda: in_thread(CASES["fork"]),
    "nested": lambda: child(multiprocessing.get_context("fork"), nested),
    "spawn": lambda: child(multiprocessing.get_context("spawn")),
    "forkserver": lambda: child(multiprocessing.get_context("forkserver")),
    "pool": pool,
    "subprocess": command,
    "preexec_fn": lambda: command(preexec_fn=facts),
}

if __name__ == "__main__":
    notice = watch(deadline_secs=1)
    for name, case in CASES.items():
        print(name, *case(), flush=True)
    time.sleep(1.5)  # nothing of it came to this process
    print(notice.is_given, signal.pthread_sigmask(signal.SIG_BLOCK, []), flush=True)
    signal.raise_signal(signal.SIGTERM)
    notice.obey()
"""
)


def test_the_signal_does_to_children_of_every_kind_what_it_does_without(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(CHILDREN)
    ran = subprocess.run(
        [sys.executable, str(program)], capture_output=True, text=True, timeout=600
    )
    lines = ran.stdout.splitlines()
    kinds = ["fork", "fork in a thread", "nested", "spawn", "forkserver", "pool"]
    kinds += ["subprocess", "preexec_fn"]
    assert lines == [*(f"{kind} -15 (True, 0, -1)" for kind in kinds), "False set()"], ran.stderr
    assert (ran.returncode, ran.stderr) == (-signal.SIGTERM, TOLD)


def test_a_child_that_is_told_to_go_as_soon_as_it_is_there_does_not_tell_its_parent():
    code = """
notice = watch(deadline_secs=1)
for _ in range(300):
    pid = os.fork()
    if not pid:
        while True:
            time.sleep(1000)
    os.kill(pid, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -15
time.sleep(1.5)
print(notice.is_given)
"""
    assert run(code) == (0, "False\n", "")


def test_a_child_can_watch_for_itself_and_does_not_obey_what_its_parent_was_told():
    code = """
notice = watch()
signal.raise_signal(signal.SIGTERM)
pid = os.fork()
if not pid:
    assert not notice.is_given
    notice.obey()
    own = watch()
    assert not own.is_given
    own.obey()
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
notice.obey()
"""
    assert run(code) == (-signal.SIGTERM, "7\n", TOLD)
