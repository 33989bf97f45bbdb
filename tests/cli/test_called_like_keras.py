"""No command writes a checkpoint under the name of a file of Keras, which it would hide."""

import jobs
import pytest

from estimator_ckpt.cli import main

COMMANDS = {
    "convert": "convert {good} {out} --to=dual",
    "rename": "rename {good} {out} --rename=w=x",
    "compact": "compact {good} {out}",
    "drop": "drop {good} {out} --pattern=v",
    "ema": "ema {good} {out}",
    "average": "average {good} {good} {out}",
    "cast": "cast {good} {out} --to=bfloat16",
    "import": "import {npz} {out} --to=tf1",
}


@pytest.mark.parametrize("suffix", [".h5", ".hdf5", ".keras", ".weights.h5", ".H5"])
@pytest.mark.parametrize("verb", COMMANDS)
def test_a_file_of_keras_is_no_prefix(save, command, tmp_path, verb, suffix):
    save(tmp_path / "good", {"w": [1.0, 2.0], "w/ExponentialMovingAverage": [3.0, 4.0], "v": [5.0]})
    assert main.main(["export", str(tmp_path / "good"), str(tmp_path / "values.npz")]) == 0
    before = jobs.snapshot(tmp_path)
    paths = {
        "good": tmp_path / "good",
        "npz": tmp_path / "values.npz",
        "out": tmp_path / f"model{suffix}",
    }
    result = command(*(word.format(**paths) for word in COMMANDS[verb].split()))
    assert result.code == 2
    assert "of Keras" in result.err
    assert jobs.snapshot(tmp_path) == before
