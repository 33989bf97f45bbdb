"""Saves that cost what changed: what is equal to what was last saved is linked, and so reads."""

import os

import numpy as np
import pytest
import tensorflow as tf

from estimator_ckpt.checkpoint import open_checkpoint
from estimator_ckpt.estimator.saver import CheckpointSaver
from estimator_ckpt.estimator.unchanged import blocks
from estimator_ckpt.estimator.unchanged.bounds import Bounds

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
