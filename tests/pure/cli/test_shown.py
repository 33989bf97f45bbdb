"""How results print in Python: short by repr, as the command does by str."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import pickle

import public_api
import pytest
import screens

import estimator_ckpt
from estimator_ckpt import (
    average,
    cast,
    compact,
    convert,
    describe,
    diff,
    doctor,
    export_checkpoint,
    import_checkpoint,
    rename,
    verify,
)
from estimator_ckpt.checkpoint import BundleWriter
from estimator_ckpt.shown import Shown

READING = {
    "inspect job": lambda: describe("job"),
    "inspect job --values": lambda: describe("job", values=True),
    "verify job": lambda: verify("job"),
    "verify damaged/model.ckpt-10": lambda: verify("damaged/model.ckpt-10"),
    "doctor untidy": lambda: doctor("untidy"),
    "diff job/model.ckpt-10 job": lambda: diff("job/model.ckpt-10", "job"),
    "diff job/model.ckpt-10 job --values": lambda: diff("job/model.ckpt-10", "job", values=True),
}
WRITING = {
    "convert job {}/m --to=tf2": lambda to: convert("job", f"{to}/m", to="tf2"),
    "rename job {}/m --rename=dense/=c/": lambda to: rename("job", f"{to}/m", "dense/=c/"),
    "average job {}/m --last=2": lambda to: average("job", f"{to}/m", last=2),
    "cast job {}/m --to=float16": lambda to: cast("job", f"{to}/m", to="float16"),
    "compact job {}/m": lambda to: compact("job", f"{to}/m"),
    "export job {}.npz": lambda to: export_checkpoint("job", f"{to}.npz"),
    "import y.npz {}/m --to=tf1": lambda to: import_checkpoint("y.npz", f"{to}/m", to="tf1"),
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    screens.make(pathlib.Path())
    return tmp_path


@pytest.mark.parametrize("line", READING)
def test_str_is_what_the_command_prints(command, here, line):
    result = READING[line]()
    assert f"{result}\n" == command(*line.split(), "--format=table").out
    assert pickle.loads(pickle.dumps(result)) == result


@pytest.mark.parametrize("line", WRITING)
def test_str_of_a_report_is_what_the_command_prints(command, here, on_terminal, line):
    export_checkpoint("job", "y.npz")
    report = WRITING[line]("one")
    on_terminal(80)
    assert f"{report}\n".replace("one", "two") == command(*line.format("two").split()).out


def test_repr_is_short_whatever_there_is(here):
    with BundleWriter("many") as writer:
        for number in range(2000):
            writer.put(f"scope/layer_{number}/kernel", writer.append(1, (1,), [b"\0" * 4]))
        writer.commit()
    for result in (
        describe("many"),
        convert("many", "dual", to="dual"),
        convert("dual", "back", to="tf1"),
        diff("many", "job"),
        verify("many"),
        average(["many", "dual"], "mean"),
        cast("many", "half", to="float16"),
        compact("many", "packed"),
        export_checkpoint("many", "many.npz"),
        import_checkpoint("many.npz", "imported", to="tf1"),
        doctor("."),
    ):
        text = repr(result)
        assert text.startswith(f"{type(result).__name__}(") and len(text) < 700, text
    assert "variables=<2,000 rows>" in repr(describe("many"))
    os.remove("many.npz")


def test_each_result_that_may_be_long_prints_so():
    endings = ("Report", "Description", "Difference", "Verification", "Diagnosis")
    found = [
        getattr(estimator_ckpt, name)
        for name in estimator_ckpt.__all__
        if name.endswith(endings) and not public_api.needs_tensorflow(name)
    ]
    long = [
        each
        for each in found
        if dataclasses.is_dataclass(each)
        and any("tuple[" in str(field.type) and field.repr for field in dataclasses.fields(each))
    ]
    assert len(long) > 8
    assert {each.__name__ for each in long if not issubclass(each, Shown)} <= {"ModelDirReport"}
