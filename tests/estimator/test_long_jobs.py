"""A job that saves thousands of times needs no more memory, descriptors and threads for it."""

from __future__ import annotations

import os
import sys
import threading

import pytest
import tensorflow as tf

from estimator_ckpt import CheckpointSaver, Tf1CheckpointSaverHook, describe

tf1 = tf.compat.v1
SAVES, WARM = 2_000, 500
MOST_GROWTH = 16 * 2**20  # of 64 MB that a copy for each of these saves would take


def _resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
@pytest.mark.parametrize("mode", ["tf2", "dual", "TF1 beside", "asynchronous"])
def test_two_thousand_saves_take_no_more_than_five_hundred(tmp_path, monkeypatch, mode):
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    with tf.Graph().as_default(), tf1.Session() as session:
        step = tf1.train.get_or_create_global_step()
        values = [
            tf1.get_variable(f"w_{n}", [64], initializer=tf1.zeros_initializer())
            for n in range(128)
        ]
        change = tf.group(step.assign_add(1), *(each.assign_add(tf.ones([64])) for each in values))
        saver = CheckpointSaver("tf2" if mode == "tf2" else "dual", sharded=True, max_to_keep=3)
        saver.async_save = mode == "asynchronous"
        saver.build()
        if mode == "TF1 beside":
            Tf1CheckpointSaverHook(str(tmp_path / "tf1"), saver=saver).begin()
        save = saver.save_in_background if saver.async_save else saver.save
        session.run(tf1.global_variables_initializer())
        found = []
        for number in range(1, SAVES + 1):
            session.run(change)
            save(session, str(tmp_path / "model.ckpt"), number, write_meta_graph=False)
            if number in (WARM, SAVES):
                saver.wait()
                descriptors = len(os.listdir("/proc/self/fd"))
                found.append((_resident(), descriptors, threading.active_count()))
    (before, *few), (after, *many) = found
    assert many == few
    assert after - before < MOST_GROWTH
    assert describe(str(tmp_path)).step == SAVES
    assert len(list(tmp_path.glob("*.index"))) == 3
