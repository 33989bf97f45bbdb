"""A file that is written whole or not at all.

require_free_file("weights.npz", overwrite=False)
write_whole("weights.npz", lambda file: file.write(data))
"""

from __future__ import annotations

import os
from collections.abc import Callable

from estimator_ckpt.errors import CheckpointError, CheckpointExistsError, CheckpointWriteError
from estimator_ckpt.storage import files


def require_free_file(path: str, overwrite: bool) -> None:
    """Makes sure, before any work, that a file can be written.

    Raises:
      CheckpointExistsError: it exists, and may not be replaced; or it is a directory.
    """
    if files.is_directory(path) or not os.path.basename(path):
        raise CheckpointExistsError(f"'{path}' is a directory; give the name of a file")
    if files.exists(path) and not overwrite:
        raise CheckpointExistsError(
            f"the file '{path}' exists; give another target, or say that it may be overwritten "
            "(overwrite=True, --overwrite)"
        )


def write_whole(path: str, write: Callable[[files.WritableFile], object]) -> None:
    """Writes a file, whose directory is made as needed.

    Args:
      path: of the file; one that is there is replaced.
      write: writes it, given the file, which need not be able to seek.

    Raises:
      CheckpointWriteError: the file system refused; what existed is unchanged.
    """
    files.require_writable(path)
    try:
        with files.whole_file(path) as file:
            write(file)
    except BaseException as error:
        if files.is_refusal(error) and not isinstance(error, CheckpointError):
            raise CheckpointWriteError(
                f"can't write the file '{path}': {error}; nothing was left behind"
            ) from error
        raise
