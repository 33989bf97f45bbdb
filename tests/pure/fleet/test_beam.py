"""The transform for Apache Beam gives what `convert_many` gives, on a runner of Beam's own.

Beam wants another protobuf than TensorFlow 2.15: .ci/run runs this where there is no TensorFlow.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import pickle
import re
import subprocess
import sys

import fleets
import pytest

from estimator_ckpt import convert_many, doctor_many, errors
from estimator_ckpt.fleet import work as work_module
from estimator_ckpt.fleet.work import VERBS, ModelDirReport
from estimator_ckpt.storage import files

beam = pytest.importorskip(
    "apache_beam", reason="Apache Beam is not installed: pip install 'estimator-ckpt[beam]'"
)
from apache_beam.options.pipeline_options import PipelineOptions  # noqa: E402

from estimator_ckpt.fleet.beam import ModelDirs, counts  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[3]


def run(given, *arguments, folder, flags=(), **options):
    """Runs the transform; returns (rows, dead letters, counters)."""
    pipeline = beam.Pipeline(options=PipelineOptions(["--runner=DirectRunner", *flags]))
    found = pipeline | beam.Create(given) | ModelDirs(*arguments, **options)
    paths = []
    for name in ("reports", "failed"):
        path = f"{folder}/{name}"
        lines = getattr(found, name) | f"pickle {name}" >> beam.Map(
            lambda row: pickle.dumps(row).hex()
        )
        lines | name >> beam.io.WriteToText(path)
        paths.append(path)
    result = pipeline.run()
    result.wait_until_finish()
    rows = [
        [pickle.loads(bytes.fromhex(line)) for line in _lines(path)]  # as a worker sends them
        for path in paths
    ]
    return (*rows, counts(result))


def _lines(prefix):
    folder, name = os.path.split(prefix)
    found = sorted(pathlib.Path(folder).glob(f"{name}-*"))
    return [line for path in found for line in path.read_text().splitlines()]


def compared(rows, root):
    """What has to be equal: all but the time it took and where the results went."""
    return sorted(
        json.dumps(dataclasses.asdict(dataclasses.replace(row, seconds=0))).replace(root, "ROOT")
        for row in rows
    )


def some_damaged(root, count, remote=False):
    paths = fleets.make(root, count)
    if not remote:
        for path in paths[::10]:
            fleets.damage(path)
        for path in paths[5::20]:
            os.remove(f"{path}/checkpoint")
    else:
        for path in paths[::10]:
            files.remove(f"{path}/model.ckpt-10.index")
    return [*paths, f"{root}/vanished", paths[1]]  # and one twice


def require_equal(paths, out, again, folder, counted):
    rows, failed, found = run(paths, output_root=out, to="tf2", folder=folder)
    theirs = convert_many(paths, output_root=again, to="tf2")
    assert compared([*rows, *failed], out) == compared(theirs.rows, again)
    assert {row.status for row in rows} == {"done"} and {row.status for row in failed} == {"failed"}
    assert (found["converted"], found["failed"]) == counted
    assert found["bytes"] == sum(row.bytes for row in rows) > 0
    rows, failed, found = run(paths, output_root=out, to="tf2", folder=folder)
    assert {row.status for row in rows} == {"skipped"} and found["bytes"] == 0
    assert (found["skipped"], found["failed"]) == counted and "converted" not in found
    assert compared([*rows, *failed], out) == compared(
        convert_many(paths, output_root=again, to="tf2").rows, again
    )


@pytest.mark.slow
def test_two_hundred_are_those_of_convert_many(tmp_path):
    paths = some_damaged(tmp_path / "jobs", 200)
    counted = (170, 31)
    require_equal(paths, f"{tmp_path}/out", f"{tmp_path}/again", tmp_path, counted)


@pytest.mark.parametrize("count", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_those_on_a_store_are_those_of_convert_many(tmp_path, monkeypatch, s3_store, count):
    pytest.importorskip("obstore")
    for name, value in s3_store.environment.items():
        monkeypatch.setenv(name, value)
    paths = some_damaged(f"{s3_store.url}/jobs", count, remote=True)
    counted = (count - count // 10, count // 10 + 1)
    require_equal(paths, f"{s3_store.url}/out", f"{s3_store.url}/again", tmp_path, counted)


@pytest.mark.parametrize("verb", sorted(VERBS.keys() - {"convert"}))
def test_the_other_verbs(tmp_path, verb):
    paths = fleets.make(tmp_path / "jobs", 4)
    fleets.damage(paths[0])
    given = [(path, paths[1]) for path in paths] if verb == "diff" else [*paths, paths[1]]
    rows, failed, found = run(given, verb, folder=tmp_path)
    assert sorted(row.model_dir for row in rows + failed) == paths
    assert found["done"] == 3 and found.get("failed", 0) + found.get("no", 0) == 1
    if verb == "doctor":
        assert compared(rows + failed, "-") == compared(doctor_many(paths).rows, "-")


def test_nobody_writes_where_others_write_or_read(tmp_path):
    a, b, c = fleets.make(tmp_path / "jobs", 3)
    out = str(tmp_path / "out")
    given = [(a, out), (b, f"{out}/"), (c, f"{c}/../job0000"), (c, f"{out}2"), (c, f"{out}2/")]
    given.append("no target")
    rows, failed, _ = run(given, to="tf2", folder=tmp_path)
    assert [(row.model_dir, row.status) for row in rows] == [(c, "done")]
    assert sorted(row.model_dir for row in failed) == sorted([a, b, c, "no target"])
    assert not os.path.exists(out)


def test_what_is_wrong_with_the_call_is_told_before_any_work():
    with pytest.raises(errors.CheckpointArgumentError, match="should be one of"):
        ModelDirs("rename")
    with pytest.raises(errors.CheckpointArgumentError, match="to='tf3'"):
        ModelDirs(to="tf3")


def test_errors_that_may_pass_are_the_runners_if_it_is_to_try_again(tmp_path, monkeypatch):
    def unreachable(row, **options):
        raise ConnectionResetError("the store hung up")

    monkeypatch.setitem(work_module.VERBS, "doctor", unreachable)
    rows, failed, _ = run(["a"], "doctor", folder=tmp_path)
    assert not rows and "hung up" in failed[0].problem
    with pytest.raises(Exception, match="hung up"):
        run(["a"], "doctor", folder=tmp_path, retry=True)
    missing, failed, _ = run([str(tmp_path / "none")], "verify", folder=tmp_path, retry=True)
    assert not missing and failed[0].error == "CheckpointNotFoundError"  # that will not pass


@pytest.mark.slow
def test_the_program_runs_in_processes(tmp_path):
    paths = fleets.make(tmp_path / "jobs", 6)
    fleets.damage(paths[2])
    (tmp_path / "dirs.txt").write_text("# all\n" + "".join(f"{path}\n" for path in paths))
    line = [
        *(sys.executable, "-m", "estimator_ckpt.fleet.beam", "convert"),
        *(f"--from_file={tmp_path}/dirs.txt", f"--output_root={tmp_path}/out", "--to=tf2"),
        *(f"--source_root={tmp_path}/jobs", "--rename=dense_0/=first/", "--rename=dense_1/=x/"),
        *(f"--report={tmp_path}/rows", "--runner=DirectRunner"),
        *("--direct_running_mode=multi_processing", "--direct_num_workers=2"),
    ]
    for told in ("5 converted", "5 skipped"):
        ran = subprocess.run(
            line,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=900,
        )
        assert ran.returncode == 2, ran.stderr[-3000:]
        assert told in ran.stderr and "1 failed" in ran.stderr
        rows = [json.loads(row) for row in _lines(f"{tmp_path}/rows")]
        assert sorted(row["model_dir"] for row in rows) == paths
    assert sorted(os.listdir(tmp_path / "out")) == [
        f"job{number:04d}" for number in range(6) if number != 2
    ]


PAGE = (ROOT / "docs" / "fleet.md").read_text(encoding="utf-8")
LINES = re.findall(r"^python -m estimator_ckpt\.fleet\.beam (.*)$", PAGE, re.MULTILINE)


@pytest.mark.parametrize("line", LINES)
def test_the_lines_of_the_page_have_flags_that_there_are(monkeypatch, line):
    """And would run: the pipeline is built, with Beam's own options, and not sent anywhere."""
    from apache_beam.options.pipeline_options import StandardOptions

    from estimator_ckpt.fleet import beam as module

    made = []

    class Built(beam.Pipeline):
        def __init__(self, options):
            super().__init__("DirectRunner", options=PipelineOptions([]))
            made.append(options)

        def run(self):
            raise KeyboardInterrupt

    monkeypatch.setattr(module.beam, "Pipeline", Built)
    monkeypatch.setattr(module.beam.io, "WriteToText", lambda *names: beam.Map(print))
    with pytest.raises(KeyboardInterrupt):
        module.main(line.split())
    (options,) = made
    known = PipelineOptions([]).get_all_options()
    given = {word[2:].partition("=")[0] for word in line.split() if word.startswith("--")}
    ours = {"from_file", "output_root", "to", "report"}
    assert given - ours <= known.keys()
    assert options.view_as(StandardOptions).runner.endswith("Runner")


def test_a_line_of_the_page_runs(tmp_path):
    (line,) = (line for line in LINES if "DirectRunner" in line)
    paths = fleets.make(tmp_path / "jobs", 2)
    (tmp_path / "dirs.txt").write_text("\n".join(paths))
    ran = subprocess.run(
        [sys.executable, "-m", "estimator_ckpt.fleet.beam", *line.split()],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert ran.returncode == 0 and "2 converted" in ran.stderr, ran.stderr[-3000:]
    assert len(_lines(f"{tmp_path}/rows")) == 2


@pytest.mark.parametrize(
    "line", ["verify --to=tf2", "convert --to=tf2 --include=(", "doctor --values", "rename"]
)
def test_a_wrong_line_is_told_before_any_work(tmp_path, capsys, line):
    from estimator_ckpt.fleet import beam as module

    with pytest.raises(SystemExit) as ended:
        module.main([*line.split(), f"--from_file={tmp_path}/none", f"--report={tmp_path}/rows"])
    assert ended.value.code == 2 and "error: " in capsys.readouterr().err
    assert os.listdir(tmp_path) == []


def test_reports_are_what_beam_sends():
    from apache_beam.coders import registry

    coder = registry.get_coder(ModelDirReport)
    row = ModelDirReport("a\udcff", None, "doctor", "no", details=({"x": 1.5},))
    assert coder.decode(coder.encode(row)) == row
