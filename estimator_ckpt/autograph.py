"""Keeps AutoGraph from converting this library's own code, without loading TensorFlow.

    @not_converted
    def describe(checkpoint): ...

Under a tf.distribute strategy TensorFlow converts a model_fn, and with it whatever plain Python the
model_fn calls. What is not about tensors gains nothing by that, and some of it fails.
"""

from __future__ import annotations

from typing import Any, TypeVar

_Function = TypeVar("_Function")

# `tf.autograph.experimental.do_not_convert` sets this on what it returns, and AutoGraph looks for
# it on whatever it is about to convert, in TensorFlow 2.12 to 2.21.
_MARK = "autograph_info__"


def not_converted(function: _Function) -> _Function:
    """Marks a function, and so all that it calls, as plain Python for AutoGraph.

    Args:
      function: the function, which is changed and returned.

    Returns:
      The same function.
    """
    marked: Any = function
    setattr(marked, _MARK, None)
    return function
