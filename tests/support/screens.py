"""What the main commands print: on terminals of 80 and 160 columns, without colour, in a pipe.

    python tests/support/screens.py        # renews tests/golden/screens/*.txt: look at what changed

The checkpoints are made anew, the same ones each time, and without TensorFlow.
"""

from __future__ import annotations

import contextlib
import io
import os
import pathlib
import re
import shlex
import sys
import tempfile
from unittest import mock

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden" / "screens"
# Of each file: whether it is a terminal, and its environment.
MODES = {
    "80": (True, {"COLUMNS": "80"}),
    "160": (True, {"COLUMNS": "160"}),
    "no_color": (True, {"COLUMNS": "80", "NO_COLOR": "1"}),
    "pipe": (False, {"COLUMNS": "80"}),
}
LINES = """\
--help
inspect --help
convert --help
inspect job
inspect job --include=dense/ --values
inspect job --tree --depth=2
inspect job --show='dense/kernel[:2]'
inspect job both/ckpt untidy nowhere
inspect job --include=dens/
verify job
verify damaged --all
doctor job
doctor untidy
doctor job damaged untidy
diff job/model.ckpt-10 job/model.ckpt-20
diff job both/ckpt
prefix job
convert job new/ --to=tf2 --dry-run
convert job new/ --to=tf2
convert both/ckpt by_name/ --to=tf1
convert damaged new_all --to=tf2 --all
convert damaged new_all --to=tf2 --all --keep-going
drop job small/ --slots --dry-run
rename job renamed/ --rename=dense/=layer/ -v
average job mean/ --last=2
cast job half/ --to=float16
drop job small/ --slots
compact small/ packed/
export job weights.npz --noslots
import weights.npz imported/ --to=dual
convrt job new
convert job new --to=tf3
convert jop new --to=tf2
average job mean --last=three
"""


def make(folder: pathlib.Path) -> None:
    """Makes job, damaged, untidy (folders of two checkpoints each) and both/ckpt."""
    from estimator_ckpt import convert, import_checkpoint
    from estimator_ckpt.checkpoint.opening import write_state

    for name in ("job", "damaged", "untidy"):
        for step in (10, 20):
            values = {
                "dense/kernel": np.arange(12, dtype=np.float32).reshape(4, 3) / step,
                "dense/kernel/Adam": np.zeros([4, 3], np.float32),
                "dense/kernel/Adam_1": np.ones([4, 3], np.float32),
                "dense/bias": np.float32([1, 2, 3]),
                "dense/bias/Adam": np.zeros([3], np.float32),
                "dense/bias/Adam_1": np.ones([3], np.float32),
                "beta1_power": np.float32(0.5),
                "beta2_power": np.float32(0.25),
                "global_step": np.int64(step),
            }
            np.savez(folder / "values.npz", **values)
            import_checkpoint(folder / "values.npz", folder / name / f"model.ckpt-{step}", to="tf1")
        prefixes = [str(folder / name / f"model.ckpt-{step}") for step in (10, 20)]
        write_state(str(folder / name), prefixes[-1], prefixes)
    (folder / "values.npz").unlink()
    convert(folder / "job", folder / "both" / "ckpt", to="dual")
    data = folder / "damaged" / "model.ckpt-10.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:-8])
    (folder / "untidy" / "model.ckpt-30.data-00000-of-00001").write_bytes(b"x")


class Stream(io.StringIO):
    """What is written to, a terminal or not."""

    def __init__(self, terminal: bool):
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


def screens(mode: str) -> str:
    """Returns what all lines print: stderr behind `2> `, exit codes that are not 0 behind `? `."""
    from estimator_ckpt.cli import main
    from estimator_ckpt.fleet import workers

    terminal, environment = MODES[mode]
    kept = {**os.environ}
    for name in ("NO_COLOR", "COLORTERM", "FORCE_COLOR", "LINES"):
        kept.pop(name, None)
    environment = {**kept, "TERM": "xterm-256color", **environment}
    parts, before = [], pathlib.Path.cwd()
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.dict(os.environ, environment, clear=True))
        # Here, and at once: no seconds that differ, and no processes that take a while.
        stack.enter_context(mock.patch.object(workers._Processes, "work", _work))
        stack.enter_context(mock.patch("time.perf_counter", return_value=0.0))
        os.chdir(stack.enter_context(tempfile.TemporaryDirectory()))
        try:
            make(pathlib.Path())
            for line in LINES.splitlines():
                out, err = Stream(terminal), Stream(terminal)
                with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                    code = main.main(shlex.split(line))
                told = [f"$ estimator-ckpt {line}", *out.getvalue().splitlines()]
                told += [f"2> {each}" for each in _lasting(err.getvalue()).splitlines()]
                parts.append("\n".join([*told, *([f"? {code}"] if code else [])]))
        finally:
            os.chdir(before)
    text = "\n\n".join(parts) + "\n"
    text = re.sub(r"\x1b\[1m(.*?)\x1b\[0m", r"\1", text)  # titles are bold: that hides the words
    return "\n".join(line.rstrip() for line in text.replace("\x1b", "\\e").split("\n"))


def _work(self, each):
    from estimator_ckpt.fleet.work import work

    return work(self._verb, each, self._options)


def _lasting(text: str) -> str:
    """What stays of stderr once a progress bar is gone."""
    lines = re.sub(r"(?s)\x1b\[\?25l.*\x1b\[\?25h", "", text).splitlines()
    return "\n".join(line for line in lines if re.sub(r"\x1b\[\w*", "", line))


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for name in MODES:
        (GOLDEN / f"{name}.txt").write_text(screens(name), encoding="utf-8")
