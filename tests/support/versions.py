"""The table of TensorFlow versions in the README, made from what runs of the tests found.

    python tests/support/versions.py smoke             # a part of the tests, on each version
    python tests/support/versions.py smoke 2.16 2.18   # on these
    python tests/support/versions.py whole A.xml B.xml # the JUnit files of all tests on one version

Each compares its rows with those in the README, or puts them there with --write. `smoke` makes a
new environment for each version, one at a time, from the Python that runs it: 3.11 has all of them.
`.ci/run` runs all tests on two versions.
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
from collections.abc import Iterable, Sequence

ROOT = pathlib.Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
VERSIONS = ("2.12", "2.13", "2.14", "2.16", "2.17", "2.18", "2.19", "2.20")
_BEGIN, _END = "<!-- versions: begin -->\n", "<!-- versions: end -->\n"
_BLOCK = re.compile(f"(?<={re.escape(_BEGIN)}).*?(?={re.escape(_END)})", re.DOTALL)

# What works, and the tests that tell, of which the first that fits counts.
COLUMNS = {
    "without tensorflow-estimator": ("tests.compat.test_without_estimator",),
    "strategies, clusters": ("tests.conformance.test_distribution", "tests.test_cluster"),
    "training, wrapped and raw": ("tests.conformance", "tests.estimator", "tests.test_train"),
    "TF2 side": ("tests.objects", "tests.test_guide_tf2", "tests.test_convert_like"),
    "the rest": ("tests",),
}
SMOKE = [
    f"tests/{each}"
    for each in (
        *("compat", "objects", "test_convert.py", "test_convert_like.py", "test_guide_tf2.py"),
        *("bundle/test_writer.py", "bundle/test_checkpoint.py", "bundle/test_dtypes.py"),
        *("cli/test_convert.py", "cli/test_inspect.py", "test_guide.py"),
        *("estimator/test_model_fn.py", "estimator/test_warm_start.py"),
        *("conformance/test_optimizers.py", "conformance/test_partitions.py"),
        "conformance/test_distribution.py::test_scenario[mirrored_strategy-dual]",
        "conformance/test_distribution.py::test_scenario[parameter_servers-dual]",
        "conformance/test_distribution.py::test_scenario[workers_in_step-dual]",
    )
]


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


def with_rows(page: str, rows: Iterable[str]) -> str:
    """Returns the page with these rows in its table, in the places of those of their versions."""
    lines = _BLOCK.search(page)[0].splitlines()[2:]
    known = {line.split(" | ")[0]: line for line in [*lines, *rows]}
    ordered = sorted(known, key=lambda start: [int(part) for part in start[2:].split(".")])
    head = f"| TensorFlow | tests | {' | '.join(COLUMNS)} |"
    made = [head, "|---" * (len(COLUMNS) + 2) + "|", *(known[start] for start in ordered)]
    return _BLOCK.sub(lambda _: "\n".join(made) + "\n", page)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=["smoke", "whole"])
    parser.add_argument("arguments", nargs="*", metavar="VERSION or FILE")
    parser.add_argument("--write", action="store_true", help="put the rows into the README")
    options = parser.parse_args()
    rows = []
    if options.command == "whole":
        rows.append(row(map(pathlib.Path, options.arguments), "all"))
    for version in options.arguments or VERSIONS if options.command == "smoke" else ():
        with tempfile.TemporaryDirectory() as folder:
            rows.append(smoke_row(version, pathlib.Path(folder)))
    print(*rows, sep="\n")
    page = README.read_text(encoding="utf-8")
    new = with_rows(page, rows)
    if new != page and options.write:
        README.write_text(new, encoding="utf-8")
    elif new != page:
        print("the table in README.md has other rows; --write puts these there")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
