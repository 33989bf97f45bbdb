"""One checkpoint in a directory: found, opened, read, written, committed.

from estimator_ckpt.checkpoint import open_checkpoint

opened = open_checkpoint("model_dir")            # the latest one, or give a prefix
opened.prefix, opened.index.entries, opened.shard_paths
"""

from __future__ import annotations

from estimator_ckpt.checkpoint.opening import Checkpoint as Checkpoint
from estimator_ckpt.checkpoint.opening import find_prefix as find_prefix
from estimator_ckpt.checkpoint.opening import open_checkpoint as open_checkpoint
from estimator_ckpt.checkpoint.publishing import PublishCost as PublishCost
from estimator_ckpt.checkpoint.publishing import Shard as Shard
from estimator_ckpt.checkpoint.publishing import publish as publish
from estimator_ckpt.checkpoint.writer import BundleWriter as BundleWriter
