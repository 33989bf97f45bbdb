"""`--include` and `--exclude` of the commands that make a checkpoint, judged by TensorFlow."""

from __future__ import annotations

import json

import jobs
import numpy as np
import pytest
import tensorflow as tf

from estimator_ckpt import convert
from estimator_ckpt.checkpoint.account import open_account

tf1 = tf.compat.v1
FORMATS = ["tf1", "tf2", "dual"]
SLOTS = {"net/w/Adam", "net/w/Adam_1", "head/w/Adam", "head/w/Adam_1"}
POWERS = {"beta1_power", "beta2_power"}
AVERAGES = {f"{name}/ExponentialMovingAverage" for name in ("net/w", "head/w")}
ALL = {"net/w", "head/w", "global_step"} | SLOTS | POWERS | AVERAGES


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """Three checkpoints of two variables with Adam and averages, and their state file."""
    folder = tmp_path_factory.mktemp("job")
    with tf.Graph().as_default(), tf1.Session() as session:
        step = tf1.train.get_or_create_global_step()
        weights = [tf1.get_variable(name, initializer=[1.0, 2.0]) for name in ("net/w", "head/w")]
        loss = tf.add_n([tf.reduce_sum(w * w) for w in weights])
        with tf.control_dependencies([tf1.train.AdamOptimizer(0.1).minimize(loss, step)]):
            train = tf.train.ExponentialMovingAverage(0.5).apply(weights)
        session.run(tf1.global_variables_initializer())
        saver = tf1.train.Saver(save_relative_paths=True)
        for number in range(1, 4):
            session.run(train)
            saver.save(session, str(folder / "ckpt"), global_step=number)
    return folder


@pytest.fixture(params=FORMATS)
def source(request, job, tmp_path):
    """The last of them, in each format."""
    convert(job, tmp_path / "source", to=request.param)
    return tmp_path / "source"


def assert_values(prefix, expected):
    """Reads {name: value}, and where there are objects, loads all that they have."""
    jobs.assert_equal_values(jobs.values(prefix), expected)
    if "_CHECKPOINTABLE_OBJECT_GRAPH" in jobs.keys(prefix):
        held = {name: tf.Variable(tf.zeros_like(value)) for name, value in expected.items()}
        step = {"step": held.pop("global_step")} if "global_step" in held else {}
        tf.train.Checkpoint(var_list=held, **step).restore(str(prefix)).assert_consumed()
        jobs.assert_equal_values(
            {name: v.numpy() for name, v in held.items()},
            {name: value for name, value in expected.items() if name in held},
        )


def only(values, names):
    return {name: values[name] for name in names}


@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize(
    ("flags", "names"),
    [
        (["--include=^net/w$"], {"net/w", "global_step"}),
        (["--include=w$", "--exclude=step"], {"net/w", "head/w"}),
        (
            ["--exclude=Adam", "--exclude=_power$", "--exclude=Moving"],
            {"net/w", "head/w", "global_step"},
        ),
    ],
)
def test_convert_takes_what_is_chosen_and_lists_the_rest(
    command, source, tmp_path, to, flags, names
):
    ran = command("convert", source, tmp_path / "new", f"--to={to}", *flags, "--json")
    assert ran.code == 0, ran.err
    assert_values(tmp_path / "new", only(jobs.values(source), names))
    dropped = json.loads(ran.out)["dropped"]
    unwanted = {row["key"] for row in dropped if row["reason"].startswith("not asked for")}
    account = open_account(source)  # each by all of its keys
    assert unwanted == {key for name in ALL - names for key in account.keys_of[name]}


def test_convert_renames_and_drops_what_was_chosen(command, source, tmp_path):
    flags = ["--to=tf1", "--include=^net/", "--rename=net/=head/", "--drop=Moving"]
    ran = command("convert", source, tmp_path / "new", *flags)
    assert ran.code == 0, ran.err
    old = jobs.values(source)
    expected = {f"head/w{slot}": old[f"net/w{slot}"] for slot in ("", "/Adam", "/Adam_1")}
    assert_values(tmp_path / "new", {**expected, "global_step": old["global_step"]})


def test_convert_all_takes_the_same_of_each(command, job, tmp_path):
    ran = command("convert", job, tmp_path / "new", "--to=dual", "--all", "--include=^net/w$")
    assert ran.code == 0, ran.err
    assert jobs.listed(tmp_path / "new") == jobs.listed(job)
    for name in jobs.listed(job):
        expected = only(jobs.values(job / name), ("net/w", "global_step"))
        assert_values(tmp_path / "new" / name, expected)


def test_rename_renames_what_is_chosen(command, source, tmp_path):
    flags = ["--rename=net/=n/", "--exclude=Adam_1$"]
    ran = command("rename", source, tmp_path / "new", *flags)
    assert ran.code == 0, ran.err
    old = jobs.values(source)
    new = {name: name if name.endswith("Adam_1") else name.replace("net/", "n/") for name in old}
    assert_values(tmp_path / "new", {new[name]: value for name, value in old.items()})


def test_what_follows_a_chosen_variable_is_renamed_with_it(command, source, tmp_path):
    ran = command("rename", source, tmp_path / "new", "--rename=net/=n/", "--include=net/w$")
    assert ran.code == 0, ran.err
    old = jobs.values(source)
    expected = {name.replace("net/", "n/"): value for name, value in old.items()}
    assert_values(tmp_path / "new", expected)
    assert "\nnote\t" not in ran.out


def test_a_slot_that_is_excluded_stays_and_is_said(command, source, tmp_path):
    flags = ["--rename=net/=n/", "--include=net/w$", "--exclude=Adam_1$", "--json"]
    ran = command("rename", source, tmp_path / "new", *flags)
    assert ran.code == 0, ran.err
    (note,) = json.loads(ran.out)["notes"]
    assert note.endswith("that keep their names: 'net/w/Adam_1' of 'net/w'")
    assert {"n/w/Adam", "net/w/Adam_1"} <= jobs.values(tmp_path / "new").keys()


def test_a_new_name_that_something_else_keeps_is_refused(command, source, tmp_path):
    ran = command("rename", source, tmp_path / "new", "--rename=net/=head/", "--include=^net/")
    assert ran.code == 2
    assert "would both be called 'head/w'" in ran.err
    assert not list(tmp_path.glob("new*"))


def test_drop_leaves_what_is_not_chosen(command, source, tmp_path):
    flags = ["--slots", "--include=^head/"]
    ran = command("drop", source, tmp_path / "new", *flags)
    assert ran.code == 0, ran.err
    gone = {name for name in SLOTS | AVERAGES if name.startswith("head/")}
    assert_values(tmp_path / "new", only(jobs.values(source), ALL - gone))


def test_ema_leaves_what_is_not_chosen(command, source, tmp_path):
    ran = command("ema", source, tmp_path / "new", "--include=^net/w$")
    assert ran.code == 0, ran.err
    old = jobs.values(source)
    expected = {**old, "net/w": old["net/w/ExponentialMovingAverage"]}
    del expected["net/w/ExponentialMovingAverage"]
    assert not np.array_equal(old["net/w"], expected["net/w"])
    assert_values(tmp_path / "new", expected)


@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize(
    ("flags", "names"),
    [
        (["--exclude=Adam|_power$|Moving"], {"net/w", "head/w", "global_step"}),
        (["--include=^net/w$", "--exclude=step"], {"net/w"}),
    ],
)
def test_average_takes_what_is_chosen_and_lists_the_rest(command, job, tmp_path, to, flags, names):
    convert(job / "ckpt-3", tmp_path / "ckpt-3", to=to)
    sources = [job / "ckpt-1", job / "ckpt-2", tmp_path / "ckpt-3"]
    ran = command("average", *sources, tmp_path / "new", *flags, "--json")
    assert ran.code == 0, ran.err
    found = [jobs.values(each) for each in sources]
    expected = {
        name: np.mean([each[name] for each in found], axis=0, dtype=np.float64).astype(np.float32)
        for name in names
    }
    if "global_step" in names:
        expected["global_step"] = found[-1]["global_step"]
    assert_values(tmp_path / "new", expected)
    report = json.loads(ran.out)
    assert set(report["averaged"] + report["kept"]) == names
    dropped = report["dropped"]
    unwanted = {row["key"] for row in dropped if row["reason"].startswith("not asked for")}
    account = open_account(sources[-1])  # each by all of its keys
    assert unwanted == {key for name in ALL - names for key in account.keys_of[name]}


def test_average_says_what_it_left_out(command, job, tmp_path, on_terminal):
    flags = ["--last=2", "--include=w$"]
    piped = command("average", job, tmp_path / "a", *flags)
    assert "\nkeys_dropped\t8\n" in piped.out
    assert "\ndropped\tnet/w/Adam\tnot asked for (include, exclude)\n" in piped.out
    on_terminal(80)
    shown = command("average", job, tmp_path / "b", *flags)
    assert "\n8 tensors left out: not asked for (include, exclude)\n" in shown.out


def test_average_needs_only_what_is_chosen_in_each(command, job, tmp_path):
    convert(job / "ckpt-1", tmp_path / "small", to="tf1", drop=["^head/"])
    arguments = [tmp_path / "small", job / "ckpt-3", tmp_path / "new"]
    assert "lacks 'head/w'" in command("average", *arguments).err
    assert command("average", *arguments, "--exclude=^head/").code == 0
    assert "head/w" not in jobs.keys(tmp_path / "new")


@pytest.mark.parametrize(
    "arguments",
    [
        ["convert", "--to=tf2"],
        ["convert", "--to=tf2", "--all"],
        ["rename", "--rename=net/=n/"],
        ["drop", "--slots"],
        ["ema"],
        ["average", "--last=2"],
        ["cast", "--to=bfloat16"],
    ],
    ids=" ".join,
)
def test_a_pattern_that_matches_nothing_is_refused_with_near_names(
    command, job, tmp_path, arguments
):
    verb, *flags = arguments
    for flag in ("include", "exclude"):
        ran = command(verb, job, tmp_path / "new", *flags, f"--{flag}=net/v")
        assert (ran.code, ran.out) == (2, "")
        assert "the pattern 'net/v' matches no variable; near names are net/w" in ran.err
        ran = command(verb, job, tmp_path / "new", *flags, f"--{flag}=(")
        assert (ran.code, "'(' is no regular expression" in ran.err) == (2, True)
    assert not list(tmp_path.iterdir())
