"""Does one thing at a time in a thread of its own.

    background = Background("checkpoint writer")
    background.start(work)          # waits for what was started before
    background.wait()               # raises what went wrong

The thread is no daemon: a program that ends waits for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable


class Background:
    """A place to do one thing while others go on."""

    def __init__(self, name: str):
        """Creates it.

        Args:
          name: of its threads.
        """
        self._name = name
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    @property
    def is_busy(self) -> bool:
        """Whether something is still being done."""
        return self._thread is not None and self._thread.is_alive()

    def start(self, work: Callable[[], None]) -> None:
        """Begins to do something, after what was begun before has ended.

        Raises:
          BaseException: what went wrong with that.
        """
        self.wait()
        self._thread = threading.Thread(target=self._run, args=(work,), name=self._name)
        self._thread.start()

    def wait(self) -> None:
        """Waits until nothing is being done; returns at once in the thread that does it.

        Raises:
          BaseException: what went wrong there, once.
        """
        if self._thread is not None:
            if self._thread.ident == threading.get_ident():
                return
            self._thread.join()
            self._thread = None
        self.check()

    def check(self) -> None:
        """Raises what went wrong since this was asked the last time; does not wait."""
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # it is raised where somebody waits for it
            self._error = error
