"""Whatever writes, no tensor is lost: it is in the target, or in the report with a true reason."""

from __future__ import annotations

import os
import re

import made_checkpoints
import pytest
from hypothesis import HealthCheck, given, settings
from laws import Held, require_same_roles, require_sound, require_true, written

from estimator_ckpt import convert
from estimator_ckpt.conversion.editing import drop, ema, rename
from estimator_ckpt.errors import CheckpointArgumentError, NameClashError


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
    "rename include": (
        lambda source, target: rename(
            source, target, "re:^=root/", include=["kernel$", "^m", "s$"], container="held"
        ),
        never,
    ),
    "rename exclude": (
        lambda source, target: rename(
            source, target, "re:^=root/", exclude="bias|^m", container="held"
        ),
        never,
    ),
    "drop pattern": (lambda source, target: drop(source, target, ["bias"]), found("bias")),
    "drop slots": (lambda source, target: drop(source, target, slots=True), of_training),
    "drop include": (
        lambda source, target: drop(source, target, slots=True, include=["e", "n"], exclude="b"),
        lambda name, role: role.is_training_state and bool(re.search("e|n", name)),
    ),
    "drop compact": (
        lambda source, target: drop(source, target, ["bias"], compact=True),
        found("bias"),
    ),
    "ema": (ema, None),
    "ema include": (
        lambda source, target: ema(source, target, include=["kernel", "s$"], exclude="^m"),
        None,
    ),
}
REFUSALS = (
    "matches no variable",
    "nothing would be left",
    "no optimizer's variables to drop",
    "no average of a variable",
    "a new name would fit none of them",
    "there is nothing to",
)


def law(made, command) -> str:
    """Returns what came of it."""
    call, asked = COMMANDS[command]
    with written(made) as (prefix, goal):
        try:
            report = call(prefix, goal)
        except (CheckpointArgumentError, NameClashError) as error:
            assert not os.path.exists(goal + ".index")
            return f"{type(error).__name__}: {error}"
        by_path = "path" in command
        source, target = Held(prefix, "path" if by_path else "auto"), Held(goal)
        require_true(source, target, report, asked)
        require_sound(target)
        if not by_path and not command.startswith("ema"):
            require_same_roles(source, target)
    return "written"


@pytest.mark.parametrize("command", COMMANDS)
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(made=made_checkpoints.checkpoints())
def test_no_tensor_is_lost(command, made):
    said = law(made, command)
    assert said == "written" or any(each in said for each in REFUSALS), said


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(made=made_checkpoints.checkpoints())
def test_no_tensor_is_lost_in_many_checkpoints(command, made):
    said = law(made, command)
    assert said == "written" or any(each in said for each in REFUSALS), said
