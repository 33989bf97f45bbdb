"""One HTML file that needs nothing else: the front end, and its data beside it.

    page({"checkpoint": ..., "model_dir": ...})

The data are JSON in a block that is no script; what is a script or a style is named by its hash in
the page's policy, so that nothing else runs, whatever the data are. The scripts are the modules in
`front/`, one after the other: they name no two things alike.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import pathlib
import re
from typing import Any

from estimator_ckpt.reporting.checkpoint_data import Data

FRONT = pathlib.Path(__file__).parent / "front"
"""The folder of the front end."""
_ENTRY = "report.js"
_IMPORT = re.compile(r'^import\s+\{[^}]*\}\s+from\s+"\./([\w.]+)";\n', re.MULTILINE)
_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>Checkpoint report</title>
<style>{style}</style>
</head>
<body>
<div id="app"></div>
<noscript>This report is drawn by a script in it; allow it to run.</noscript>
<script type="application/json" id="data">{data}</script>
<script type="module">{script}</script>
</body>
</html>
"""


def page(data: Data) -> str:
    """Returns the page.

    Args:
      data: what JSON can have, and numbers that it can't.
    """
    style, script = (FRONT / "app.css").read_text(encoding="utf-8"), joined(_ENTRY)
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; "
        "base-uri 'none'; form-action 'none'"
    )
    # One pass: what is in the data is no field of the page.
    fields = {"policy": policy, "style": style, "script": script, "data": safe_json(data)}
    return re.sub(r"\{(policy|style|script|data)\}", lambda match: fields[match[1]], _PAGE)


def safe_json(data: Any) -> str:
    """Returns JSON without what ends or begins anything in HTML.

    Numbers that JSON hasn't got are the strings "NaN", "Infinity" and "-Infinity".
    """
    text = json.dumps(_finite(data), separators=(",", ":"), allow_nan=False)
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text


def joined(entry: str) -> str:
    """Returns a module of the front end and all that it imports as one script."""
    texts: dict[str, str] = {}

    def add(name: str) -> None:
        if name in texts:
            return
        text = (FRONT / name).read_text(encoding="utf-8")
        texts[name] = ""  # so that it isn't added by what it imports
        for imported in _IMPORT.findall(text):
            add(imported)
        del texts[name]
        texts[name] = re.sub(r"^export (?=\w)", "", _IMPORT.sub("", text), flags=re.MULTILINE)

    add(entry)
    return "\n".join(texts.values())


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _finite(data: Any) -> Any:
    if isinstance(data, float):
        if math.isfinite(data):
            return data
        return "NaN" if math.isnan(data) else "Infinity" if data > 0 else "-Infinity"
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    return list(map(_finite, data)) if isinstance(data, (list, tuple)) else data
