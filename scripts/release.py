"""Builds wheel and sdist, and tries the wheel in a new environment: what a release begins with.

    python scripts/release.py dist

It installs the wheel (and the one that is built from the sdist, which has to be the same) where
nothing of the checkout is, without TensorFlow, and makes, converts and checks a checkpoint with it.
What is in `dist` afterwards is ready to be uploaded.
"""

from __future__ import annotations

import hashlib
import os
import pathlib
import subprocess
import sys
import tempfile
import venv
import zipfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
_SMOKE = """
import numpy as np, estimator_ckpt, pathlib
for name in estimator_ckpt.__all__:
    try:
        getattr(estimator_ckpt, name)
    except estimator_ckpt.EstimatorUnavailableError as error:
        assert "tensorflow" in str(error), (name, error)
assert str(pathlib.Path.cwd()) not in estimator_ckpt.__file__
np.savez("w.npz", **{"dense/kernel": np.ones([2, 3], np.float32), "global_step": np.int64(7)})
"""
_COMMANDS = (
    "import w.npz tf1/model.ckpt-7 --to=tf1",
    "convert tf1/model.ckpt-7 dual/model.ckpt-7 --to=dual",
    "verify dual/model.ckpt-7",
    "diff tf1/model.ckpt-7 dual/model.ckpt-7 --values",
    "inspect dual/model.ckpt-7",
    "--version",
)


def main(folder: str) -> int:
    """Returns 0 if all of it works; raises what doesn't."""
    target = pathlib.Path(folder).resolve()
    with tempfile.TemporaryDirectory() as made:
        place = pathlib.Path(made)
        python = _environment(place / "build", "build")
        _run(python, "-m", "build", "--outdir", str(target), str(ROOT))
        (wheel,), (sdist,) = target.glob("*.whl"), target.glob("*.tar.gz")
        _run(python, "-m", "pip", "wheel", "--no-deps", "-w", str(place / "again"), str(sdist))
        (again,) = (place / "again").glob("*.whl")
        if _contents(again) != _contents(wheel):
            raise AssertionError(f"{wheel.name} is another one when it is built from {sdist.name}")
        _try(_environment(place / "try", str(wheel)), place / "elsewhere")
    for path in sorted(target.iterdir()):
        print(hashlib.sha256(path.read_bytes()).hexdigest(), path.name)
    return 0


def _try(python: str, place: pathlib.Path) -> None:
    place.mkdir()
    _run(python, "-c", _SMOKE, cwd=place)
    for command in _COMMANDS:
        _run(str(pathlib.Path(python).parent / "estimator-ckpt"), *command.split(), cwd=place)
    _run(python, "-m", "estimator_ckpt.examples.flagfiles", cwd=place)
    if not (place / "configs" / "digits.flags").exists():
        raise AssertionError("the wheel brings no flagfiles")


def _environment(path: pathlib.Path, package: str) -> str:
    venv.create(path, with_pip=True)
    python = str(path / ("Scripts" if os.name == "nt" else "bin") / "python")
    _run(python, "-m", "pip", "install", "--quiet", package)
    return python


def _contents(wheel: pathlib.Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/RECORD")]
        return {name: archive.read(name) for name in names}


def _run(*command: str, cwd: pathlib.Path | None = None) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(command, check=True, cwd=cwd, env=environment, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
