"""What a conversion says of itself: each key of both sides, and why some are gone.

for dropped in report.dropped:
    print(dropped.key, dropped.reason)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from estimator_ckpt.shown import Shown

OTHER_NAME = "another name of the same bytes"
"""How the reason begins for which a key is dropped whose bytes are in the target all the same."""


class KeyChange(NamedTuple):
    """A key of the source and one that its bytes have in the target.

    (A NamedTuple, as are the other rows of which there may be 100,000.)
    """

    source: str
    target: str


class DroppedKey(NamedTuple):
    """A key of the source that the target doesn't have, and why."""

    key: str
    reason: str

    @property
    def is_other_name(self) -> bool:
        """Whether it is only gone as a name: its bytes are in the target all the same."""
        return self.reason.startswith(OTHER_NAME)


@dataclass(frozen=True, repr=False)
class ConversionReport(Shown, verb="convert"):
    """What a conversion did.

    Attributes:
      prefix: of the checkpoint that was written.
      format: its format.
      keys: each key of the source with its key in the target; twice where it has two (`dual`).
      dropped: keys of the source that the target doesn't have.
      added: keys of the target that the source had nothing for (object graph, save_counter).
      bytes_linked: bytes of data files that were hard-linked.
      bytes_copied: bytes of data files that were copied.
      bytes_written: bytes written anew: the index, and the small shard with what was added.
      notes: what else there is to know: names that are object paths, layouts that don't stay.
      bytes_unused: bytes of the linked or copied data files that no tensor of the target uses; in a
        dry run, of those that would be.
      dry_run: whether it is only what would be done, and nothing was written.
      existed: whether it was there already, with the same keys and checksums, and was left alone.
    """

    prefix: str
    format: str
    keys: tuple[KeyChange, ...]
    dropped: tuple[DroppedKey, ...]
    added: tuple[str, ...]
    bytes_linked: int
    bytes_copied: int
    bytes_written: int
    notes: tuple[str, ...] = ()
    bytes_unused: int = 0
    dry_run: bool = False
    existed: bool = False
