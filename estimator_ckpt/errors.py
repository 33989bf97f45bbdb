"""Every error that this library raises on purpose derives from `CheckpointError`.

    try:
        estimator_ckpt.convert("model_dir", "out/ckpt", to="tf2")
    except estimator_ckpt.CheckpointError as error:
        sys.exit(str(error))   # what was found, what was expected, what to do

A message is complete on its own: no traceback is needed to understand it. It is one line, in which
nothing of a name is left that a terminal obeys.
"""

from __future__ import annotations

from estimator_ckpt.messages import escaped


class CheckpointError(Exception):
    """Base of all errors of this library."""

    def __str__(self) -> str:
        return escaped(super().__str__())


class CheckpointNotFoundError(CheckpointError, FileNotFoundError):
    """There is no checkpoint where one was expected."""


class DamagedCheckpointError(CheckpointError):
    """The bytes of a checkpoint are not what its format or its checksums say."""


class CheckpointExistsError(CheckpointError, FileExistsError):
    """A file that must not be overwritten is in the way."""


class CheckpointWriteError(CheckpointError, OSError):
    """The file system refused a write; nothing that existed was changed."""


class NameClashError(CheckpointError):
    """Two tensors of a checkpoint would get the same name."""


class CheckpointArgumentError(CheckpointError, ValueError):
    """An argument or a combination of arguments is not usable."""


class VariableMismatchError(CheckpointError):
    """Variables and checkpoint don't fit: names are missing or shapes differ."""


class EstimatorUnavailableError(CheckpointError, ImportError):
    """There is no `tf.estimator` here, and it can't be supplied as things are."""
