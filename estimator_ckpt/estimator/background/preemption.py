"""Lets a job that is told to go (SIGTERM) make its final checkpoint first.

    notice = PreemptionNotice(deadline_secs=120)
    notice.watch()                  # from now on the signal is only noted
    if notice.is_given: ...         # between two steps: stop training
    notice.obey()                   # everything is saved: end as the signal wants it

A program that handles the signal itself is left alone, and so are its children: in one made by
fork the signal does what it did before `watch`.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from estimator_ckpt.messages import logger

_log = logger(__name__)
_LONGEST_WAIT = 3600.0
_SAME_SIGNAL_SECS = 1.0  # `timeout` and others send it to a process, then to its group
_PATIENCE_SECS = 1.0  # that a line of the log may take
_HANDLED = b"\0"  # no signal has this number


class PreemptionNotice:
    """A SIGTERM that was sent to this process, and is obeyed later."""

    def __init__(self, deadline_secs: float = 120.0) -> None:
        """Creates it.

        Args:
          deadline_secs: when so many seconds have passed since the signal, or when it comes again,
            the process ends in any case, even if the main thread hangs.
        """
        self.is_given = False
        self._deadline_secs = deadline_secs
        self._watchdog: _Watchdog | None = None

    def watch(self) -> None:
        """Notes the signal from now on; does nothing where that can't be, or is not wanted.

        It can't be outside the main thread, nor where another has the wakeup fd.
        """
        global _watching
        is_main = threading.current_thread() is threading.main_thread()
        if not is_main or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
            return
        watchdog = _Watchdog(self._is_handling, self._deadline_secs)
        if watchdog.start():
            self._watchdog = watchdog
            _watching = self
            _restore_in_children()
            signal.signal(signal.SIGTERM, self._note)

    def obey(self) -> None:
        """Watches no longer, and ends the process if the signal came."""
        watchdog = self._leave()
        if watchdog is None:
            return
        watchdog.stop()
        if self.is_given:
            _end_by_default()

    def forget(self) -> None:
        """Makes as if there had never been a watch, in a child that fork has just made."""
        watchdog = self._leave()
        if watchdog is not None:
            watchdog.close()
        self.is_given = False

    def _leave(self) -> _Watchdog | None:
        """Restores the signal's handler, unless the program has put in its own since."""
        global _watching
        _watching = None
        if self._is_handling():
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        watchdog, self._watchdog = self._watchdog, None
        return watchdog

    def _is_handling(self) -> bool:
        return signal.getsignal(signal.SIGTERM) == self._note

    def _note(self, number: int, frame: Any) -> None:
        del number, frame
        if self._watchdog is None:  # called by a handler of the program's own that came later
            _end_by_default()
        else:
            self.is_given = True
            self._watchdog.handled()


class _Watchdog:
    """A thread that hears of a signal at once, also while the main thread is in C++.

    Python's handlers run in the main thread, between two of its own instructions.
    """

    def __init__(self, is_handling: Callable[[], bool], deadline_secs: float):
        self._is_handling = is_handling
        self._deadline_secs = deadline_secs
        self._receiver, self._sender = socket.socketpair()
        self._sender.setblocking(False)
        self._thread = threading.Thread(target=self._run, name="SIGTERM watchdog", daemon=True)

    def start(self) -> bool:
        """Begins to listen; returns whether it does, as the program may do that itself."""
        before = signal.set_wakeup_fd(self._sender.fileno(), warn_on_full_buffer=False)
        if before != -1:
            signal.set_wakeup_fd(before)
            self.close()
            _log.warning(
                "SIGTERM makes no final checkpoint: the program has a wakeup fd of its own"
            )
            return False
        self._thread.start()
        return True

    def handled(self) -> None:
        """Tells the thread, which has heard of the signal unless its wakeup fd was replaced."""
        with contextlib.suppress(BlockingIOError):
            self._sender.send(_HANDLED)

    def stop(self) -> None:
        """Ends the thread."""
        self._receiver.shutdown(socket.SHUT_RDWR)  # closing does not wake it up
        self._thread.join(2 * _PATIENCE_SECS)
        self.close()

    def close(self) -> None:
        """Gives up what the thread listens to; in a child there is no thread."""
        before = signal.set_wakeup_fd(-1)
        if before not in (-1, self._sender.fileno()):
            signal.set_wakeup_fd(before)
        self._receiver.close()
        self._sender.close()

    def _run(self) -> None:
        first: float | None = None
        while True:
            if first is None:
                self._receiver.settimeout(None)
            else:
                left = first + self._deadline_secs - time.monotonic()
                if left <= 0:
                    _say(f"SIGTERM, {self._deadline_secs:g} s ago: the process ends as it is")
                    _end_by_default()
                    return
                self._receiver.settimeout(min(left, _LONGEST_WAIT))
            try:
                received = self._receiver.recv(1)
            except socket.timeout:
                continue
            if not received:
                return
            # The wakeup fd tells of every signal that Python handles, whoever handles it.
            is_signal = received[0] == signal.SIGTERM and self._is_handling()
            if first is None and (is_signal or received == _HANDLED):
                first = time.monotonic()
                _say("SIGTERM: training stops after this step, and saves a final checkpoint")
            elif first and is_signal and time.monotonic() - first >= _SAME_SIGNAL_SECS:
                _say("SIGTERM again: the process ends as it is")
                _end_by_default()
                return


def _say(message: str) -> None:
    """Logs a message, but does not wait for ever for whoever holds the log's lock."""
    thread = threading.Thread(target=_log.warning, args=(message,), daemon=True)
    thread.start()
    thread.join(_PATIENCE_SECS)


def _end_by_default() -> None:
    """Ends the process as SIGTERM does when nobody handles it; from any thread."""
    set_handler = ctypes.pythonapi.PyOS_setsig  # signal.signal is for the main thread
    set_handler.argtypes, set_handler.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p
    set_handler(signal.SIGTERM, None)  # SIG_DFL
    os.kill(os.getpid(), signal.SIGTERM)


_watching: PreemptionNotice | None = None
"""The one whose handler is in place."""
_masks = threading.local()
_restores_in_children = False


def _restore_in_children() -> None:
    """Has children that are made by fork handle the signal as if nobody watched, from now on."""
    global _restores_in_children
    if not _restores_in_children and hasattr(os, "register_at_fork"):
        _restores_in_children = True
        os.register_at_fork(
            before=_hold_signal, after_in_parent=_let_signal_through, after_in_child=_begin_child
        )


def _hold_signal() -> None:
    # A child that is told to go before its handler is restored would wake up its parent's thread.
    if _watching is not None:
        _masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def _let_signal_through() -> None:
    before = vars(_masks).pop("before", None)
    if before is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin_child() -> None:
    if _watching is not None:
        _watching.forget()
    _let_signal_through()
