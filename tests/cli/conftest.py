"""Checkpoints that TensorFlow wrote, and the command line as a function."""

from __future__ import annotations

import pathlib
import shutil

import pytest
from command_line import command, on_terminal

__all__ = ["command", "on_terminal", "work", "written"]


@pytest.fixture(scope="session")
def written(tmp_path_factory) -> pathlib.Path:
    """A model_dir after three steps of Adam, at `tf1/model.ckpt-3`; `clash/ckpt-1` of two `w`."""
    import tensorflow as tf

    tf1 = tf.compat.v1
    folder = tmp_path_factory.mktemp("written")
    with tf1.Graph().as_default(), tf1.Session() as session:
        step = tf1.train.get_or_create_global_step()
        with tf1.variable_scope("dnn"):
            kernel = tf1.get_variable("kernel", [3, 4], initializer=tf1.ones_initializer())
            bias = tf1.get_variable("bias", [4], initializer=tf1.zeros_initializer())
        loss = tf1.reduce_sum(tf1.square(kernel)) + tf1.reduce_sum(bias)
        train = tf1.train.AdamOptimizer(0.1).minimize(loss, global_step=step)
        session.run(tf1.global_variables_initializer())
        for _ in range(3):
            session.run(train)
        (folder / "tf1").mkdir()
        # Relative paths: a state file with absolute ones would lead a copy back to the original.
        saver = tf1.train.Saver(save_relative_paths=True)
        saver.save(session, str(folder / "tf1" / "model.ckpt"), global_step=step)
    variables = [tf.Variable([1.0], name="w"), tf.Variable([2.0], name="w")]
    tf.train.Checkpoint(a=variables[0], b=variables[1]).write(str(folder / "clash" / "ckpt-1"))
    return folder


@pytest.fixture
def work(written, tmp_path) -> pathlib.Path:
    """A copy of what was written, to damage."""
    return pathlib.Path(shutil.copytree(written, tmp_path / "work"))
