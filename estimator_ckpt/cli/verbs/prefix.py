"""`estimator-ckpt prefix CHECKPOINT`: the prefix of the checkpoint that is meant, for a shell.

Synopsis:

    estimator-ckpt prefix model_dir
    estimator-ckpt prefix model_dir/ | xargs -I{} python evaluate.py --checkpoint={}
    estimator-ckpt prefix model_dir/model.ckpt-500.index saved_model
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags

from estimator_ckpt.cli import output
from estimator_ckpt.cli.command import Command
from estimator_ckpt.cli.filters import CHECKPOINT

_DETAILS = f"""\
CHECKPOINT is {CHECKPOINT}. Its prefix is printed, a line each, as it is: nothing else is, and \
nothing at all if one of them can't be read or lacks a data file.

Exit code: 0; 2, trouble."""


def _define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_boolean("json", False, "Print the prefixes as JSON.", flag_values=values)


def _execute(operands: Sequence[str], values: flags.FlagValues) -> int:
    from estimator_ckpt.checkpoint import open_checkpoint

    prefixes = [open_checkpoint(operand).prefix for operand in operands]
    if values.json:
        output.print_json(prefixes)
    else:
        print("\n".join(prefixes))
    return 0


COMMAND = Command(
    name="prefix",
    operands=("CHECKPOINT...",),
    summary="Prints the prefix of the checkpoint that is meant, such as a folder's latest.",
    define_flags=_define_flags,
    execute=_execute,
    details=_DETAILS,
    examples=__doc__,
)
