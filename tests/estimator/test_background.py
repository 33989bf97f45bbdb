import threading

import pytest

from estimator_ckpt.estimator.background.worker import Background


def test_one_thing_is_done_at_a_time_in_order():
    background, done, gate = Background("test"), [], threading.Event()

    def first():
        gate.wait(600)
        done.append("first")

    background.start(first)
    assert background.is_busy
    threading.Timer(0.1, gate.set).start()
    background.start(lambda: done.append("second"))  # waits for the first
    assert done[0] == "first"
    background.wait()
    assert done == ["first", "second"]
    assert not background.is_busy


def test_what_goes_wrong_is_raised_once_where_somebody_waits():
    background = Background("test")

    def fail():
        raise KeyError("mine")

    background.start(fail)
    with pytest.raises(KeyError, match="mine"):
        background.wait()
    background.wait()
    background.check()


def test_what_goes_wrong_can_be_asked_for_without_waiting():
    background, gate = Background("test"), threading.Event()

    def fail():
        gate.wait(600)
        raise KeyError("mine")

    background.start(fail)
    background.check()
    gate.set()
    while background.is_busy:
        pass
    with pytest.raises(KeyError):
        background.check()


def test_the_thread_that_does_it_does_not_wait_for_itself():
    background, done = Background("test"), []

    def work():
        background.wait()
        done.append(True)

    background.start(work)
    background.wait()
    assert done
