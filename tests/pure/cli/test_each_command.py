"""Each command does its work where no TensorFlow is loaded, or installed."""

import numpy as np

from estimator_ckpt.cli import main

NEEDS_TENSORFLOW = {"prove"}
LINES = [
    "import {folder}/values.npz {folder}/job/m --to=tf1",
    "inspect {folder}/job/m --values",
    "verify {folder}/job/m",
    "convert {folder}/job/m {folder}/both/m --to=dual",
    "convert {folder}/both/m {folder}/objects/m --to=tf2 --averages=ExponentialMovingAverage",
    "inspect {folder}/objects/m --tree --json",
    "diff {folder}/job/m {folder}/both/m --values",
    "rename {folder}/both/m {folder}/renamed/m --rename=dense/=net/",
    "drop {folder}/job/m {folder}/dropped/m --slots --nodry_run",
    "ema {folder}/job/m {folder}/ema/m --nodry_run",
    "compact {folder}/dropped/m {folder}/compact/m",
    "average {folder}/job/m {folder}/both/m {folder}/average/m",
    "cast {folder}/job/m {folder}/cast/m --to=bfloat16",
    "export {folder}/ema/m {folder}/ema.npz",
    "export {folder}/job/m {folder}/all.safetensors",
    "map {folder}/job/m --like={folder}/renamed/m -o {folder}/map.txt",
    "rename {folder}/job/m {folder}/mapped/m --rename=@{folder}/map.txt",
    "doctor {folder}/job/m",
]


def test_each_command_is_here():
    assert {line.split()[0] for line in LINES} == main.COMMANDS.keys() - NEEDS_TENSORFLOW


def test_each_command_works(tmp_path, capsys):
    values = {
        "dense/kernel": np.float32([[1, 2], [3, 4], [5, 6], [7, 8]]),
        "dense/kernel/Adam": np.float32([[0, 1]] * 4),
        "dense/kernel/ExponentialMovingAverage": np.float32([[2, 3]] * 4),
        "dense/bias": np.float32([9, 10]),
        "global_step": np.int64(7),
    }
    (tmp_path / "job").mkdir()
    state = 'model_checkpoint_path: "m"\nall_model_checkpoint_paths: "m"\n'
    (tmp_path / "job" / "checkpoint").write_text(state)
    np.savez(tmp_path / "values.npz", **values)
    for line in LINES:
        code = main.main([word.format(folder=tmp_path) for word in line.split()])
        said = capsys.readouterr()
        assert code == 0 and "error" not in said.err, (line, said)
    assert len(list(tmp_path.glob("*/m.index"))) == 10
