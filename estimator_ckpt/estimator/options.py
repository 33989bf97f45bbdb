"""The options of a wrapped job, in one place, checked once when they are made.

    options = JobOptions(checkpoint_format="tf2", tf1_dir="model_dir/tf1")
    JobOptions(async_when_busy="never")       # CheckpointArgumentError: must be 'wait' or 'skip'
    options_with_flags()                      # the fields that are command-line flags, too

`wrap_model_fn` takes these by keyword, `flags.py` defines flags from them. It needs no TensorFlow.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from estimator_ckpt import messages
from estimator_ckpt.errors import CheckpointArgumentError
from estimator_ckpt.estimator.unchanged.hashing import require_hash

ON_ERROR = ("continue", "stop")
WHEN_BUSY = ("wait", "skip")
MEMORY = ("give_back", "keep")
UNCHANGED = ("write", "link")
_FORMATS = ("dual", "tf2")


def _option(
    default: Any, choices: Sequence[str] = (), flag: str = "", least: float | None = None
) -> Any:
    """Makes a field: its default, what it may be, and the help of its flag if it has one."""
    return dataclasses.field(
        default=default, metadata={"choices": tuple(choices), "flag": flag, "least": least}
    )


@dataclass(frozen=True)
class JobOptions:
    """What `wrap_model_fn` is asked for.

    Attributes:
      checkpoint_format: "dual", readable by name and by object, or "tf2", by object only.
      checkpoint_fn: takes {name: variable} and the global step; returns the `tf.train.Checkpoint`
        to save. None for `Checkpoint(var_list={name: variable}, step=global_step)`.
      tf1_dir: where to emit name-based checkpoints to, or None.
      saving_listeners: `tf.compat.v1.train.CheckpointSaverListener`s; kept as a tuple.
      tf1_on_error: what to do where `tf1_dir` can't be written: "continue" or "stop".
      tf1_take_over: whether this job may have the `tf1_dir` of another one.
      sync_data: whether tensors are flushed to the disk before a checkpoint appears.
      async_save: whether checkpoints are written while training goes on.
      async_when_busy: what a save does while the one before is being written: "wait" or "skip".
      async_memory: what becomes of the copies' memory between two saves: "give_back" or "keep".
      async_sigterm_secs: how long after a SIGTERM the process may take for its final checkpoint.
      warm_start_at_once: whether a warm start reads many tensors at once.
      unchanged: what a save does with what the last one has written already: "write" or "link".
      unchanged_files: with "link", the most data files that a checkpoint may have.
      unchanged_room: with "link", the most bytes of these, in multiples of what it needs.

    Raises:
      CheckpointArgumentError: one of them is not among its choices, or too small; or "link" needs
        a package that is not installed.
    """

    checkpoint_format: str = _option(
        "dual",
        _FORMATS,
        "What training writes: tf1 (the model_fn is left unwrapped), tf2 (object-based keys) or "
        "dual (both sets of keys on one set of bytes). Any format is resumed from.",
    )
    checkpoint_fn: Callable[[dict[str, Any], Any], Any] | None = dataclasses.field(
        default=None, metadata={"choices": (), "flag": "", "least": None}
    )
    tf1_dir: str | None = _option(
        None,
        flag="Folder that gets a pure TF1 checkpoint beside each one of the job. "
        "{model_dir} in it stands for the model_dir, as in {model_dir}/tf1.",
    )
    saving_listeners: Sequence[Any] = _option(())
    tf1_on_error: str = _option(
        "continue",
        ON_ERROR,
        "What to do where a checkpoint can't be put into the TF1 folder, as on a full disk: go on "
        "training and log what to run later, or stop with the error.",
    )
    tf1_take_over: bool = _option(
        False, flag="Let this job have the TF1 folder, though it is another one's until now."
    )
    sync_data: bool = _option(
        False, flag="Flush the tensors to the disk before a checkpoint appears, against power cuts."
    )
    async_save: bool = _option(
        False,
        flag="Copy the variables in memory at a save, and write the checkpoint while training "
        "goes on.",
    )
    async_when_busy: str = _option(
        "wait",
        WHEN_BUSY,
        "With async_save: what a save does that comes while the one before is still being written.",
    )
    async_memory: str = _option(
        "give_back",
        MEMORY,
        "With async_save: what becomes of the copies' memory between two saves. Given back, the "
        "system takes it where it is short of memory, and the next save stands still for longer.",
    )
    async_sigterm_secs: float = _option(
        120.0,
        flag="With async_save: how long after a SIGTERM the process may take for its final "
        "checkpoint.",
    )
    warm_start_at_once: bool = _option(
        False,
        flag="Have a warm start read many tensors at once, instead of each by an operation of its "
        "own.",
    )
    unchanged: str = _option(
        "write",
        UNCHANGED,
        "What a save does with variables, and blocks of large ones, that have not changed since "
        "the last one: write them again, or link the data file that has them.",
    )
    unchanged_files: int = _option(
        8,
        flag="With unchanged=link: the most data files that a checkpoint may have.",
        least=1,
    )
    unchanged_room: float = _option(
        2.0,
        flag="With unchanged=link: the most bytes that the data files of a checkpoint may have, "
        "in multiples of the bytes that it needs.",
        least=1.0,
    )

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            hint = ""
            if field.name == "checkpoint_format":
                hint = (
                    "; for name-based checkpoints beside the job's give tf1_dir, or don't wrap "
                    "the model_fn"
                )
            if choices := field.metadata["choices"]:
                require_choice(field.name, getattr(self, field.name), choices, hint)
        if not self.async_sigterm_secs > 0:
            raise CheckpointArgumentError(
                f"async_sigterm_secs={self.async_sigterm_secs} must be above 0; without async_save "
                "SIGTERM ends the process at once"
            )
        for field in dataclasses.fields(self):
            least = field.metadata["least"]
            if least is not None and not getattr(self, field.name) >= least:
                raise CheckpointArgumentError(
                    f"{field.name}={getattr(self, field.name)} must be {least:g} or more"
                )
        if self.unchanged == "link":
            require_hash()
        object.__setattr__(self, "saving_listeners", tuple(self.saving_listeners))

    @property
    def summary(self) -> str:
        """What a job saves, in one line for its log."""
        parts = [f"saving {self.checkpoint_format}"]
        if self.async_save:
            parts.append("while training goes on")
        if self.unchanged == "link":
            parts.append("with links to what has not changed")
        beside = f"; TF1 checkpoints also into {self.tf1_dir}" if self.tf1_dir is not None else ""
        return " ".join(parts) + beside

    def differences(self, other: JobOptions) -> list[str]:
        """Returns the names of the options in which another one differs."""
        return [
            field.name
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != getattr(other, field.name)
        ]


def options_with_flags() -> list[Any]:
    """Returns the fields of `JobOptions` that are flags, too; `metadata["flag"]` is their help."""
    return [field for field in dataclasses.fields(JobOptions) if field.metadata["flag"]]


def require_choice(name: str, value: Any, choices: Sequence[str], hint: str = "") -> None:
    """Makes sure that an option is one of its choices.

    Args:
      name: of the option.
      value: what was given.
      choices: what it may be.
      hint: what else to do, put behind the message.

    Raises:
      CheckpointArgumentError: it is none of them.
    """
    if value not in choices:
        raise CheckpointArgumentError(f"{name}={value!r} must be {messages.choices(choices)}{hint}")
