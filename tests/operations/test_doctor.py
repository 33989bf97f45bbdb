"""What doctor finds in model_dirs, and who can read what, with TensorFlow as the judge."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys

import damage
import jobs
import pytest
import tensorflow as tf

from estimator_ckpt import CheckpointNotFoundError, convert, doctor, wrap_model_fn
from estimator_ckpt.cli import main

tf1 = tf.compat.v1


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A job in each format, with checkpoints of the steps 0, 2 and 4 and relative paths."""
    folder = tmp_path_factory.mktemp("trained")
    for to in ("tf1", "tf2", "dual"):
        model_fn = jobs.adam_model_fn
        if to != "tf1":
            model_fn = wrap_model_fn(model_fn, checkpoint_format=to)
        estimator = jobs.make_estimator(model_fn, folder / to, save_checkpoints_steps=2)
        estimator.train(jobs.input_fn, steps=4)
        relative(folder / to)
    return folder


def relative(folder):
    """Writes the state file anew, with just the names in it."""
    names = jobs.listed(folder)
    tf1.train.update_checkpoint_state(str(folder), names[-1], names)


@pytest.fixture
def job(trained, tmp_path):
    """A copy of the name-based one, to damage."""
    return shutil.copytree(trained / "tf1", tmp_path / "job")


def told(diagnosis, severity=None):
    return [
        (finding.subject, finding.problem)
        for finding in diagnosis.findings
        if finding.severity == severity or (severity is None and finding.severity != "note")
    ]


def only(diagnosis):
    """The one error or warning that there should be."""
    (finding,) = [each for each in diagnosis.findings if each.severity != "note"]
    assert finding.remedy
    assert not diagnosis.healthy
    return finding


@pytest.mark.parametrize(
    ("to", "readers"),
    [
        ("tf1", ("yes", "yes", "yes", "by name")),
        ("tf2", ("by name", "no", "yes", "yes")),
        ("dual", ("yes", "yes", "yes", "yes")),
    ],
)
def test_a_sound_job_and_who_can_read_it(trained, to, readers):
    found = doctor(trained / to)
    assert found.healthy, found.findings
    assert (found.directory, found.latest) == (str(trained / to), "model.ckpt-4")
    assert [row.step for row in found.checkpoints] == [0, 2, 4]
    assert [row.state for row in found.checkpoints] == ["listed", "listed", "latest"]
    for row in found.checkpoints:
        assert row.format == to
        assert row.complete
        assert readers == (
            row.tf1_saver,
            row.raw_estimator,
            row.wrapped_estimator,
            row.tf2_checkpoint,
        )


@pytest.mark.parametrize("to", ["tf1", "tf2", "dual"])
def test_the_table_is_what_tensorflow_does(trained, tmp_path, to):
    row = doctor(trained / to).checkpoints[-1]
    prefix = str(trained / to / row.name)

    def works(read):
        try:
            read()
        except Exception:
            return "no"
        return "yes"

    def saver(finalized=True):
        with tf1.Graph().as_default() as graph, tf1.Session() as session:
            saver = tf1.train.Saver([tf1.get_variable("layer/w", [4, 3])])
            if finalized:
                graph.finalize()
            saver.restore(session, prefix)

    def resume(model_fn):
        folder = shutil.copytree(trained / to, tmp_path / f"{model_fn is jobs.adam_model_fn}")
        jobs.make_estimator(model_fn, folder).train(jobs.input_fn, steps=1)

    def checkpoint():
        variable = tf.Variable(tf.zeros([4, 3]))
        read = tf.train.Checkpoint(var_list={"layer/w": variable}).read(prefix)
        read.assert_existing_objects_matched()

    assert works(saver) == ("no" if row.tf1_saver == "by name" else row.tf1_saver)
    assert works(lambda: saver(finalized=False)) == "yes"
    assert works(lambda: resume(jobs.adam_model_fn)) == row.raw_estimator
    assert works(lambda: resume(wrap_model_fn(jobs.adam_model_fn))) == row.wrapped_estimator
    expected = "no" if row.tf2_checkpoint == "by name" else row.tf2_checkpoint
    assert works(checkpoint) == expected
    if row.tf2_checkpoint == "by name":
        variable = tf.Variable(tf.zeros([4, 3]), name="layer/w")
        tf.train.Checkpoint(anything=variable).restore(prefix)
        assert variable.numpy().any()


def test_a_checkpoint_without_step_is_for_no_estimator(third_party):
    found = doctor(third_party / "regression_name_based")
    (row,) = found.checkpoints
    assert (row.step, row.raw_estimator, row.wrapped_estimator) == (None, "no", "no")
    assert row.tf1_saver == "yes"
    assert "no global step" in only(found).problem


def test_third_party_model_dir(third_party):
    found = doctor(third_party / "chicago_taxi_model_dir")
    assert [(row.name, row.step) for row in found.checkpoints] == [
        ("model.ckpt-999", 999),
        ("model.ckpt-1000", 1000),
    ]
    assert "model.ckpt-0" in only(found).problem  # the state file lists it, but it isn't there


def test_a_moved_directory(job, tmp_path):
    names = [str(job / name) for name in jobs.listed(job)]
    names = [str(job / os.path.basename(name)) for name in names]
    tf1.train.update_checkpoint_state(str(job), names[-1], names)
    # TensorFlow makes paths relative that are in the directory; RunConfig's default does not.
    text = "\n".join(
        [f'model_checkpoint_path: "{names[-1]}"']
        + [f'all_model_checkpoint_paths: "{name}"' for name in names]
    )
    (job / "checkpoint").write_text(text)
    found = doctor(job)
    assert found.healthy
    assert any("absolute paths" in problem for _, problem in told(found, "note"))
    moved = job.rename(tmp_path / "moved")
    finding = only(doctor(moved))
    assert "the directory was moved" in finding.problem
    assert finding.subject == "checkpoint"
    copied = shutil.copytree(moved, job)
    assert "in another directory" in only(doctor(moved)).problem
    assert doctor(copied).healthy


def test_the_latest_is_gone(job):
    for path in job.glob("model.ckpt-4.*"):
        path.unlink()
    found = doctor(job)
    finding = only(found)
    assert finding.severity == "error"
    assert "no such checkpoint" in finding.problem
    assert "'model.ckpt-2'" in finding.remedy


def test_a_listed_one_is_gone(job):
    for path in job.glob("model.ckpt-2.*"):
        path.unlink()
    finding = only(doctor(job))
    assert (finding.severity, finding.subject) == ("warning", "checkpoint")
    assert "'model.ckpt-2'" in finding.problem


@pytest.mark.parametrize(
    ("hurt", "message"),
    [
        (lambda job: (job / "model.ckpt-4.data-00000-of-00001").unlink(), "lacks its data file"),
        (lambda job: os.truncate(job / "model.ckpt-4.data-00000-of-00001", 9), "has 9 bytes"),
        (lambda job: damage.flip(job / "model.ckpt-4.index", 30), "is damaged"),
        (lambda job: (job / "model.ckpt-4.index").write_bytes(b""), "is damaged"),
    ],
)
def test_an_incomplete_checkpoint(job, hurt, message):
    hurt(job)
    found = doctor(job)
    finding = only(found)
    assert (finding.severity, finding.subject) == ("error", "model.ckpt-4.index")
    assert message in finding.problem
    assert "restore it" in finding.remedy or "copy all files" in finding.remedy
    row = next(row for row in found.checkpoints if row.name == "model.ckpt-4")
    assert (row.complete, row.format, row.tf1_saver, row.tf2_checkpoint) == (
        False,
        None,
        "no",
        "no",
    )


def test_a_damaged_state_file(job):
    (job / "checkpoint").write_text("model_checkpoint_path: oh")
    found = doctor(job)
    assert found.latest is None
    finding = only(found)
    assert (finding.severity, finding.subject) == ("error", "checkpoint")
    assert len(found.checkpoints) == 3


def test_no_state_file(job):
    (job / "checkpoint").unlink()
    finding = only(doctor(job))
    assert "would start from scratch" in finding.problem
    assert "'model.ckpt-4'" in finding.remedy


def test_the_latest_is_not_the_newest(job):
    tf1.train.update_checkpoint_state(str(job), "model.ckpt-2", ["model.ckpt-2"])
    found = doctor(job)
    assert "of step 2, but there is 'model.ckpt-4' of step 4" in only(found).problem
    assert any("does not list 'model.ckpt-4'" in problem for _, problem in told(found, "note"))


@pytest.mark.parametrize(
    "name",
    [
        "model.ckpt-6.index.staging-0123abcd-99-0123456789ab",
        "checkpoint.staging-0123abcd-99-0123456789ab",
        "model.ckpt-6_temp_" + "0f" * 16,
        "model.ckpt-6_temp",
        "model.ckpt-6.index.tempstate12345",
        "checkpoint.tmp0123456789abcdef",
        "model.ckpt-6.meta.tmp0123456789abcdef",
        "graph.pbtxt.tmp0123456789abcdef",
        "model.ckpt-6.data-00000-of-00001",
        "model.ckpt-4.data-00000-of-00002",
    ],
)
def test_leftovers(job, name):
    (job / name).write_bytes(b"x")
    finding = only(doctor(job))
    assert (finding.severity, finding.subject) == ("warning", name)
    assert "remove it" in finding.remedy


def test_what_the_next_run_will_remove_is_said(job):
    code = "from estimator_ckpt.storage import staging; print(staging.staging_name('checkpoint'))"
    name = subprocess.check_output([sys.executable, "-c", code], text=True).strip()
    (job / name).write_bytes(b"x")
    finding = only(doctor(job))
    assert (finding.severity, finding.subject) == ("warning", name)
    assert "let the next job or command that saves here do that" in finding.remedy


def test_tensorflow_leaves_what_is_looked_for(tmp_path, monkeypatch):
    """A sharded save that fails between its shards and their merging."""
    with tf1.Graph().as_default(), tf1.Session() as session:
        tf1.get_variable("w", [2], initializer=tf1.ones_initializer())
        session.run(tf1.global_variables_initializer())
        saver = tf1.train.Saver(sharded=True)
        saver.save(session, str(tmp_path / "model.ckpt"), global_step=1)
        name = next(
            op.name for op in session.graph.get_operations() if op.type == "ShardedFilename"
        )
        feed = {saver.saver_def.filename_tensor_name: str(tmp_path / "model.ckpt-2")}
        shard = session.run(f"{name}:0", feed).decode()
    os.makedirs(os.path.dirname(shard))
    leftover = os.path.relpath(shard, tmp_path).partition("/")[0]
    assert leftover.startswith("model.ckpt-2_temp")
    # For the model without step, there is one more.
    assert leftover in [subject for subject, _ in told(doctor(tmp_path))]


def test_a_graph_without_its_checkpoint_is_a_note(job):
    (job / "model.ckpt-6.meta").write_bytes(b"x")
    found = doctor(job)
    assert found.healthy
    assert "model.ckpt-6.meta" in [subject for subject, _ in told(found, "note")]


def test_several_formats_are_a_note(job):
    convert(job / "model.ckpt-2", job / "dual-2", to="dual")
    found = doctor(job)
    assert found.healthy
    assert any("several formats are here: dual, tf1" in each for _, each in told(found, "note"))
    assert {row.name: row.format for row in found.checkpoints}["dual-2"] == "dual"


def test_a_saved_model_a_prefix_and_an_index(trained, tmp_path):
    estimator = jobs.make_estimator(jobs.adam_model_fn, trained / "tf1")
    exported = estimator.export_saved_model(str(tmp_path), jobs.serving_input_fn).decode()
    found = doctor(exported)
    assert found.directory == os.path.join(exported, "variables")
    assert told(found) == []
    assert doctor(trained / "tf1" / "model.ckpt-2") == doctor(trained / "tf1")
    assert doctor(trained / "tf1" / "model.ckpt-2.index") == doctor(trained / "tf1")


def test_an_empty_basename(tmp_path):
    tf.raw_ops.SaveV2(
        prefix=f"{tmp_path}/", tensor_names=["w"], shape_and_slices=[""], tensors=[1.0]
    )
    assert [row.name for row in doctor(tmp_path).checkpoints] == [""]


def test_nothing_there_is_an_error(tmp_path):
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(CheckpointNotFoundError):
            doctor(path)


def test_another_file_system(trained):
    folder = "ram://patient"
    tf.io.gfile.makedirs(folder)
    for path in (trained / "dual").glob("[cm]*"):
        if path.is_file():
            tf.io.gfile.copy(str(path), f"{folder}/{path.name}")
    found = doctor(folder)
    assert found.healthy, found.findings
    assert [row.step for row in found.checkpoints] == [0, 2, 4]
    tf.io.gfile.remove(f"{folder}/model.ckpt-2.index")
    assert not doctor(folder).healthy


def test_nothing_is_changed_and_no_tensor_read(trained, tmp_path):
    before = jobs.snapshot(trained)
    found = doctor(trained / "dual")
    assert jobs.snapshot(trained) == before
    copied = shutil.copytree(trained / "dual", tmp_path / "copy")
    for step in (0, 2, 4):
        damage.zero_shards(copied / f"model.ckpt-{step}")
    assert doctor(copied).checkpoints == found.checkpoints


@pytest.mark.parametrize("place", ["job/tf1", "elsewhere"])
@pytest.mark.parametrize("steps", [0, 2, 4])
def test_name_based_checkpoints_that_are_behind_are_told(tmp_path, place, steps):
    job, copies = tmp_path / "job", tmp_path / place
    wrapped = wrap_model_fn(jobs.adam_model_fn, tf1_dir=str(copies))
    jobs.make_estimator(wrapped, job, save_checkpoints_steps=2).train(jobs.input_fn, steps=2)
    if steps:  # as after going back to the unwrapped job, which saves at its start, too
        raw = jobs.make_estimator(jobs.adam_model_fn, job, save_checkpoints_steps=2)
        raw.train(jobs.input_fn, steps=steps)
    behind = {0: None, 2: "a checkpoint", 4: "2 checkpoints"}[steps]
    severity = {0: None, 2: "note", 4: "warning"}[steps]
    for side in (doctor(copies), doctor(job)):
        found = [each for each in side.findings if "behind the job" in each.problem]
        assert [each.severity for each in found] == ([severity] if behind else [])
        assert all(
            f"are {behind} behind the job in '{os.path.realpath(job)}'" in each.problem
            for each in found
        )
    if not behind:
        return
    command = found[0].remedy.partition("estimator-ckpt ")[2]
    assert main.main(shlex.split(command)) == 0  # what it says can be done
    assert (copies / f"model.ckpt-{2 + steps}.index").exists()
    jobs.make_estimator(wrapped, job).train(jobs.input_fn, steps=1)  # or the job catches up
    assert not [each for each in doctor(copies).findings if "behind" in each.problem]
