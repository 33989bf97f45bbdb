"""What the front end shows of a model_dir: its checkpoints in order, and what `doctor` finds.

    data = model_dir_data("model_dir")
    data["checkpoints"][-1]["step"], data["findings"]

Names, sizes, indexes and the state file are read; tensors only with `values`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import statistics
from collections.abc import Sequence

from estimator_ckpt.checkpoint import open_checkpoint
from estimator_ckpt.checkpoint.account import Account
from estimator_ckpt.checkpoint.opening import existing_shards, index_path, reading
from estimator_ckpt.errors import CheckpointNotFoundError
from estimator_ckpt.operations.describe import by_scope
from estimator_ckpt.operations.doctor import CheckpointRow, Diagnosis, doctor
from estimator_ckpt.reporting.checkpoint_data import Data, links
from estimator_ckpt.storage import files

_LONGER = 1.5  # so many times the usual distance is a gap


def model_dir_data(
    model_dir: str | os.PathLike[str],
    *,
    values: bool = False,
    progress: files.Progress | None = None,
) -> Data:
    """Describes a directory of checkpoints for the front end.

    Args:
      model_dir: as for `doctor`.
      values: whether to read all variables of all its checkpoints, for their norms and for how
        much they were changed from one checkpoint to the next.
      progress: called with (prefix, bytes read, bytes in all) for each checkpoint.

    Returns:
      `directory`, `latest` and `findings` as `doctor` has them; `checkpoints`, each with what
      `doctor` says and `time` (seconds since 1970), `files` (bytes of its files), `shared` (bytes
      of its data files that have other names, too, by hard links), `since` (steps since the one
      before) and `gap` (whether these are more than usual). With values, `steps`: columns of
      `name`, `norm` and `ratio`, the latter two with a number for each checkpoint; the ratio is
      that of the norm of what changed since the one before to the norm that it had there.

    Raises:
      CheckpointNotFoundError: there is no such directory, or nothing of a checkpoint in it.
    """
    found = doctor(model_dir)
    rows = [_row(found, row) for row in found.checkpoints]
    _mark_gaps(rows)
    data: Data = {
        "directory": found.directory,
        "latest": found.latest,
        "checkpoints": rows,
        "findings": [dataclasses.asdict(finding) for finding in found.findings],
    }
    if values:
        data["steps"] = _steps(found, progress)
    return data


def _row(found: Diagnosis, row: CheckpointRow) -> Data:
    prefix = os.path.join(found.directory, row.name)
    time, size, shared = None, 0, 0
    with contextlib.suppress(FileNotFoundError):  # a job may have removed it since
        time = files.modified(index_path(prefix))
        size = files.size(index_path(prefix))
        for path in existing_shards(prefix):
            size += files.size(path)
            shared += files.size(path) * (links(path) > 1)
    return {
        **dataclasses.asdict(row),
        "time": time,
        "files": size,
        "shared": shared,
        "since": None,
        "gap": False,
    }


def _mark_gaps(rows: Sequence[Data]) -> None:
    stepped = [row for row in rows if row["step"] is not None]
    for before, row in zip(stepped, stepped[1:]):
        row["since"] = row["step"] - before["step"]
    distances = [row["since"] for row in stepped if row["since"]]
    if len(distances) > 1:
        usual = statistics.median_low(distances)
        for row in stepped:
            row["gap"] = (row["since"] or 0) > _LONGER * usual


def _steps(found: Diagnosis, progress: files.Progress | None) -> Data:
    from estimator_ckpt.reporting.changes import norm_and_change  # numpy

    per_checkpoint: list[dict[str, tuple[float, float | None]]] = []
    before: Account | None = None
    for row in found.checkpoints:
        per_checkpoint.append({})
        if not row.complete:
            continue
        try:
            account = Account(open_checkpoint(os.path.join(found.directory, row.name)))
        except CheckpointNotFoundError:  # a job has removed it since
            continue
        wanted = [name for name in account.key_of if account.roles[name].kind == "variable"]
        wanted.sort(key=lambda name: account.entry(name).stored[0][2:4])  # as their bytes lie
        total, done = sum(account.entry(name).bytes for name in wanted), 0
        with contextlib.ExitStack() as stack:
            for each in filter(None, (before, account)):
                entries = [each.entry(name) for name in wanted if name in each.key_of]
                stack.enter_context(reading(each.checkpoint, entries))
            for name in wanted:
                numbers = norm_and_change(account, before, name)
                if numbers is not None:
                    per_checkpoint[-1][name] = numbers
                done += account.entry(name).bytes
                if progress:
                    progress(account.checkpoint.prefix, done, total)
        before = account
    nothing = (None, None)
    names = sorted(set().union(*per_checkpoint), key=by_scope)
    return {
        "name": names,
        "norm": [[each.get(name, nothing)[0] for each in per_checkpoint] for name in names],
        "ratio": [[each.get(name, nothing)[1] for each in per_checkpoint] for name in names],
    }
