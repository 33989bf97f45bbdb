"""What doctor says of data files that several checkpoints of a directory share.

told = told_of_sharing("model_dir", names)      # None if there are none
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from estimator_ckpt.checkpoint.opening import shard_of
from estimator_ckpt.checkpoint.sharing import shared_files
from estimator_ckpt.messages import listed
from estimator_ckpt.storage import files


def told_of_sharing(directory: str, names: Sequence[str]) -> str | None:
    """Returns how much room checkpoints save by what they share; None if they share nothing.

    Args:
      directory: where they are.
      names: what is in it.
    """
    shared = [each for each in shared_files(directory, names) if each.size]
    if not shared:
        return None
    saved = sum(each.size * (len(each.checkpoints) - 1) for each in shared)
    named = sum(_sizes(directory, names))
    most = max(shared, key=lambda each: (len(each.checkpoints), each.size))
    together = listed([f"'{base}'" for base in reversed(most.checkpoints)], shown=3)
    return (
        f"checkpoints share data files: they have {named:,} bytes, and take {named - saved:,} on "
        f"the disk; damage to the file of {most.size:,} bytes that most of them share is damage to "
        f"{len(most.checkpoints)} of them: {together}"
    )


def _sizes(directory: str, names: Sequence[str]) -> Iterator[int]:
    for name in names:
        if shard_of(name) is not None:
            try:
                yield files.size(os.path.join(directory, name))
            except FileNotFoundError:  # it has just been removed
                continue
