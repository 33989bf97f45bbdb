"""The ops of a Saver, made as TensorFlow makes them, and what they save and restore.

builder = OpsBuilder(with_object_graph=True)        # for `tf1.train.Saver(builder=...)`
builder.saves, builder.restores                     # filled when the Saver is built
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from estimator_ckpt.estimator.background.snapshot import Saved
from estimator_ckpt.estimator.restoring import Read, static_shape
from estimator_ckpt.live import tensorflow_internals as internals
from estimator_ckpt.naming import OBJECT_GRAPH_KEY


class OpsBuilder(internals.BulkSaverBuilder):
    """Makes a Saver's ops, and remembers the tensors that have the names of what is restored."""

    def __init__(self, *, with_object_graph: bool):
        super().__init__()
        self._with_object_graph = with_object_graph
        self.saved_names: set[str] = set()
        self.saves: list[list[Saved]] = []  # one for each SaveV2 op, and so for each data file
        self.restores: list[tuple[Any, list[Read]]] = []
        self.object_graph: Any = None  # the tensor to feed with the object graph

    def save_op(self, filename_tensor: Any, saveables: Sequence[Any]) -> Any:
        """Makes the op that writes a data file."""
        specs = [spec for saveable in saveables for spec in saveable.specs]
        saved = [Saved(spec.name, spec.slice_spec, spec.tensor) for spec in specs]
        self.saved_names.update(spec.name for spec in specs)
        if self._with_object_graph and self.object_graph is None:
            self.object_graph = tf.constant(b"", name="object_graph")
            saved.append(Saved(OBJECT_GRAPH_KEY, "", self.object_graph))
        self.saves.append(saved)
        names, slices, tensors = zip(*saved)
        return tf.raw_ops.SaveV2(
            prefix=filename_tensor, tensor_names=names, shape_and_slices=slices, tensors=tensors
        )

    def bulk_restore(
        self, filename_tensor: Any, saveables: Any, preferred_shard: Any, restore_sequentially: Any
    ) -> Any:
        """Makes the op that reads tensors, whose names can be fed."""
        del preferred_shard, restore_sequentially
        specs = [spec for saveable in saveables for spec in saveable.specs]
        reads = [Read(spec.name, spec.slice_spec, static_shape(spec)) for spec in specs]
        with tf.device("cpu:0"):
            names = tf.constant([read.name for read in reads], tf.string, name="restore_names")
            self.restores.append((names, reads))
            return tf.raw_ops.RestoreV2(
                prefix=filename_tensor,
                tensor_names=names,
                shape_and_slices=[read.slice_spec for read in reads],
                dtypes=[spec.dtype for spec in specs],
            )
