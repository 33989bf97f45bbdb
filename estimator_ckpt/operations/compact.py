"""Writes a checkpoint anew with only the bytes that are used.

    report = compact("small/model.ckpt-10", "packed/model.ckpt-10")
    print(report.bytes_before, report.bytes_after)
    compact("job", "packed/model.ckpt-10", exclude="Adam")

What `drop`, `rename` and `convert` leave out still takes its room in the data files, which they
link. Here tensors are copied in pieces, and their checksums verified. Keys, format and layout stay;
what shares bytes still shares them, and partitioned variables keep their parts.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from estimator_ckpt import naming
from estimator_ckpt.checkpoint.account import open_account
from estimator_ckpt.checkpoint.identity import other_prefix
from estimator_ckpt.conversion.planning import plan
from estimator_ckpt.conversion.report import DroppedKey
from estimator_ckpt.conversion.rewriting import rewrite
from estimator_ckpt.shown import Shown
from estimator_ckpt.storage import files
from estimator_ckpt.storage.files import Progress


@dataclass(frozen=True, repr=False)
class CompactReport(Shown, verb="compact"):
    """What was compacted.

    Attributes:
      prefix: of the checkpoint that was written.
      format: its format, that of the source.
      keys: how many keys it has.
      dropped: keys of the source that were left out, and why.
      bytes_before: the size of the source's files, its index included.
      bytes_after: the size of the new checkpoint's files, its index included.
    """

    prefix: str
    format: str
    keys: int
    dropped: tuple[DroppedKey, ...]
    bytes_before: int
    bytes_after: int


def compact(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    include: str | Sequence[str] = ".*",
    exclude: str | Sequence[str] | None = None,
    names: str = "auto",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> CompactReport:
    """Writes a checkpoint that has the tensors of another one, and no other bytes.

    Args:
      source: a checkpoint's prefix, or a model_dir (its latest checkpoint), in any format.
      target: the prefix of the new checkpoint, of the same format and layout.
      include: regular expressions; a variable is taken if one is found in its name, and so is the
        global step in any case. Slots have names of their own.
      exclude: regular expressions; a variable is not taken if one is found in its name.
      names: "auto" or "path", as for `convert`.
      overwrite: whether `target` may be replaced.
      progress: called with (target, bytes written, bytes in all).

    Returns:
      What was written, and how much room it takes.

    Raises:
      CheckpointArgumentError: the target is the source, or a pattern is no regular expression or
        matches no variable.
      CheckpointNotFoundError: there is no checkpoint at `source`.
      DamagedCheckpointError: the source is damaged or incomplete.
      CheckpointExistsError: `target` exists and `overwrite` is false.
      CheckpointWriteError: the file system refused to write the target.
    """
    account = open_account(source, names)
    checkpoint = account.checkpoint
    prefix = other_prefix(target, source, checkpoint)
    wanted = naming.NameFilter(include, exclude, always=(naming.GLOBAL_STEP,))
    conversion = None
    if not wanted.takes_all:
        conversion = plan(
            account, edit=lambda held: naming.choose(held.key_of, wanted.checked(held.key_of))
        )
    before = sum(map(files.size, checkpoint.file_paths))
    written = rewrite(
        checkpoint, prefix, conversion=conversion, overwrite=overwrite, progress=progress
    )
    entries = checkpoint.index.entries
    return CompactReport(
        prefix,
        account.format,
        len(entries if conversion is None else conversion.sources.keys() | conversion.added.keys()),
        () if conversion is None else conversion.dropped,
        before,
        written,
    )
