"""`estimator-ckpt map CHECKPOINT --like=...`: which variable is which one of a model.

Synopsis:

    estimator-ckpt map old_job --like=my.model:make_model -o map.txt
    estimator-ckpt map old_job --like=new_job --accept=likely
    estimator-ckpt map old_job --like=my.model:make_model --pins=map.txt -o map.txt
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags

from estimator_ckpt.cli import output
from estimator_ckpt.cli.command import MAP, Command, UsageError
from estimator_ckpt.cli.filters import CHECKPOINT
from estimator_ckpt.cli.like import like_target
from estimator_ckpt.errors import CheckpointArgumentError
from estimator_ckpt.storage import files

_DETAILS = f"""\
CHECKPOINT is of any format: {CHECKPOINT}. It is never changed, and no tensor is read. \
Names, shapes, types and orders of creation are compared.

The map is a text to be reviewed and edited. --rename=@map.txt applies what is pinned, answered \
and certain; with --accept=likely, what is likely, too."""


def _define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string(
        "like",
        None,
        "<MODULE:FUNCTION>: "
        "What to map to. Required. package.module:function, which returns a built Keras model, a "
        "tf.Module, a tf.train.Checkpoint or a dict of variables; or another checkpoint.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "output",
        None,
        "<FILE>: "
        "File to write the map to, instead of printing it. One that is there is only replaced if "
        "it is that of --pins.",
        short_name="o",
        flag_values=values,
    )
    flags.DEFINE_enum(
        "accept",
        None,
        ["certain", "likely"],
        "What is applied of the map besides what is pinned. (default: as in --pins, else certain)",
        flag_values=values,
    )
    flags.DEFINE_string(
        "pins",
        None,
        "<FILE>: "
        "A map that was written before: edited lines and answers stay, the rest is proposed anew.",
        flag_values=values,
    )
    flags.DEFINE_boolean(
        "json", False, "Print how many variables are mapped, and how, as JSON.", flag_values=values
    )


def _execute(operands: Sequence[str], values: flags.FlagValues) -> int:
    if values.like is None:
        raise UsageError(
            "flag --like is required; give package.module:function, or another checkpoint"
        )
    _require_free(values.output, values.pins)
    from estimator_ckpt.checkpoint.rules_file import load_map

    pins = None if values.pins is None else load_map(values.pins)
    target = like_target(values.like)
    from estimator_ckpt.live.mapping import propose_map

    accept = values.accept or ("certain" if pins is None else pins.accept)
    made = propose_map(operands[0], target, accept=accept, pins=pins)
    text = made.text()
    if values.output is not None:
        files.require_writable(values.output)
        files.write_atomically(values.output, text.encode())
    elif not values.json:
        print(text, end="")
        return 0
    counts = made.counts()
    if values.json:
        output.print_json({**counts, "accept": made.accept})
    else:
        output.print_rows(
            (output.Column("class"), output.Column("variables", "right")), counts.items()
        )
    return 0


def _require_free(path: str | None, pins: str | None) -> None:
    if path is None or not files.exists(path):
        return
    if pins is None or not files.is_same(path, pins):
        raise CheckpointArgumentError(
            f"'{path}' exists; give --pins={path} to keep what was edited in it, or another name"
        )


COMMAND = Command(
    name="map",
    operands=("CHECKPOINT",),
    summary="Proposes which variable is which one of a model or of another checkpoint.",
    define_flags=_define_flags,
    execute=_execute,
    group=MAP,
    details=_DETAILS,
    examples=__doc__,
)
