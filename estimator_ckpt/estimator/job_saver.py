"""The Saver of the job that a graph is for, for hooks that follow it.

register_job_saver(saver)           # in the model_fn
job_saver()                         # in a hook's `begin`
"""

from __future__ import annotations

import weakref
from typing import Any

import tensorflow as tf

# A graph collection would be the place, but TensorFlow warns of each that it can't serialize. The
# Saver is referred to weakly, as it refers to its graph.
_job_savers: weakref.WeakKeyDictionary[Any, weakref.ref[Any]] = weakref.WeakKeyDictionary()


def register_job_saver(saver: Any) -> None:
    """Makes a saver known as that of the default graph's job; the first one counts."""
    _job_savers.setdefault(tf.compat.v1.get_default_graph(), weakref.ref(saver))


def job_saver() -> Any:
    """Returns the saver of the job that the default graph is for, or None where none is known.

    A wrapped job's is registered; an unwrapped one's is in the SAVERS collection, unless its
    Scaffold brings it.
    """
    registered = _job_savers.get(tf.compat.v1.get_default_graph())
    saver = registered() if registered else None
    if saver is None:
        saver = next(iter(tf.compat.v1.get_collection(tf.compat.v1.GraphKeys.SAVERS)), None)
    return saver
