"""Many small model_dirs, made without TensorFlow.

paths = fleets.make(tmp_path / "jobs", 200)
fleets.job(tmp_path / "one", steps=(10, 20))
fleets.damage(paths[3])
"""

from __future__ import annotations

import pathlib
import struct

from estimator_ckpt.checkpoint import BundleWriter
from estimator_ckpt.checkpoint.opening import write_state
from estimator_ckpt.fleet import workers
from estimator_ckpt.fleet.work import work
from estimator_ckpt.storage import files


def job(folder, steps=(10,), variables=3, bytes=8):
    """A model_dir with a checkpoint at each of these steps; local, or on a store."""
    folder = str(folder)
    files.make_directory(folder)
    prefixes = [f"{folder}/model.ckpt-{step}" for step in steps]
    for step, prefix in zip(steps, prefixes):
        with BundleWriter(prefix, overwrite=True) as writer:
            for number in range(variables):
                value = struct.pack("<2f", step, number) * (bytes // 8)
                entry = writer.append(1, (bytes // 4,), [value])
                writer.put(f"dense_{number}/kernel", entry)
            writer.put("global_step", writer.append(9, (), [struct.pack("<q", step)]))
            writer.commit()
    write_state(folder, prefixes[-1], prefixes)
    return folder


def make(root, count, **settings):
    """So many model_dirs below a folder."""
    return [job(f"{root}/job{number:04d}", **settings) for number in range(count)]


def in_threads(monkeypatch):
    """Has the commands do local work in threads, without the time that processes take."""
    monkeypatch.setattr(
        workers._Processes, "work", lambda self, each: work(self._verb, each, self._options)
    )


def damage(folder):
    """Breaks the index of a model_dir's checkpoints: no command reads them any more."""
    for path in pathlib.Path(folder).glob("*.index"):
        path.write_bytes(path.read_bytes()[:-20] + b"\0" * 20)


def change_data(folder):
    """Changes a byte of a tensor, which only who reads it can see."""
    for path in pathlib.Path(folder).glob("*.data-*"):
        data = path.read_bytes()
        path.unlink()  # its other names, of links, keep their bytes
        path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
