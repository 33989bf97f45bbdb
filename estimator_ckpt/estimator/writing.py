"""Writes one checkpoint of a job: the tensors by name first, then the index of the wanted format.

    write_checkpoint(prefix, write_tensors, object_keys, "dual", sync_data=False)
    session = PublishingSession(session, saver.saver_def, write)    # for `tf1.train.Saver.save`

When and what to save, and what is kept, is the business of `estimator_ckpt.estimator.saver`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from estimator_ckpt.bundle import BundleIndex, TensorEntry, encode_index
from estimator_ckpt.bundle.index import have_parts
from estimator_ckpt.bundle.strings import string_scalar
from estimator_ckpt.checkpoint import Checkpoint, Shard, publish
from estimator_ckpt.checkpoint.publishing import find_equal
from estimator_ckpt.estimator.object_keys import ObjectKeys
from estimator_ckpt.estimator.unchanged.places import flat
from estimator_ckpt.live.tensorflow_internals import SessionInterface
from estimator_ckpt.naming import OBJECT_GRAPH_KEY
from estimator_ckpt.storage import files


@dataclass(frozen=True)
class Written:
    """A checkpoint that was just written.

    Attributes:
      prefix: of it.
      num_shards: how many data files it has.
      is_new: whether it was not there before, with equal bytes.
      open: returns it, with the job's own names, which a tf2 checkpoint lacks: who emits it goes by
        them, and no file is read.
    """

    prefix: str
    num_shards: int
    is_new: bool
    open: Callable[[], Checkpoint]


class WrittenTensors(NamedTuple):
    """What was written of a checkpoint.

    Attributes:
      by_name: the index by name. A part in it may have parts itself.
      paths: of the data files.
      graph: the entry of the object graph, where that was written, too.
    """

    by_name: BundleIndex
    paths: Sequence[str]
    graph: TensorEntry | None = None


@files.looking_once()
def write_checkpoint(
    prefix: str,
    write_tensors: Callable[[str], WrittenTensors],
    object_keys: ObjectKeys,
    checkpoint_format: str,
    *,
    sync_data: bool,
    encode: Callable[[BundleIndex], bytes] = encode_index,
) -> Written:
    """Writes a checkpoint; it appears at once, and replaces one of its prefix.

    Args:
      prefix: of the checkpoint.
      write_tensors: writes the data files into a directory, and returns the index by name and
        their paths.
      object_keys: the keys among the objects, and the object graph.
      checkpoint_format: "tf1", "tf2" or "dual".
      sync_data: whether data is flushed to the disk before the checkpoint appears.
      encode: encodes the index.

    Returns:
      What was written.

    Raises:
      CheckpointWriteError: the file system refused.
    """
    with files.staging_directory(prefix) as staging:
        by_name, paths, graph = write_tensors(staging)
        shards = [Shard(path=path, move=True) for path in paths]
        added: dict[str, TensorEntry] = {}
        if graph is not None:
            added[OBJECT_GRAPH_KEY] = graph
        elif checkpoint_format != "tf1":
            added[OBJECT_GRAPH_KEY] = _append_graph(object_keys.graph, shards, sync_data=sync_data)

        def index_of(to: str) -> BundleIndex:
            index = object_keys.add_to(by_name, to)
            entries = index.entries
            if have_parts(entries.values()):
                entries = {key: flat(each) for key, each in entries.items()}
            return BundleIndex({**entries, **added}, len(shards), index.producer)

        index = index_of(checkpoint_format)
        # Where a job begins again, it saves what it has just restored: readers keep that.
        found = find_equal(prefix, index, shards)
        count = (
            found.index.num_shards
            if found is not None
            else publish(prefix, index, shards, overwrite=True, encode=encode).num_shards
        )

    def opened() -> Checkpoint:
        named = index_of("dual") if checkpoint_format == "tf2" else index
        return Checkpoint(prefix, replace(named, num_shards=count))

    return Written(prefix, count, found is None, opened)


def _append_graph(graph: bytes, shards: list[Shard], *, sync_data: bool) -> TensorEntry:
    """Puts the object graph at the end of the last data file; where that can't be, into a new one.

    No op of the job's graph has it: what its `.meta` names is for Savers that write by name.
    """
    path = shards[-1].path or ""
    if files.is_remote(path):
        data, entry = string_scalar(graph, len(shards), 0)
        shards.append(Shard(data=data))
    else:
        data, entry = string_scalar(graph, len(shards) - 1, files.size(path))
        files.append(path, data, sync=sync_data)
    return entry


def flush_state(prefix: str, name: str) -> None:
    """Flushes the state file, which TensorFlow writes without that, and the directory's names.

    On a store, what is there is flushed.
    """
    if not files.renames(prefix):
        return
    directory = os.path.dirname(prefix)
    path = os.path.join(directory, name)
    if files.exists(path):
        files.sync(path)
        files.sync_directory(directory)


class PublishingSession(SessionInterface):
    """A session in which running the save op of a Saver writes in the Saver's own way."""

    def __init__(self, session: Any, saver_def: Any, write: Callable[[str], None]):
        """Creates a session.

        Args:
          session: a Session, which does all else.
          saver_def: the `SaverDef` that names the save op.
          write: writes the checkpoint of a prefix.
        """
        self._session = session
        self._saver_def = saver_def
        self._write = write

    @property
    def graph(self) -> Any:
        """The graph of the session."""
        return self._session.graph

    @property
    def sess_str(self) -> Any:
        """As of the session."""
        return self._session.sess_str

    def run(self, fetches: Any, feed_dict: Any = None, **kwargs: Any) -> Any:
        """Writes if it is asked for the save op; passes on what else is asked for."""
        if fetches != self._saver_def.save_tensor_name:
            return self._session.run(fetches, feed_dict, **kwargs)
        prefix = feed_dict[self._saver_def.filename_tensor_name]
        self._write(prefix)
        return prefix
