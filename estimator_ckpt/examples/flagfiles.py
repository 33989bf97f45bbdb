r"""Puts the flagfiles of the examples into a folder, for who has installed the package alone.

    python -m estimator_ckpt.examples.flagfiles            # into ./configs
    python -m estimator_ckpt.train --flagfile=configs/digits.flags

They name each other as `configs/...`, so they are read from the folder that holds `configs`. One
that is there already stays as it is, unless it is equal.
"""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Sequence

_PACKAGE = pathlib.Path(__file__).resolve().parent.parent
FOLDER = "configs"
"""What the folder is called, in which the files look for each other."""


def flagfiles() -> dict[str, str]:
    """Returns {name: text} of all, as they are in the package or, of a checkout, beside it."""
    places = (_PACKAGE / FOLDER, _PACKAGE.parent / FOLDER)
    folder = next(filter(pathlib.Path.is_dir, places))
    return {each.name: each.read_text(encoding="utf-8") for each in sorted(folder.glob("*.flags"))}


def main(arguments: Sequence[str]) -> int:
    """Writes the files, and says which; returns 2 where one of them is there and is another."""
    if arguments:
        question = arguments[0].lstrip("-").startswith("h")
        print(__doc__, file=sys.stdout if question else sys.stderr)
        return 0 if question else 2
    found = {pathlib.Path(FOLDER, name): text for name, text in flagfiles().items()}
    others = [
        path for path in found if path.exists() and path.read_text(encoding="utf-8") != found[path]
    ]
    if others:
        names = ", ".join(map(str, others))
        print(f"error: {names} would be replaced; nothing was written", file=sys.stderr)
        return 2
    for path, text in found.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
