"""Every Python snippet of the README and of docs/ runs, in order, in one folder a page."""

import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SNIPPET = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_snippets_of_a_page_run(page, tmp_path):
    snippets = SNIPPET.findall(page.read_text(encoding="utf-8"))
    if not snippets:
        pytest.skip(f"{page.name} has no Python snippets")
    script = tmp_path / "snippets.py"
    # An absl main ends the process; what stands after it is put before it.
    mains = [snippet for snippet in snippets if "app.run(" in snippet]
    rest = [snippet for snippet in snippets if "app.run(" not in snippet]
    script.write_text("\n".join([*rest, *mains]), encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert ran.returncode == 0, ran.stderr[-4000:]
