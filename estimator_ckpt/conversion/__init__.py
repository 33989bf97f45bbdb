"""Checkpoint to checkpoint without reading a tensor: request, plan, commit."""

from __future__ import annotations

from estimator_ckpt.conversion.planning import Conversion as Conversion
from estimator_ckpt.conversion.planning import ConversionReport as ConversionReport
from estimator_ckpt.conversion.planning import DroppedKey as DroppedKey
from estimator_ckpt.conversion.planning import KeyChange as KeyChange
from estimator_ckpt.conversion.planning import convert as convert
