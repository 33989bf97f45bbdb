"""Has a warm start read many tensors at once, instead of each by an operation of its own.

    read_at_once(tf.compat.v1.get_default_graph())
    tf.compat.v1.train.warm_start("old_job")        # as Estimator calls it, after the model_fn

What is taken, and what is said of it, stays TensorFlow's own; only the operations differ. So it
is with `WarmStartSettings` of any kind, and with `init_from_checkpoint`.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import weakref
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from estimator_ckpt.live import tensorflow_internals as internals
from estimator_ckpt.messages import listed, logger

_log = logger(__name__)
_MOST_TENSORS = 1_000  # of one read; several of them run at the same time
_MOST_BYTES = 256 * 1024 * 1024
_GRAPHS: weakref.WeakSet[Any] = weakref.WeakSet()
_LOCK = threading.Lock()
_LOCAL = threading.local()


class _Read(NamedTuple):
    """What TensorFlow would make an initializer for."""

    variable: Any
    path: str
    key: str
    slice_spec: str


def read_at_once(graph: tf.Graph) -> None:
    """Has variables of a graph that are initialized from a checkpoint from now on read together.

    Variables of strategies, which are several, are still read one by one, and so is what is
    remapped by its vocabulary, which is logged. The initializer of one variable, if it is run
    alone, reads what is read together with it.

    Args:
      graph: in which `warm_start` or `init_from_checkpoint` will be called; others stay as ever.
    """
    with _LOCK:
        _install()
    _GRAPHS.add(graph)


def _is_asked_for() -> bool:
    return tf.compat.v1.get_default_graph() in _GRAPHS


@functools.cache
def _install() -> None:
    """Takes the place of the functions by which TensorFlow makes initializers."""
    read_all, read_one, remap = internals.checkpoint_initializers()

    def read_all_at_once(ckpt_dir_or_file: Any, assignment_map: Any) -> None:
        if not _is_asked_for():
            read_all(ckpt_dir_or_file, assignment_map)
            return
        with _collecting() as reads:
            read_all(ckpt_dir_or_file, assignment_map)
        _set_initializers(reads, read_one)

    def collect(
        variable: Any, ckpt_file: Any, tensor_name: Any, slice_spec: Any, *args: Any, **kwargs: Any
    ) -> None:
        reads: list[_Read] | None = getattr(_LOCAL, "reads", None)
        if reads is None:
            read_one(variable, ckpt_file, tensor_name, slice_spec, *args, **kwargs)
        else:
            reads.append(_Read(variable, ckpt_file, tensor_name, slice_spec))

    def remap_one(var: Any, *args: Any, **kwargs: Any) -> None:
        if _is_asked_for():
            first = var[0] if isinstance(var, list) else var
            name = internals.logical_name(first)
            _log.info("'%s' is remapped by its vocabulary, and so is read by itself", name)
        remap(var, *args, **kwargs)

    internals.set_checkpoint_initializers(read_all_at_once, collect, remap_one)


@contextlib.contextmanager
def _collecting() -> Iterator[list[_Read]]:
    reads: list[_Read] = []
    _LOCAL.reads = reads
    try:
        yield reads
    finally:
        _LOCAL.reads = None


def _set_initializers(reads: Sequence[_Read], read_one: Any) -> None:
    """Gives variables their initializers, in the order in which TensorFlow would."""
    apart = {}
    together: dict[tuple[str, str], list[_Read]] = {}
    for read in reads:
        if internals.is_plain_variable(read.variable):
            # RestoreV2 runs on the host of the variable's device.
            together.setdefault((read.variable.device, str(read.path)), []).append(read)
        else:
            apart[read.variable.name] = f"'{read.variable.name}' ({type(read.variable).__name__})"
            read_one(*read)
    count = 0
    for (device, path), of_one in together.items():
        for batch in _batches(of_one):
            count += 1
            with tf.device(device), tf.device("/cpu:0"):
                tensors = tf.raw_ops.RestoreV2(
                    prefix=path,
                    tensor_names=[read.key for read in batch],
                    shape_and_slices=[str(read.slice_spec) for read in batch],
                    dtypes=[read.variable.dtype.base_dtype for read in batch],
                    name="checkpoint_initializers",
                )
            with tf.device(device):
                for read, tensor in zip(batch, tensors):
                    internals.set_initializer(read.variable, tensor)
    _log.info("%d variables are initialized by %d reads", len(reads) - len(apart), count)
    if apart:
        _log.info(
            "%d are read one by one, as each of them is several: %s",
            len(apart),
            listed(list(apart.values())),
        )


def _batches(reads: Sequence[_Read]) -> Iterator[list[_Read]]:
    batch: list[_Read] = []
    size = 0
    for read in reads:
        batch.append(read)
        elements = read.variable.shape.num_elements() or 0
        size += elements * (read.variable.dtype.base_dtype.size or 0)
        if len(batch) >= _MOST_TENSORS or size >= _MOST_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
