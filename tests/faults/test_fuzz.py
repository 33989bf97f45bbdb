"""No input makes what reads bytes and names raise anything but this library's errors.

The targets are in `tests/support/fuzz_targets.py`; `tests/support/fuzz.py` gives them a million
inputs, and is what some seconds of CI run here.
"""

from __future__ import annotations

import importlib.util
import os
import pathlib
import re
import subprocess
import sys

import fuzz
import fuzz_targets
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGETS = sorted(fuzz_targets.TARGETS)
CI_SECONDS = 20
SLOW = ("flags", "owner")  # they define flags anew, and write to the disk


@pytest.mark.parametrize("target", TARGETS)
def test_the_corpus_raises_nothing_else(target):
    found = fuzz_targets.seeds(target)
    assert found, f"there is no {fuzz_targets.CORPUS / target}"
    for data in found:
        fuzz_targets.TARGETS[target](data)


@pytest.mark.parametrize("target", TARGETS)
def test_the_corpus_has_what_is_sound(target):
    """Else fuzzing would never get beyond the first check."""
    for name, data in fuzz_targets.make_seeds()[target].items():
        assert (fuzz_targets.CORPUS / target / name).read_bytes() == data


@pytest.mark.parametrize("target", TARGETS)
def test_changed_inputs_raise_nothing_else(target):
    seeds = fuzz_targets.seeds(target)

    @settings(deadline=None, max_examples=20 if target in SLOW else 300)
    @given(st.data())
    def change(data):
        start = bytearray(data.draw(st.sampled_from(seeds)))
        for _ in range(data.draw(st.integers(0, 4))):
            at = data.draw(st.integers(0, len(start)))
            start[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
        fuzz_targets.TARGETS[target](bytes(start))

    change()


@pytest.mark.parametrize("target", TARGETS)
def test_any_bytes_raise_nothing_else(target):
    @settings(deadline=None, max_examples=20 if target in SLOW else 200)
    @given(st.binary(max_size=300))
    def try_any(data):
        fuzz_targets.TARGETS[target](data)

    try_any()


def test_an_input_may_take_only_so_much_time():
    with pytest.raises(AssertionError, match="it took 0"):
        fuzz_targets.limited(lambda data: sum(range(100_000)), seconds=0)(b"")


def test_an_input_may_take_only_so_much_memory(monkeypatch):
    """Other tests of this process may have had more than what is allocated for this one."""
    ever = fuzz_targets.most_memory()
    assert ever > 10
    grown = iter([ever, ever + fuzz_targets.MEGABYTES + 1])
    monkeypatch.setattr(fuzz_targets, "most_memory", grown.__next__)
    with pytest.raises(AssertionError, match=f"it took {fuzz_targets.MEGABYTES + 1} MB"):
        fuzz_targets.limited(len)(b"")


def test_the_targets_share_all_inputs():
    assert set(fuzz._SHARES) == set(TARGETS)
    assert sum(fuzz._SHARES.values()) == 100


@pytest.mark.slow
def test_inputs_that_coverage_guides_raise_nothing_else():
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris is not here: pip install -e '.[fuzz]', on Linux with Python 3.11 on")
    folders = [str(ROOT), str(ROOT / "tests" / "support"), os.environ.get("PYTHONPATH", "")]
    ran = subprocess.run(
        [sys.executable, str(ROOT / "tests/support/fuzz.py"), f"--seconds={CI_SECONDS}"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, folders))},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-6000:]
    found = re.search(r"in all ([\d,]+) inputs", ran.stdout)
    assert found and int(found[1].replace(",", "")) > 10_000, ran.stdout
