"""What a command prints of a result, as a text.

Synopsis:

    text("inspect", describe("job"))
"""

from __future__ import annotations

import contextlib
import io
from typing import Any

from estimator_ckpt.cli import output
from estimator_ckpt.cli.verbs import VERBS


def text(verb: str, result: Any) -> str:
    """Returns what a verb prints of a result on a terminal, without colours."""
    shows = VERBS[verb].shows
    if shows is None:
        return repr(result)
    with contextlib.redirect_stdout(io.StringIO()) as printed, output.formatted("table"):
        shows(result)
    return printed.getvalue().rstrip("\n")
