"""Lets a job that is told to go (SIGTERM) make its final checkpoint first.

    notice = PreemptionNotice()
    notice.watch()                  # from now on the signal is only noted
    if notice.is_given: ...         # between two steps: stop training
    notice.obey()                   # everything is saved: end as the signal wants it

A program that handles the signal itself is left alone.
"""

from __future__ import annotations

import logging
import signal
import threading
from typing import Any

_log = logging.getLogger(__name__)


class PreemptionNotice:
    """A SIGTERM that was sent to this process, and is obeyed later."""

    def __init__(self) -> None:
        self.is_given = False
        self._watches = False

    def watch(self) -> None:
        """Notes the signal from now on; does nothing where that can't be, or is not wanted.

        It can't be outside the main thread.
        """
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
            signal.signal(signal.SIGTERM, self._note)
            self._watches = True

    def obey(self) -> None:
        """Watches no longer, and ends the process if the signal came."""
        if not self._watches:
            return
        self._watches = False
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if self.is_given:
            signal.raise_signal(signal.SIGTERM)

    def _note(self, number: int, frame: Any) -> None:
        del number, frame
        if not self.is_given:
            _log.warning("SIGTERM: training stops after this step, and saves a final checkpoint")
        self.is_given = True
