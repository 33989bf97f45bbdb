"""Casts float32 variables of a checkpoint to a shorter type, or shorter ones back.

    report = cast("job", "small/model.ckpt-10", to="bfloat16", exclude="BatchNorm")
    for variable in report.cast:
        print(variable.name, variable.overflows)

Values are rounded to the nearest, ties to even. Types other than these, and variables that aren't
asked for, keep their bytes. Format and layout stay; tensors are read and written in pieces.
"""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from estimator_ckpt import naming
from estimator_ckpt.bundle import TensorEntry, dtypes
from estimator_ckpt.checkpoint import arrays
from estimator_ckpt.checkpoint.account import Account, open_account
from estimator_ckpt.checkpoint.casting import Losses, cast_array
from estimator_ckpt.checkpoint.identity import other_prefix
from estimator_ckpt.conversion.rewriting import Change, rewrite
from estimator_ckpt.errors import CheckpointArgumentError
from estimator_ckpt.messages import choices
from estimator_ckpt.shown import Shown
from estimator_ckpt.storage.files import Progress

_NUMBERS = {name: number for number, name in dtypes.DTYPE_NAMES.items()}
# What is cast to each type.
_FROM: dict[str, tuple[str, ...]] = {
    "bfloat16": ("float32",),
    "float16": ("float32",),
    "float32": ("bfloat16", "float16"),
}
TYPES = tuple(_FROM)
"""The types that can be cast to."""


@dataclass(frozen=True)
class CastVariable:
    """One variable that was cast.

    Attributes:
      name: as in a name-based checkpoint; its key where there is no such name.
      shape: size of each dimension.
      old_dtype: the type that it had.
      new_dtype: the type that it has.
      overflows: how many of its values were finite and are infinite now.
      underflows: how many were not zero and are zero now.
    """

    name: str
    shape: tuple[int, ...]
    old_dtype: str
    new_dtype: str
    overflows: int
    underflows: int


@dataclass(frozen=True)
class KeptVariable:
    """A variable that was not cast, and why."""

    name: str
    dtype: str
    reason: str


@dataclass(frozen=True, repr=False)
class CastReport(Shown, verb="cast"):
    """What was cast.

    Attributes:
      prefix: of the checkpoint that was written.
      format: its format, that of the source.
      cast: the variables that were, sorted by name.
      kept: the variables that were not, sorted by name.
      bytes_before: the size of all variables in the source.
      bytes_after: their size now.
      bytes_written: the size of the new checkpoint's files.
    """

    prefix: str
    format: str
    cast: tuple[CastVariable, ...]
    kept: tuple[KeptVariable, ...]
    bytes_before: int
    bytes_after: int
    bytes_written: int


def cast(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    to: str,
    include: str | Sequence[str] = ".*",
    exclude: str | Sequence[str] | None = None,
    names: str = "auto",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> CastReport:
    """Writes a checkpoint with its floating-point variables cast to another type.

    Variables of the new type are needed to read it: TensorFlow doesn't cast when it restores.

    Args:
      source: a checkpoint's prefix, or a model_dir (its latest checkpoint), in any format.
      target: the prefix of the new checkpoint, of the same format and layout.
      to: "bfloat16" or "float16", for what is float32; "float32", for what is either.
      include: regular expressions; a variable is cast if one is found in its name.
      exclude: regular expressions; a variable is not cast if one is found in its name.
      names: how tensors are called, "auto" or "path", as for `convert`.
      overwrite: whether `target` may be replaced.
      progress: called with (target, bytes written, bytes in all).

    Returns:
      What was cast, with the number of values that overflowed in each variable.

    Raises:
      CheckpointArgumentError: the type can't be cast to, a pattern is no regular expression, or
        there is nothing to cast, or TensorFlow couldn't read the result (partitioned variables
        as float16 in an object-based checkpoint).
      CheckpointNotFoundError: there is no checkpoint at `source`.
      DamagedCheckpointError: the source is damaged or incomplete.
      CheckpointExistsError: `target` exists and `overwrite` is false.
      CheckpointWriteError: the file system refused to write the target.
    """
    if to not in _FROM:
        raise CheckpointArgumentError(f"to must be {choices(TYPES)}, not '{to}'")
    account = open_account(source, names)
    checkpoint = account.checkpoint
    prefix = other_prefix(target, source, checkpoint)
    casts = _Casts(account, to, naming.NameFilter(include, exclude))
    written = rewrite(checkpoint, prefix, casts, overwrite=overwrite, progress=progress)
    return CastReport(
        prefix,
        account.format,
        casts.rows(),
        tuple(
            KeptVariable(name, casts.entries[name].dtype_name, reason)
            for name, reason in sorted(casts.kept.items())
        ),
        sum(entry.bytes for entry in casts.entries.values()),
        sum(casts.new_bytes(name) for name in casts.entries),
        written,
    )


class _Casts:
    """What becomes of the tensors: another type, or nothing."""

    def __init__(self, account: Account, to: str, wanted: naming.NameFilter):
        checkpoint = account.checkpoint
        self._checkpoint = checkpoint
        self._format = account.format
        self._to = to
        self._names = account.name_of
        self.entries = {name: account.entry(name) for name in account.key_of}
        wanted.checked(self.entries)
        self.kept: dict[str, str] = {}
        for name, entry in self.entries.items():
            if account.roles[name].kind == "global_step":
                self.kept[name] = "the global step"
            elif entry.dtype_name not in _FROM[to]:
                self.kept[name] = f"only {' and '.join(_FROM[to])} is cast to {to}"
            elif not wanted(name):
                self.kept[name] = naming.UNWANTED
        self.cast = self.entries.keys() - self.kept.keys()
        if not self.cast:
            raise CheckpointArgumentError(
                f"there is nothing to cast to {to} in '{checkpoint.prefix}': no variable that is "
                f"asked for is {' or '.join(_FROM[to])}"
            )
        self._require_readable()
        # By what is stored, as variables may share it, and a partitioned one has several.
        self._losses: dict[TensorEntry, Losses] = defaultdict(Losses)

    def _require_readable(self) -> None:
        """Makes sure that TensorFlow can read what is to be in parts.

        It reads a float16 variable that is in parts only by the same parts, as a Saver of the same
        partitioned variable does, and never as a whole, as a tf.train.Checkpoint does.
        """
        if self._to != "float16" or self._format == "tf1":
            return
        for name in sorted(self.cast):
            if self.entries[name].parts:
                raise CheckpointArgumentError(
                    f"'{name}' is in {len(self.entries[name].parts)} parts, which TensorFlow can't "
                    "read into an object if they are float16; cast to bfloat16, or leave it out "
                    "(exclude, --exclude)"
                )

    def rows(self) -> tuple[CastVariable, ...]:
        """Returns what was cast, once it was."""
        return tuple(
            CastVariable(
                name,
                entry.shape,
                entry.dtype_name,
                self._to,
                sum(self._losses[stored].overflows for stored in entry.stored),
                sum(self._losses[stored].underflows for stored in entry.stored),
            )
            for name, entry in sorted(self.entries.items())
            if name in self.cast
        )

    def new_bytes(self, name: str) -> int:
        """Returns the size that a variable gets."""
        entry = self.entries[name]
        if name in self.kept:
            return entry.bytes
        return math.prod(entry.shape) * (dtypes.element_size(_NUMBERS[self._to]) or 0)

    def of(self, key: str, entry: TensorEntry) -> Change:
        return self._to if self._names.get(key) in self.cast else None

    def dtype(self, change: Change, entry: TensorEntry) -> int:
        return _NUMBERS[self._to]

    def chunks(self, change: Change, entry: TensorEntry, part: int) -> Iterator[bytes]:
        stored = entry.stored[part]
        dtype = arrays.numpy_dtype(_NUMBERS[self._to])
        assert dtype is not None
        for chunk in arrays.array_chunks(self._checkpoint, stored):
            yield cast_array(chunk, dtype, self._losses[stored]).tobytes()
