"""The TF2 side of a test: eager code, also where the rest runs under `disable_v2_behavior()`.

with eagerly():
    step = tf.Variable(0, dtype=tf.int64)
    tf.train.Checkpoint(step=step).restore(prefix)
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import tensorflow as tf


@contextlib.contextmanager
def eagerly() -> Iterator[None]:
    """Executes eagerly, which `disable_v2_behavior()` switches off for the rest of the process."""
    with contextlib.ExitStack() as stack:
        if not tf.executing_eagerly():
            # The only way there is back to eager execution; `init_scope` leads there only from
            # a function that is being traced.
            stack.enter_context(tf.__internal__.eager_context.eager_mode())
        yield
