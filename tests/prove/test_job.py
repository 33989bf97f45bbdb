"""A job that is proved: what is seen of a run, what is compared, and what can't be."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from contextlib import nullcontext

import jobs
import numpy as np
import prove_jobs
import pytest

from estimator_ckpt import CheckpointArgumentError, describe, prove_job
from estimator_ckpt.prove import job
from estimator_ckpt.prove.job_proof import JobProof
from estimator_ckpt.prove.job_run import JobRun, read_values, run_job

ROOT = pathlib.Path(__file__).resolve().parents[2]


def make_run(
    folder, model_fn="told_model_fn", options=None, *, input_fn="input_fn", config_fn=None, **more
):
    settings = {"max_steps": 3, "save_steps": 1, "eval_steps": 2, "start_from": None}
    functions = {"model_fn": model_fn, "input_fn": input_fn, "eval_input_fn": input_fn}
    if config_fn is not None:
        functions["config_fn"] = config_fn
    functions = {name: f"prove_jobs:{function}" for name, function in functions.items()}
    folder.mkdir()
    settings = {"params": None, "seed": 1, "deterministic": False, **settings, **more}
    return JobRun(folder=str(folder), functions=functions, options=options, **settings)


def outcome(run):
    """Does a run in this process."""
    return job.Outcome(run, notes=run_job(run)["notes"])


def command(*arguments, cwd):
    path = os.pathsep.join(filter(None, [str(ROOT), str(ROOT / "tests/support")]))
    return subprocess.run(
        [sys.executable, "-m", "estimator_ckpt.prove", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=500,
    )


def test_what_is_seen_of_a_run_is_what_tensorflow_reads_of_it(tmp_path):
    run = make_run(tmp_path / "raw")
    assert run_job(run)["step"] == 3
    values = jobs.values(f"{run.model_dir}/model.ckpt-3")
    seen = {**read_values(run.folder, "variables"), **read_values(run.folder, "slots")}
    jobs.assert_equal_values(seen, values)
    assert sorted(read_values(run.folder, "slots")) == [
        "dense/bias/Momentum",
        "dense/kernel/Momentum",
    ]
    metrics = read_values(run.folder, "metrics")
    assert (sorted(metrics), metrics["global_step"]) == (["accuracy", "global_step", "loss"], 3)
    assert read_values(run.folder, "predictions")["logits"].shape == (8, 2)
    assert len(read_values(run.folder, "checkpoints")) == 4 * len(values)  # and of step 0
    assert "loss at step 2" in read_values(run.folder, "summaries")
    assert {"model.ckpt-1.index", "model.ckpt-3.data", "checkpoint", "graph.pbtxt"} < set(
        read_values(run.folder, "files")
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model_fn", "options", "variables"),
    [
        ("rich_model_fn", {"tf1_dir": "anything"}, 11),  # with the step and the hook's
        ("told_model_fn", {"checkpoint_format": "tf2", "async_save": True}, 3),
    ],
    ids=["dual", "tf2"],
)
def test_a_job_is_equal_wrapped_and_resumed_from_one_another(
    tmp_path, model_fn, options, variables
):
    settings = {"params": {"units": 4}} if variables > 3 else {}
    raw = outcome(make_run(tmp_path / "r", model_fn, **settings))
    wrapped = outcome(make_run(tmp_path / "w", model_fn, options, **settings))
    found = job.compared("wrapped", raw, wrapped)
    assert found.equal, found
    compared = {aspect.name: aspect.compared for aspect in found.aspects}
    assert compared["variables"] == variables
    assert ("tf1 copies" in compared) == ("tf1_dir" in options)
    settings["max_steps"] = 5
    resumed = [
        outcome(make_run(tmp_path / name, model_fn, how, start_from=start, **settings))
        for name, how, start in (
            ("rr", None, raw.run.model_dir),
            ("rw", options, raw.run.model_dir),
            ("wr", None, wrapped.run.model_dir),
        )
    ]
    for other in resumed[1:]:
        assert job.compared("resumed", resumed[0], other).equal
    assert describe(resumed[2].run.model_dir).format == "tf1"
    assert not os.path.exists("anything")


def test_what_differs_is_told_by_name_and_by_how_much(tmp_path):
    raw, wrapped = (outcome(make_run(tmp_path / name)) for name in ("raw", "wrapped"))
    found = job.compared("wrapped", raw, wrapped)
    assert not found.equal
    aspects = {aspect.name: aspect for aspect in found.aspects}
    assert aspects["files"].equal
    names = ["dense/bias", "dense/kernel"]
    assert [each.name for each in aspects["variables"].differences] == names
    kernels = [read_values(each.run.folder, "variables")["dense/kernel"] for each in (raw, wrapped)]
    largest = np.abs(kernels[0] - kernels[1]).max()
    assert aspects["variables"].differences[1].largest == pytest.approx(largest)
    proof = JobProof("m:f", "m:g", 6, 1, {}, (job.compared("raw", raw, raw),), (found,))
    assert (proof.verdict, proof.equal) == ("different", False)
    assert "  variables: dense/bias differs by " in str(proof)
    assert json.loads(json.dumps(proof.as_dict()))["verdict"] == "different"
    unrepeatable = JobProof("m:f", "m:g", 6, 1, {}, (found,), ())
    assert unrepeatable.verdict == "not repeatable"
    assert "nothing can be said" in str(unrepeatable)


def test_a_strategy_comes_with_the_config(tmp_path):
    settings = {"config_fn": "mirrored_config_fn"}
    raw = outcome(make_run(tmp_path / "r", **settings))
    found = job.compared("", raw, outcome(make_run(tmp_path / "w", options={}, **settings)))
    assert found.equal, found
    checkpoints = read_values(raw.run.folder, "checkpoints")
    assert {name.partition(":")[0] for name in checkpoints} == {"model.ckpt-3"}


def test_a_process_that_takes_too_long_is_ended():
    functions = (prove_jobs.told_model_fn, prove_jobs.input_fn)
    with pytest.raises(CheckpointArgumentError, match=r"longer than 0.1 s, .* \(--timeout\)"):
        prove_job(*functions, timeout=0.1)


def test_a_process_that_does_not_end_when_the_job_is_done_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the job writes a file
    run = make_run(tmp_path / "raw", model_fn="prove_jobs:endless_model_fn")
    (tmp_path / "raw" / "found.json").write_text('{"step": 3, "notes": {}}')
    failure = job._start(run, 0.1)
    assert failure.startswith("The job was done, but its process did not end within 0.1 s, the ")


@pytest.mark.slow
def test_a_job_whose_thread_goes_on_is_ended(tmp_path):
    functions = {name: "prove_jobs:input_fn" for name in ("input_fn", "eval_input_fn")}
    functions["model_fn"] = "prove_jobs:staying_model_fn"
    runs = job.Runs(str(tmp_path), functions, None, {}, 1, False, 2, 1, 20, print)
    with pytest.raises(CheckpointArgumentError, match=r"20 s, the time limit \(--timeout\)"):
        runs.raw("raw")


@pytest.mark.slow
def test_sigterm_ends_it_with_its_processes_and_its_folder(tmp_path):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests/support")])
    functions = ["--model_fn=prove_jobs:endless_model_fn", "--input_fn=prove_jobs:input_fn"]
    with subprocess.Popen(
        [sys.executable, "-m", "estimator_ckpt.prove", *functions],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path, "TMPDIR": str(temporary)},
    ) as process:
        written = tmp_path / "pid"
        while not (written.exists() and written.read_text().endswith("\n")):
            assert process.poll() is None
            time.sleep(0.1)
        assert len(list(temporary.glob("estimator_ckpt_prove_*"))) == 1
        process.send_signal(signal.SIGTERM)
        assert process.wait(900) == 130
    assert list(temporary.glob("estimator_ckpt_prove_*")) == []
    with pytest.raises(ProcessLookupError):
        os.kill(int(written.read_text()), 0)


def test_what_a_job_never_does_is_not_proved_unless_it_is_left_out(tmp_path):
    unproved = outcome(make_run(tmp_path / "all", "training_only_model_fn"))
    with pytest.raises(
        CheckpointArgumentError,
        match=r"nothing is proved: the job itself fails when it is to evaluate \(raw\): "
        r"NotImplementedError: for training only .* --noeval \(evaluate=False\)",
    ):
        job.require_looked_at("raw", unproved)
    for left_out, said in ((["metrics"], "--nopredict"), (["metrics", "predictions"], "")):
        settings = {"left_out": left_out}
        run = make_run(tmp_path / f"{len(left_out)}", "training_only_model_fn", **settings)
        proved = outcome(run)
        assert sorted(proved.notes) == sorted({"metrics", "predictions"} - set(left_out))
        with pytest.raises(CheckpointArgumentError, match=said) if said else nullcontext():
            job.require_looked_at("raw", proved)
    found = job.compared("wrapped", proved, proved)
    assert found.equal
    assert not {aspect.name for aspect in found.aspects} & {"metrics", "predictions"}


@pytest.mark.slow
def test_of_a_job_that_is_never_evaluated_nothing_is_proved(tmp_path):
    functions = ["--model_fn=prove_jobs:training_only_model_fn", "--input_fn=prove_jobs:input_fn"]
    ran = command(*functions, "--steps=2", cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "nothing is proved: the job itself fails when it is to evaluate (raw): " in ran.stderr


def test_what_fails_on_one_side_only_is_a_difference(tmp_path):
    runs = [outcome(make_run(tmp_path / how, "evaluates_raw_model_fn")) for how in ("r", "wrapped")]
    aspects = {aspect.name: aspect for aspect in job.compared("wrapped", *runs).aspects}
    assert not aspects["metrics"].equal
    assert aspects["metrics"].note.startswith("only this fails: NotImplementedError")


@pytest.mark.parametrize(
    ("functions", "said"),
    [
        ({"input_fn": "empty_input_fn"}, "prove_jobs:empty_input_fn gives nothing"),
        ({"model_fn": "stuck_model_fn"}, "the global step stays at 0"),
        ({"model_fn": "told_model"}, "did you mean"),
        ({"model_fn": "wrapped_model_fn"}, "is wrapped already"),
    ],
)
def test_a_job_that_cant_be_trained_is_told(tmp_path, functions, said):
    with pytest.raises(CheckpointArgumentError, match=said):
        run_job(make_run(tmp_path / "raw", **functions))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"steps": 1}, "too few to save in the middle"),
        ({"model_fn": lambda: None}, "package.module:function"),
        ({"model_fn": "prove_jobs"}, "package.module:function"),
        ({"options": {"saving_listeners": []}}, "saving_listeners: must be among"),
        ({"options": {"checkpoint_format": "tf1"}}, "must be 'dual' or 'tf2'"),
        ({"options": {"async_when_busy": "x"}}, "'wait' or 'skip'"),
        ({"params": {"rate": object()}}, "of what JSON has"),
        ({"work_dir": "."}, "must be a new folder"),
    ],
)
def test_unusable_arguments_are_told(arguments, said):
    functions = {"model_fn": prove_jobs.told_model_fn, "input_fn": prove_jobs.input_fn}
    with pytest.raises(CheckpointArgumentError, match=said):
        prove_job(**{**functions, **arguments})


def test_a_wrong_command_line_says_what_is_wanted(tmp_path):
    from estimator_ckpt.prove.__main__ import main

    assert main(["--model_fn=prove_jobs:told_model_fn"]) == 2
    assert main(["--model_fn=no reference", "--input_fn=prove_jobs:input_fn"]) == 2
    assert main(["left"]) == 2
    assert main(["--help"]) == 0


@pytest.mark.slow
def test_a_job_that_fails_is_shown_and_nothing_is_left(tmp_path):
    ran = command(
        "--model_fn=prove_jobs:failing_model_fn", "--input_fn=prove_jobs:input_fn", cwd=tmp_path
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "the job itself fails (raw): KeyError: 'nothing'" in ran.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_of_a_job_that_is_not_repeatable_nothing_is_said(tmp_path):
    ran = command(
        "--model_fn=prove_jobs:unrepeatable_model_fn",
        "--input_fn=prove_jobs:input_fn",
        "--steps=4",
        "--json",
        "--deterministic",
        "--noeval",
        "--nopredict",
        "--work_dir=kept",
        cwd=tmp_path,
    )
    assert ran.returncode == 2, ran.stderr
    proof = json.loads(ran.stdout)
    assert (proof["verdict"], proof["wrapped"]) == ("not repeatable", [])
    aspects = proof["raw"][0]["aspects"]
    assert not {each["name"] for each in aspects} & {"metrics", "predictions"}
    variables = aspects[0]["differences"]
    assert [each["name"] for each in variables] == ["dense/bias", "dense/kernel"]
    assert all(each["largest"] > 0 for each in variables)
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == ["raw", "raw_again"]


@pytest.mark.slow
def test_a_job_that_fails_only_when_it_is_wrapped_differs(tmp_path):
    functions = {
        "model_fn": "prove_jobs:breaks_when_wrapped_model_fn",
        "input_fn": "prove_jobs:input_fn",
        "eval_input_fn": "prove_jobs:input_fn",
    }
    runs = job.Runs(str(tmp_path), functions, None, {}, 1, False, 2, 1, 500, print)
    wrapped = runs.wrapped("wrapped")
    found = job.compared("wrapped", wrapped, wrapped)
    assert not found.equal
    assert found.failure.startswith("KeyError: 'only raw' (")
