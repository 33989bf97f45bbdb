"""Builds the site of the docs, and makes sure that it is whole and fetches nothing from elsewhere.

python scripts/site.py FOLDER        # needs `pip install -e ".[docs]"`
"""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
# What a browser fetches by itself when it shows a page; where a link leads to, it doesn't.
_FETCHED = re.compile(
    r"<(?:script|img|iframe)[^>]* src=\"?(?:https?:)?//|<link[^>]* href=\"?https?://"
)
_CANONICAL = re.compile(r"<link[^>]*rel=\"?canonical[^>]*>")


def main(folder: str) -> int:
    """Builds it; returns 1 if a page is missing from the menu, a link leads nowhere, or so."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir"]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(
        [*command, str(pathlib.Path(folder).resolve())], cwd=ROOT, env=environment
    )
    if built.returncode:
        return 1
    pages = sorted(pathlib.Path(folder).rglob("*.html"))
    outside = [
        page for page in pages if _FETCHED.search(_CANONICAL.sub("", page.read_text("utf-8")))
    ]
    for page in outside:
        print(f"error: {page} fetches from another machine", file=sys.stderr)
    print(f"{len(pages)} pages in {folder}")
    return int(bool(outside) or not pages)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
