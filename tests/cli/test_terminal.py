"""What a real terminal gets: a pseudo-terminal, in which the command runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import numpy as np
import pytest

pty = pytest.importorskip("pty", reason="there are no pseudo-terminals here")

ESCAPE = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])")


def shown(*arguments: object, **environment: str) -> str:
    """Returns what a terminal of 80 columns is sent."""
    here, there = pty.openpty()
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TERM")}
    command = [sys.executable, "-m", "estimator_ckpt", *map(str, arguments)]
    with subprocess.Popen(
        command,
        stdin=there,
        stdout=there,
        stderr=there,
        env={**kept, "COLUMNS": "80", **environment},
    ) as process:
        os.close(there)
        chunks = []
        while True:
            try:
                chunk = os.read(here, 65536)
            except OSError:  # how Linux says that the other end is closed
                break
            if not chunk:
                break
            chunks.append(chunk)
    os.close(here)
    text = b"".join(chunks).decode()
    assert process.returncode == 0, text
    return text


def colours(text: str) -> set[str]:
    """The escape codes that set a colour, among those that don't (bold, or where the cursor is)."""
    codes = {code for code, kind in ESCAPE.findall(text) if kind == "m"}
    return {code for code in codes if re.match(r"(3|4|9|10)[0-9]", code)}


@pytest.fixture
def two(tmp_path):
    """Two files of arrays as checkpoints, to average: that shows a progress bar."""
    from estimator_ckpt import import_checkpoint

    for number in (1, 2):
        np.savez(tmp_path / "w.npz", w=np.full([1000], number, np.float32))
        import_checkpoint(tmp_path / "w.npz", tmp_path / f"c{number}", to="dual")
    return tmp_path


def test_no_color_is_heeded(two):
    arguments = ("average", two / "c1", two / "c2", two / "mean", "--overwrite")
    assert colours(shown(*arguments, TERM="xterm-256color"))
    plain = shown(*arguments, TERM="xterm-256color", NO_COLOR="1")
    assert not colours(plain)
    assert "averaging into mean" in plain
    assert not colours(shown("inspect", two / "mean", TERM="xterm-256color", NO_COLOR="1"))


def test_a_dumb_terminal_gets_no_escapes_and_no_bar(two):
    text = shown("average", two / "c1", two / "c2", two / "mean", TERM="dumb")
    assert text.splitlines()[-1].startswith("wrote ")
    assert "\x1b" not in text
    table = shown("inspect", two / "mean", "--values", TERM="dumb")
    assert table.startswith(f"{two / 'mean'}: format dual")
    assert "\x1b" not in table


def test_a_reader_that_leaves_early_is_no_error(written):
    read, write = os.pipe()
    os.close(read)
    process = subprocess.Popen(
        [sys.executable, "-m", "estimator_ckpt", "inspect", str(written / "tf1")],
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(write)
    err = process.stderr.read()
    assert process.wait() == 141
    assert "BrokenPipe" not in err
    assert "Traceback" not in err
