"""Checkpoint to checkpoint without reading a tensor: request, plan, commit.

convert(source, target, to="tf2")        # converting: the request, and its arguments
plan(account, "tf2")                     # planning: pure, and what a dry run shows
apply(source, target, planned)           # committing: links data files, writes an index
"""

from __future__ import annotations

from estimator_ckpt.conversion.converting import convert as convert
from estimator_ckpt.conversion.planning import FORMATS as FORMATS
from estimator_ckpt.conversion.planning import Conversion as Conversion
from estimator_ckpt.conversion.report import ConversionReport as ConversionReport
from estimator_ckpt.conversion.report import DroppedKey as DroppedKey
from estimator_ckpt.conversion.report import KeyChange as KeyChange
