"""Files that are given as a checkpoint, or lie where a file of one should, and are something else.

    found = stranger("model.ckpt-5.index")
    f"the index is {found.what}; {found.remedy}"      # a Git LFS pointer; run `git lfs pull`
    stranger("weights.h5").what                       # an HDF5 file, as Keras saves
    stranger("model_dir/model.ckpt-5")                # None, or TensorFlow's V1 format

A file is known by its first bytes, where its kind has such; else by its name.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from estimator_ckpt.bundle.table import MAGIC
from estimator_ckpt.storage import files

_HEAD = 512
NPZ = "a numpy archive (.npz)"
SAFETENSORS = "a safetensors file"
_NO_NPZ = f"called {NPZ}, but is none"
_NO_SAFETENSORS = f"called {SAFETENSORS}, but is none"
FOR_IMPORT = (NPZ, SAFETENSORS, _NO_NPZ, _NO_SAFETENSORS)
"""What importing reads itself, or says more of."""
_IMPORT = "make a checkpoint of it with `estimator-ckpt import FILE TARGET --to=dual`"
_UNPACK = "unpack it, and give a checkpoint that is in it"
_KERAS = (
    "files of Keras are read by what reads checkpoints if their names end in .h5 or .keras, but "
    "they have no checksums; `estimator-ckpt convert FILE TARGET --to=tf1` makes a checkpoint of it"
)
_OTHER = "save its arrays with numpy.savez, and use `estimator-ckpt import`"


class Stranger(NamedTuple):
    """What a file is, and what can be done with it."""

    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what}; {self.remedy}"


V1 = Stranger(
    "a checkpoint in TensorFlow's V1 format",
    "convert it with TensorFlow, in a tf.Graph and tf.compat.v1.Session: "
    "tf.compat.v1.train.import_meta_graph(PATH + '.meta').restore(session, PATH), then "
    "tf.compat.v1.train.Saver().save(session, NEW)",
)
LFS_POINTER = Stranger(
    "a Git LFS pointer, not the file that it stands for", "run `git lfs pull` in its repository"
)
HTML_PAGE = Stranger(
    "an HTML page, not the file", "download the file itself (its raw address; logged in if need be)"
)
HDF5 = Stranger("an HDF5 file, as Keras saves", _KERAS)
KERAS_ARCHIVE = Stranger("a Keras model (.keras)", _KERAS)
_PYTORCH = Stranger("a file of PyTorch", f"load it there; {_OTHER}")
_BY_HEAD = (
    (b"version https://git-lfs.github.com/spec/", LFS_POINTER),
    (b"\x89HDF\r\n\x1a\n", HDF5),
    (b"\x1f\x8b", Stranger("a gzip archive (.gz, .tar.gz, .tgz)", _UNPACK)),
    (b"BZh", Stranger("a bzip2 archive", _UNPACK)),
    (b"\xfd7zXZ\0", Stranger("an xz archive", _UNPACK)),
    (b"(\xb5/\xfd", Stranger("a zstd archive", _UNPACK)),
    (b"7z\xbc\xaf'\x1c", Stranger("a 7z archive", _UNPACK)),
    (b"Rar!", Stranger("a rar archive", _UNPACK)),
    (b"\x93NUMPY", Stranger("an array of numpy (.npy)", _OTHER)),
    (b"GGUF", Stranger("a GGUF file", "it is no TensorFlow checkpoint; get one from its source")),
)
_FROZEN = Stranger(
    "a graph (.pb), which has its weights as constants in it if it is frozen",
    "give the checkpoint that it was made from, or read its Const nodes with tf.import_graph_def "
    "and numpy.savez, for `estimator-ckpt import`",
)
_BY_NAME = (
    ("saved_model.pb", Stranger("the graph of a SavedModel", "give the directory that it is in")),
    (".pb", _FROZEN),
    (".pbtxt", _FROZEN),
    (".onnx", Stranger("an ONNX model", f"read its initializers with the package onnx; {_OTHER}")),
    (".pt", _PYTORCH),
    (".pth", _PYTORCH),
    (".h5", Stranger("called an HDF5 file, but is none", "download it again")),
    (".keras", Stranger("called a Keras file, but is none", "download it again")),
    (
        ".weights.json",
        Stranger(
            "the list of the files that Keras has saved the weights of one model in",
            "load it with Keras, and save it without max_shard_size",
        ),
    ),
    (".npz", Stranger(_NO_NPZ, "download it again")),
    (".safetensors", Stranger(_NO_SAFETENSORS, "download it again")),
)


def stranger(path: str) -> Stranger | None:
    """Says what a file is.

    Args:
      path: of any file.

    Returns:
      None where there is no such file, or where it is of no kind that is known here: a file of a
      checkpoint, or anything.
    """
    if not files.exists(path) or files.is_directory(path):
        return None
    head = files.read(path, 0, _HEAD)
    for start, found in _BY_HEAD:
        if head.startswith(start):
            return found
    found_by_content = _html(head) or _zip(head) or _tar(head) or _others(head) or _v1(path)
    if found_by_content:
        return found_by_content
    name = os.path.basename(path).lower()
    return next((found for suffix, found in _BY_NAME if name.endswith(suffix)), None)


def is_v1(prefix: str) -> bool:
    """Returns whether a prefix is that of a checkpoint in TensorFlow's V1 format, in any parts."""
    if stranger(prefix) == V1:
        return True
    directory, base = os.path.split(prefix)
    base = base.replace("-?????-of-", "-*-of-")  # as a state file names one in parts
    pattern = base if "-*-of-" in base else f"{base}-?????-of-?????"
    return any(stranger(part) == V1 for part in files.glob(directory, pattern)[:1])


def _html(head: bytes) -> Stranger | None:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return HTML_PAGE if start.startswith((b"<!doctype html", b"<html", b"<head")) else None


def _zip(head: bytes) -> Stranger | None:
    if not head.startswith(b"PK\x03\x04"):
        return None
    length = int.from_bytes(head[26:28], "little")
    first = head[30 : 30 + length]  # the name of the first file in it
    if first.endswith(b".npy"):
        return Stranger(NPZ, _IMPORT)
    if first.endswith(b"/data.pkl"):
        return _PYTORCH
    if first in (b"metadata.json", b"config.json", b"model.weights.h5"):
        return KERAS_ARCHIVE
    return Stranger("a zip archive", _UNPACK)


def _tar(head: bytes) -> Stranger | None:
    return Stranger("a tar archive", _UNPACK) if head[257:262] == b"ustar" else None


def _others(head: bytes) -> Stranger | None:
    if head[4:8] == b"TFL3":
        return Stranger("a TensorFlow Lite model", "give the checkpoint that it was made from")
    if head[8:10] in (b'{"', b"{}") and int.from_bytes(head[:8], "little") < 2**32:
        return Stranger(SAFETENSORS, _IMPORT)
    return None


def _v1(path: str) -> Stranger | None:
    size = files.size(path)
    is_table = size >= 48 and files.read(path, size - 8, 8) == MAGIC.to_bytes(8, "little")
    return V1 if is_table and not path.endswith(".index") else None
