"""What mkdocs calls while it builds the site: pages that lie outside of docs/ are pages, too."""

from __future__ import annotations

import pathlib
from typing import Any

from mkdocs.structure.files import File

ROOT = pathlib.Path(__file__).resolve().parent.parent
OUTSIDE = {"README.md": "index.md", "benchmarks/README.md": "measuring.md"}
"""{where it lies: which page it is}."""


def on_files(files: Any, config: Any) -> Any:
    """Adds them, with their links into docs/ as those of its pages."""
    for path, page in OUTSIDE.items():
        text = (ROOT / path).read_text(encoding="utf-8").replace("](docs/", "](")
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Turns the links of docs/ to what lies outside into links to those pages."""
    for path, page in OUTSIDE.items():
        markdown = markdown.replace(f"](../{path}", f"]({page}")
    return markdown
