"""How results print: their repr is short, and their str is what the command prints.

@dataclass(frozen=True, repr=False)
class Difference(Shown, verb="diff"):
...

print(diff(a, b))       # the table of `estimator-ckpt diff`
diff(a, b)              # Difference(first='a', second='b', changes=<7 rows>, ...)
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping
from typing import Any, ClassVar

_LONGEST = 100  # characters of a value that is printed as it is
_MOST = 3  # things that are printed one by one


class Shown:
    """A dataclass that holds more than a screen has room for.

    Args:
      verb: of the command line that prints such a result; None for those that none prints.
    """

    _verb: ClassVar[str | None] = None

    def __init_subclass__(cls, verb: str | None = None, **options: Any):
        super().__init_subclass__(**options)
        cls._verb = verb

    def __repr__(self) -> str:
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        values = (f"{field.name}={_short(getattr(self, field.name))}" for field in fields)
        return f"{type(self).__name__}({', '.join(values)})"

    def __str__(self) -> str:
        if self._verb is None:
            return repr(self)
        # By name: what knows of terminals is above what knows of checkpoints, and loaded for this.
        shown = importlib.import_module("estimator_ckpt.cli.shown")
        return str(shown.text(self._verb, self))


def _short(value: Any) -> str:
    if isinstance(value, (tuple, list, Mapping)) and (
        len(value) > _MOST or len(repr(value)) > _LONGEST
    ):
        return f"<{len(value):,} {'row' if len(value) == 1 else 'rows'}>"
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
