"""A small file system that gets full: training goes on or says so, and nothing is damaged."""

from __future__ import annotations

import os
import subprocess

import jobs
import pytest

from estimator_ckpt import average, convert, wrap_model_fn
from estimator_ckpt.checkpoint import open_checkpoint
from estimator_ckpt.errors import CheckpointWriteError
from estimator_ckpt.operations.verify import verify

pytestmark = pytest.mark.slow


@pytest.fixture
def small(tmp_path):
    """A file system of 2 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if os.name != "posix" or os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    mounted = subprocess.run(mount, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"a small file system can't be mounted here: {mounted.stderr}")
    yield folder
    # Lazy: TensorFlow keeps its event files open.
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder, leave):
    """Leaves so many bytes in a file system."""
    free = os.statvfs(folder)
    (folder / "filler").write_bytes(bytes(free.f_bavail * free.f_bsize - leave))


def assert_whole(directory):
    for name in jobs.listed(directory):
        assert verify(directory / name).ok
        assert jobs.values(directory / name)["global_step"] == int(name.rpartition("-")[2])


@pytest.mark.parametrize("leave", range(0, 6 * 4096, 4096))
def test_the_job_s_own_save_stops_training_and_it_goes_on_when_there_is_room(small, leave):
    job = small / "job"
    wrapped = wrap_model_fn(jobs.adam_model_fn)
    estimator = jobs.make_estimator(wrapped, job, save_summary_steps=None)
    estimator.train(jobs.same_batch_input_fn, max_steps=2)
    fill(small, leave)
    with pytest.raises(Exception, match="No space left on device"):
        estimator.train(jobs.same_batch_input_fn, max_steps=4)
    assert jobs.listed(job) == ["model.ckpt-0", "model.ckpt-2"]
    assert_whole(job)
    (small / "filler").unlink()
    estimator.train(jobs.same_batch_input_fn, max_steps=4)
    assert jobs.listed(job) == ["model.ckpt-0", "model.ckpt-2", "model.ckpt-4"]
    assert_whole(job)
    assert not list(job.glob("*.staging-*"))


@pytest.mark.parametrize("leave", [0, 4096, 8192])
def test_training_goes_on_where_only_the_tf1_directory_is_full(small, tmp_path, caplog, leave):
    job = tmp_path / "job"
    wrapped = wrap_model_fn(jobs.adam_model_fn, tf1_dir=str(small / "tf1"))
    estimator = jobs.make_estimator(wrapped, job)
    estimator.train(jobs.same_batch_input_fn, max_steps=2)
    fill(small, leave)
    estimator.train(jobs.same_batch_input_fn, max_steps=4)
    assert "No space left on device" in caplog.text
    assert jobs.listed(job)[-1] == "model.ckpt-4"
    assert_whole(small / "tf1")
    (small / "filler").unlink()
    estimator.train(jobs.same_batch_input_fn, max_steps=6)
    assert jobs.listed(small / "tf1")[-1] == "model.ckpt-6"
    assert_whole(small / "tf1")
    assert not list((small / "tf1").glob("*.staging-*"))


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("leave", [0, 4096])
@pytest.mark.parametrize("command", ["convert", "average"])
def test_commands_leave_what_there_was(small, tmp_path, command, leave, overwrite):
    job = tmp_path / "job"
    estimator = jobs.make_estimator(jobs.adam_model_fn, job, save_checkpoints_steps=1)
    estimator.train(jobs.input_fn, max_steps=2)
    target = small / "ckpt"
    if overwrite:
        convert(job / "model.ckpt-1", target, to="tf1")
    fill(small, leave)
    before = jobs.snapshot(small)
    with pytest.raises(CheckpointWriteError, match="No space left on device"):
        if command == "convert":
            convert(job, target, to="dual", overwrite=overwrite)
        else:
            average(job, target, last=2, overwrite=overwrite)
    assert jobs.snapshot(small) == before
    if overwrite:
        assert verify(target).ok
        assert open_checkpoint(target).index.num_shards == 1
    (small / "filler").unlink()
    convert(job, target, to="dual", overwrite=overwrite)
    jobs.assert_equal_values(jobs.values(target), jobs.values(job))
