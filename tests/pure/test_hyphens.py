"""Flags with hyphens, in each program that has flags."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest
from absl import flags

from estimator_ckpt.hyphens import with_underscores

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture
def values():
    values = flags.FlagValues()
    flags.DEFINE_boolean("dry_run", False, "", flag_values=values)
    flags.DEFINE_string("model_dir", None, "", flag_values=values)
    flags.DEFINE_boolean("noisy_one", False, "", flag_values=values)
    return values


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("--dry-run --model-dir=a-b c-d", "--dry_run --model_dir=a-b c-d"),
        ("--no-dry-run --nodry-run", "--nodry_run --nodry_run"),
        ("--noisy-one --no-noisy-one", "--noisy_one --nonoisy_one"),
        ("--model-dir --dry-run", "--model_dir --dry-run"),  # its value
        ("--un-known --dry-run", "--un-known --dry_run"),
        ("-- --dry-run", "-- --dry-run"),
    ],
)
def test_flags_and_nothing_else_are_changed(values, typed, meant):
    assert with_underscores(typed.split(), values) == meant.split()


@pytest.mark.parametrize("letters", [200, 5000])
def test_a_flag_of_very_many_letters_is_told_at_once(letters):
    name = "x" * letters
    with pytest.raises(flags.UnrecognizedFlagError) as raised:
        with_underscores([f"--{name}=1"], flags.FlagValues())
    assert raised.value.flagname == name


@pytest.mark.slow  # they load TensorFlow
@pytest.mark.parametrize(
    "line",
    [
        "estimator_ckpt.train --model-fn=nothing_here:f --input-fn=nothing_here:g --model-dir=x",
        "estimator_ckpt.prove --model-fn=nothing_here:f --input-fn=nothing_here:g",
        "estimator_ckpt.wrap --checkpoint-format=tf2 --no-tf1-take-over nothing_here.py",
    ],
)
def test_programs_take_them(tmp_path, line):
    ran = subprocess.run(
        [sys.executable, "-m", *line.split()],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert ran.returncode != 0
    assert "nothing_here" in ran.stderr and "nknown" not in ran.stderr, ran.stderr


def test_flags_of_another_program_are_left_alone(values):
    typed = "--model-dir x --dry-run program.py --dry-run"
    meant = "--model_dir x --dry_run program.py --dry-run"
    assert with_underscores(typed.split(), values, up_to_operand=True) == meant.split()
