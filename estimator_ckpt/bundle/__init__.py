"""The tensor bundle: TensorFlow's checkpoint file format, without TensorFlow.

    from estimator_ckpt import bundle

    checkpoint = bundle.open_checkpoint("model_dir/model.ckpt-1000")
    for key, entry in checkpoint.index.entries.items():
        print(key, entry.dtype_name, entry.shape, entry.size)

Bytes in, entries out. What a key *means* is the business of `estimator_ckpt.naming`.
"""

from __future__ import annotations

from estimator_ckpt.bundle.checkpoint import Checkpoint as Checkpoint
from estimator_ckpt.bundle.checkpoint import find_prefix as find_prefix
from estimator_ckpt.bundle.checkpoint import open_checkpoint as open_checkpoint
from estimator_ckpt.bundle.index import BundleIndex as BundleIndex
from estimator_ckpt.bundle.index import Extent as Extent
from estimator_ckpt.bundle.index import TensorEntry as TensorEntry
from estimator_ckpt.bundle.index import TensorPart as TensorPart
from estimator_ckpt.bundle.index import decode_index as decode_index
from estimator_ckpt.bundle.index import encode_index as encode_index
from estimator_ckpt.bundle.publish import PublishCost as PublishCost
from estimator_ckpt.bundle.publish import Shard as Shard
from estimator_ckpt.bundle.publish import publish as publish
from estimator_ckpt.bundle.writer import BundleWriter as BundleWriter
