"""The tensor bundle: TensorFlow's checkpoint file format, without TensorFlow.

    from estimator_ckpt import bundle

    index = bundle.decode_index(data)                # the bytes of a PREFIX.index
    for key, entry in index.entries.items():
        print(key, entry.dtype_name, entry.shape, entry.size)

Bytes in, entries out; no file is opened here. What a key *means* is the business of
`estimator_ckpt.naming`.
"""

from __future__ import annotations

from estimator_ckpt.bundle.index import BundleIndex as BundleIndex
from estimator_ckpt.bundle.index import Extent as Extent
from estimator_ckpt.bundle.index import TensorEntry as TensorEntry
from estimator_ckpt.bundle.index import TensorPart as TensorPart
from estimator_ckpt.bundle.index import decode_index as decode_index
from estimator_ckpt.bundle.index import encode_index as encode_index
