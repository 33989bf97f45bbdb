"""Saves, again and again: neither memory nor descriptors nor threads become more."""

import gc
import os
import sys
import threading

import pytest
import tensorflow as tf

from estimator_ckpt import CheckpointSaver, Tf1CheckpointSaverHook
from estimator_ckpt.estimator.unchanged.bounds import Bounds

tf1 = tf.compat.v1
WARM, SAVES = 300, 2000
BYTES_A_SAVE = 8192  # what a save may leave in memory; a leak of what is saved is 10 times that
WAYS = {
    "sync": {},
    "async, kept": {"async_save": True, "keeps_memory": True},
    "linked, TF1 beside": {"unchanged": Bounds()},
}


def resident():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def used():
    return len(os.listdir("/proc/self/fd")), threading.active_count()


@pytest.mark.one_version
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
@pytest.mark.parametrize("way", WAYS)
def test_nothing_grows_over_two_thousand_saves(tmp_path, monkeypatch, way):
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # the disk is not what is looked at
    with tf.Graph().as_default(), tf1.Session() as session:
        step = tf1.train.get_or_create_global_step()
        for number in range(20):
            tf1.get_variable(f"w_{number}", [1024], initializer=tf1.ones_initializer())
        saver = CheckpointSaver("dual", sharded=True, max_to_keep=2)
        for name, value in WAYS[way].items():
            setattr(saver, name, value)
        if "TF1 beside" in way:
            Tf1CheckpointSaverHook(str(tmp_path / "tf1"), saver=saver).begin()
        saver.build()
        increment = step.assign_add(1)
        session.run(tf1.global_variables_initializer())
        save = saver.save_in_background if saver.async_save else saver.save

        def save_often(count):
            for _ in range(count):
                save(
                    session, str(tmp_path / "ckpt"), session.run(increment), write_meta_graph=False
                )
            saver.wait()
            return resident(), used()

        before, used_before = save_often(WARM)
        after, used_after = save_often(SAVES)
    # Less, where a server of an earlier test has closed a connection meanwhile.
    assert all(after <= before for after, before in zip(used_after, used_before))
    assert after - before < BYTES_A_SAVE * SAVES
    assert len(os.listdir(tmp_path)) < 12
