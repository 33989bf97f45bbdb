"""Reads a job's checkpoints back with plain TensorFlow and compares the values.

    for result in read_back("model_dir", "model_dir/tf1"):
        print(result.reader, result.checkpoint, result.ok, result.detail)

Nothing of this library takes part in the reading: a reader that fails here fails for users too.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

tf1 = tf.compat.v1

Values = Mapping[str, Any]

_GRAPH_KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"
_OBJECT_KEY = re.compile(r"(?:var_list/(?P<name>[^/]+)|step)/\.ATTRIBUTES/VARIABLE_VALUE")
_GLOBAL_STEP = "global_step"


@dataclass(frozen=True)
class ReaderResult:
    """What one reader made of one checkpoint.

    Attributes:
      reader: what read it, such as `tf1.train.Saver`.
      checkpoint: the prefix that was read.
      ok: whether it was read and every value was right.
      detail: how many values were right, or what went wrong.
    """

    reader: str
    checkpoint: str
    ok: bool
    detail: str


def read_back(model_dir: str, tf1_dir: str | None = None) -> tuple[ReaderResult, ...]:
    """Reads the latest checkpoints of a job with each reader that their format is made for.

    Args:
      model_dir: the job's folder. Its latest checkpoint gives the values that all must agree on.
      tf1_dir: the folder of the job's TF1 checkpoints, if it has one.

    Returns:
      A result for each reader and checkpoint: a `tf1.train.Saver` for those with names, an eager
      `tf.train.Checkpoint` for those with an object graph. None if `model_dir` has no checkpoint.
    """
    prefix = tf.train.latest_checkpoint(model_dir)
    if prefix is None:
        return ()
    names, objects = _named_keys(prefix), _object_keys(prefix)
    expected = _values(prefix, names or objects)
    results = []
    if names:
        results.append(_try("tf1.train.Saver", _read_with_saver, prefix, expected))
    if _GRAPH_KEY in _keys(prefix):
        results.append(_try("tf.train.Checkpoint", _read_with_checkpoint, prefix, expected))
    if tf1_dir:
        results.append(_read_tf1_dir(tf1_dir, expected))
    return tuple(results)


def _read_tf1_dir(tf1_dir: str, expected: Values) -> ReaderResult:
    prefix = tf.train.latest_checkpoint(tf1_dir)
    if prefix is None:
        return ReaderResult("tf1.train.Saver", tf1_dir, False, "there is no checkpoint")
    if _GRAPH_KEY in _keys(prefix):
        return ReaderResult("tf1.train.Saver", prefix, False, "has an object graph: not TF1")
    return _try("tf1.train.Saver", _read_with_saver, prefix, expected)


def _try(reader: str, read: Callable[[str], Values], prefix: str, expected: Values) -> ReaderResult:
    try:
        found = read(prefix)
    except Exception as error:  # whatever a reader raises is its result
        reason = str(error).strip().partition("\n")[0]
        return ReaderResult(reader, prefix, False, f"{type(error).__name__}: {reason}")
    ok, detail = _compare(found, expected)
    return ReaderResult(reader, prefix, ok, detail)


def _compare(found: Values, expected: Values) -> tuple[bool, str]:
    missing = sorted(expected.keys() - found.keys())
    if missing or not expected:
        return False, f"lacks {', '.join(missing) or 'all variables'}"
    different = [name for name in sorted(expected) if not _same(found[name], expected[name])]
    if different:
        return False, f"{len(different)} of {len(expected)} differ: {', '.join(different)}"
    return True, f"{len(expected)} of {len(expected)} values equal"


def _same(left: Any, right: Any) -> bool:
    left, right = np.asarray(left), np.asarray(right)
    if left.shape != right.shape or left.dtype != right.dtype:
        return False
    if left.dtype == object:  # strings
        return bool(left.tolist() == right.tolist())
    # Bytes, not numbers: a NaN equals itself, and -0.0 is not 0.0.
    return bool(left.tobytes() == right.tobytes())


def _keys(prefix: str) -> set[str]:
    return set(tf.train.load_checkpoint(prefix).get_variable_to_shape_map())


def _named_keys(prefix: str) -> dict[str, str]:
    return {key: key for key in _keys(prefix) if key != _GRAPH_KEY and "/.ATTRIBUTES/" not in key}


def _object_keys(prefix: str) -> dict[str, str]:
    matches = (_OBJECT_KEY.fullmatch(key) for key in _keys(prefix))
    return {_unescape(match["name"]): match[0] for match in matches if match}


def _unescape(name: str | None) -> str:
    """Undoes TensorFlow's escapes in object paths: `.S` is a slash, `..` a dot."""
    if name is None:
        return _GLOBAL_STEP
    return re.sub(r"\.([.S])", lambda match: "/" if match[1] == "S" else ".", name)


def _values(prefix: str, keys: Mapping[str, str]) -> dict[str, Any]:
    reader = tf.train.load_checkpoint(prefix)
    return {name: reader.get_tensor(key) for name, key in keys.items()}


def _zeros(prefix: str, key: str) -> Any:
    reader = tf.train.load_checkpoint(prefix)
    shape = reader.get_variable_to_shape_map()[key]
    return tf.zeros(shape, reader.get_variable_to_dtype_map()[key])


def _read_with_saver(prefix: str) -> Values:
    """Reads by name, in a graph and a session of its own."""
    with tf.Graph().as_default():
        variables = {
            name: tf1.Variable(_zeros(prefix, key), name="value")
            for name, key in _named_keys(prefix).items()
        }
        with tf1.Session() as session:
            tf1.train.Saver(variables).restore(session, prefix)
            values: Values = session.run(variables)
            return values


def _read_with_checkpoint(prefix: str) -> Values:
    """Reads by object, eagerly, and requires that nothing on either side is left over."""
    if not tf.executing_eagerly():
        raise RuntimeError("not tried: this process runs without eager execution")
    variables = {
        name: tf.Variable(_zeros(prefix, key)) for name, key in _object_keys(prefix).items()
    }
    var_list = {name: variables[name] for name in variables if name != _GLOBAL_STEP}
    checkpoint = tf.train.Checkpoint(var_list=var_list, step=variables[_GLOBAL_STEP])
    checkpoint.restore(prefix).assert_consumed()
    return {name: variable.numpy() for name, variable in variables.items()}


def global_step(model_dir: str) -> int:
    """Returns the step of a folder's latest checkpoint, in any format; 0 if there is none."""
    prefix = tf.train.latest_checkpoint(model_dir)
    if prefix is None:
        return 0
    reader = tf.train.load_checkpoint(prefix)
    for key in ("global_step", "step/.ATTRIBUTES/VARIABLE_VALUE"):
        if reader.has_tensor(key):
            return int(reader.get_tensor(key))
    return 0


def bytes_of_checkpoints(folders: Iterable[str]) -> tuple[int, int]:
    """Adds up what the checkpoints in some folders take.

    Args:
      folders: folders with checkpoints in them, local or remote; they need not exist.

    Returns:
      The bytes on disk, hard-linked data counted once, and what it would be without links.
    """
    sizes: dict[Any, int] = {}
    unlinked = 0
    for folder in folders:
        for name in tf.io.gfile.listdir(folder) if tf.io.gfile.isdir(folder) else ():
            if re.search(r"\.(index|data-\d+-of-\d+)$", name):
                path = os.path.join(folder, name)
                size = tf.io.gfile.stat(path).length
                unlinked += size
                sizes[_identity(path)] = size
    return sum(sizes.values()), unlinked


def _identity(path: str) -> Any:
    """Tells hard links of one file as one; a path that is not local is its own."""
    try:
        status = os.stat(path)
    except OSError:
        return path
    return status.st_dev, status.st_ino
