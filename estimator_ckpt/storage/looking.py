"""What is known of a store during one command, so that it is asked once.

    with looking_once():
        files.names("s3://bucket/job")                  # one request
        files.size("s3://bucket/job/checkpoint")        # none: the listing says it

Outside of such a block nothing is remembered. What this process writes or removes is known at once;
what others do meanwhile is not, but nothing of theirs is written over: a commit is conditional.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator
from dataclasses import dataclass, field

from estimator_ckpt.storage.protocol import Status

_SMALL = 8 * 1024 * 1024  # an index or a state file, not data


@dataclass
class Listing:
    """What lies in a directory: each file's status (None: not told), and the directories."""

    files: dict[str, Status | None]
    directories: set[str]


@dataclass
class Known:
    """What is known of stores, by path.

    Attributes:
      status: of files; None where there is none.
      listings: of directories.
      bodies: of small files that were read whole.
    """

    status: dict[str, Status | None] = field(default_factory=dict)
    listings: dict[str, Listing] = field(default_factory=dict)
    bodies: dict[str, bytes] = field(default_factory=dict)

    def keep(self, path: str, body: bytes) -> None:
        """Remembers what is in a file, if it is small."""
        if len(body) <= _SMALL:
            self.bodies[path] = body

    def written(self, path: str) -> None:
        """Takes notice that this process has written a file."""
        self._forget(path)
        folder, _, name = path.rpartition("/")
        if listing := self.listings.get(folder):
            listing.files[name] = None
        while folder:
            above, _, name = folder.rpartition("/")
            if listing := self.listings.get(above):
                listing.directories.add(name)
            folder = above

    def removed(self, path: str) -> None:
        """Takes notice that a file is gone."""
        self._forget(path)
        self.status[path] = None
        folder, _, name = path.rpartition("/")
        if listing := self.listings.get(folder):
            listing.files.pop(name, None)

    def _forget(self, path: str) -> None:
        self.status.pop(path, None)
        self.bodies.pop(path, None)


_KNOWN: contextvars.ContextVar[Known | None] = contextvars.ContextVar("known", default=None)


def known() -> Known | None:
    """Returns what is known of stores; None outside of a command."""
    return _KNOWN.get()


@contextlib.contextmanager
def looking_once() -> Iterator[None]:
    """Remembers in its block, or the function that it decorates, what stores have answered.

    Of nested ones the outermost counts.
    """
    if _KNOWN.get() is not None:
        yield
        return
    token = _KNOWN.set(Known())
    try:
        yield
    finally:
        _KNOWN.reset(token)
