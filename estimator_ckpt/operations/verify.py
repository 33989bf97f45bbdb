"""Checks every checksum of a checkpoint: of the index's blocks and of all tensors.

    verification = verify("model_dir")
    for finding in verification.findings:
        print(finding.file, finding.tensor, finding.problem)

Reads the data files once, in threads and in small pieces; goes on after what is damaged.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

from estimator_ckpt.bundle import decode_index
from estimator_ckpt.bundle.index import TensorEntry
from estimator_ckpt.bundle.tensor_checksum import stored_checksum
from estimator_ckpt.checkpoint import Checkpoint, find_prefix
from estimator_ckpt.checkpoint.account import Account
from estimator_ckpt.checkpoint.opening import index_path, reading, stranger_instead
from estimator_ckpt.checkpoint.strangers import stranger
from estimator_ckpt.errors import CheckpointError, DamagedCheckpointError
from estimator_ckpt.naming.filters import NameFilter
from estimator_ckpt.shown import Shown
from estimator_ckpt.storage import files
from estimator_ckpt.storage.files import Progress

# What a thread takes at once.
_BATCH_BYTES, _BATCH_TENSORS = 8 * 1024 * 1024, 500
# Neither reading nor summing holds Python's lock; one thread more than processors keeps them busy.
_MOST_THREADS = 8
_PROGRESS_STEP = 16 * 1024 * 1024


@dataclass(frozen=True)
class Finding:
    """Something that is damaged.

    Attributes:
      file: where.
      tensor: name of the variable, or the key of what is none; None if it is no single tensor.
      problem: what is wrong, in words.
    """

    file: str
    tensor: str | None
    problem: str


@dataclass(frozen=True, repr=False)
class Verification(Shown, verb="verify"):
    """What was checked, and what was found.

    Attributes:
      prefix: of the checkpoint.
      tensors: how many tensors were checked, those of two keys and parts counted once each.
      bytes: of them.
      num_shards: how many data files belong to the checkpoint.
      findings: what is damaged, those of the index first, then by place in the data files.
    """

    prefix: str
    tensors: int
    bytes: int
    num_shards: int
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is damaged."""
        return not self.findings


class _Piece(NamedTuple):
    """A tensor or a part of one, with what to call it."""

    entry: TensorEntry
    label: str


def verify(
    checkpoint: str | os.PathLike[str],
    *,
    names: str = "auto",
    wanted: Callable[[str], bool] | None = None,
    progress: Progress | None = None,
) -> Verification:
    """Checks the checksums of a checkpoint of any format.

    Args:
      checkpoint: a prefix, the path of an index, or a directory with a checkpoint (its latest).
      names: how tensors are called, "auto" or "path", as for `describe`.
      wanted: says of a variable's name, or of the key of what is none, whether to check the tensor;
        all by default.
      progress: called with (prefix, bytes checked, bytes in all), from several threads in turn.

    Returns:
      What was found. Damage is a finding, not an error.

    Raises:
      CheckpointNotFoundError: there is none.
      OSError: the index can't be read.
    """
    prefix = find_prefix(checkpoint)
    findings: list[Finding] = []
    path = index_path(prefix)

    def on_damage(problem: str) -> None:
        findings.append(Finding(path, None, problem))

    try:
        index = decode_index(files.read(path), on_damage)
    except DamagedCheckpointError as error:
        other = stranger(path)
        on_damage(f"it is {other}" if other else f"{error}; no tensor can be found without it")
        return Verification(prefix, 0, 0, 0, tuple(findings))
    opened = Checkpoint(prefix, index)
    account = Account(opened, names)
    findings += _lost(account, wanted or (lambda name: True))
    pieces = _pieces(account, wanted or (lambda name: True))
    usable = [_on_disk(opened, shard, of_shard, findings) for shard, of_shard in pieces.items()]
    total = sum(piece.entry.size for of_shard in usable for piece in of_shard)
    counter = _Counter(prefix, total, progress)
    batches = [batch for of_shard in usable for batch in _batches(of_shard)]
    entries = [piece.entry for of_shard in usable for piece in of_shard]
    with reading(opened, entries), _workers() as pool:
        for found in pool.map(lambda batch: _check(opened, batch, counter), batches):
            findings.extend(found)
    count = sum(map(len, usable))
    return Verification(prefix, count, total, index.num_shards, tuple(findings))


def _lost(account: Account, wanted: Callable[[str], bool]) -> list[Finding]:
    """Finds what the object graph names and the index lacks."""
    try:
        keys = account.lost_keys
    except Exception as error:  # its tensor is checked as all others are
        if isinstance(error, CheckpointError) or files.is_refusal(error):
            return []
        raise
    path = index_path(account.checkpoint.prefix)
    problem = "the object graph names it, but the index has no such key: its value is lost"
    return [Finding(path, key, problem) for key in keys if wanted(key)]


def _pieces(account: Account, wanted: Callable[[str], bool]) -> dict[int, list[_Piece]]:
    """Lists what has to be checked in each shard, in the order of the file, each place once."""
    names = _names(account)
    if isinstance(wanted, NameFilter):
        wanted.require_found([names.get(key, key) for key in account.entries])
    pieces: dict[TensorEntry, _Piece] = {}
    # Name-based keys, which are shorter, label what has two keys.
    for key, entry in sorted(account.entries.items(), key=lambda row: len(row[0])):
        label = names.get(key, key)
        if wanted(label):
            for number, stored in enumerate(entry.stored):
                part = f" (part {number})" if entry.parts else ""
                pieces.setdefault(stored, _Piece(stored, label + part))
    by_shard: dict[int, list[_Piece]] = {}
    for piece in sorted(pieces.values(), key=lambda piece: piece.entry[2:4]):
        by_shard.setdefault(piece.entry.shard_id, []).append(piece)
    return by_shard


def _names(account: Account) -> dict[str, str]:
    try:
        return account.name_of
    except Exception as error:  # the object graph may be what is damaged or missing
        if isinstance(error, CheckpointError) or files.is_refusal(error):
            return {}
        raise


def _on_disk(
    checkpoint: Checkpoint, shard: int, pieces: list[_Piece], findings: list[Finding]
) -> list[_Piece]:
    """Returns those of a shard's pieces that lie within the file; tells of the others."""
    path = checkpoint.shard_paths[shard]
    if not files.exists(path):
        count = f"{len(pieces):,} tensor{'s' if len(pieces) != 1 else ''}"
        findings.append(Finding(path, None, f"the file is missing, and {count} with it"))
        return []
    size = files.size(path)
    end = max((entry.offset + entry.size for entry, _ in pieces), default=size)
    if size != end and (other := stranger_instead(checkpoint, shard)):
        findings.append(Finding(path, None, f"the file is {other}"))
        return []
    for entry, label in pieces:
        if entry.offset + entry.size > size:
            problem = f"it should end at byte {entry.offset + entry.size}, the file at {size}"
            findings.append(Finding(path, label, problem))
    return [piece for piece in pieces if piece.entry.offset + piece.entry.size <= size]


def _batches(pieces: Iterable[_Piece]) -> Iterator[list[_Piece]]:
    batch: list[_Piece] = []
    size = 0
    for piece in pieces:
        batch.append(piece)
        size += piece.entry.size
        if size >= _BATCH_BYTES or len(batch) >= _BATCH_TENSORS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _check(checkpoint: Checkpoint, pieces: list[_Piece], counter: _Counter) -> list[Finding]:
    """Checks tensors of one data file."""
    findings = []
    path = checkpoint.shard_paths[pieces[0].entry.shard_id]
    try:
        for entry, label in pieces:
            try:
                crc = stored_checksum(entry, _counted(checkpoint.read_pieces(entry), counter))
            except DamagedCheckpointError as error:
                findings.append(Finding(path, label, str(error)))
                continue
            if crc != entry.crc32c:
                findings.append(Finding(path, label, _wrong(entry, crc)))
    except Exception as error:
        if not files.is_refusal(error):
            raise
        findings.append(Finding(path, None, f"it can't be read: {error}"))
    return findings


def _counted(chunks: Iterator[bytes], counter: _Counter) -> Iterator[bytes]:
    for chunk in chunks:
        counter.add(len(chunk))
        yield chunk


def _wrong(entry: TensorEntry, crc: int) -> str:
    return (
        f"its {entry.size} bytes at {entry.offset} have the checksum {crc:#010x}; "
        f"by the index it is {entry.crc32c:#010x}"
    )


@contextlib.contextmanager
def _workers() -> Iterator[ThreadPoolExecutor]:
    """Gives threads; when interrupted, they leave what they have not begun."""
    pool = ThreadPoolExecutor(min(_MOST_THREADS, (os.cpu_count() or 1) + 1))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


class _Counter:
    """Adds up what all threads have done, and tells of it now and then."""

    def __init__(self, prefix: str, total: int, progress: Progress | None):
        self._prefix = prefix
        self._total = total
        self._progress = progress
        self._lock = threading.Lock()
        self._done = 0
        self._told = 0

    def add(self, count: int) -> None:
        with self._lock:
            self._done += count
            if self._progress is None:
                return
            if self._done - self._told >= _PROGRESS_STEP or self._done == self._total:
                self._told = self._done
                self._progress(self._prefix, self._done, self._total)
