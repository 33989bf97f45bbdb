"""`estimator-ckpt rename`, `drop`, `ema`, and `convert` with rules and of whole folders."""

from __future__ import annotations

import json
import shlex
import shutil

import jobs
import pytest
import tensorflow as tf

from estimator_ckpt import describe, wrap_model_fn
from estimator_ckpt.cli import main
from estimator_ckpt.hyphens import with_underscores

tf1 = tf.compat.v1


@pytest.fixture
def job(tmp_path):
    wrapped = wrap_model_fn(jobs.adam_model_fn)
    estimator = jobs.make_estimator(wrapped, tmp_path / "job", save_checkpoints_steps=2)
    estimator.train(jobs.input_fn, steps=4)
    return tmp_path / "job"


def test_rename_takes_rules_in_order(command, job, tmp_path):
    ran = command(
        "rename", job, tmp_path / "new", "--rename=layer/w=head/kernel", "--rename=layer/=head/"
    )
    assert ran.code == 0, ran.err
    names = {row.name for row in describe(tmp_path / "new").variables}
    assert {"head/kernel", "head/kernel/Adam", "head/b"} < names


def test_rename_by_regular_expression(command, job, tmp_path):
    rule = r"re:^layer/(.*)=l_\1"
    assert command("rename", job, tmp_path / "new", f"--rename={rule}").code == 0
    assert {"l_w", "l_b"} < {row.name for row in describe(tmp_path / "new").variables}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rename"], "no rule given"),
        (["rename", "--rename=a"], "has no '='"),
        (["rename", "--rename=layer/v=x"], "near names are"),
        (["drop"], "nothing to drop"),
        (["drop", "--pattern=nothing"], "matches no variable"),
        (["ema"], "there is no average"),
    ],
)
def test_what_can_not_be_done_is_said_and_nothing_is_written(
    command, job, tmp_path, arguments, message
):
    before = jobs.snapshot(tmp_path)
    verb, *flags = arguments
    ran = command(verb, job, tmp_path / "new", *flags)
    assert ran.code == 2
    assert message in ran.err
    assert jobs.snapshot(tmp_path) == before


DRY = [
    ("drop", "--slots"),
    ("rename", "--rename=layer/=net/"),
    ("convert", "--to=tf2"),
    ("convert", "--to=dual", "--all"),
]


@pytest.mark.parametrize("flag", ["", "--dry_run", "--dry-run", "--dry-run=true", "--no-dry-run"])
@pytest.mark.parametrize("verb", DRY, ids=" ".join)
def test_all_write_but_in_a_dry_run(command, job, tmp_path, verb, flag):
    before = jobs.snapshot(tmp_path)
    name, *flags = verb
    ran = command(name, job, tmp_path / "new", *flags, *filter(None, [flag]))
    assert ran.code == 0, ran.err
    assert (jobs.snapshot(tmp_path) == before) == (flag not in ("", "--no-dry-run"))


@pytest.mark.parametrize("verb", DRY, ids=" ".join)
def test_a_dry_run_ends_with_what_to_type(command, job, tmp_path, on_terminal, verb):
    name, *flags = verb
    line = (name, str(job), str(tmp_path / "new here"), *flags)
    typed = f"estimator-ckpt {shlex.join(line)}"
    piped = command(*line, "--dry-run").out.splitlines()
    assert piped[-1] == f"dry_run\tnothing was written\t{typed}"
    assert json.loads(command(*line, "--dry-run", "--json").out) is not None
    on_terminal(80)
    *_, would, last = command(line[0], "--dry_run", *line[1:]).out.splitlines()
    assert would == "Nothing was written. To write it:"
    assert last == f"  {typed}"
    assert command(*shlex.split(typed)[1:]).code == 0


def test_the_report_of_a_dry_run_says_that_it_is_one(command, job, tmp_path):
    line = ("drop", job, tmp_path / "small", "--slots", "--json")
    assert json.loads(command(*line, "--dry-run").out)["dry_run"] is True
    assert json.loads(command(*line).out)["dry_run"] is False


@pytest.mark.parametrize("verb", main.VERBS)
def test_hyphens_and_underscores_are_the_same_in_every_flag(verb):
    values = main.VERBS[verb].new_flags()
    for name in values:
        flag = values[name]
        if flag.name != name or name == "help":
            continue
        given = [] if flag.boolean else ["1"]
        for spelled in {name, name.replace("_", "-")}:
            assert with_underscores([f"--{spelled}", *given, "x-y", "--", "--a-b"], values) == [
                *(f"--{name}", *given, "x-y", "--", "--a-b")
            ]
        if flag.boolean:
            for spelled in (f"--no{name}", f"--no-{name.replace('_', '-')}"):
                assert with_underscores([spelled], values) == [f"--no{name}"]


def test_ema_puts_averages_in_place(command, tmp_path):
    with tf.Graph().as_default(), tf1.Session() as session:
        w = tf1.get_variable("w", initializer=1.0)
        apply = tf.train.ExponentialMovingAverage(0.5).apply([w])
        session.run(tf1.global_variables_initializer())
        session.run(w.assign(3.0))
        session.run(apply)
        tf1.train.Saver().save(session, str(tmp_path / "source"))
    assert command("ema", tmp_path / "source", tmp_path / "out").code == 0
    assert jobs.values(tmp_path / "out") == {"w": 2}


def test_convert_all_takes_each_checkpoint_and_the_state_file(command, job, tmp_path):
    ran = command("convert", job, tmp_path / "tf2", "--to=tf2", "--all", "--json")
    assert ran.code == 0, ran.err
    assert len(json.loads(ran.out)) == 3
    assert jobs.listed(tmp_path / "tf2") == jobs.listed(job)
    for name in jobs.listed(job):
        assert describe(tmp_path / "tf2" / name).format == "tf2"
        jobs.assert_equal_values(jobs.values(job / name), jobs.values(tmp_path / "tf2" / name))
    assert tf.train.latest_checkpoint(str(tmp_path / "tf2")).endswith("model.ckpt-4")


def test_convert_all_that_was_killed_goes_on(command, job, tmp_path):
    target = tmp_path / "tf2"
    assert command("convert", job / "model.ckpt-0", target / "model.ckpt-0", "--to=tf2").code == 0
    before = jobs.snapshot(target)
    ran = command("convert", job, target, "--to=tf2", "--all", "--json")
    assert ran.code == 0, ran.err
    assert [report["existed"] for report in json.loads(ran.out)] == [True, False, False]
    assert before.items() <= jobs.snapshot(target).items()
    assert jobs.listed(target) == jobs.listed(job)


def test_convert_all_does_not_begin_where_another_checkpoint_is(command, job, tmp_path):
    target = tmp_path / "tf2"
    assert command("convert", job / "model.ckpt-0", target / "model.ckpt-4", "--to=tf2").code == 0
    before = jobs.snapshot(tmp_path)
    ran = command("convert", job, target, "--to=tf2", "--all")
    assert ran.code == 2 and "--overwrite" in ran.err
    assert jobs.snapshot(tmp_path) == before
    assert command("convert", job, target, "--to=tf2", "--all", "--overwrite").code == 0
    assert jobs.listed(target) == jobs.listed(job)


def cut(job, step):
    (index,) = job.glob(f"model.ckpt-{step}.index")
    index.write_bytes(index.read_bytes()[:-20])


def remove_data(job, step):
    for path in job.glob(f"model.ckpt-{step}.data*"):
        path.unlink()


def remove(job, step):
    for path in job.glob(f"model.ckpt-{step}.*"):
        path.unlink()


@pytest.mark.parametrize("damage", [cut, remove_data, remove])
@pytest.mark.parametrize("step", [0, 2, 4])
def test_convert_all_tells_what_is_damaged_before_anything_is_written(
    command, job, tmp_path, on_terminal, damage, step
):
    whole = command("inspect", job / f"model.ckpt-{step}", "--json").out
    saved = shutil.copytree(job, tmp_path / "saved")
    damage(job, step)
    before = jobs.snapshot(tmp_path)
    line = ("convert", job, tmp_path / "tf2", "--to=tf2", "--all")
    ran = command(*line)
    assert (ran.code, ran.out) == (2, "")
    assert f"model.ckpt-{step}" in ran.err
    assert "nothing was written: 2 of 3 checkpoints can be converted" in ran.err
    assert jobs.snapshot(tmp_path) == before

    ran = command(*line, "--keep-going")
    assert ran.code == 2
    (failed,) = [row for row in ran.out.splitlines() if row.startswith("failed\t")]
    assert f"model.ckpt-{step}" in failed.split("\t")[1]
    assert "3 checkpoints: 2 converted, 1 failed" in ran.err
    left = [name for name in jobs.listed(saved) if name != f"model.ckpt-{step}"]
    assert jobs.listed(tmp_path / "tf2") == left
    assert tf.train.latest_checkpoint(str(tmp_path / "tf2")).endswith(left[-1])

    told = json.loads(command(*line, "--keep-going", "--json").out)
    assert [each.get("existed") for each in told] == [True, True, None] and told[2]["error"]
    on_terminal(80)
    out = command(*line, "--keep-going").out
    assert "\nfailed:" in out
    assert out.splitlines()[-1].startswith("3 checkpoints: 2 converted, 1 failed")

    shutil.copytree(saved, job, dirs_exist_ok=True)  # mended: it goes on
    assert command("inspect", job / f"model.ckpt-{step}", "--json").out == whole
    assert command(*line).code == 0
    assert jobs.listed(tmp_path / "tf2") == jobs.listed(job)


def test_keep_going_is_about_a_folder(command, job, tmp_path):
    ran = command("convert", job, tmp_path / "x", "--to=tf2", "--keep_going")
    assert ran.code == 2 and "--all" in ran.err


def test_convert_all_of_a_moved_folder(command, job, tmp_path):
    state = job / "checkpoint"
    state.write_text(state.read_text().replace('"model', '"/elsewhere/model'))
    assert command("convert", job, tmp_path / "tf1", "--to=tf1", "--all").code == 0
    assert len(jobs.listed(tmp_path / "tf1")) == 3


def test_convert_all_refuses_what_is_no_folder_of_checkpoints(command, job, tmp_path):
    (tmp_path / "empty").mkdir()
    ran = command("convert", tmp_path / "empty", tmp_path / "x", "--to=tf1", "--all")
    assert (ran.code, "no state file" in ran.err) == (2, True)
    ran = command("convert", job, job, "--to=tf1", "--all")
    assert (ran.code, "both source and target" in ran.err) == (2, True)


def test_convert_renames_drops_and_shows_the_map_first(command, job, tmp_path):
    flags = ["--to=tf1", "--rename=layer/=l/", "--drop=Adam", "--drop=_power$"]
    dry = command("convert", job, tmp_path / "x", *flags, "--dry_run", "--verbose")
    assert "renamed\tlayer/w\tl/w" in dry.out
    assert not list(tmp_path.glob("x.*"))
    assert command("convert", job, tmp_path / "x", *flags).code == 0
    assert jobs.keys(tmp_path / "x") == {"l/w", "l/b", "global_step"}
