"""One checkpoint on disk: its prefix, its index, its shards.

    checkpoint = open_checkpoint("model_dir")           # the latest one, or give a prefix
    checkpoint.prefix, checkpoint.index.entries, checkpoint.shard_paths

Opening reads the index and looks at the shards' sizes; no tensor is read.
"""

from __future__ import annotations

import contextlib
import functools
import operator
import os
import re
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from estimator_ckpt.bundle import protos
from estimator_ckpt.bundle.index import (
    BundleIndex,
    TensorEntry,
    decode_index,
    encode_index,
    have_parts,
)
from estimator_ckpt.bundle.tensor_checksum import stored_checksum
from estimator_ckpt.checkpoint.strangers import V1, Stranger, is_v1, stranger
from estimator_ckpt.errors import CheckpointNotFoundError, DamagedCheckpointError
from estimator_ckpt.messages import listed, logger, nearest
from estimator_ckpt.storage import files
from estimator_ckpt.storage.reading import Reading

_log = logger(__name__)

STATE_FILE = "checkpoint"
INDEX_SUFFIX = ".index"
META_SUFFIX = ".meta"
FOREIGN_SUFFIXES = (".h5", ".hdf5", ".keras")
WEIGHTS_SUFFIX, ARCHIVE_SUFFIX = ".weights.h5", ".keras"
"""What the name of a file of Keras ends in."""
_SHARD_SUFFIX = re.compile(r"\.data-\d{5}-of-\d{5}$")
_FILE_SUFFIX = re.compile(r"(\.index|\.meta|\.data-\d{5}-of-\d{5})$")
_LONGEST_STATE = 16 * 1024 * 1024
_SHARD, _OFFSET, _SIZE = map(operator.itemgetter, (2, 3, 4))  # of an entry
_WINDOWS_PATH = re.compile(r"([A-Za-z]:|\\)\\")  # C:\job, \\server\job
_SAVED_MODEL = "saved_model.pb"
_SAVED_MODEL_PREFIX = os.path.join("variables", "variables")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose index is readable; where all data is required, it is complete, too.

    Attributes:
      prefix: the path without `.index`; of a file that others write, such as Keras, its path.
      index: what is in it.
      data_files: those that such a file's data is in; None for those of the prefix.
      scratch: a directory for what is made of such a file, which goes with this object.
      made: {entry: what reads its values in pieces}, of tensors that are in no data file, but made
        of others.
      refusing: those of `made` whose values may turn out not to fit, once they are read.
      changed: keys whose entries are others than in the file.
      base: the one as it lies there, where tensors are made of others.
    """

    prefix: str
    index: BundleIndex
    data_files: tuple[str, ...] | None = None
    scratch: str = ""
    made: Mapping[TensorEntry, Callable[[], Iterator[Any]]] = field(
        default_factory=dict, compare=False, repr=False
    )
    refusing: frozenset[TensorEntry] = frozenset()
    changed: frozenset[str] = frozenset()
    base: Checkpoint | None = field(default=None, compare=False, repr=False)
    opened: dict[int, Reading] = field(default_factory=dict, compare=False, repr=False)
    """Data files by shard number, within `reading`."""
    kept: dict[TensorEntry, bytes] = field(default_factory=dict, compare=False, repr=False)
    """Of a store, what was read whole: the object graph, above all."""

    @property
    def is_foreign(self) -> bool:
        """Whether it is a file that others write, maybe again and in place: never link its data."""
        return self.data_files is not None

    @functools.cached_property
    def shard_paths(self) -> tuple[str, ...]:
        """The data files, by shard number."""
        if self.data_files is not None:
            return self.data_files
        count = self.index.num_shards
        return tuple(shard_path(self.prefix, number, count) for number in range(count))

    @property
    def file_paths(self) -> tuple[str, ...]:
        """All its files."""
        if self.is_foreign:
            return tuple({self.prefix: None, **dict.fromkeys(self.shard_paths)})
        return (index_path(self.prefix), *self.shard_paths)

    @functools.cached_property
    def tensorflow_prefix(self) -> str:
        """The prefix by which TensorFlow's own readers read it, for as long as this object lives.

        Of a file that others write, it is that of a temporary index whose data files are links.
        """
        if self.base is not None:
            return self.base.tensorflow_prefix
        if not self.is_foreign:
            return self.prefix if files.renames(self.prefix) else self._copied()
        prefix = os.path.join(self.scratch, "model.ckpt")
        for number, path in enumerate(self.shard_paths):
            link = shard_path(prefix, number, self.index.num_shards)
            if files.is_remote(path):
                files.copy(path, link)
            else:
                os.symlink(os.path.abspath(path), link)
        files.write(index_path(prefix), encode_index(self.index))
        return prefix

    def _copied(self) -> str:
        """Copies it from a store to the disk: in few requests, and TensorFlow may not reach it."""
        folder = tempfile.mkdtemp(prefix="estimator_ckpt_")
        weakref.finalize(self, _remove, folder, os.getpid())
        prefix = os.path.join(folder, "model.ckpt")
        files.write(index_path(prefix), encode_index(self.index))
        for number, path in enumerate(self.shard_paths):
            files.copy(path, shard_path(prefix, number, self.index.num_shards))
        return prefix

    def read_bytes(self, entry: TensorEntry) -> bytes:
        """Returns the stored bytes of a tensor that is not partitioned."""
        if (held := self.kept.get(entry)) is not None:
            return held
        path, opened = self.shard_paths[entry.shard_id], self.opened.get(entry.shard_id)
        if opened is not None:
            data = opened.read(entry.offset, entry.size)
        else:
            data = files.read(path, entry.offset, entry.size)
        if not files.is_local(path):
            self.kept[entry] = data
        return data

    def read_pieces(self, entry: TensorEntry) -> Iterator[bytes]:
        """Yields the stored bytes of a tensor that is not partitioned, as `files.read_chunks`."""
        if entry in self.kept:
            return iter((self.kept[entry],))
        return files.read_chunks(
            self.shard_paths[entry.shard_id],
            entry.offset,
            entry.size,
            self.opened.get(entry.shard_id),
        )


@contextlib.contextmanager
def reading(checkpoint: Checkpoint, entries: Iterable[TensorEntry]) -> Iterator[None]:
    """Opens each data file once for all tensors that are read within it.

    From a store, they come in few requests, in the order of their bytes; best read in that order.

    Args:
      checkpoint: which has them; so do those that are made of it.
      entries: what will be read, each as often as it will be.
    """
    if checkpoint.opened:  # by whoever knows of more that is read
        yield
        return
    wanted = list(entries)
    if not checkpoint.made.keys().isdisjoint(wanted):
        wanted += (checkpoint.base or checkpoint).index.entries.values()
    ranges: dict[int, list[tuple[int, int]]] = {}
    for entry in wanted:
        for stored in entry.stored:
            if stored not in checkpoint.made and stored not in checkpoint.kept:
                ranges.setdefault(stored.shard_id, []).append((stored.offset, stored.size))
    with contextlib.ExitStack() as stack:
        for shard, of_shard in ranges.items():
            path = checkpoint.shard_paths[shard]
            checkpoint.opened[shard] = stack.enter_context(files.reading(path, of_shard))
        stack.callback(checkpoint.opened.clear)
        yield


def _remove(folder: str, owner: int) -> None:
    """Removes what an object had for itself; a forked child's copy of it leaves that alone."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)


def step_in_name(prefix: str) -> int:
    """Returns the number behind the last dash, as CheckpointSaverHook names them; -1 for none."""
    number = prefix.rpartition("-")[2]
    return int(number) if number.isdecimal() else -1


def index_path(prefix: str) -> str:
    """Returns the path of a checkpoint's index."""
    return prefix + INDEX_SUFFIX


def shard_path(prefix: str, number: int, count: int) -> str:
    """Returns the path of one of a checkpoint's data files."""
    return f"{prefix}.data-{number:05d}-of-{count:05d}"


def file_of(path: str) -> str | None:
    """Returns the prefix of a checkpoint if a path is called like one of its files, else None."""
    stem = _FILE_SUFFIX.sub("", path)
    return stem if stem != path else None


def existing_shards(prefix: str) -> list[str]:
    """Returns the data files of any count that there are for a prefix."""
    directory, base = os.path.split(prefix)
    return [
        os.path.join(directory, name) for name in files.names(directory) if shard_of(name) == base
    ]


def shard_of(path: str) -> str | None:
    """Returns the prefix of a checkpoint if a path is called like one of its data files."""
    stem = _SHARD_SUFFIX.sub("", path)
    return stem if stem != path else None


def open_checkpoint(checkpoint: str | os.PathLike[str], *, require_data: bool = True) -> Checkpoint:
    """Opens a checkpoint and makes sure that it is complete.

    Args:
      checkpoint: a prefix such as `model_dir/model.ckpt-10`, or the path of its `.index`; or a
        directory, which stands for the checkpoint that its state file names as the latest, or for
        a SavedModel's variables; or a file of Keras (`.weights.h5`, `.keras`, `.h5`).
      require_data: whether all of its data has to be there. Without that, `require_data` asks for
        what is needed.

    Returns:
      The checkpoint.

    Raises:
      CheckpointNotFoundError: there is none, or no longer; the message says what is there instead.
      DamagedCheckpointError: the index can't be decoded, or a shard is missing or too short.
    """
    if checkpoint is not None and (foreign := _foreign(os.fsdecode(checkpoint))):
        return foreign
    prefix = find_prefix(checkpoint)
    try:
        return _open(prefix, require_data)
    except Exception as error:
        is_lost = isinstance(error, DamagedCheckpointError) or files.is_refusal(error)
        if is_lost and not files.exists(index_path(prefix)):
            raise CheckpointNotFoundError(
                f"the checkpoint '{prefix}' was removed while it was opened, as jobs do with their "
                f"oldest{_what_is_there(prefix)}"
            ) from error
        raise


def is_keras_target(target: str | os.PathLike[str]) -> bool:
    """Returns whether a target is called as a file that Keras reads."""
    return os.fsdecode(target).endswith((WEIGHTS_SUFFIX, ARCHIVE_SUFFIX))


def _foreign(path: str) -> Checkpoint | None:
    if not path.lower().endswith(FOREIGN_SUFFIXES) or files.exists(index_path(path)):
        return None
    from estimator_ckpt.checkpoint.keras_file import open_keras_file  # it needs this module

    return open_keras_file(path)


def _open(prefix: str, complete: bool) -> Checkpoint:
    path = index_path(prefix)
    try:
        index = decode_index(files.read(path))
    except DamagedCheckpointError as error:
        raise DamagedCheckpointError(damaged_index(path, error)) from error
    opened = Checkpoint(prefix, index)
    if complete:
        require_data(opened, index.entries)
    return opened


def damaged_index(path: str, error: DamagedCheckpointError) -> str:
    """Says what an index is that can't be decoded."""
    if found := stranger(path):
        return f"the index '{path}' is {found}"
    return (
        f"the index '{path}' is damaged: {error}; restore it from a copy, or use another checkpoint"
    )


def find_prefix(checkpoint: str | os.PathLike[str] | None) -> str:
    """Returns the prefix of the checkpoint that a path stands for.

    Args:
      checkpoint: as for `open_checkpoint`.

    Returns:
      A prefix whose index exists.

    Raises:
      CheckpointNotFoundError: there is none.
    """
    if checkpoint is None:
        raise CheckpointNotFoundError(
            "there is no checkpoint: it is None, as tf.train.latest_checkpoint returns where it "
            "finds none; give a prefix, or a directory with checkpoints"
        )
    path = os.fsdecode(checkpoint)
    if files.exists(index_path(path)):
        return path
    if files.is_directory(path):
        return _latest_in(path)
    if path.endswith(INDEX_SUFFIX) and files.exists(path):
        return path[: -len(INDEX_SUFFIX)]
    if found := _what_it_is(path):
        raise CheckpointNotFoundError(f"'{path}' is {found}")
    for suffix in (_SHARD_SUFFIX, re.compile(r"\.meta$")):
        stem = suffix.sub("", path)
        if stem != path and files.exists(index_path(stem)):
            raise CheckpointNotFoundError(
                f"'{path}' is one file of a checkpoint; give the checkpoint's prefix: '{stem}'"
            )
        if stem != path and (found := _what_it_is(stem)):
            raise CheckpointNotFoundError(f"'{path}' belongs to '{stem}', which is {found}")
    if files.exists(path):
        raise CheckpointNotFoundError(
            f"'{path}' is a file, but none of a checkpoint{_what_is_there(path)}"
        )
    raise CheckpointNotFoundError(f"there is no checkpoint '{path}'{_what_is_there(path)}")


def _what_it_is(path: str) -> Stranger | None:
    """Says what there is instead of a checkpoint of this prefix, where it is of a known kind."""
    return V1 if is_v1(path) else stranger(path)


def read_state(directory: str) -> tuple[str | None, tuple[str, ...]]:
    """Reads a directory's state file.

    Args:
      directory: a model_dir.

    Returns:
      The prefix of the latest checkpoint (None where there is no state file) and those of all that
      it lists; relative ones joined to the directory, as TensorFlow does.

    Raises:
      DamagedCheckpointError: the state file can't be parsed.
    """
    path = os.path.join(directory, STATE_FILE)
    if not files.exists(path):
        return None, ()
    size = files.size(path)
    if size > _LONGEST_STATE:
        raise DamagedCheckpointError(
            f"the state file '{path}' has {size:,} bytes; {_LONGEST_STATE:,} are the most"
        )
    from google.protobuf import text_format  # here: what only imports this need not wait for it

    state = protos.CheckpointState()
    try:
        text_format.Parse(files.read(path), state)
    except (text_format.ParseError, ValueError, RecursionError) as error:
        if found := stranger(path):
            raise DamagedCheckpointError(f"the state file '{path}' is {found}") from error
        raise DamagedCheckpointError(
            f"the state file '{path}' can't be parsed: {str(error) or 'it is no text'}"
        ) from error
    if not state.model_checkpoint_path:
        return None, ()
    for named in (state.model_checkpoint_path, *state.all_model_checkpoint_paths):
        if "\0" in named:
            raise DamagedCheckpointError(f"the state file '{path}' names {named!r}, no file's name")
    return (
        _joined(directory, state.model_checkpoint_path),
        tuple(_joined(directory, each) for each in state.all_model_checkpoint_paths),
    )


def write_state(
    directory: str, latest: str, listed: Sequence[str], comments: Sequence[str] = ()
) -> None:
    """Writes a directory's state file, atomically, with paths relative to the directory.

    Args:
      directory: a model_dir.
      latest: prefix of the latest checkpoint.
      listed: prefixes of all that the directory has, from the oldest to the newest.
      comments: lines that no reader of the format takes notice of.
    """
    from google.protobuf import text_format

    state = protos.CheckpointState(
        model_checkpoint_path=os.path.relpath(latest, directory),
        all_model_checkpoint_paths=[os.path.relpath(prefix, directory) for prefix in listed],
    )
    text = "".join(f"# {comment}\n" for comment in comments) + text_format.MessageToString(state)
    files.write_atomically(os.path.join(directory, STATE_FILE), text.encode())


def _joined(directory: str, path: str) -> str:
    if _WINDOWS_PATH.match(path) and os.sep == "/":
        # It is of another machine; its last part may be here. (C:\/ is no scheme.)
        path = re.sub(r"[\\/]+", "/", path).lstrip("/")
    return path if os.path.isabs(path) or files.is_remote(path) else os.path.join(directory, path)


def _latest_in(directory: str) -> str:
    latest, _ = read_state(directory)
    if latest is None:
        for prefix in (os.path.join(directory, _SAVED_MODEL_PREFIX), os.path.join(directory, "")):
            if files.exists(index_path(prefix)):
                return prefix
        if files.exists(os.path.join(directory, _SAVED_MODEL)):
            raise CheckpointNotFoundError(
                f"the SavedModel '{directory}' has no variables: '{_SAVED_MODEL_PREFIX}.index' is "
                "missing; copy its whole directory, or use another one"
            )
        raise CheckpointNotFoundError(
            f"the directory '{directory}' has no state file '{STATE_FILE}', and is no SavedModel"
            f"{_model_dirs_below(directory) or _what_is_there(os.path.join(directory, ''))}"
        )
    return find_listed(directory, latest)


def find_listed(directory: str, prefix: str) -> str:
    """Finds a checkpoint that a state file names, also if the directory was moved since.

    Args:
      directory: where the state file is.
      prefix: as `read_state` returns it.

    Returns:
      The prefix of an existing checkpoint: this, or the one of that name in the directory itself.

    Raises:
      CheckpointNotFoundError: there is neither.
    """
    if files.exists(index_path(prefix)):
        return prefix
    here = os.path.join(directory, os.path.basename(prefix))
    if files.exists(index_path(here)):
        _log.warning("The state file of '%s' names '%s'; reading '%s'", directory, prefix, here)
        return here
    for path in (prefix, here):
        if found := _what_it_is(path):
            raise CheckpointNotFoundError(
                f"the state file of '{directory}' names '{path}', which is {found}"
            )
    raise CheckpointNotFoundError(
        f"the state file of '{directory}' names '{prefix}', which does not exist"
        f"{_what_is_there(here)}"
    )


def _model_dirs_below(directory: str) -> str:
    """Names what could have been meant where a directory of model_dirs was given."""
    below = [f"'{path}'" for path in _model_dirs(directory)]
    return f"; directories with checkpoints in it are {listed(below, 5)}" if below else ""


def _model_dirs(directory: str) -> list[str]:
    return [
        path
        for path in files.glob(directory, "*")
        if files.exists(os.path.join(path, STATE_FILE))
        or files.exists(index_path(os.path.join(path, _SAVED_MODEL_PREFIX)))
    ]


def _what_is_there(path: str) -> str:
    """Says which checkpoints a directory has instead, the nearest names first."""
    directory, base = os.path.split(path)
    if not files.is_directory(directory or "."):
        near = _near_folder(*os.path.split(directory.rstrip("/")))
        return f"; the directory '{directory}' does not exist{near}"
    if files.is_link(index_path(path)):
        return f"; '{index_path(path)}' is a link that leads nowhere"
    names = [
        os.path.basename(found)[: -len(INDEX_SUFFIX)]
        for found in files.glob(directory, "*" + INDEX_SUFFIX)
        if files.exists(found)
    ]
    if not names:
        return f"; there is no checkpoint in '{directory or '.'}'{_near_folder(directory, base)}"
    found = nearest(base, names)
    if not found and (told := _near_folder(directory, base)):
        return told
    found = found or names[-3:]
    paths = [f"'{os.path.join(directory, name)}'" for name in found]
    return f"; there is {listed(paths)}"


def _near_folder(directory: str, base: str) -> str:
    """Names a folder with checkpoints that is called nearly so."""
    folders = {
        os.path.basename(path.rstrip("/")): path.rstrip("/") for path in _model_dirs(directory)
    }
    found = nearest(base, folders, 1) if base else []
    return f"; did you mean the folder '{folders[found[0]]}'?" if found else ""


def require_data(checkpoint: Checkpoint, keys: Iterable[str]) -> None:
    """Makes sure that the data files have the bytes of some tensors.

    Args:
      checkpoint: an opened one.
      keys: of the tensors.

    Raises:
      DamagedCheckpointError: a data file is missing or too short.
    """
    entries = list(map(checkpoint.index.entries.__getitem__, keys))
    for number, end in sorted(_ends(entries).items()):
        path = shard_path(checkpoint.prefix, number, checkpoint.index.num_shards)
        if not files.exists(path):
            raise DamagedCheckpointError(
                f"the checkpoint '{checkpoint.prefix}' lacks its data file '{path}'; "
                "copy all files of a checkpoint, or use another one"
            )
        found = files.size(path)
        if found != end and (other := stranger_instead(checkpoint, number)):
            raise DamagedCheckpointError(f"the data file '{path}' is {other}")
        if found < end:
            raise DamagedCheckpointError(
                f"the data file '{path}' has {found} bytes, but the index needs {end}; "
                "it was cut short: restore it from a copy, or use another checkpoint"
            )


def _ends(entries: list[TensorEntry]) -> dict[int, int]:
    """Returns {number of a data file: where the last of its tensors ends}."""
    if have_parts(entries):
        entries = [stored for entry in entries for stored in entry.stored]
    ends = map(operator.add, map(_OFFSET, entries), map(_SIZE, entries))
    shards = set(map(_SHARD, entries))
    if len(shards) == 1:  # nearly always; and there may be 100,000 entries
        return {shards.pop(): max(ends)}
    found: dict[int, int] = {}
    for shard, end in zip(map(_SHARD, entries), ends):
        found[shard] = max(end, found.get(shard, 0))
    return found


def stranger_instead(checkpoint: Checkpoint, number: int) -> Stranger | None:
    """Says what lies in the place of a data file.

    Tensors may begin with any bytes, those of other files' headers, too: what has the right
    checksum of a tensor is a data file, whatever it looks like.

    Args:
      checkpoint: an opened one.
      number: of a data file that exists.

    Returns:
      None where it is the checkpoint's own, whole or cut short, or of no kind that is known.
    """
    path = shard_path(checkpoint.prefix, number, checkpoint.index.num_shards)
    other = stranger(path)
    if other is None:
        return None
    size = files.size(path)
    tensors = (
        entry
        for each in checkpoint.index.entries.values()
        for entry in each.stored
        if entry.shard_id == number and entry.size and entry.offset + entry.size <= size
    )
    smallest = min(tensors, key=lambda entry: entry.size, default=None)
    if smallest is None:
        return other
    data = files.read(path, smallest.offset, smallest.size)
    try:
        is_own = stored_checksum(smallest, iter((data,))) == smallest.crc32c
    except DamagedCheckpointError:  # no strings lie there
        is_own = False
    return None if is_own else other
