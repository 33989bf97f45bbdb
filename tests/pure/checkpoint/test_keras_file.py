"""Keras' files as HDF5 has them, and such as no honest writer made; without TensorFlow."""

from __future__ import annotations

import io
import os
import sys
import tracemalloc
import zipfile

import numpy as np
import pytest

from estimator_ckpt import (
    CheckpointArgumentError,
    CheckpointError,
    DamagedCheckpointError,
    convert,
    describe,
)
from estimator_ckpt.checkpoint import arrays, open_checkpoint
from estimator_ckpt.cli.main import main

h5py = pytest.importorskip("h5py")
PLACE = "layers/dense/vars/0"
VALUE = np.arange(12, dtype=np.float32).reshape(3, 4)


def written(path, fill):
    with h5py.File(path, "w") as file:
        fill(file)
    return str(path)


def read(path, name=PLACE):
    opened = open_checkpoint(path)
    return arrays.read_array(opened, opened.index.entries[name])


def archive(path, method=zipfile.ZIP_STORED, **members):
    with zipfile.ZipFile(path, "w", method) as file:
        file.writestr("config.json", "{}")
        for name, data in members.items():
            file.writestr(name.replace("__", "."), data)
    return str(path)


def weights(fill=lambda file: file.create_dataset(PLACE, data=VALUE)):
    held = io.BytesIO()
    with h5py.File(held, "w") as file:
        fill(file)
    return held.getvalue()


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"chunks": (2, 3)},
        {"chunks": True, "compression": "gzip", "shuffle": True, "fletcher32": True},
        {"chunks": (3, 1), "compression": "lzf"},
        {"dtype": ">f4"},
    ],
    ids=str,
)
def test_however_hdf5_keeps_it(settings, tmp_path):
    path = written(
        tmp_path / "m.weights.h5", lambda file: file.create_dataset(PLACE, data=VALUE, **settings)
    )
    np.testing.assert_array_equal(read(path), VALUE)


def test_types_scalars_and_what_is_empty(tmp_path):
    held = {
        "a/vars/0": np.float16([1, 2]),
        "b/vars/0": np.int64(7),
        "c/vars/0": np.array([True, False]),
        "d/vars/0": np.zeros((0, 3), np.float32),
        "e/vars/0": np.complex64([1 + 2j]),
        "f/vars/0": np.uint8([[1], [2]]),
    }
    path = written(
        tmp_path / "m.weights.h5",
        lambda file: [file.create_dataset(name, data=value) for name, value in held.items()],
    )
    for name, value in held.items():
        found = read(path, name)
        assert found.dtype == value.dtype and found.shape == value.shape
        np.testing.assert_array_equal(found, value)


def test_what_a_checkpoint_has_no_type_for_is_left_out_and_said(tmp_path, caplog):
    def fill(file):
        file.create_dataset(PLACE, data=VALUE)
        file.create_dataset("a/vars/words", data=["a", "b"])
        file.create_dataset("a/vars/raw", data=np.zeros(2, "V7"))

    path = written(tmp_path / "m.weights.h5", fill)
    assert [row.name for row in describe(path).variables] == [PLACE]
    assert "'a/vars/words'" in caplog.text and "'a/vars/raw'" in caplog.text


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_archive_packed_or_not(method, tmp_path):
    path = archive(tmp_path / "m.keras", method, model__weights__h5=weights())
    np.testing.assert_array_equal(read(path), VALUE)


def test_the_older_format_in_many_attributes_and_with_names_in_several_layers(tmp_path):
    def fill(file):
        file.attrs["layer_names0"] = [b"one"]
        file.attrs["layer_names1"] = [b"two"]
        for layer, names in (("one", ["w:0", "net/b:0"]), ("two", ["w:0"])):
            group = file.create_group(layer)
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name in names:
                group.create_dataset(name, data=VALUE)

    path = written(tmp_path / "m.h5", fill)
    assert [row.name for row in describe(path).variables] == ["net/b", "one/w", "two/w"]


def test_big_arrays_are_read_in_pieces(tmp_path):
    def fill(file):
        for at, settings in enumerate(({}, {"chunks": (1024, 64), "compression": "gzip"})):
            made = file.create_dataset(f"a/vars/{at}", (16 * 1024, 256), "f4", **settings)
            for start in range(0, 16 * 1024, 4096):
                made[start : start + 4096] = 1.0

    path = written(tmp_path / "m.weights.h5", fill)  # 16 MiB each
    tracemalloc.start()
    try:
        convert(path, tmp_path / "ckpt", to="tf1")
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 8 * 2**20
    found = describe(tmp_path / "ckpt", values=True).variables
    assert [(row.values.min, row.values.max) for row in found] == [(1.0, 1.0)] * 2


def deep(file):
    for _ in range(150):
        file = file.create_group("g")


def fraud_by_attribute(file):
    file.attrs["layer_names"] = [b"../elsewhere", b"gone"]


HOSTILE = {
    "giant shape in chunks": lambda file: file.create_dataset(
        PLACE, (2**40, 2**10), "f4", chunks=(64, 64)
    ),
    "giant shape, never written": lambda file: file.create_dataset(PLACE, (2**40, 2**10), "f4"),
    "giant chunk": lambda file: file.create_dataset(PLACE, (2**29,), "f4", chunks=(2**29,)),
    "link to another file": lambda file: file.update(
        {"a": h5py.ExternalLink("/etc/passwd", "/vars")}
    ),
    "link within": lambda file: file.update({"a": h5py.SoftLink("/b")}),
    "data in another file": lambda file: file.create_dataset(
        PLACE, (4,), "u1", external=[("/etc/passwd", 0, 4)]
    ),
    "a group in itself": lambda file: file.create_group("a").update({"b": file}),
    "too deep": deep,
    "names of nothing": fraud_by_attribute,
}


@pytest.mark.parametrize("fill", HOSTILE.values(), ids=HOSTILE)
def test_files_that_no_honest_writer_made_are_refused_before_memory_is_spent(fill, tmp_path, capfd):
    def both(file):
        file.create_dataset("layers/good/vars/0", data=VALUE)
        fill(file)

    path = written(tmp_path / "m.weights.h5", both)
    tracemalloc.start()
    try:
        with pytest.raises(DamagedCheckpointError, match=r"m.weights.h5', an HDF5 file"):
            open_checkpoint(path)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 8 * 2**20
    assert main(["convert", path, str(tmp_path / "out" / "ckpt"), "--to=tf1"]) == 2
    assert "Traceback" not in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def duplicate():
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as file, pytest.warns(UserWarning, match="Duplicate"):
        for _ in range(2):
            file.writestr("model.weights.h5", weights())
    return held.getvalue()


def packed(**members):
    held = io.BytesIO()
    archive(held, **members)
    return held.getvalue()


BROKEN = {
    "empty": ("m.weights.h5", lambda: b""),
    "text": ("m.weights.h5", lambda: b"not found"),
    "only a signature": ("m.weights.h5", lambda: b"\x89HDF\r\n\x1a\n" + b"\0" * 90),
    "cut short": ("m.weights.h5", lambda: weights()[:-40]),
    "half": ("m.weights.h5", lambda: weights()[:900]),
    "no zip": ("m.keras", lambda: b"PK\x03\x04" + b"\0" * 90),
    "zip cut short": ("m.keras", lambda: packed(model__weights__h5=weights())[:-30]),
    "no weights": ("m.keras", packed),
    "weights elsewhere": ("m.keras", lambda: packed(**{"../model__weights__h5": weights()})),
    "weights twice": ("m.keras", duplicate),
    "weights are text": ("m.keras", lambda: packed(model__weights__h5=b"not found")),
}


@pytest.mark.parametrize("case", BROKEN.values(), ids=BROKEN)
def test_broken_files_are_one_error_and_nothing_is_written(case, tmp_path, capfd):
    name, data = case
    path = tmp_path / name
    path.write_bytes(data())
    with pytest.raises(CheckpointError, match=name):
        open_checkpoint(path)
    for command in (["inspect", path], ["convert", path, tmp_path / "o" / "c", "--to=tf1"]):
        assert main([str(each) for each in command]) == 2
        assert "Traceback" not in capfd.readouterr().err
    assert os.listdir(tmp_path) == [name]


def test_every_cut_is_an_error_or_all_of_it(tmp_path):
    whole = weights()
    for length in range(0, len(whole), 61):
        path = tmp_path / "m.weights.h5"
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError):
            open_checkpoint(path)


def test_without_h5py_the_error_says_what_to_install(tmp_path, monkeypatch, capfd):
    path = written(tmp_path / "m.weights.h5", lambda file: file.create_dataset(PLACE, data=VALUE))
    convert(path, tmp_path / "ckpt", to="tf1")
    monkeypatch.setitem(sys.modules, "h5py", None)  # as where it is not installed
    with pytest.raises(CheckpointArgumentError, match=r'pip install "h5py>=3.8"'):
        open_checkpoint(path)
    assert main(["export", str(tmp_path / "ckpt"), str(tmp_path / "n.weights.h5")]) == 2
    assert "pip install" in capfd.readouterr().err
    assert not (tmp_path / "n.weights.h5").exists()


def test_nothing_temporary_stays(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    path = written(
        tmp_path / "m.weights.h5", lambda file: file.create_dataset(PLACE, data=VALUE, chunks=True)
    )
    describe(path, values=True)
    convert(path, tmp_path / "ckpt", to="dual")
    assert main(["export", str(tmp_path / "ckpt"), str(tmp_path / "n.weights.h5")]) == 0
    assert os.listdir(tmp_path / "temporary") == []
    np.testing.assert_array_equal(read(tmp_path / "n.weights.h5"), VALUE)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_takes_nothing_away(tmp_path):
    with h5py.File(tmp_path / "m.weights.h5", "w") as file:
        file.create_dataset("packed/vars/0", data=np.arange(100.0), compression="gzip")
    opened = open_checkpoint(tmp_path / "m.weights.h5")
    child = os.fork()
    if not child:
        del opened  # the last one that refers to it, there
        os._exit(0)
    os.waitpid(child, 0)
    entry = opened.index.entries["packed/vars/0"]
    np.testing.assert_array_equal(arrays.read_array(opened, entry), np.arange(100.0))
