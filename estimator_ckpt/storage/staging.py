"""Names for what is not in its place yet, which tell whose it is.

    staging_name("job/model.ckpt-10.index")         # ....index.staging-5f1c0a77-4711-9b1d77e02c44
    is_abandoned("model.ckpt-10.index.staging-5f1c0a77-4711-9b1d77e02c44")     # its process is gone

A name has the machine, the process and a random part that nobody can guess. A process of another
machine, or of another container, can't be looked up from here, so what is its is never taken for
abandoned; nor is anything of others where the system doesn't tell which boot and container this is.
"""

from __future__ import annotations

import functools
import os
import re

_STAGED = re.compile(
    r"(?P<target>.*)\.staging-(?P<machine>[0-9a-f]{8})-(?P<pid>\d{1,9})-(?P<run>[0-9a-f]{8})"
    r"(?:[0-9a-f]{4}|[0-9a-f]{16})"
)
_IDENTITY = ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid")
# Tells this process from an earlier one that had its number, as each first one of a container has.
_RUN, _NO_RUN = os.urandom(4).hex(), "0" * 8


def staging_name(path: str) -> str:
    """Returns a fresh name beside `path`, for what will be renamed to it."""
    return _name(path, _RUN)


def removal_name(path: str) -> str:
    """Returns a fresh name beside `path`, for what is about to be removed.

    If that does not come about, this process itself takes it for abandoned, too.
    """
    return _name(path, _NO_RUN)


def _name(path: str, run: str) -> str:
    return f"{path}.staging-{_machine()}-{os.getpid()}-{run}{os.urandom(8).hex()}"


def staged_for(name: str) -> str | None:
    """Returns the name that a staged file is for; None if it is not called like one."""
    match = _STAGED.fullmatch(name)
    return match["target"] if match else None


def is_abandoned(name: str) -> bool:
    """Returns whether a name is of something staged whose process is certainly gone.

    A process that has got the number of one that is gone only delays that.
    """
    match = _STAGED.fullmatch(name)
    if match is None or match["machine"] != _machine():
        return False
    pid = int(match["pid"])
    return match["run"] != _RUN if pid == os.getpid() else not _is_running(pid)


@functools.lru_cache(maxsize=1)
def _machine() -> str:
    """Names the place where process numbers mean the same: this boot and this container."""
    import hashlib  # here, as these take a while to load, and what only reads needs neither
    import socket
    import uuid

    parts = [socket.gethostname(), str(uuid.getnode())]
    boot, namespace = _IDENTITY
    try:
        with open(boot, encoding="ascii") as file:
            parts += [file.read(), os.readlink(namespace)]
    except OSError:  # no Linux, or a container that hides them: then this process knows no other
        parts.append(os.urandom(8).hex())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]


def _is_running(pid: int) -> bool:
    if os.name == "nt":
        return True  # there is no way to ask: os.kill would end it
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # there is one, of another user; or no system has such numbers
        return True
    return True
