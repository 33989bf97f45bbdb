"""What `--like` names: live objects that a function makes, or another checkpoint.

like_target("my.model:make_model")        # what it returns
like_target("other_job")                  # the path
"""

from __future__ import annotations

import os
import sys
from typing import Any

from absl import flags

from estimator_ckpt.cli.command import UsageError
from estimator_ckpt.functions import REFERENCE, load_function
from estimator_ckpt.storage import files


def like_target(like: str) -> Any:
    """Returns what a function makes, or the path of what is no reference to one.

    Raises:
      UsageError: there is no such function.
    """
    if files.exists(like) or not REFERENCE.fullmatch(like):
        return like
    return like_objects(like)


def like_objects(like: str) -> Any:
    """Returns what `package.module:function` makes.

    Raises:
      UsageError: it is no such reference, or there is no such function.
    """
    if not REFERENCE.fullmatch(like):
        raise UsageError(
            f"--like={like} should be package.module:function, which makes the objects"
        )
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # a console script looks in its own folder only
    try:
        function = load_function("like", like)
    except flags.Error as error:
        raise UsageError(str(error)) from error
    return function()
