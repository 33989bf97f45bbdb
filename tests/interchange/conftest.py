"""Checkpoints of each format, with every kind of tensor, for the tests of this folder."""

from checkpoints import large_checkpoint, make_checkpoint

__all__ = ["large_checkpoint", "make_checkpoint"]
