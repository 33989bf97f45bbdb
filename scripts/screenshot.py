"""Makes the picture of a report that the README shows, from the digits job.

    python scripts/screenshot.py           # renews docs/images/report.png; takes half a minute

Needs playwright and a Chromium, as the tests in a browser do, and Pillow, as TensorBoard does.
"""

from __future__ import annotations

import io
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "images" / "report.png"
NAME = "digits/hidden_0/kernel"
SIZE = {"width": 1200, "height": 700}

sys.path.insert(0, str(ROOT / "tests" / "support"))


def main() -> None:
    """Trains the job, reports it, and takes the picture."""
    import browser
    from PIL import Image
    from playwright.sync_api import sync_playwright

    from estimator_ckpt import report

    with tempfile.TemporaryDirectory() as folder:
        job = pathlib.Path(folder) / "digits"
        line = [sys.executable, "-m", "estimator_ckpt.train", "--flagfile=configs/digits.flags"]
        subprocess.run([*line, f"--model_dir={job}"], cwd=ROOT, check=True)
        page_file = pathlib.Path(folder) / "report.html"
        report(job, values=True, output=page_file)
        with sync_playwright() as playwright:
            chromium = browser.launch(playwright)
            page = chromium.new_page(viewport=SIZE, color_scheme="light", reduced_motion="reduce")
            page.goto(page_file.as_uri())
            page.get_by_role("tab", name="Variables").click()
            page.get_by_role("row", name=NAME, exact=False).first.click()
            page.get_by_role("tab", name="Bytes").click()
            page.wait_for_timeout(300)
            page.mouse.move(0, 0)
            PICTURE.parent.mkdir(exist_ok=True)
            taken = page.screenshot()
            chromium.close()
    Image.open(io.BytesIO(taken)).convert("RGB").quantize(96).save(PICTURE, optimize=True)
    print(PICTURE.relative_to(ROOT))


if __name__ == "__main__":
    main()
