"""The options of a wrapped job: one dataclass, which keyword arguments and flags follow."""

import dataclasses
import inspect
import subprocess
import sys

import jobs
import pytest
from absl import flags

from estimator_ckpt import CheckpointArgumentError, wrap_model_fn
from estimator_ckpt import flags as flags_
from estimator_ckpt.estimator.options import JobOptions


def test_wrap_model_fn_takes_each_option_by_keyword_with_its_default():
    taken = dict(inspect.signature(wrap_model_fn).parameters)
    del taken["model_fn"]
    assert all(each.kind == inspect.Parameter.KEYWORD_ONLY for each in taken.values())
    assert {name: each.default for name, each in taken.items()} == {
        field.name: field.default for field in dataclasses.fields(JobOptions)
    }


def test_a_job_has_two_minutes_for_its_final_checkpoint_by_default():
    assert JobOptions().async_sigterm_secs == 120  # as docs/async.md says


def test_options_that_a_command_line_can_give_are_flags_with_the_same_defaults():
    values = flags.FlagValues()
    flags_.define_checkpoint_flags(values)
    values(["job"])
    defaults = {field.name: field.default for field in dataclasses.fields(JobOptions)}
    common = set(defaults) & set(values)
    assert set(defaults) - common == {"checkpoint_fn", "saving_listeners"}  # no text says these
    assert {name: values[name].value for name in common} == {
        name: defaults[name] for name in common
    }


@pytest.mark.parametrize(
    ("option", "choices"),
    [
        ("checkpoint_format", "'dual' or 'tf2'"),
        ("tf1_on_error", "'continue' or 'stop'"),
        ("async_when_busy", "'wait' or 'skip'"),
        ("async_memory", "'give_back' or 'keep'"),
    ],
)
@pytest.mark.parametrize("make", [JobOptions, wrap_model_fn], ids=["options", "wrap"])
def test_a_wrong_choice_is_refused_when_it_is_made(make, option, choices):
    with pytest.raises(CheckpointArgumentError, match=f"{option}='other' must be {choices}"):
        make(**{option: "other"})


def test_options_need_no_tensorflow():
    code = (
        "import sys; from estimator_ckpt.estimator.options import JobOptions; JobOptions(); "
        "assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=900)


def test_wrapping_twice_is_wrapping_once_with_the_same_options_and_an_error_with_others():
    options = {"checkpoint_format": "tf2", "saving_listeners": [jobs]}
    once = wrap_model_fn(jobs.adam_model_fn, **options)
    assert wrap_model_fn(once, **options) is once
    assert wrap_model_fn(**options)(once) is once
    with pytest.raises(
        CheckpointArgumentError, match=r"already, .* \(checkpoint_format, tf1_dir\)"
    ):
        wrap_model_fn(once, tf1_dir="tf1", saving_listeners=[jobs])
