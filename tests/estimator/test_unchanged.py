"""Saves that cost what changed: what is equal to what was last saved is linked, and so reads."""

import errno
import os

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st

from estimator_ckpt import verify
from estimator_ckpt.checkpoint import open_checkpoint
from estimator_ckpt.checkpoint.arrays import read_array
from estimator_ckpt.errors import CheckpointWriteError
from estimator_ckpt.estimator.saver import CheckpointSaver
from estimator_ckpt.estimator.unchanged import blocks
from estimator_ckpt.estimator.unchanged.bounds import Bounds
from estimator_ckpt.live import tensorflow_internals as internals
from estimator_ckpt.storage import files

tf1 = tf.compat.v1
_RANDOM = tf1.random_uniform_initializer(-1, 1)
FORMATS = ("tf1", "tf2", "dual")
BLOCK = 4096


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """What is cut into blocks of megabytes otherwise, is cut into some of kilobytes."""
    monkeypatch.setattr(blocks, "BLOCK", BLOCK)
    blocks.blocks_of.cache_clear()
    yield
    blocks.blocks_of.cache_clear()


class Job:
    """A graph with a Saver that links, a session, and one variable after the other to change."""

    def __init__(self, folder, checkpoint_format="dual", *, bounds=Bounds(), is_async=False):  # noqa: B008
        self.folder, self.is_async = folder, is_async
        self.graph = tf.Graph()
        with self.graph.as_default():
            self.variables = dict(make_variables())
            self.values = {
                name: tf1.placeholder(each.dtype.base_dtype, each.shape)
                for name, each in self.variables.items()
            }
            self.assigns = {
                name: tf1.assign(each, self.values[name]).op
                for name, each in self.variables.items()
            }
            self.saver = CheckpointSaver(checkpoint_format, sharded=True, save_relative_paths=True)
            self.saver.unchanged, self.saver.async_save = bounds, is_async
            self.saver.build()
            self.initialize = tf1.global_variables_initializer()
        self.session = tf1.Session(graph=self.graph)
        self.session.run(self.initialize)

    def set(self, **values):
        for name, value in values.items():
            self.session.run(self.assigns[name], {self.values[name]: value})

    def get(self, name):
        return self.session.run(self.variables[name])

    def save(self, step):
        with self.graph.as_default():
            if self.is_async:
                path = self.saver.save_in_background(
                    self.session, str(self.folder / "model.ckpt"), step
                )
                self.saver.wait()
                return path
            return self.saver.save(self.session, str(self.folder / "model.ckpt"), step)

    def restore(self, prefix):
        with self.graph.as_default():
            self.saver.restore(self.session, prefix)

    def all(self):
        return self.session.run(self.variables)


def make_variables():
    """Small ones, one of several blocks, and one whose rows are longer than a block."""
    yield "scalar", tf1.get_variable("scalar", [], tf.int64, tf1.ones_initializer())
    yield "small", tf1.get_variable("small", [7, 3], initializer=_RANDOM)
    yield "large", tf1.get_variable("large", [500, 100], initializer=_RANDOM)
    yield "wide", tf1.get_variable("wide", [2, 3, 5000], tf.float32, _RANDOM)
    yield "half", tf1.get_variable("half", [30_000], tf.float16, tf1.zeros_initializer())
    yield "empty", tf1.get_variable("empty", [0, 3], initializer=tf1.zeros_initializer())
    yield "text", tf1.get_variable("text", [2], tf.string, tf1.constant_initializer(["x", "y\0z"]))


def inodes(prefix):
    return [os.stat(path).st_ino for path in open_checkpoint(prefix).shard_paths]


def new_bytes(prefix, before):
    known = set(inodes(before))
    stats = map(os.stat, open_checkpoint(prefix).shard_paths)
    return sum(each.st_size for each in stats if each.st_ino not in known)


def assert_holds(prefix, expected, by_object=False):
    """TensorFlow's own readers find these values in a checkpoint."""
    reader = tf.train.load_checkpoint(prefix)
    for name, value in expected.items():
        key = f"var_list/{name}/.ATTRIBUTES/VARIABLE_VALUE" if by_object else name
        np.testing.assert_array_equal(reader.get_tensor(key), value, name)
    with tf.Graph().as_default(), tf1.Session() as session:
        made = {
            name: tf1.get_variable(name, value.shape, tf.as_dtype(value.dtype))
            for name, value in expected.items()
        }
        if by_object:
            status = tf.train.Checkpoint(var_list=made).restore(prefix).expect_partial()
            status.run_restore_ops(session)
        else:
            tf1.train.Saver(made).restore(session, prefix)
        for name, value in session.run(made).items():
            np.testing.assert_array_equal(value, expected[name], name)


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("checkpoint_format", FORMATS)
def test_only_what_changed_is_written(tmp_path, checkpoint_format, is_async):
    job = Job(tmp_path, checkpoint_format, is_async=is_async)
    first = job.save(1)
    job.set(small=np.ones([7, 3]))
    large = job.get("large")
    large[250, 3] += 1
    job.set(large=large)
    expected = job.all()
    second = job.save(2)
    assert inodes(first)[0] == inodes(second)[0]
    assert new_bytes(second, first) == 84 + 4000  # ten rows of it are a block
    for is_by_object in {"tf1": (False,), "tf2": (True,), "dual": (False, True)}[checkpoint_format]:
        assert_holds(second, expected, is_by_object)


def test_nothing_changed_is_nothing_written(tmp_path):
    job = Job(tmp_path)
    first = job.save(1)
    second = job.save(2)
    assert inodes(first) == inodes(second)
    assert open_checkpoint(first).index == open_checkpoint(second).index


def test_what_is_all_new_is_as_tensorflow_writes_it(tmp_path):
    job = Job(tmp_path)
    job.saver.unchanged = None
    linked, plain = tmp_path / "linked", tmp_path / "plain"
    for folder in (linked, plain):
        folder.mkdir()
    job.folder = linked
    job.save(1)
    job.saver._linked = None
    job.folder = plain
    job.save(1)
    for name in os.listdir(plain):
        if not name.endswith(".meta") and name != "checkpoint":
            assert (linked / name).read_bytes() == (plain / name).read_bytes(), name


def test_a_restart_goes_on_from_what_was_restored(tmp_path):
    first = Job(tmp_path).save(1)
    before = {name: (tmp_path / name).stat() for name in os.listdir(tmp_path)}
    job = Job(tmp_path)
    job.restore(first)
    job.save(1)  # as Estimator does
    after = {name: (tmp_path / name).stat() for name in os.listdir(tmp_path)}
    data = [name for name in before if ".meta" not in name and name != "checkpoint"]
    assert [after[name].st_ino for name in data] == [before[name].st_ino for name in data]
    job.set(scalar=5)
    second = job.save(2)
    assert new_bytes(second, first) == 8
    assert_holds(second, job.all())


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: os.remove(path), "it was removed"),
        (lambda path: flip(path), "it was changed or replaced since it was written"),
        (lambda path: replace(path), "it was changed or replaced since it was written"),
    ],
)
def test_a_file_that_is_not_what_it_was_is_written_again(tmp_path, caplog, damage, reason):
    job = Job(tmp_path)
    first = job.save(1)
    (path,) = open_checkpoint(first).shard_paths
    damage(path)
    caplog.clear()
    second = job.save(2)
    assert [reason in message for message in caplog.messages] == [True]
    assert len(inodes(second)) == 1
    assert not os.path.exists(path) or os.stat(path).st_ino not in inodes(second)
    assert_holds(second, job.all())
    caplog.clear()
    assert inodes(job.save(3)) == inodes(second)
    assert not caplog.messages


def flip(path):
    with open(path, "r+b") as file:
        byte = file.read(1)
        file.seek(0)
        file.write(bytes([byte[0] ^ 1]))


def replace(path):
    with open(path + ".new", "wb") as file:
        file.write(bytes(os.path.getsize(path)))
    os.replace(path + ".new", path)


def test_the_names_of_a_file_may_go_in_any_order(tmp_path):
    job = Job(tmp_path)
    prefixes = []
    for step in range(3):
        job.set(scalar=step)
        prefixes.append(job.save(step))
    tf1.train.remove_checkpoint(prefixes[2])  # the newest, which the next save would link
    job.set(scalar=3)
    latest = job.save(3)
    assert new_bytes(latest, prefixes[0]) == 8
    assert_holds(latest, job.all())


def test_a_checkpoint_elsewhere_shares_nothing(tmp_path):
    job = Job(tmp_path)
    job.save(1)
    job.folder = tmp_path / "best"
    job.folder.mkdir()
    best = [job.save(1), job.save(2)]
    job.folder = tmp_path
    second = job.save(2)
    assert len({*inodes(best[0]), *inodes(best[1]), *inodes(second)}) == 3
    assert_holds(best[1], job.all())


@pytest.mark.parametrize("writer", ["tf1", "tf2", "dual", "plain TF1", "plain TF2"])
@pytest.mark.parametrize("checkpoint_format", ["tf2", "dual"])
def test_a_run_goes_on_from_any_checkpoint(tmp_path, writer, checkpoint_format):
    before = Job(tmp_path, writer if writer in FORMATS else "dual")
    if writer in FORMATS:
        first = before.save(1)
    else:
        with before.graph.as_default():
            first = save_plainly(before, writer)
    values = before.all()
    job = Job(tmp_path, checkpoint_format)
    job.restore(first)
    large = values["large"].copy()
    large[0, 0] += 1
    job.set(large=large)
    second = job.save(2)
    graph = open_checkpoint(second).index.entries["_CHECKPOINTABLE_OBJECT_GRAPH"].size
    assert new_bytes(second, first) in (4000, 4000 + graph)
    assert_holds(second, job.all(), by_object=True)


def save_plainly(job, writer):
    prefix = str(job.folder / "model.ckpt")
    if writer == "plain TF1":
        return tf1.train.Saver(job.variables).save(job.session, prefix, 1)
    checkpoint = tf.train.Checkpoint(var_list=job.variables)
    saver = tf1.train.Saver(internals.ObjectGraphView(checkpoint).frozen_saveable_objects())
    return saver.save(job.session, prefix, 1)


def test_what_does_not_have_its_checksum_when_a_run_begins_is_written_anew(tmp_path, caplog):
    first = Job(tmp_path).save(1)
    job = Job(tmp_path)
    job.restore(first)
    expected = job.all()
    entry = open_checkpoint(first).index.entries["large"]
    (path,) = open_checkpoint(first).shard_paths
    with open(path, "r+b") as file:
        file.seek(entry.offset + 5)
        file.write(b"\xff")
    caplog.clear()
    second = job.save(2)
    assert ["'large'" in message for message in caplog.messages] == [True]
    assert new_bytes(second, first) == 200_000
    assert_holds(second, expected)


def test_parts_of_partitioned_variables_are_linked_and_may_be_cut_otherwise_later(tmp_path):
    def make(parts):
        job = Job.__new__(Job)
        job.folder, job.is_async, job.graph = tmp_path, False, tf.Graph()
        with job.graph.as_default():
            partitioner = tf1.fixed_size_partitioner(parts) if parts else None
            variable = tf1.get_variable(
                "p", [300, 100], initializer=_RANDOM, partitioner=partitioner
            )
            job.variables = {"p": tf.convert_to_tensor(variable)}
            pieces = list(variable) if parts else [variable]
            last = pieces[-1]
            job.change = tf1.assign(last, tf.concat([last[:-1], last[-1:] + 1], 0)).op
            job.saver = CheckpointSaver("dual", sharded=True, save_relative_paths=True)
            job.saver.unchanged = Bounds()
            job.saver.build()
            initialize = tf1.global_variables_initializer()
        job.session = tf1.Session(graph=job.graph)
        job.session.run(initialize)
        return job

    prefix, before = None, None
    for step, parts in enumerate([3, 3, None, 2, 3]):
        job = make(parts)
        if prefix is not None:
            job.restore(prefix)
            assert_equal(job.all(), before)
        job.session.run(job.change)
        before, last = job.all(), prefix
        prefix = job.save(step)
        assert_holds(prefix, before)
        job.session.run(job.change)
        before = job.all()
        again = job.save(100 + step)
        assert new_bytes(again, prefix) <= 4096
        assert_holds(again, before)
        if last is not None:
            assert new_bytes(prefix, last) < 40_000
        prefix = again


def assert_equal(found, expected):
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, name)


def test_bounds_hold_over_many_saves(tmp_path):
    job = Job(tmp_path, bounds=Bounds(4, 1.3))
    rng = np.random.default_rng(0)
    before = None
    for step in range(25):
        large = job.get("large")
        first = 10 * rng.integers(0, 49)
        large[first : first + 10] += 1
        job.set(large=large, scalar=step)
        prefix = job.save(step)
        checkpoint = open_checkpoint(prefix)
        sizes = [os.path.getsize(path) for path in checkpoint.shard_paths]
        needed = sum(entry.bytes for entry in unique(checkpoint))
        assert len(sizes) <= 4
        assert sum(sizes) <= 1.3 * needed
        assert before is None or new_bytes(prefix, before) < 0.5 * needed or step == 0
        before = prefix
    assert_holds(prefix, job.all())


def unique(checkpoint):
    entries = checkpoint.index.entries.values()
    return {stored for entry in entries for stored in entry.stored}


@pytest.mark.parametrize("is_async", [False, True])
def test_on_off_and_on_again(tmp_path, is_async):
    prefix, expected = None, None
    for run, links in enumerate([False, True, False, True, True]):
        job = Job(tmp_path, bounds=Bounds() if links else None, is_async=is_async)
        if prefix is not None:
            job.restore(prefix)
            assert_equal(job.all(), expected)
        for step in range(3):
            job.set(scalar=10 * run + step)
            before, prefix = prefix, job.save(10 * run + step)
            if before is not None:
                assert new_bytes(prefix, before) == (8 if links else total(prefix))
        expected = job.all()
        assert_holds(prefix, expected)


def total(prefix):
    return sum(os.path.getsize(path) for path in open_checkpoint(prefix).shard_paths)


@pytest.mark.one_version
@pytest.mark.slow
@pytest.mark.parametrize("is_async", [False, True])
def test_a_thousand_saves_hold_what_full_saves_hold(tmp_path, is_async):
    job = Job(tmp_path, bounds=Bounds(5, 1.5), is_async=is_async)
    job.saver.set_last_checkpoints_with_time([])
    rng = np.random.default_rng(int(is_async))
    whole = None
    for step in range(500):
        for name in ("scalar", "small", "large", "wide", "half"):
            if rng.random() < 0.3:
                value = np.array(job.get(name))
                flat = value.reshape(-1)
                flat[rng.integers(0, flat.size, rng.integers(1, 4))] += 1
                job.set(**{name: value})
        if rng.random() < 0.1:
            job.set(text=[f"{step}", "y" * int(rng.integers(0, 9))])
        prefix = job.save(step)
        checkpoint, expected = open_checkpoint(prefix), job.all()
        for name, value in expected.items():
            found = read_array(checkpoint, checkpoint.index.entries[name])
            assert found.tobytes() == value.tobytes() or found.tolist() == value.tolist(), name
        if step % 50 == 0:
            assert_holds(prefix, expected, by_object=True)
            assert_holds(prefix, expected)
            assert verify(prefix).ok
        whole = prefix
    assert verify(whole).ok


@hypothesis.given(st.data())
@hypothesis.settings(
    max_examples=15,
    suppress_health_check=[
        hypothesis.HealthCheck.function_scoped_fixture,
        hypothesis.HealthCheck.too_slow,
    ],
)
def test_any_checkpoints_may_be_deleted_in_any_order(tmp_path_factory, job_for_deletions, data):
    job = job_for_deletions
    job.folder = folder = tmp_path_factory.mktemp("deletions")
    job.saver._linked._base = None
    job.saver._linked._directory = None
    job.saver.set_last_checkpoints_with_time([])
    held = {}
    for step in range(data.draw(st.integers(2, 7))):
        for name in data.draw(st.sets(st.sampled_from(["scalar", "small", "large"]))):
            job.set(**{name: job.get(name) + 1})
        held[job.save(step)] = job.all()
        for prefix in data.draw(st.sets(st.sampled_from(sorted(held)))):
            tf1.train.remove_checkpoint(prefix)
            del held[prefix]
        for prefix, expected in held.items():
            checkpoint = open_checkpoint(prefix)
            for name in ("scalar", "small", "large"):
                found = read_array(checkpoint, checkpoint.index.entries[name])
                np.testing.assert_array_equal(found, expected[name])
    left = {os.path.join(folder, each) for each in os.listdir(folder) if ".data-" in each}
    assert left == {path for prefix in held for path in open_checkpoint(prefix).shard_paths}


@pytest.fixture
def job_for_deletions(tmp_path):
    job = Job(tmp_path)
    job.saver.saver_def.max_to_keep = 0  # all stay that are not deleted
    return job


def test_a_file_system_without_links_is_said_once_and_all_is_written(tmp_path, caplog, monkeypatch):
    def refuse(source, target):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    job = Job(tmp_path)
    first = job.save(1)
    monkeypatch.setattr(os, "link", refuse)
    caplog.clear()
    prefixes = [job.save(2), job.save(3)]
    assert [("Operation not permitted" in each) for each in caplog.messages] == [True]
    assert len({*inodes(first), *inodes(prefixes[0]), *inodes(prefixes[1])}) == 3
    assert_holds(prefixes[1], job.all())


def test_a_file_with_too_many_names_is_written_again_and_linked_from_then_on(
    tmp_path, caplog, monkeypatch
):
    link, refused = os.link, []

    def refuse_once(source, target):
        if not refused:
            refused.append(source)
            raise OSError(errno.EMLINK, "Too many links")
        link(source, target)

    job = Job(tmp_path)
    first = job.save(1)
    monkeypatch.setattr(os, "link", refuse_once)
    second = job.save(2)
    assert any("Too many links" in each for each in caplog.messages)
    assert inodes(second) != inodes(first)
    assert inodes(job.save(3)) == inodes(second)


def test_a_failed_save_leaves_nothing_and_the_next_one_is_right(tmp_path, monkeypatch):
    job = Job(tmp_path)
    first = job.save(1)
    before = sorted(os.listdir(tmp_path))
    job.set(scalar=5)
    with monkeypatch.context() as context:

        def refuse(path, *, sync):
            raise OSError(errno.ENOSPC, "No space left on device")

        context.setattr(files, "new_local_file", refuse)
        with pytest.raises(CheckpointWriteError, match="No space left"):
            job.save(2)
    assert sorted(os.listdir(tmp_path)) == before
    second = job.save(2)
    assert new_bytes(second, first) == 8
    assert_holds(second, job.all())
