"""What the front end is given is what `describe`, `diff` and `doctor` say."""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile

import made_checkpoints
import numpy as np
import pytest
from hypothesis import given, settings

from estimator_ckpt import CheckpointExistsError, VariableMap, describe, diff, doctor, report
from estimator_ckpt.bundle import decode_index, encode_index
from estimator_ckpt.cli import main
from estimator_ckpt.naming.paths import is_object_key
from estimator_ckpt.reporting.checkpoint_data import checkpoint_data
from estimator_ckpt.reporting.comparison_data import difference_data
from estimator_ckpt.reporting.model_dir_data import model_dir_data


def save(folder, name, values, *, latest=True):
    """A tf1 checkpoint of these values, made without TensorFlow."""
    folder.mkdir(exist_ok=True)
    np.savez(folder / "values.npz", **values)
    line = ["import", folder / "values.npz", folder / name, "--to=tf1", "--overwrite"]
    assert main.main(list(map(str, line))) == 0
    (folder / "values.npz").unlink()
    if latest:
        (folder / "checkpoint").write_text(f'model_checkpoint_path: "{name}"\n')
    return folder / name


def as_rows(data):
    """The columns as rows of `describe`."""
    columns = data["variables"]
    names = columns["name"]
    return [
        (
            names[row],
            columns["shape"][row],
            data["dtypes"][columns["dtype"][row]],
            columns["bytes"][row],
            data["roles"][columns["role"][row]],
        )
        for row in range(len(names))
    ]


@settings(max_examples=60)
@given(made_checkpoints.checkpoints())
def test_a_checkpoint_is_what_describe_says(made):
    with tempfile.TemporaryDirectory() as folder:
        prefix = made.write(os.path.join(folder, "ckpt"))
        data = json.loads(json.dumps(checkpoint_data(prefix)))
        said = describe(prefix)
        rows = [(r.name, list(r.shape), r.dtype, r.bytes, r.role) for r in said.variables]
        assert as_rows(data) == rows
        for key in ("prefix", "format", "step", "bytes"):
            assert data[key] == getattr(said, key)
        assert (data["shards"], data["other_keys"]) == (said.num_shards, list(said.other_keys))
        columns = data["variables"]
        assert len({len(column) for column in columns.values()}) == 1
        for row, (variable, of) in enumerate(zip(said.variables, columns["of"])):
            if of is not None:
                assert columns["name"][of] == variable.slot_of
            elif variable.slot_of is not None:
                assert variable.slot_of not in columns["name"]
            keys = (columns["key"][row], columns["path"][row])
            assert variable.key in keys
            assert columns["key"][row] is None or not is_object_key(columns["key"][row])
            assert columns["path"][row] is None or is_object_key(columns["path"][row])
        for file in data["files"]:
            path = os.path.join(folder, file["name"])
            assert 0 <= file["used"] <= file["bytes"] == os.path.getsize(path)
            assert file["links"] == 1


@settings(max_examples=30)
@given(made_checkpoints.checkpoints())
def test_values_are_what_describe_says(made):
    with tempfile.TemporaryDirectory() as folder:
        prefix = made.write(os.path.join(folder, "ckpt"))
        found = checkpoint_data(prefix, values=True)["values"]
        for row, variable in enumerate(describe(prefix, values=True).variables):
            if variable.values is None:
                assert {column[row] for column in found.values()} == {None}
            else:
                for name, value in dataclasses.asdict(variable.values).items():
                    assert found[name][row] == value


def test_bytes_that_nothing_names_are_unused(tmp_path):
    one = save(tmp_path / "job", "m", {"a": np.zeros(100, "f"), "b": np.ones(50, "f")})
    assert (
        main.main(["drop", str(one), str(tmp_path / "less"), "--pattern=^b$", "--nodry_run"]) == 0
    )
    (file,) = checkpoint_data(tmp_path / "less")["files"]
    assert (file["bytes"] - file["used"], file["links"]) == (200, 2)


def test_variables_of_the_same_bytes_share_them(tmp_path):
    one = save(tmp_path / "job", "m", {"a": np.ones(9, "f"), "b": np.ones(9, "f")})
    assert checkpoint_data(one)["variables"]["shares"] == [None, None]  # of equal values only
    path = one.with_suffix(".index")
    index = decode_index(path.read_bytes())
    entries = {**index.entries, "c": index.entries["a"]}
    path.write_bytes(encode_index(dataclasses.replace(index, entries=entries)))
    data = checkpoint_data(one)
    assert data["variables"]["shares"] == [None, None, 0]
    assert data["files"][0]["used"] == data["files"][0]["bytes"] == 72


def test_a_model_dir_is_what_doctor_says(tmp_path):
    folder = tmp_path / "job"
    for step in (100, 200, 300, 600):
        values = {"w": np.full(4, step, "f"), "global_step": np.int64(step)}
        save(folder, f"m-{step}", values)
    os.link(folder / "m-300.data-00000-of-00001", tmp_path / "other")
    (folder / "m-200.index").write_bytes(b"damaged")
    data = json.loads(json.dumps(model_dir_data(folder, values=True)))
    said = doctor(folder)
    assert data["findings"] == list(map(dataclasses.asdict, said.findings))
    assert any(finding["severity"] == "warning" for finding in data["findings"])
    rows = data["checkpoints"]
    for row, expected in zip(rows, said.checkpoints):
        assert {**row, **dataclasses.asdict(expected)} == row
        assert row["time"] == os.path.getmtime(folder / f"{row['name']}.index")
        assert row["files"] == sum(path.stat().st_size for path in folder.glob(f"{row['name']}.*"))
    shared = (folder / "m-300.data-00000-of-00001").stat().st_size
    assert [row["shared"] for row in rows] == [0, 0, shared, 0]
    assert [row["since"] for row in rows] == [None, None, 200, 300]
    assert data["steps"]["name"] == ["w"]
    norms = [None, 200.0, 600.0, 1200.0]
    assert data["steps"]["norm"] == [norms]
    assert data["steps"]["ratio"] == [[None, None, 2.0, 1.0]]


def test_a_gap_is_more_steps_than_usual(tmp_path):
    for step in (10, 20, 30, 60, 70):
        save(tmp_path / "job", f"m-{step}", {"w": np.ones(1), "global_step": np.int64(step)})
    rows = model_dir_data(tmp_path / "job")["checkpoints"]
    assert [row["gap"] for row in rows] == [False, False, False, True, False]


def test_a_difference_is_what_diff_says(tmp_path):
    one = save(tmp_path / "a", "m", {"same": np.ones(3), "gone": np.ones(2), "x/w": np.ones(4)})
    other = save(tmp_path / "b", "m", {"same": np.ones(3), "new": np.zeros(5), "x/w": np.zeros(4)})
    found = report(one, other, values=True).data
    assert found["difference"] == dataclasses.asdict(diff(one, other, values=True))
    assert found["difference"] == difference_data(diff(one, other, values=True))
    assert as_rows(found["other"]) == as_rows(checkpoint_data(other))
    assert found["checkpoint"]["prefix"] == str(one)


def test_a_map_is_shown_with_its_own_text_and_names(tmp_path):
    one = save(tmp_path / "a", "m", {"w": np.ones((2, 3)), "b": np.ones(3), "c": np.ones(6)})
    other = save(
        tmp_path / "b", "m", {"k": np.ones((3, 2)), "v": np.ones(3), "c2": np.ones((2, 3))}
    )
    text = "accept: certain\n[certain]\nb -> v  # why\nc -> c2 : reshape(2, 3)\n[pinned]\n"
    text += "w -> k : transpose(1, 0)  # by hand\n"
    (tmp_path / "map.txt").write_text(text)
    data = report(one, other, map=tmp_path / "map.txt").data
    made = VariableMap.parse(text)
    assert VariableMap.parse(data["map"]["text"]) == made
    assert data["map"]["counts"] == made.counts()
    assert data["map"]["shapes"]["source"]["w"] == [2, 3]
    assert [(p["source"], p["target"], p["class"], p["change"]) for p in data["map"]["pairs"]] == [
        (["b"], ["v"], "certain", ""),
        (["c"], ["c2"], "certain", "reshape(2, 3)"),
        (["w"], ["k"], "pinned", "transpose(1, 0)"),
    ]
    assert data["difference"] == difference_data(diff(one, other, rename=made))


def test_a_report_replaces_no_file_unasked(tmp_path):
    one = save(tmp_path / "job", "m", {"w": np.ones(3)})
    (tmp_path / "r.html").write_text("<html>mine")
    with pytest.raises(CheckpointExistsError, match="overwrite"):
        report(one, output=tmp_path / "r.html")
    with pytest.raises(CheckpointExistsError, match="overwrite"):
        report(one).write(tmp_path / "r.html")
    assert (tmp_path / "r.html").read_text() == "<html>mine"
    report(one, output=tmp_path / "r.html", overwrite=True)
    assert (tmp_path / "r.html").read_text() == report(one).html


def test_a_directory_whose_latest_is_damaged_is_reported_all_the_same(tmp_path):
    save(tmp_path / "job", "m-1", {"w": np.ones(3)})
    (tmp_path / "job" / "m-1.index").write_bytes(b"damaged")
    made = report(tmp_path / "job")
    assert "checkpoint" not in made.data and "damaged" in made.trouble
    assert made.data["model_dir"]["findings"][0]["severity"] == "error"
