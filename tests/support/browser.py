"""A headless Chromium, one for all tests of a process, and pages in it that may say no error.

def test_a_page(open_page):
    page = open_page(url, width=360, theme="dark")
    page.get_by_role("tab", name="Variables").click()
    serious(page)                    # what axe-core finds

As CI, tests fail where there is no Chromium, or no axe-core; elsewhere they are skipped.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import tempfile

import pytest

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
LONGEST = 300_000
"""Milliseconds that anything may take, on however busy a machine."""
NAMES = ("chromium", "chromium-browser", "google-chrome")
AXE = "ESTIMATOR_CKPT_AXE"
"""The environment's variable with the path of axe.min.js, of the npm package axe-core."""


def missing(what: str) -> None:
    """Skips a test, or fails as CI, for what is not installed."""
    if os.environ.get("CI"):
        pytest.fail(f"as CI, this needs {what}")
    pytest.skip(f"this needs {what}")


def executable() -> str:
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        missing("Chromium (Debian: apt-get install chromium)")
    return str(found)


def launch(playwright):
    """Starts a Chromium that looks for nothing on the network."""
    return playwright.chromium.launch(
        executable_path=executable(), args=list(FLAGS), timeout=LONGEST
    )


@pytest.fixture(scope="session")
def chromium():
    executable()
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("playwright (pip install playwright)")
    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium):
    """Opens pages: open_page(address or path, width=1280, theme="light"); none may say an error."""
    contexts, said = [], []

    def open_page(address, *, width=1280, height=860, theme="light"):
        context = chromium.new_context(
            viewport={"width": width, "height": height},
            color_scheme=theme,
            reduced_motion="reduce",
            accept_downloads=True,
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(LONGEST)
        page.on("console", lambda message: message.type == "error" and said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
        is_path = isinstance(address, pathlib.Path)
        page.goto(address.as_uri() if is_path else address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert said == []


@pytest.fixture(scope="session")
def axe() -> str:
    """The text of axe-core."""
    path = os.environ.get(AXE, os.path.join(tempfile.gettempdir(), "no axe"))
    if not os.path.exists(path):
        missing(f"axe-core (npm install axe-core), its axe.min.js named by {AXE}")
    return pathlib.Path(path).read_text(encoding="utf-8")


def serious(page, axe: str) -> list[str]:
    """What axe-core finds on a page that is serious, or worse."""
    page.evaluate(axe)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{each['id']}: {node['html'][:160]} {node['failureSummary'][:300]}"
        for each in found["violations"]
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"][:3]
    ]
