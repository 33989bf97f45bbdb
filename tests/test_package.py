"""The package as a whole: what an import costs, what it offers, which way its imports go."""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys

import pytest

import estimator_ckpt
from estimator_ckpt import _version
from estimator_ckpt.checkpoint import BundleWriter

ROOT = pathlib.Path(__file__).resolve().parent.parent


def loaded_after(code: str) -> set[str]:
    """The modules in a new interpreter that has run some code."""
    script = f"{code}\nimport sys; sys.stderr.write('\\n'.join(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(result.stderr.splitlines())


@pytest.mark.parametrize(
    "code",
    [
        "import estimator_ckpt",
        "import estimator_ckpt; estimator_ckpt.CheckpointError",
        "from estimator_ckpt.cli import main; assert main.main(['--help']) == 0",
        "from estimator_ckpt.cli import main; assert main.main(['convert', '--help']) == 0",
        "from estimator_ckpt.cli import main; assert main.main(['inspect', '.']) == 2",
        "from estimator_ckpt.conversion import convert",
    ],
)
def test_tensorflow_is_not_imported(code):
    loaded = loaded_after(code)
    assert "estimator_ckpt" in loaded
    assert loaded.isdisjoint({"tensorflow", "tensorflow_estimator", "keras"})


def test_importing_the_package_imports_no_more_than_it():
    loaded = loaded_after("import estimator_ckpt")
    ours = {name for name in loaded if name.startswith("estimator_ckpt")}
    assert ours <= {"estimator_ckpt", "estimator_ckpt._version", "estimator_ckpt.errors"}


SLOW = {
    "numpy",
    "ml_dtypes",
    "google.protobuf",
    "rich",
    "difflib",
    "crc32c",
    "google_crc32c",
    "cramjam",
}
"""What takes a good part of a start to load."""
OF_MATCHER = {"estimator_ckpt.naming.matcher", "estimator_ckpt.naming.variable_map"}
NEEDED = {
    "": set(),
    "--help": set(),
    "inspect m": {"google.protobuf", "crc32c"},
    "inspect m --tree": {"google.protobuf", "crc32c"},
    "inspect m --json": {"google.protobuf", "crc32c"},
    "inspect m --values": {"google.protobuf", "crc32c", "numpy", "ml_dtypes"},
    "verify m": {"google.protobuf", "crc32c"},
    "doctor m": {"google.protobuf", "crc32c"},
    "diff m m": {"google.protobuf", "crc32c"},
    "convert m out --to=tf2": {"google.protobuf", "crc32c"},
    "convert m out --to=dual --all": {"google.protobuf", "crc32c"},
    "rename m out --rename=w=v": {"google.protobuf", "crc32c"},
    "drop m out --pattern=w": {"google.protobuf", "crc32c"},
}


@pytest.mark.parametrize("line", NEEDED)
def test_a_start_loads_only_what_it_needs(line, tmp_path):
    with BundleWriter(str(tmp_path / "m")) as writer:
        for name in "wb":
            writer.put(name, writer.append(1, (2,), [b"\0" * 8]))
        writer.commit()
    arguments = [str(tmp_path / word) if word in ("m", "out") else word for word in line.split()]
    if "--all" in arguments:
        (tmp_path / "checkpoint").write_text('model_checkpoint_path: "m"\n')
        arguments[1] = str(tmp_path)
    run = f"from estimator_ckpt.cli import main; assert main.main({arguments}) < 2"
    loaded = loaded_after(run if line else "from estimator_ckpt import convert")
    assert loaded & SLOW <= NEEDED[line]
    assert loaded.isdisjoint(OF_MATCHER)


@pytest.mark.parametrize("name", estimator_ckpt.__all__)
def test_each_public_name_resolves(name):
    assert getattr(estimator_ckpt, name) is not None
    assert name in dir(estimator_ckpt)


def test_unknown_names_are_refused():
    with pytest.raises(AttributeError, match="no_such_name"):
        estimator_ckpt.no_such_name  # noqa: B018


@pytest.mark.parametrize(
    "code",
    [
        "estimator_ckpt.describe",
        "import estimator_ckpt.conversion",
        "from estimator_ckpt.cli import main; main.main(['inspect', '.'])",
    ],
)
def test_convert_stays_a_function(code):
    # A module of that name would take its place in the package as soon as anything imports it.
    loaded_after(f"import estimator_ckpt\n{code}\nassert callable(estimator_ckpt.convert)")


def test_the_version_is_the_one_that_setup_py_reads():
    assert re.fullmatch(r"\d+\.\d+\.\d+", _version.__version__)
    result = subprocess.run(
        [sys.executable, "setup.py", "--version"], cwd=ROOT, capture_output=True, text=True
    )
    assert result.stdout.split()[-1:] == [_version.__version__], result.stderr


def test_imports_go_downward():
    importlinter = pytest.importorskip("importlinter.cli")
    code = f"import sys, {importlinter.__name__} as cli; sys.exit(cli.lint_imports(no_cache=True))"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("command", ["job", "test"])
def test_the_readme_has_the_commands_that_ci_runs(command):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.search(rf"^<!-- command: {command} -->\n+```bash\n.+?\n```$", readme, re.M | re.S)
