"""`estimator-ckpt verify CHECKPOINT`: checks each checksum.

Synopsis:

    estimator-ckpt verify model_dir
    estimator-ckpt verify model_dir --all --json
    estimator-ckpt verify --recursive jobs --format=csv
    estimator-ckpt verify model_dir/model.ckpt-500 --exclude=Adam || echo "don't use it"
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from absl import flags

from estimator_ckpt.cli import output
from estimator_ckpt.cli.command import Command, define_format_flags
from estimator_ckpt.cli.filters import CHECKPOINT, define_filter_flags, name_filter

if TYPE_CHECKING:
    from estimator_ckpt.operations.verify import Verification

_DAMAGED = 1
_DETAILS = f"""\
CHECKPOINT is {CHECKPOINT}.

Reads the index and all data files, and compares them with the checksums of the index's blocks and \
of each tensor. What is damaged is listed: the file, the tensor and what is wrong with it.

Exit code: 0, nothing is damaged; 1, something is; 2, trouble: there was nothing to check, or it \
could not be read."""
_COLUMNS = (
    output.Column("file"),
    output.Column("tensor"),
    output.Column("problem"),
)


def _define_flags(values: flags.FlagValues) -> None:
    define_filter_flags(values)
    define_format_flags(values)


def _many(values: flags.FlagValues) -> dict[str, Any]:
    return {"names": values.names, "wanted": name_filter(values)}


def _execute(operands: Sequence[str], values: flags.FlagValues) -> int:
    from estimator_ckpt.operations.verify import verify

    with output.progress_bars("checking") as progress:
        found = verify(operands[0], progress=progress, **_many(values))
    code = 0 if found.ok else _DAMAGED
    if values.json:
        output.print_json(found)
        return code
    print_verification(found)
    return code


def print_verification(found: Verification) -> None:
    """Prints what was checked, and each finding."""
    _print_summary(found)
    rows = [(os.path.basename(each.file), each.tensor, each.problem) for each in found.findings]
    if not output.for_people():
        output.print_rows(_COLUMNS, rows)
    else:
        for row in rows:  # sentences, for which the columns of a table are too narrow
            print(output.filled(": ".join(output.escape(cell) for cell in row if cell), "    "))


def _print_summary(found: Verification) -> None:
    facts = (
        output.counted(found.tensors, "tensor"),
        output.human_bytes(found.bytes) + " in " + output.counted(found.num_shards, "shard"),
        output.counted(len(found.findings), "finding") if found.findings else "nothing is damaged",
    )
    output.print_summary(f"{output.escape(found.prefix)}: {', '.join(facts)}")


COMMAND = Command(
    name="verify",
    operands=("CHECKPOINT...",),
    summary="Checks each checksum, of the index and of all tensors.",
    define_flags=_define_flags,
    execute=_execute,
    details=_DETAILS,
    examples=__doc__,
    shows=print_verification,
    many=_many,
)
