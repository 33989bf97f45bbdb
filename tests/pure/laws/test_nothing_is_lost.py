"""Whatever writes, no tensor is lost: it is in the target, or in the report with a true reason."""

from __future__ import annotations

import collections
import contextlib
import hashlib
import os
import re
import tempfile

import made_checkpoints
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from estimator_ckpt import convert, convert_all
from estimator_ckpt.checkpoint.account import open_account
from estimator_ckpt.checkpoint.opening import write_state
from estimator_ckpt.conversion.editing import drop, ema, rename
from estimator_ckpt.errors import CheckpointArgumentError, NameClashError
from estimator_ckpt.interchange.export import export_checkpoint
from estimator_ckpt.interchange.import_ import import_checkpoint
from estimator_ckpt.naming.filters import UNWANTED
from estimator_ckpt.operations.average import average
from estimator_ckpt.operations.cast import cast
from estimator_ckpt.operations.verify import verify

SAME_BYTES = "another name of the same bytes"
SCOPE = {"old/": "new/", "/": "root/"}
NO_TENSORS = ("object_graph", "save_counter", "python_state")


class Held:
    """What a checkpoint holds: the bytes of each key, read tensor by tensor."""

    def __init__(self, prefix: str):
        self.account = open_account(prefix)
        self.data = {
            key: (
                entry.dtype,
                entry.shape,
                b"".join(map(self.account.checkpoint.read_bytes, entry.stored)),
            )
            for key, entry in self.account.entries.items()
        }


def digests(folder: str) -> dict[str, str]:
    found = {}
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name), "rb") as file:
            found[name] = hashlib.sha256(file.read()).hexdigest()
    return found


def never(name, role):
    return False


def found(*patterns):
    return lambda name, role: any(re.search(each, name) for each in patterns)


def not_found(*patterns):
    return lambda name, role: not found(*patterns)(name, role) and name != "global_step"


def of_training(name, role):
    return role.is_training_state


# {what it is: (the call, which tensors it asks to leave out, by name and role)}
COMMANDS = {
    **{
        f"convert to={to} {options}": (
            lambda source, target, to=to, options=options: convert(
                source, target, to=to, **options
            ),
            never,
        )
        for to in ("tf1", "tf2", "dual", None)
        for options in (
            {},
            {"names": "path"},
            {"container": "held"},
            {"container": "held", "step": None},
            {"rename": "re:^=root/", "container": "held"},
            {"rename": "re:kernel=weights\n+/=root/", "container": "held"},
        )
        if to is not None or "step" not in options
    },
    **{
        f"convert to={to} drop": (
            lambda source, target, to=to: convert(source, target, to=to, drop=["kernel"]),
            found("kernel"),
        )
        for to in ("tf1", "tf2", "dual")
    },
    **{
        f"convert to={to} include": (
            lambda source, target, to=to: convert(source, target, to=to, include=["e", "v"]),
            not_found("e", "v"),
        )
        for to in ("tf1", "tf2", "dual")
    },
    **{
        f"convert to={to} exclude": (
            lambda source, target, to=to: convert(source, target, to=to, exclude="Adam|m"),
            found("Adam|m"),
        )
        for to in ("tf1", "tf2", "dual")
    },
    "rename scope": (lambda source, target: rename(source, target, "/=root/"), never),
    "rename container": (
        lambda source, target: rename(source, target, "re:n=nn", container="held"),
        never,
    ),
    "drop pattern": (lambda source, target: drop(source, target, ["bias"]), found("bias")),
    "drop slots": (lambda source, target: drop(source, target, slots=True), of_training),
    "ema": (ema, None),
}
REFUSALS = (
    "matches no variable",
    "nothing would be left",
    "no optimizer's variables to drop",
    "no average of a variable",
    "a new name would fit none of them",
    "there is nothing to",
)


@contextlib.contextmanager
def written(made):
    """Writes a checkpoint; in the end, it has to be as it was."""
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(os.path.join(folder, "source"))
        prefix = made.write(os.path.join(folder, "source", "model.ckpt-7"))
        write_state(os.path.join(folder, "source"), prefix, [prefix])
        before = digests(os.path.dirname(prefix))
        yield prefix, os.path.join(folder, "target", "model.ckpt-7")
        assert digests(os.path.dirname(prefix)) == before, "the source was changed"


def require_true(source: Held, target: Held, report, asked) -> None:
    """Makes sure of all that a report says, and that it says all."""
    kept = collections.defaultdict(list)
    for change in report.keys:
        assert source.data[change.source] == target.data[change.target], change
        kept[change.source].append(change.target)
    dropped = dict(report.dropped)
    assert len(dropped) == len(report.dropped)
    assert not set(kept) & set(dropped)
    assert set(kept) | set(dropped) | set(report.added) >= set(source.data), "a key is not told of"
    targets = {change.target for change in report.keys}
    assert targets | set(report.added) == set(target.data)
    assert not targets & set(report.added)
    account = source.account
    for key, reason in dropped.items():
        if key in account.others:
            assert account.others[key].kind in NO_TENSORS
            continue
        name = account.name_of[key]
        if reason.startswith(SAME_BYTES):
            others = [each for each in account.keys_of[name] if each in kept]
            assert others, f"{key} is dropped as {reason}"
        elif asked is None:
            assert reason == "replaced by its average", (key, reason)
            averages = [n for n, role in account.roles.items() if role == ("average", name, *role[2:])]
            assert averages and all(account.key_of[n] in kept for n in averages)
        else:
            assert reason.startswith("asked for") or reason == UNWANTED, (key, reason)
            assert asked(name, account.roles[name]), f"{key} is dropped as {reason}"


def require_same_roles(source: Held, target: Held) -> None:
    """Each tensor plays the part that it played, where something can still tell."""
    by_data = collections.defaultdict(list)
    for name in target.account.key_of:
        by_data[target.data[target.account.key_of[name]]].append(name)
    for name, role in source.account.roles.items():
        data = source.data[source.account.key_of[name]]
        for new in by_data.get(data, ()):
            told = target.account.roles[new]
            if not data[2] or name in source.account.by_path or role.kind == "table":
                continue
            owner = role.of and source.account.key_of.get(role.of)
            if owner is None or source.data[owner] not in by_data:
                if role.kind in ("variable", "global_step"):
                    assert told.kind == role.kind, (name, role, new, told)
                continue
            if told.kind == "variable" and new.count("/") and target.account.format == "tf1":
                pass
            assert told.kind == role.kind, (name, role, new, told)
            assert told.of in by_data[source.data[owner]] or not source.data[owner][2]


def require_sound(target: Held) -> None:
    assert verify(target.account.checkpoint.prefix).ok
    assert target.account.lost_keys == ()


def law(made, command) -> str:
    """Returns what came of it."""
    call, asked = COMMANDS[command]
    with written(made) as (prefix, goal):
        try:
            report = call(prefix, goal)
        except (CheckpointArgumentError, NameClashError) as error:
            assert not os.path.exists(goal + ".index")
            return f"{type(error).__name__}: {error}"
        source, target = Held(prefix), Held(goal)
        if "path" in command:
            source.account = open_account_by_path(prefix)
        require_true(source, target, report, asked)
        require_sound(target)
        if "path" not in command and command != "ema":
            require_same_roles(source, target)
    return "written"


def open_account_by_path(prefix):
    return open_account(prefix, "path")


@pytest.mark.parametrize("command", COMMANDS)
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(made=made_checkpoints.checkpoints())
def test_no_tensor_is_lost(command, made):
    said = law(made, command)
    assert said == "written" or any(each in said for each in REFUSALS), said
