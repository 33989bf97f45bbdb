"""The table of TensorFlow versions in docs/versions.md, made from what runs of the tests found.

    python tests/support/versions.py smoke             # a part of the tests, on each version
    python tests/support/versions.py smoke 2.16 2.18   # on these
    python tests/support/versions.py whole A.xml B.xml # the JUnit files of all tests on one version

Each compares its rows with those in the page, or puts them there with --write. `smoke` makes a
new environment for each version, one at a time, from the Python that runs it: 3.11 has all of them.
`.ci/run` runs the tests on two versions.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import venv
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Iterator, Sequence

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "versions.md"
VERSIONS = ("2.12", "2.16", "2.17", "2.18", "2.19", "2.20")
_BEGIN, _END = "<!-- versions: begin -->\n", "<!-- versions: end -->\n"
_BLOCK = re.compile(f"(?<={re.escape(_BEGIN)}).*?(?={re.escape(_END)})", re.DOTALL)

# What works, and the tests that tell, of which the first that fits counts.
COLUMNS = {
    "without tensorflow-estimator": ("tests.compat.test_without_estimator",),
    "strategies, clusters": ("tests.conformance.test_distribution", "tests.test_cluster"),
    "training, wrapped and raw": ("tests.conformance", "tests.estimator", "tests.test_train"),
    "TF2 side": ("tests.live", "tests.test_guide_tf2", "tests.conversion.test_convert_like"),
    "the rest": ("tests",),
}
SMOKE = [
    f"tests/{each}"
    for each in (
        *("compat/test_without_estimator.py", "compat/test_loading.py", "compat/test_main.py"),
        *("bundle/test_index.py", "bundle/test_dtypes.py", "checkpoint/test_writer.py"),
        *("conversion/test_convert.py", "conversion/test_convert_like.py", "cli/test_convert.py"),
        *("live/test_restore.py", "test_guide_tf2.py", "estimator/test_model_fn.py"),
        "conformance/test_optimizers.py::test_scenario[every_tf1_optimizer_resumes-dual]",
        "conformance/test_optimizers.py::test_scenario[every_legacy_keras_optimizer_resumes-dual]",
        "conformance/test_partitions.py::test_scenario[canned_combined-dual]",
        "conformance/test_partitions.py::test_scenario[canned_combined_2-dual]",
        "conformance/test_distribution.py::test_scenario[mirrored_strategy-dual]",
        "conformance/test_distribution.py::test_scenario[parameter_servers-dual]",
        "conformance/test_distribution.py::test_scenario[workers_in_step-dual]",
    )
]


def smoke_rows(versions: Iterable[str]) -> Iterator[str]:
    """Makes the rows of versions one after the other; an environment takes more than a GB."""
    for version in versions:
        with tempfile.TemporaryDirectory() as folder:
            yield smoke_row(version, pathlib.Path(folder))


def smoke_row(version: str, folder: pathlib.Path) -> str:
    """Runs a part of the tests on a version of TensorFlow in a new environment; returns its row."""
    venv.create(folder / "environment", with_pip=True)
    python = folder / "environment" / ("Scripts" if os.name == "nt" else "bin") / "python"
    results = folder / "results.xml"
    install = [python, "-m", "pip", "install", "--quiet", "-e", f"{ROOT}[examples]", "pytest"]
    subprocess.run([*install, f"tensorflow=={version}.*"], check=True)
    pytest = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={results}"]
    # The row says it if tests fail.
    subprocess.run([*pytest, "-m", "slow or not slow", *SMOKE], cwd=ROOT, check=False)
    return row([results], "a part")


def row(results: Iterable[pathlib.Path], tests: str) -> str:
    """Returns the row of the table that JUnit files of runs on one TensorFlow give."""
    suites = [ElementTree.parse(path).getroot().find("testsuite") for path in results]
    (version,) = {_tensorflow(suite) for suite in suites}
    counts = {column: [0, 0] for column in COLUMNS}
    for case in (case for suite in suites for case in suite.iter("testcase")):
        outcome = {child.tag for child in case}
        if "skipped" not in outcome:
            counts[_column(case.get("classname"))][bool(outcome & {"failure", "error"})] += 1
    return f"| {version} | {tests} | {' | '.join(map(_cell, counts.values()))} |"


def _tensorflow(suite: ElementTree.Element) -> str:
    """Returns 2.N: the patch has no row of its own."""
    properties = {each.get("name"): each.get("value") for each in suite.iter("property")}
    return ".".join(properties["tensorflow"].split(".")[:2])


def _column(module: str) -> str:
    return next(
        column for column, starts in COLUMNS.items() if f"{module}.".startswith(_dotted(starts))
    )


def _dotted(starts: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{start}." for start in starts)


def _cell(count: Sequence[int]) -> str:
    passed, failed = count
    if failed:
        return f"{failed} of {passed + failed} tests fail"
    return "works" if passed else "not run"


def with_row(page: str, new: str) -> str:
    """Returns the page with this row in its table, in the place of the one of its version."""
    rows = {line.split(" | ")[0]: line for line in [*_BLOCK.search(page)[0].splitlines()[2:], new]}
    ordered = sorted(rows, key=lambda start: [int(part) for part in start[2:].split(".")])
    head = f"| TensorFlow | tests | {' | '.join(COLUMNS)} |"
    made = [head, "|---" * (len(COLUMNS) + 2) + "|", *(rows[start] for start in ordered)]
    return _BLOCK.sub(lambda _: "\n".join(made) + "\n", page)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=["smoke", "whole"])
    parser.add_argument("arguments", nargs="*", metavar="VERSION or FILE")
    parser.add_argument("--write", action="store_true", help="put the rows into docs/versions.md")
    options = parser.parse_args()
    if options.command == "whole":
        rows = iter([row(map(pathlib.Path, options.arguments), "all")])
    else:
        rows = smoke_rows(options.arguments or VERSIONS)
    differs = False
    for each in rows:
        print(each, flush=True)
        page = PAGE.read_text(encoding="utf-8")
        new = with_row(page, each)
        if new != page and options.write:
            PAGE.write_text(new, encoding="utf-8")
        elif new != page:
            print("docs/versions.md has another row; --write puts this one there", flush=True)
            differs = True
    return int(differs)


if __name__ == "__main__":
    sys.exit(main())
