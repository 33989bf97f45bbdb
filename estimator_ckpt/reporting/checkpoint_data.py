"""What the front end shows of one checkpoint, as a dict of plain values.

    data = checkpoint_data("model_dir/model.ckpt-500", values=True)
    data["variables"]["name"][0], data["variables"]["bytes"][0]

Variables are columns, not rows: 100,000 of them take a third of the room. All is from the one
account that `describe` is made of; without `values` no tensor is read.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from estimator_ckpt.bundle.allocation import many_objects
from estimator_ckpt.checkpoint import Checkpoint
from estimator_ckpt.checkpoint.account import Account, open_account
from estimator_ckpt.checkpoint.opening import reading
from estimator_ckpt.naming.paths import is_object_key
from estimator_ckpt.operations.describe import CheckpointDescription, VariableRow, described
from estimator_ckpt.storage import files

Data = dict[str, Any]
"""What JSON can have."""


def checkpoint_data(
    checkpoint: str | os.PathLike[str],
    *,
    values: bool | Callable[[str], bool] = False,
    names: str = "auto",
    progress: files.Progress | None = None,
) -> Data:
    """Describes a checkpoint for the front end.

    Args:
      checkpoint: as for `describe`.
      values: as for `describe`; with them come norms, histograms and dead rows.
      names: as for `describe`.
      progress: as for `describe`.

    Returns:
      `prefix`, `format`, `step`, `shards`, `bytes` and `other_keys` as `describe` has them;
      `files`, the data files with their sizes, the bytes of them that are used, and the number of
      hard links to each; and `variables`, columns of equal length:
      `name`, `key` (the name-based one, or None), `path` (the object key, or None), `shape`,
      `dtype` and `role` (numbers in the lists `dtypes` and `roles`), `bytes`, `of` (the row of the
      variable whose slot or average it is, or None) and `shares` (the row before it that has the
      same bytes, or None). With values there is `values`, too, columns of the same length.

    Raises:
      CheckpointNotFoundError: there is none.
      DamagedCheckpointError: it is damaged or incomplete.
    """
    with many_objects():
        account = open_account(checkpoint, names)
        description = described(account)
        data: Data = {
            "prefix": description.prefix,
            "format": description.format,
            "step": description.step,
            "shards": description.num_shards,
            "bytes": description.bytes,
            "other_keys": list(description.other_keys),
            "files": _files(account.checkpoint),
            **_variables(account, description),
        }
    if values:
        wanted = values if callable(values) else None
        data["values"] = _values(account.checkpoint, description, wanted, progress)
    return data


def _variables(account: Account, description: CheckpointDescription) -> Data:
    rows = description.variables
    places = {row.name: number for number, row in enumerate(rows)}
    firsts: dict[object, int] = {}
    shares: list[int | None] = []
    for number, row in enumerate(rows):
        stored = account.entries[row.key].stored
        first = firsts.setdefault(stored, number) if row.bytes else number
        shares.append(None if first == number else first)
    keys, paths = zip(*(_keys(account, row) for row in rows)) if rows else ((), ())
    dtypes, dtype = _numbered([row.dtype for row in rows])
    roles, role = _numbered([row.role for row in rows])
    return {
        "dtypes": dtypes,
        "roles": roles,
        "variables": {
            "name": [row.name for row in rows],
            "key": list(keys),
            "path": list(paths),
            "shape": [list(row.shape) for row in rows],
            "dtype": dtype,
            "role": role,
            "bytes": [row.bytes for row in rows],
            "of": [None if row.slot_of is None else places.get(row.slot_of) for row in rows],
            "shares": shares,
        },
    }


def _keys(account: Account, row: VariableRow) -> tuple[str | None, str | None]:
    """The name-based key and the first object key that a variable has."""
    keys = account.keys_of.get(row.name) or [row.key]
    named = next((key for key in keys if not is_object_key(key)), None)
    return named, next(filter(is_object_key, keys), None)


def _numbered(texts: Sequence[str]) -> tuple[list[str], list[int]]:
    """Returns the different texts, and the number of each one in that list."""
    different = list(dict.fromkeys(texts))
    numbers = {text: number for number, text in enumerate(different)}
    return different, [numbers[text] for text in texts]


def _files(checkpoint: Checkpoint) -> list[Data]:
    used: dict[int, dict[tuple[int, int], int]] = {}
    for entry in checkpoint.index.entries.values():
        for stored in entry.stored:
            places = used.setdefault(stored.shard_id, {})
            places[stored.offset, stored.size] = stored.size
    return [
        {
            "name": os.path.basename(path),
            "bytes": files.size(path),
            # What lies between the tensors of a file of Keras is its structure, not left over.
            "used": files.size(path) if checkpoint.is_foreign else sum(used.get(at, {}).values()),
            "links": links(path),
        }
        for at, path in enumerate(checkpoint.shard_paths)
    ]


def links(path: str) -> int:
    """Returns how many names a local file has; 1 for one elsewhere."""
    return os.stat(files.without_scheme(path)).st_nlink if files.is_local(path) else 1


def _values(
    checkpoint: Checkpoint,
    description: CheckpointDescription,
    wanted: Callable[[str], bool] | None,
    progress: files.Progress | None,
) -> Data:
    from estimator_ckpt.checkpoint import arrays  # numpy, which takes a while to load
    from estimator_ckpt.operations.values import ValueSummary, summarize
    from estimator_ckpt.reporting.statistics import Statistics

    entries = checkpoint.index.entries
    read = {
        row.name
        for row in description.variables
        if (wanted is None or wanted(row.name))
        and arrays.numpy_dtype(entries[row.key].dtype) is not None
    }
    total = sum(row.bytes for row in description.variables if row.name in read)
    done = 0

    def chunks(row: VariableRow) -> Iterator[arrays.Array]:
        nonlocal done
        for chunk in arrays.array_chunks(checkpoint, entries[row.key]):
            done += chunk.nbytes
            if progress:
                progress(checkpoint.prefix, done, total)
            yield chunk

    fields = [field.name for field in dataclasses.fields(ValueSummary)]
    names = (*fields, "norm", "histogram", "dead_rows")
    columns: Data = {name: [None] * len(description.variables) for name in names}
    chosen = [(at, row) for at, row in enumerate(description.variables) if row.name in read]
    chosen.sort(key=lambda each: entries[each[1].key].stored[0][2:4])  # as their bytes lie
    with reading(checkpoint, [entries[row.key] for _, row in chosen]):
        for at, row in chosen:
            counted = Statistics(row.shape)
            summary = summarize(counted.watch(chunks(row)))
            for name in fields:
                columns[name][at] = getattr(summary, name)
            columns["norm"][at] = counted.norm
            columns["dead_rows"][at] = counted.dead_rows
            if (found := counted.histogram) is not None:
                columns["histogram"][at] = [found.start, found.width, *found.counts]
    return columns
