"""Which checkpoints of a directory share data files: hard links are names of the same bytes.

    for shared in shared_files("model_dir"):
        shared.size, shared.checkpoints          # 104857600, ("model.ckpt-80", "model.ckpt-90")

Told by the numbers of the files (inodes), so on a local disk alone; of no file anything is read.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

from estimator_ckpt.checkpoint.opening import Checkpoint, shard_of, step_in_name
from estimator_ckpt.storage import files


class SharedFile(NamedTuple):
    """A data file that several checkpoints of a directory have.

    Attributes:
      size: in bytes.
      checkpoints: their prefixes without the directory, by step.
    """

    size: int
    checkpoints: tuple[str, ...]


class Sharing(NamedTuple):
    """What two checkpoints of a directory share.

    Attributes:
      checkpoint: the other one's prefix, without the directory.
      bytes: of the data files that both have.
    """

    checkpoint: str
    bytes: int


def shared_files(directory: str, names: Sequence[str] | None = None) -> list[SharedFile]:
    """Returns the data files that several checkpoints of a directory have.

    Args:
      directory: where they are.
      names: what is in it, if that is known.
    """
    if not files.is_local(directory):
        return []
    found: dict[tuple[int, int], set[str]] = {}
    sizes: dict[tuple[int, int], int] = {}
    for name in files.names(directory) if names is None else names:
        base = shard_of(name)
        if base is None:
            continue
        try:
            device, inode, size, _ = files.identity(os.path.join(directory, name))
        except FileNotFoundError:  # it has just been removed
            continue
        found.setdefault((device, inode), set()).add(base)
        sizes[device, inode] = size
    return [
        SharedFile(sizes[key], tuple(sorted(bases, key=lambda base: (step_in_name(base), base))))
        for key, bases in found.items()
        if len(bases) > 1
    ]


def sharing(checkpoint: Checkpoint) -> tuple[Sharing, ...]:
    """Returns what a checkpoint shares with others of its directory, the most first.

    Of the others, only the list of the directory is read, which has their numbers.
    """
    if checkpoint.is_foreign or not files.is_local(checkpoint.prefix):
        return ()
    own = {}
    for path in filter(files.has_other_names, checkpoint.shard_paths):
        _, inode, size, _ = files.identity(path)
        own[inode] = size
    if not own:
        return ()
    directory, own_base = os.path.split(checkpoint.prefix)
    shared: dict[str, dict[int, int]] = {}  # of the others; of a file with two names in one, once
    for name, inode in files.inodes(directory).items():
        base = shard_of(name) if inode in own else None
        if base is not None and base != own_base:
            shared.setdefault(base, {})[inode] = own[inode]
    found = [Sharing(base, sum(sizes.values())) for base, sizes in shared.items()]
    found.sort(key=lambda each: (-each.bytes, -step_in_name(each.checkpoint), each.checkpoint))
    return tuple(each for each in found if each.bytes)
