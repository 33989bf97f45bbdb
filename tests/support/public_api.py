"""The public names with their signatures, as text; to enter what has changed on purpose:

python tests/support/public_api.py
"""

from __future__ import annotations

import dataclasses
import inspect
import pathlib
import sys
from collections.abc import Iterable, Iterator

FILE = pathlib.Path(__file__).with_suffix(".txt")
_WITH_TENSORFLOW = (
    "estimator_ckpt.live.",
    "estimator_ckpt.estimator.",
    "estimator_ckpt.prove.answers",
)


def needs_tensorflow(name: str) -> bool:
    """Returns whether the module of a public name can only be imported with TensorFlow."""
    import estimator_ckpt

    return estimator_ckpt._MODULES[name].startswith(_WITH_TENSORFLOW)


def lines(names: Iterable[str]) -> list[str]:
    """Returns a line for each name, and one for each public member of a class."""
    import estimator_ckpt

    return [line for name in sorted(names) for line in _of(name, getattr(estimator_ckpt, name))]


def committed() -> list[str]:
    """Returns the lines of the committed file."""
    return FILE.read_text(encoding="utf-8").splitlines()


def name_of(line: str) -> str:
    """Returns the public name that a line is about."""
    return line.partition(":")[0].partition("(")[0].partition(".")[0].split()[-1]


def _of(name: str, value: object) -> Iterator[str]:
    if not callable(value):
        yield f"{name}: {type(value).__name__}"
        return
    if not inspect.isclass(value):
        yield f"{name}{inspect.signature(value)}"
        return
    if issubclass(value, Exception):
        bases = ", ".join(base.__name__ for base in value.__bases__)
        yield f"class {name}({bases})"
        return
    if dataclasses.is_dataclass(value) or inspect.isfunction(value.__init__):
        yield f"class {name}{inspect.signature(value)}"
    for member, found in sorted(vars(value).items()):
        found = getattr(found, "__func__", found)
        if member.startswith("_"):
            continue
        if inspect.isfunction(found):
            yield f"class {name}.{member}{inspect.signature(found)}"
        elif isinstance(found, property):
            yield f"class {name}.{member}: property"


if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
    import estimator_ckpt

    FILE.write_text("\n".join(lines(estimator_ckpt.__all__)) + "\n", encoding="utf-8")
