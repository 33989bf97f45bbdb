"""Finds the Saver of a job that is not wrapped, once its Scaffold has finalized the graph.

    saver = saver_of(session.graph)

Where the Scaffold brings the Saver, it is in no collection, and no hook is told of it.
"""

from __future__ import annotations

import gc
from typing import Any

import tensorflow as tf

_SAVERS = tf.compat.v1.GraphKeys.SAVERS


def saver_of(graph: Any) -> Any:
    """Returns the saver of the Scaffold that finalized a graph; else the one in SAVERS, or None.

    Args:
      graph: a finalized `tf.Graph`.
    """
    scaffold = _scaffold_of(graph)
    if scaffold is not None:
        return scaffold.saver
    return next(iter(graph.get_collection(_SAVERS)), None)


def _scaffold_of(graph: Any) -> Any:
    """Looks through all objects: nothing that a hook can reach refers to the Scaffold."""
    classes = _with_subclasses(tf.compat.v1.train.Scaffold)
    found = [each for each in gc.get_objects() if type(each) in classes]
    return next((each for each in found if _has_finalized(each, graph)), None)


def _with_subclasses(base: type) -> set[type]:
    found = {base}
    for each in base.__subclasses__():
        found |= _with_subclasses(each)
    return found


def _has_finalized(scaffold: Any, graph: Any) -> bool:
    """Returns whether a Scaffold is this graph's; finalizing is what gives it all of these ops."""
    ops = (scaffold.init_op, scaffold.ready_op, scaffold.ready_for_local_init_op)
    return scaffold.saver is not None and all(getattr(op, "graph", None) is graph for op in ops)
