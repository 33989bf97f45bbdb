"""The checkpoint flags: what they accept, and what they turn into."""

from __future__ import annotations

import subprocess
import sys

import pytest
import tensorflow as tf
from absl import flags

import estimator_ckpt
from estimator_ckpt import flags as checkpoint_flags

tf1 = tf.compat.v1


def parse(*arguments, prefix=""):
    values = flags.FlagValues()
    checkpoint_flags.define_checkpoint_flags(values, prefix)
    values(["job", *arguments])
    return values


def model_fn(features, labels, mode):
    raise AssertionError("never called here")


def python(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()


def test_importing_defines_no_flag_and_loads_no_tensorflow():
    code = (
        "import sys\nfrom absl import flags\nbefore = set(flags.FLAGS)\n"
        "import estimator_ckpt.flags, estimator_ckpt.train.job_flags, estimator_ckpt.train\n"
        "from absl import app\n"
        "print('tensorflow' in sys.modules, 'checkpoint_format' in flags.FLAGS,"
        " 'model_fn' in flags.FLAGS)"
    )
    assert python(code) == ["False", "False", "False"]


def test_flags_go_to_the_global_ones_by_default():
    code = (
        "from absl import flags\nfrom estimator_ckpt import flags as checkpoint_flags\n"
        "checkpoint_flags.define_checkpoint_flags()\n"
        "flags.FLAGS(['job', '--checkpoint_format=tf1', '--keep_checkpoint_max=2'])\n"
        "print(flags.FLAGS.checkpoint_format, flags.FLAGS.keep_checkpoint_max,"
        " checkpoint_flags.wrap_from_flags(len) is len)"
    )
    assert python(code) == ["tf1", "2", "True"]


def test_dual_is_what_is_written_unless_told_otherwise():
    assert parse().checkpoint_format == "dual"


def test_two_sets_of_flags_live_side_by_side_under_prefixes():
    values = flags.FlagValues()
    checkpoint_flags.define_checkpoint_flags(values)
    checkpoint_flags.define_checkpoint_flags(values, prefix="student_")
    values(["job", "--student_checkpoint_format=tf1", "--student_keep_checkpoint_max=1"])
    assert checkpoint_flags.wrap_from_flags(model_fn, flag_values=values) is not model_fn
    student = {"flag_values": values, "prefix": "student_"}
    assert checkpoint_flags.wrap_from_flags(model_fn, **student) is model_fn
    assert checkpoint_flags.run_config_from_flags(**student).keep_checkpoint_max == 1
    assert checkpoint_flags.run_config_from_flags(flag_values=values).keep_checkpoint_max == 5


def test_a_second_set_without_a_prefix_is_refused():
    values = parse()
    with pytest.raises(flags.DuplicateFlagError):
        checkpoint_flags.define_checkpoint_flags(values)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--checkpoint_format=tf3"], "tf1|tf2|dual"),
        (["--save_checkpoints_steps=5", "--save_checkpoints_secs=5"], "not both"),
        (["--save_checkpoints_steps=-1"], "non-negative"),
        (["--keep_checkpoint_max=-1"], "non-negative"),
        (["--warm_start_rename=a/=b/"], "needs --warm_start_from"),
        (
            ["--warm_start_from=x", "--warm_start_rename=a"],
            "the rule 'a' has no '='; expected FROM=TO",
        ),
        (["--warm_start_from=x", "--warm_start_rename==b"], "nothing before '='"),
        (["--warm_start_from=x", "--warm_start_rename=a/=b"], "mixes a scope with a name"),
        (
            ["--warm_start_from=x", "--warm_start_rename=a=b", "--warm_start_rename=a=c"],
            "'a' is renamed both to 'b' and to 'c'",
        ),
    ],
)
def test_a_bad_value_says_what_is_allowed(arguments, message):
    with pytest.raises(flags.IllegalFlagValueError) as caught:
        parse(*arguments)
    assert message in str(caught.value)


def test_an_empty_source_turns_a_flagfiles_warm_start_off_renames_and_all():
    values = parse("--warm_start_from=x", "--warm_start_rename=a/=b/", "--warm_start_from=")
    assert checkpoint_flags.warm_start_from_flags(flag_values=values) is None


def test_format_tf1_leaves_the_model_fn_alone_and_other_formats_wrap_it():
    assert checkpoint_flags.wrap_from_flags(
        model_fn, flag_values=parse("--checkpoint_format=tf1")
    ) is (model_fn)
    for checkpoint_format in ("tf2", "dual"):
        values = parse(f"--checkpoint_format={checkpoint_format}")
        wrapped = checkpoint_flags.wrap_from_flags(model_fn, flag_values=values)
        assert wrapped is not model_fn
        tf.estimator.Estimator(wrapped)  # takes its arguments for a model_fn's


def test_the_tf1_hook_comes_along_only_where_no_wrapper_brings_it(tmp_path):
    def hooks(*arguments):
        return checkpoint_flags.train_hooks_from_flags(flag_values=parse(*arguments))

    tf1_dir = f"--tf1_dir={tmp_path}"
    assert hooks("--checkpoint_format=tf1") == []
    assert hooks("--checkpoint_format=dual", tf1_dir) == []
    (hook,) = hooks("--checkpoint_format=tf1", tf1_dir)
    assert isinstance(hook, estimator_ckpt.Tf1CheckpointSaverHook)


def test_model_dir_in_the_tf1_dir_is_filled_in():
    values = parse("--tf1_dir={model_dir}/tf1")
    assert checkpoint_flags.tf1_dir_from_flags("runs/a", flag_values=values) == "runs/a/tf1"
    with pytest.raises(flags.IllegalFlagValueError, match="needs a model_dir"):
        checkpoint_flags.tf1_dir_from_flags(flag_values=values)


@pytest.mark.parametrize("wrong", ["{modeldir}", "{}", "{MODEL_DIR}", "{model-dir}", "${model}"])
@pytest.mark.parametrize("prefix", ["", "student_"])
def test_a_placeholder_that_stands_for_nothing_is_an_error(wrong, prefix):
    for define in (
        checkpoint_flags.define_checkpoint_flags,
        checkpoint_flags.define_wrapping_flags,
    ):
        values = flags.FlagValues()
        define(values, prefix)
        with pytest.raises(flags.IllegalFlagValueError, match=r"'\{model_dir\}' stands for"):
            values(["job", f"--{prefix}tf1_dir={{model_dir}}/{wrong}/tf1"])
        values(["job", f"--{prefix}tf1_dir={{model_dir}}/a{{b"])


@pytest.mark.parametrize("tf1_dir", ["m", "m/", "./m", "{model_dir}", "m/x/.."])
def test_the_model_dir_itself_is_no_tf1_dir(tf1_dir):
    values = parse(f"--tf1_dir={tf1_dir}")
    with pytest.raises(flags.IllegalFlagValueError, match="is the model_dir itself"):
        checkpoint_flags.wrap_from_flags(model_fn, model_dir="m", flag_values=values)


def test_run_config_has_the_saving_and_retention_flags():
    values = parse(
        "--save_checkpoints_steps=7",
        "--keep_checkpoint_max=3",
        "--keep_checkpoint_every_n_hours=0.5",
    )
    config = checkpoint_flags.run_config_from_flags(flag_values=values, model_dir="m")
    assert config.model_dir == "m"
    assert (config.save_checkpoints_steps, config.save_checkpoints_secs) == (7, None)
    assert (config.keep_checkpoint_max, config.keep_checkpoint_every_n_hours) == (3, 0.5)


def test_run_config_is_tensorflows_own_without_flags():
    ours, theirs = (
        checkpoint_flags.run_config_from_flags(flag_values=parse()),
        (tf.estimator.RunConfig()),
    )
    for name in ("steps", "secs"):
        pace = f"save_checkpoints_{name}"
        assert getattr(ours, pace) == getattr(theirs, pace)
    assert ours.keep_checkpoint_max == theirs.keep_checkpoint_max
    assert ours.keep_checkpoint_every_n_hours == theirs.keep_checkpoint_every_n_hours


def test_a_flag_of_zero_gives_way_to_the_other_pace():
    values = parse(
        "--save_checkpoints_steps=7", "--save_checkpoints_steps=0", "--save_checkpoints_secs=9"
    )
    config = checkpoint_flags.run_config_from_flags(flag_values=values)
    assert (config.save_checkpoints_steps, config.save_checkpoints_secs) == (None, 9)


def test_overrides_win_over_flags():
    values = parse("--save_checkpoints_steps=7", "--keep_checkpoint_max=3")
    config = checkpoint_flags.run_config_from_flags(
        flag_values=values, save_checkpoints_secs=5, keep_checkpoint_max=1
    )
    assert (config.save_checkpoints_steps, config.save_checkpoints_secs) == (None, 5)
    assert config.keep_checkpoint_max == 1


def test_a_warm_start_from_nowhere_is_an_error_of_ours(tmp_path):
    values = parse(f"--warm_start_from={tmp_path}/nothing")
    with pytest.raises(estimator_ckpt.CheckpointError, match="nothing"):
        checkpoint_flags.warm_start_from_flags(flag_values=values)


def test_warm_start_takes_source_rules_and_filter_from_the_flags(tmp_path):
    with tf.Graph().as_default(), tf1.Session() as session:
        tf1.get_variable("old/kernel", initializer=[1.0, 2.0])
        tf1.get_variable("old/bias", initializer=[5.0])
        session.run(tf1.global_variables_initializer())
        tf1.train.Saver().save(session, str(tmp_path / "model.ckpt"))
    values = parse(
        f"--warm_start_from={tmp_path}",
        "--warm_start_rename=old/=new/",
        "--warm_start_include=.*kernel",
    )

    def new_model_fn(features, labels, mode):
        kernel = tf1.get_variable("new/kernel", initializer=[0.0, 0.0])
        bias = tf1.get_variable("new/bias", initializer=[0.0])
        step = tf1.train.get_global_step()
        loss = 0.0 * (tf.reduce_sum(kernel) + tf.reduce_sum(bias))
        return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=tf1.assign_add(step, 1))

    estimator = tf.estimator.Estimator(
        new_model_fn,
        str(tmp_path / "new"),
        warm_start_from=checkpoint_flags.warm_start_from_flags(flag_values=values),
    )
    estimator.train(lambda: tf.data.Dataset.from_tensors(({"x": [0.0]}, [0.0])), steps=1)
    assert estimator.get_variable_value("new/kernel").tolist() == [1.0, 2.0]
    assert estimator.get_variable_value("new/bias").tolist() == [0.0]


def test_a_flagfile_gives_the_same_flags_again():
    values = parse(
        "--checkpoint_format=tf2",
        "--tf1_dir={model_dir}/a b=c",
        "--warm_start_from=x",
        "--warm_start_rename=a/=b/",
        "--warm_start_rename=c=d e",
        "--warm_start_with_slots",
        "--keep_checkpoint_every_n_hours=0.25",
        "--save_checkpoints_secs=0",
    )
    text = checkpoint_flags.flags_as_flagfile([checkpoint_flags], values)
    again = parse(*text.splitlines())
    assert again.flag_values_dict() == values.flag_values_dict()
    assert again.warm_start_rename == ["a/=b/", "c=d e"]


def test_a_flagfile_has_the_flags_of_the_named_modules_only():
    values = flags.FlagValues()
    checkpoint_flags.define_checkpoint_flags(values)
    flags.DEFINE_string("mine", "here", "A flag of the job.", flag_values=values)
    values(["job"])
    text = checkpoint_flags.flags_as_flagfile([checkpoint_flags], values)
    assert "--checkpoint_format=dual\n" in text
    assert "mine" not in text


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [((), ("continue", False)), (("--tf1_on_error=stop", "--sync_data"), ("stop", True))],
)
def test_what_to_do_about_errors_and_power_cuts_goes_to_the_wrapper(
    monkeypatch, arguments, expected
):
    given = {}
    monkeypatch.setattr(
        estimator_ckpt, "wrap_model_fn", lambda model_fn, **settings: given.update(settings)
    )
    checkpoint_flags.wrap_from_flags(model_fn, flag_values=parse(*arguments))
    assert (given["tf1_on_error"], given["sync_data"]) == expected


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), (False, "wait", "give_back", 120)),
        (
            (
                "--async_save",
                "--async_when_busy=skip",
                "--async_memory=keep",
                "--async_sigterm_secs=30",
            ),
            (True, "skip", "keep", 30),
        ),
    ],
)
def test_saving_while_training_goes_on_goes_to_the_wrapper(monkeypatch, arguments, expected):
    given = {}
    monkeypatch.setattr(
        estimator_ckpt, "wrap_model_fn", lambda model_fn, **settings: given.update(settings)
    )
    checkpoint_flags.wrap_from_flags(model_fn, flag_values=parse(*arguments))
    names = ("async_save", "async_when_busy", "async_memory", "async_sigterm_secs")
    assert tuple(given[name] for name in names) == expected


def test_saving_while_training_goes_on_needs_a_wrapped_model_fn():
    with pytest.raises(flags.IllegalFlagValueError, match="--async_save needs a wrapped model_fn"):
        parse("--async_save", "--checkpoint_format=tf1")


def test_what_to_do_about_errors_goes_to_the_hook_of_a_job_that_is_not_wrapped(monkeypatch):
    given = {}
    monkeypatch.setattr(
        estimator_ckpt, "Tf1CheckpointSaverHook", lambda path, **settings: given.update(settings)
    )
    values = parse("--checkpoint_format=tf1", "--tf1_dir=tf1", "--tf1_on_error=stop")
    checkpoint_flags.train_hooks_from_flags(flag_values=values)
    assert (given["on_error"], given["take_over"]) == ("stop", False)


def test_whether_to_take_over_goes_to_the_wrapper_and_to_the_hook(monkeypatch):
    given = []
    for name in ("wrap_model_fn", "Tf1CheckpointSaverHook"):
        monkeypatch.setattr(estimator_ckpt, name, lambda first, **settings: given.append(settings))
    arguments = ("--tf1_dir=tf1", "--tf1_take_over")
    checkpoint_flags.wrap_from_flags(model_fn, flag_values=parse(*arguments))
    values = parse("--checkpoint_format=tf1", *arguments)
    checkpoint_flags.train_hooks_from_flags(flag_values=values)
    assert [each.get("tf1_take_over", each.get("take_over")) for each in given] == [True, True]


def test_a_symbolic_link_to_the_model_dir_is_no_tf1_dir(tmp_path):
    (tmp_path / "job").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "job")
    with pytest.raises(flags.IllegalFlagValueError, match="is the model_dir itself"):
        checkpoint_flags.tf1_dir_from_flags(
            str(tmp_path / "job"), flag_values=parse(f"--tf1_dir={tmp_path}/link")
        )


@pytest.mark.parametrize("model_dir", [None, "a\n\u202e"])
def test_flag_errors_are_one_line_whatever_the_value(model_dir):
    values = flags.FlagValues()
    checkpoint_flags.define_checkpoint_flags(values)
    values(["job", "--tf1_dir={model_dir}" + ("" if model_dir else "/a\n\u202e")])
    with pytest.raises(flags.IllegalFlagValueError) as raised:
        checkpoint_flags.tf1_dir_from_flags(model_dir, flag_values=values)
    assert "a\\n\\u202e" in str(raised.value)
    assert str(raised.value).isprintable()
