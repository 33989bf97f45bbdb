import signal
import subprocess
import sys
import threading

import pytest

from estimator_ckpt.estimator.background.preemption import PreemptionNotice


def test_the_signal_is_noted_and_obeyed_later():
    code = (
        "import signal\n"
        "from estimator_ckpt.estimator.background.preemption import PreemptionNotice\n"
        "notice = PreemptionNotice()\n"
        "notice.watch()\n"
        "signal.raise_signal(signal.SIGTERM)\n"
        "print('given', notice.is_given, flush=True)\n"
        "notice.obey()\n"
        "print('not reached')\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (ran.returncode, ran.stdout) == (-signal.SIGTERM, "given True\n")


def test_without_a_signal_all_is_as_before():
    notice = PreemptionNotice()
    notice.watch()
    assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
    notice.obey()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


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


def test_outside_the_main_thread_nothing_is_watched():
    notice = PreemptionNotice()
    thread = threading.Thread(target=notice.watch)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
