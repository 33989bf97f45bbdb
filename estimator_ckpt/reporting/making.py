"""Makes a report of a checkpoint, of a model_dir, of two checkpoints, or of a map.

    report("model_dir", output="report.html")
    report("model_dir/model.ckpt-400", "model_dir/model.ckpt-500", values=True).write("diff.html")
    report("old_job", map="map.txt")                # a notebook shows what this returns

Only indexes are read unless values are asked for; nothing of a checkpoint is changed.
"""

from __future__ import annotations

import html
import os
from dataclasses import dataclass, field

from estimator_ckpt import naming
from estimator_ckpt._version import __version__
from estimator_ckpt.checkpoint.account import open_account
from estimator_ckpt.checkpoint.identity import other_file
from estimator_ckpt.checkpoint.one_file import require_free_file
from estimator_ckpt.checkpoint.opening import index_path
from estimator_ckpt.checkpoint.rules_file import load_map
from estimator_ckpt.checkpoint.variable_rows import variable_rows
from estimator_ckpt.errors import (
    CheckpointExistsError,
    CheckpointNotFoundError,
    DamagedCheckpointError,
)
from estimator_ckpt.naming.variable_map import VariableMap
from estimator_ckpt.operations.diff import diff
from estimator_ckpt.reporting.checkpoint_data import Data, checkpoint_data
from estimator_ckpt.reporting.comparison_data import difference_data, map_data
from estimator_ckpt.reporting.model_dir_data import model_dir_data
from estimator_ckpt.reporting.page import page
from estimator_ckpt.storage import files


@dataclass(frozen=True)
class Report:
    """A report, which a notebook shows.

    Attributes:
      prefix: of the checkpoint that it is about; the directory where none can be opened.
      data: what it shows, as a dict of plain values: `checkpoint`, `model_dir`, `other`,
        `difference` and `map`, those that there are.
      sources: what was read for it, which no page replaces.
    """

    prefix: str
    data: Data = field(repr=False)
    sources: tuple[str, ...] = field(default=(), repr=False)

    @property
    def trouble(self) -> str | None:
        """Why there is no checkpoint in the report of a directory; None where there is one."""
        return self.data.get("trouble")

    @property
    def html(self) -> str:
        """The page, one file that needs no other."""
        return page(self.data)

    def write(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Writes the page to a file, at once or not at all.

        Args:
          path: of the file.
          overwrite: whether to replace a page that is there.

        Raises:
          CheckpointArgumentError: it is what was read, or called like a file of a checkpoint.
          CheckpointExistsError: the file exists, and may not be replaced, or is no page.
        """
        path = _free_page(path, overwrite, *self.sources)
        files.require_writable(path)
        files.write_atomically(path, self.html.encode())

    def _repr_html_(self) -> str:
        document = html.escape(self.html)
        return (
            '<iframe title="Checkpoint report" style="width:100%;height:720px;border:0" '
            f'sandbox="allow-scripts allow-downloads" srcdoc="{document}"></iframe>'
        )


def report(
    checkpoint: str | os.PathLike[str],
    other: str | os.PathLike[str] | None = None,
    *,
    output: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    map: str | os.PathLike[str] | VariableMap | None = None,
    rename: naming.Rules = None,
    values: bool = False,
    names: str = "auto",
    progress: files.Progress | None = None,
) -> Report:
    """Makes a report.

    Args:
      checkpoint: a prefix, the path of an index, or a file of Keras; or a directory: then the
        report is of all checkpoints in it, and shows what is in the latest.
      other: a second checkpoint, to be compared with the first.
      output: a file to write the page to.
      overwrite: whether to replace that file where it exists, and is an HTML page or empty.
      map: a map of variables from the first to the second, or its file, to be shown and edited;
        the comparison is by its names.
      rename: rules that give the variables of the first the names that they have in the second.
      values: whether to read the tensors, too.
      names: how tensors are called, "auto" or "path", as for `describe`.
      progress: called with (prefix, bytes read, bytes in all) while tensors are read.

    Returns:
      The report.

    Raises:
      CheckpointNotFoundError: there is no such checkpoint.
      DamagedCheckpointError: it is damaged or incomplete. Of a directory, the report says so.
      CheckpointArgumentError: the map can't be read or followed, a rule matches nothing, or the
        output is what is read, or called like a file of a checkpoint.
      CheckpointExistsError: the file exists, and may not be replaced, or is no page.
    """
    path = os.fspath(checkpoint)
    read = [each for each in (checkpoint, other, map) if isinstance(each, (str, os.PathLike))]
    sources: tuple[str, ...] = tuple(os.fspath(each) for each in read)
    if output is not None:
        _free_page(output, overwrite, *sources)
    data: Data = {"version": __version__}
    if files.is_directory(path) and not files.exists(index_path(path)):
        data["model_dir"] = model_dir_data(path, values=values, progress=progress)
    try:
        data["checkpoint"] = checkpoint_data(
            checkpoint, values=values, names=names, progress=progress
        )
    except (CheckpointNotFoundError, DamagedCheckpointError) as error:
        if "model_dir" not in data or other is not None or map is not None:
            raise
        data["trouble"] = str(error)
    made = load_map(os.fspath(map)) if isinstance(map, (str, os.PathLike)) else map
    if made is not None:
        _require_followed(made, checkpoint, other, names)
    if other is not None:
        data["other"] = checkpoint_data(other, values=values, names=names, progress=progress)
        rules = rename if made is None else made
        found = diff(checkpoint, other, values=values, rename=rules, names=names, progress=progress)
        data["difference"] = difference_data(found)
    if made is not None:
        data["map"] = map_data(made, data["checkpoint"], data.get("other"))
    prefix = data["checkpoint"]["prefix"] if "checkpoint" in data else path
    prefixes = [data[key]["prefix"] for key in ("checkpoint", "other") if key in data]
    result = Report(prefix, data, (*sources, *prefixes))
    if output is not None:
        result.write(output, overwrite=overwrite)
    return result


def _free_page(path: str | os.PathLike[str], overwrite: bool, *sources: str) -> str:
    """Makes sure that a page can be written to a file, and that it replaces at most another page.

    Returns:
      The path as a string.
    """
    path = other_file(path, *sources)
    require_free_file(path, overwrite)
    if files.exists(path) and not _is_page(path):
        raise CheckpointExistsError(
            f"'{path}' is there and no HTML page: no report replaces it; give another name"
        )
    return path


def _is_page(path: str) -> bool:
    if files.is_local(path) and not os.path.isfile(files.without_scheme(path)):  # a pipe, a device
        return False
    start = files.read(path, 0, 64).lstrip().lower()
    return not start or start.startswith((b"<!doctype html", b"<html"))


def _require_followed(
    made: VariableMap,
    source: str | os.PathLike[str],
    target: str | os.PathLike[str] | None,
    names: str,
) -> None:
    """Raises CheckpointArgumentError for a map with a line that these checkpoints can't follow."""
    rows = variable_rows(open_account(source, names))
    if target is None:
        made.require_changes(rows)
    else:
        made.checked(rows, variable_rows(open_account(target, names)))
