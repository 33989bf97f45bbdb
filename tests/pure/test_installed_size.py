"""What `pip install estimator-ckpt` brings, without extras, stays small."""

from __future__ import annotations

import ast
import importlib.metadata
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
MOST = 120e6  # as the README says; in bytes


def requirements() -> list[str]:
    """What setup.py installs always."""
    tree = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))
    (found,) = (
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.keyword) and node.arg == "install_requires"
    )
    return ast.literal_eval(found)


def installed(wanted: list[str]) -> dict[str, importlib.metadata.Distribution]:
    """The packages that are installed for some requirements, and for theirs, by name."""
    found: dict[str, importlib.metadata.Distribution] = {}
    while wanted:
        requirement = wanted.pop()
        name = re.match(r"[\w.-]+", requirement).group().lower()
        if name in found or "extra ==" in requirement:
            continue
        try:
            found[name] = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            assert ";" in requirement  # for another Python or system
            continue
        wanted += found[name].requires or []
    return found


def size_of(paths) -> int:
    return sum(path.stat().st_size for path in paths if path.is_file())


def test_the_core_takes_no_more_than_the_readme_says():
    found = installed(requirements())
    assert found.keys() >= {"numpy", "protobuf", "absl-py", "crc32c", "pygments"}
    assert not [name for name in found if re.match("tensorflow|tf-|keras|h5py|scipy", name)]
    sizes = {
        name: size_of(pathlib.Path(distribution.locate_file(file)) for file in distribution.files)
        for name, distribution in found.items()
        if distribution.files is not None
    }
    if sizes.keys() != found.keys():
        pytest.skip("what installed the packages has not listed their files")
    sizes["estimator-ckpt"] = size_of((ROOT / "estimator_ckpt").rglob("*"))
    assert sum(sizes.values()) < MOST, sizes
