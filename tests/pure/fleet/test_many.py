"""Many model_dirs: each is done, whatever the others are like; what is done is not done again."""

from __future__ import annotations

import json
import os
import pathlib
import pickle
import subprocess
import sys

import fleets
import pytest

import estimator_ckpt
from estimator_ckpt import (
    CheckpointArgumentError,
    CheckpointExistsError,
    FleetReport,
    ModelDirReport,
    convert_all,
    convert_many,
    describe,
    diff_many,
    doctor_many,
    verify_many,
)
from estimator_ckpt.fleet import workers
from estimator_ckpt.fleet.work import VERBS, may_pass, work

seen: list[str] | None = None  # each look at a file or directory, where that is wanted
_LOOKS = frozenset(("open", "os.listdir", "os.scandir"))
sys.addaudithook(lambda event, _: seen.append(event) if seen is not None and event in _LOOKS else 0)
ROOT = pathlib.Path(__file__).resolve().parents[3]


def snapshot(folder):
    return {
        path.relative_to(folder): path.read_bytes()
        for path in sorted(pathlib.Path(folder).rglob("*"))
        if path.is_file()
    }


def statuses(report):
    return [row.status for row in report.rows]


def read_rows(path):
    text = pathlib.Path(path).read_text(encoding="utf-8")
    assert text.endswith("\n") or not text
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def processes():
    """Said by a test that is of processes: the others do without the time that they take."""


@pytest.fixture(autouse=True)
def in_threads(request, monkeypatch):
    if "processes" not in request.fixturenames:
        fleets.in_threads(monkeypatch)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_all_are_converted_then_skipped_then_equal(here, processes):
    paths = fleets.make("jobs", 5, steps=(10, 20))
    before = snapshot("jobs")
    first = convert_many(paths, output_root="out", to="tf2", workers=2)
    assert statuses(first) == ["done"] * 5 and first.ok
    assert [row.target for row in first.rows] == [f"out/{path}" for path in paths]
    assert describe(f"out/{paths[0]}").format == "tf2"
    after = snapshot("out")
    assert (
        after[pathlib.Path(paths[0]) / "checkpoint"] == before[pathlib.Path("job0000/checkpoint")]
    )
    times = {path: os.stat(path).st_mtime_ns for path in pathlib.Path("out").rglob("*")}
    again = convert_many(paths, output_root="out", to="tf2")
    assert statuses(again) == ["skipped"] * 5 and again.ok
    assert all(row.bytes == 0 and row.checkpoints == 2 for row in again.rows)
    assert times == {path: os.stat(path).st_mtime_ns for path in pathlib.Path("out").rglob("*")}
    assert snapshot("jobs") == before
    pairs = [(row.model_dir, row.target) for row in first.rows]
    compared = diff_many(pairs)
    assert statuses(compared) == ["done"] * 5 and compared.rows[0].checkpoints == 2
    assert verify_many([row.target for row in first.rows]).ok


def test_it_is_what_convert_all_writes(here):
    for path in fleets.make("jobs", 2, steps=(10, 20)):
        convert_all(path, f"one/{path}", to="dual", drop=["dense_0"])
    convert_many(["jobs/job0000", "jobs/job0001"], output_root="many", to="dual", drop=["dense_0"])
    assert snapshot("one") == snapshot("many")


@pytest.mark.parametrize(
    "options",
    [
        {"to": "tf1"},
        {"to": "tf2", "container": "model", "step": None},
        {"to": "dual", "rename": {"dense_0/": "first/"}, "copy": True},
        {"to": "tf2", "compact": True, "exclude": "dense_1"},
        {"rename": "a map that changes values"},
    ],
)
def test_each_option_reaches_the_work_and_is_compared_again(here, options):
    from estimator_ckpt import VariableMap

    if isinstance(options.get("rename"), str):
        lines = "[pinned]\ndense_0/kernel -> dense_0/kernel\ndense_1/kernel -> b : reshape(1, 2)\n"
        lines += "dense_2/kernel -> c : cast(float16)\n"
        options = {"rename": VariableMap.parse(lines)}
    paths = fleets.make("jobs", 2)
    first = convert_many(paths, output_root="out", **options)
    assert statuses(first) == ["done"] * 2, first.rows[0].problem
    assert statuses(convert_many(paths, output_root="out", **options)) == ["skipped"] * 2
    # Other options would write something else: that is no longer what was asked for.
    other = convert_many(paths, output_root="out", to="tf1", drop=["global_step"])
    assert statuses(other) == ["failed"] * 2
    assert {row.error for row in other.rows} == {"CheckpointExistsError"}


def test_what_is_lacking_is_done_and_what_is_different_is_told(here):
    paths = fleets.make("jobs", 6, steps=(10, 20))
    convert_many(paths, output_root="out", to="tf2")
    os.remove(f"out/{paths[0]}/checkpoint")
    os.remove(f"out/{paths[1]}/model.ckpt-20.index")  # data files without it are nobody's
    for path in pathlib.Path(f"out/{paths[1]}").glob("model.ckpt-20.data-*"):
        path.unlink()
    os.remove(next(pathlib.Path(f"out/{paths[2]}").glob("model.ckpt-10.data-00000*")))
    fleets.job("other", variables=4)
    convert_all("other", "other_tf2", to="tf2")
    for path in pathlib.Path("other_tf2").glob("model.ckpt-10.*"):
        os.replace(path, f"out/{paths[3]}/{path.name}")
    fleets.job(paths[4], steps=(10, 20, 30), variables=3)  # it went on
    found = convert_many(paths, output_root="out", to="tf2")
    assert statuses(found) == ["skipped", "done", "failed", "failed", "done", "skipped"]
    assert (pathlib.Path("out") / paths[0] / "checkpoint").exists()
    assert [each["existed"] for each in found.rows[1].details] == [True, False]
    assert [each["existed"] for each in found.rows[4].details] == [True, True, False]
    assert "exist" in found.rows[2].problem and "exist" in found.rows[3].problem
    found = convert_many(paths, output_root="out", to="tf2", overwrite=True)
    assert statuses(found) == ["skipped", "skipped", "done", "done", "skipped", "skipped"]
    assert diff_many(paths, output_root="out").ok
    assert convert_many(paths, output_root="out", to="tf2").counts == {"skipped": 6}


def test_a_target_of_another_job_is_not_taken(here):
    fleets.job("a", steps=(10,))
    fleets.job("theirs", steps=(5, 7))
    before = snapshot("theirs")
    (row,) = convert_many([("a", "theirs")], to="tf2").rows
    assert (row.status, row.error) == ("failed", "CheckpointExistsError")
    assert "model.ckpt-5" in row.problem and snapshot("theirs") == before
    pathlib.Path("strange").mkdir()
    pathlib.Path("strange/notes.txt").write_text("mine")
    assert convert_many([("a", "strange")], to="tf2").ok
    assert pathlib.Path("strange/notes.txt").read_text() == "mine"


STRANGERS = {
    "vanished": ("CheckpointNotFoundError", lambda path: None),
    "empty": ("CheckpointNotFoundError", lambda path: path.mkdir()),
    "file": ("CheckpointNotFoundError", lambda path: path.write_text("hello")),
    "damaged": ("DamagedCheckpointError", lambda path: fleets.damage(fleets.job(path))),
    "no data": (
        "DamagedCheckpointError",
        lambda path: next(pathlib.Path(fleets.job(path)).glob("*.data-*")).unlink(),
    ),
    "state names what is gone": (
        "CheckpointNotFoundError",
        lambda path: next(pathlib.Path(fleets.job(path)).glob("*.index")).unlink(),
    ),
    "state is no text": (
        "DamagedCheckpointError",
        lambda path: (pathlib.Path(fleets.job(path)) / "checkpoint").write_bytes(b"\xff{"),
    ),
    "state is a directory": (
        "IsADirectoryError",
        lambda path: (path / "checkpoint").mkdir(parents=True),
    ),
    "link that leads nowhere": ("CheckpointNotFoundError", lambda path: path.symlink_to("gone")),
    "link to itself": (None, lambda path: path.symlink_to(path.name)),
}


@pytest.mark.parametrize("workers", [1, 3])
def test_no_stranger_stops_the_others(here, workers):
    pathlib.Path("jobs").mkdir()
    for name, (_, make) in STRANGERS.items():
        make(pathlib.Path("jobs") / name)
    good = ["jobs/good one", "jobs/größe 日本", "jobs/good one/nested", "jobs/a\x1b[2Jb"]
    for path in good:
        fleets.job(path)
    before = snapshot("jobs")
    paths = [good[0], *(f"jobs/{name}" for name in STRANGERS), *good[1:]]
    found = convert_many(paths, output_root="out", to="tf2", workers=workers, report="r.jsonl")
    assert not found.ok and [row.model_dir for row in found.rows] == paths
    for row in found.rows:
        if row.model_dir in good:
            assert row.status == "done", row
            continue
        assert row.status == "failed" and row.problem and "traceback" not in str(row.details), row
        error, _ = STRANGERS[row.model_dir.partition("/")[2]]
        assert error is None or row.error == error, row
    assert {row["model_dir"]: row["status"] for row in read_rows("r.jsonl")} == {
        row.model_dir: row.status for row in found.rows
    }
    assert "\x1b" not in pathlib.Path("r.jsonl").read_text()
    assert snapshot("jobs") == before
    again = convert_many(paths, output_root="out", to="tf2")
    assert again.counts == {"skipped": len(good), "failed": len(STRANGERS)}
    for many in (verify_many, doctor_many):
        rows = {row.model_dir: row for row in many(paths, workers=workers).rows}
        assert all(rows[path].status == "done" for path in good)
        assert not any(rows[f"jobs/{name}"].status == "done" for name in STRANGERS)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads all")
def test_what_can_not_be_read_is_told(here):
    os.chmod(fleets.job("closed"), 0)
    (row,) = convert_many(["closed"], output_root="out", to="tf2").rows
    os.chmod("closed", 0o755)
    assert (row.status, row.error) == ("failed", "PermissionError")


def test_the_answers_of_the_other_verbs(here):
    paths = fleets.make("jobs", 3, steps=(10, 20))
    fleets.change_data(paths[1])
    os.remove(f"{paths[2]}/checkpoint")
    convert_many(paths[:1], output_root="out", to="tf2")
    found = verify_many(paths[:2])
    assert statuses(found) == ["done", "no"] and not found.ok
    assert "model.ckpt-10" in found.rows[1].problem and found.rows[0].checkpoints == 2
    found = doctor_many(paths)
    assert statuses(found) == ["done", "done", "no"]
    assert found.rows[0].formats == ("tf1",) and found.rows[0].step == 20
    assert "no state file" in found.rows[2].problem
    found = diff_many([(paths[0], f"out/{paths[0]}"), (paths[0], paths[1]), (paths[0], "jobs")])
    assert statuses(found) == ["done", "done", "failed"]  # a data file's byte is in no index
    fleets.job("fewer", steps=(20, 30), variables=2)
    (row,) = diff_many([(paths[0], "fewer")]).rows
    assert row.status == "no" and row.checkpoints == 1
    for said in ("model.ckpt-10: 'fewer' lacks it", "model.ckpt-30", "1 removed"):
        assert said in row.problem


def test_a_moved_model_dir_is_found_as_it_is_alone(here):
    """Its state file names the old place, where there is nothing any more."""
    path = pathlib.Path(fleets.job("a"))
    (path / "checkpoint").write_text('model_checkpoint_path: "/gone/model.ckpt-10"\n')
    assert convert_many(["a"], output_root="out", to="tf2").ok


def test_what_is_wrong_with_the_call_is_told_before_any_work(here):
    fleets.job("a")
    with pytest.raises(CheckpointArgumentError, match="to='tf3' must be"):
        convert_many(["a"], output_root="out", to="tf3")
    with pytest.raises(CheckpointArgumentError):
        convert_many(["a"], output_root="out", include="(")
    with pytest.raises(CheckpointArgumentError, match="like="):
        convert_many(["a"], output_root="out", like=object())
    with pytest.raises(CheckpointArgumentError, match="workers=0"):
        convert_many(["a"], output_root="out", workers=0)
    with pytest.raises(CheckpointArgumentError, match="one path"):
        convert_many("a", output_root="out")
    with pytest.raises(CheckpointArgumentError, match="has no target"):
        convert_many(["a"], to="tf2")
    with pytest.raises(TypeError, match="no option 'too'"):
        convert_many(["a"], output_root="out", too="tf2")
    assert os.listdir() == ["a"]


def test_a_report_replaces_that_of_an_earlier_run_and_nothing_else(here):
    paths = fleets.make("jobs", 2)
    for _ in range(2):
        doctor_many(paths, report="r.jsonl")
        assert len(read_rows("r.jsonl")) == 2
    pathlib.Path("r.jsonl").write_text('{"model_d')  # as a kill may leave it
    doctor_many(paths, report="r.jsonl")
    assert len(read_rows("r.jsonl")) == 2
    pathlib.Path("notes.txt").write_text("mine")
    with pytest.raises(CheckpointExistsError, match="no report"):
        doctor_many(paths, report="notes.txt")
    assert pathlib.Path("notes.txt").read_text() == "mine"
    with pytest.raises(CheckpointArgumentError, match="local file"):
        doctor_many(paths, report="s3://bucket/r.jsonl")


def test_a_dry_run_writes_nothing(here):
    paths = fleets.make("jobs", 2)
    found = convert_many(paths, output_root="out", to="tf2", dry_run=True)
    assert found.counts == {"planned": 2} and not os.path.exists("out")


def test_the_report_of_each_function_pickles(here):
    paths = fleets.make("jobs", 2)
    fleets.change_data(paths[1])
    fleets.job("fewer", variables=2)
    made = [
        estimator_ckpt.convert(paths[0], "a/ckpt", to="dual", drop=["dense_0"]),
        estimator_ckpt.describe(paths[0]),
        estimator_ckpt.verify(paths[1]),
        estimator_ckpt.doctor(paths[0]),
        estimator_ckpt.diff(paths[0], "fewer"),
        estimator_ckpt.compact("a/ckpt", "b/ckpt"),
        estimator_ckpt.cast(paths[0], "c/ckpt", to="bfloat16"),
        estimator_ckpt.average([paths[0], "a/ckpt"], "d/ckpt", include="dense_1"),
        estimator_ckpt.export_checkpoint(paths[0], "e.npz"),
        estimator_ckpt.import_checkpoint("e.npz", "f/ckpt", to="tf1"),
    ]
    assert made[2].findings and made[4].changes
    for report in made:
        assert pickle.loads(pickle.dumps(report)) == report


def test_what_is_on_a_store_is_done_by_threads(here, processes, monkeypatch, s3_store):
    pytest.importorskip("obstore", reason="obstore is not installed: pip install obstore")
    for name, value in s3_store.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(workers, "_PROGRAM", "raise SystemExit('no process is needed')")
    paths = fleets.make(f"{s3_store.url}/jobs", 4, steps=(10, 20))
    pairs = [*((path, f"{path}-new") for path in paths), (fleets.job("a"), f"{s3_store.url}/a")]
    pairs.append((paths[0], "here"))
    data = sum(len(data) for key, data in s3_store.objects().items() if ".data-" in key)
    assert convert_many(pairs, to="tf2").counts == {"done": 6}
    with s3_store.counted() as traffic:
        assert convert_many(pairs, to="tf2").counts == {"skipped": 6}
        assert diff_many(pairs).ok
    assert not [each for each in traffic.log if each.is_write]
    with s3_store.counted() as traffic:
        assert verify_many(paths).ok
    assert traffic.downloaded >= data  # it reads each byte
    missing = convert_many([f"{s3_store.url}/none", "s3://no-such-bucket/a"], output_root="x")
    assert missing.counts == {"failed": 2}, missing


def test_reports_pickle():
    row = ModelDirReport("a", "b", "convert", "failed", "x", "E", 1, ("tf1",), 3, 4, 5.0, ({},))
    assert pickle.loads(pickle.dumps(FleetReport((row,)))) == FleetReport((row,))


@pytest.mark.parametrize("signal_name", ["SIGKILL", "SIGSEGV", "SIGTERM"])
def test_a_process_that_dies_takes_down_only_what_it_worked_on(
    here, processes, monkeypatch, signal_name
):
    """As one does that is out of memory: another one takes its place."""
    program = f"""\
import os, signal, estimator_ckpt.fleet.worker as worker
work = worker.work
def dying(verb, model_dir, options):
    if "bad" in model_dir.source:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.{signal_name})
    print("what a library prints")
    return work(verb, model_dir, options)
worker.work = dying
"""
    monkeypatch.setattr(
        workers, "_PROGRAM", workers._PROGRAM.replace("main()\n", f"{program}main()\n")
    )
    paths = [
        *fleets.make("jobs", 3),
        fleets.job("bad1"),
        *fleets.make("more", 3),
        fleets.job("bad2"),
    ]
    found = convert_many(paths, output_root="out", to="tf2", workers=2)
    assert found.counts == {"done": 6, "failed": 2}
    for row in found.rows:
        if row.status == "failed":
            assert "bad" in row.model_dir and signal_name in row.problem
            assert row.error == "ChildProcessError"


def test_processes_that_can_not_be_started_are_told(here, processes, monkeypatch):
    monkeypatch.setattr(workers, "_PROGRAM", "raise SystemExit(3)")
    found = convert_many(fleets.make("jobs", 2), output_root="out", to="tf2")
    assert found.counts == {"failed": 2} and "exit code 3" in found.rows[0].problem


def test_a_module_of_the_current_directory_is_none_of_ours(here, processes):
    for name in ("numpy", "pickle", "signal", "estimator_ckpt"):
        pathlib.Path(f"{name}.py").write_text("raise SystemExit('a stranger')")
    assert convert_many([fleets.job("a")], output_root="out", to="tf2").ok


def test_a_program_need_not_guard_its_main(here):
    fleets.make("jobs", 2)
    pathlib.Path("run.py").write_text(
        "import sys; import estimator_ckpt\n"
        "found = estimator_ckpt.convert_many(['jobs/job0000', 'jobs/job0001'],\n"
        "    output_root='out', to='tf2', workers=2)\n"
        "print(found.counts, 'tensorflow' in sys.modules)\n"
    )
    ran = subprocess.run(
        [sys.executable, "run.py"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert (ran.stdout, ran.stderr) == ("{'done': 2} False\n", "")


def test_an_error_in_who_is_told_ends_all(here):
    paths = fleets.make("jobs", 8)

    def told(row, done, of):
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        convert_many(paths, output_root="out", to="tf2", workers=2, told=told, report="r.jsonl")
    assert len(read_rows("r.jsonl")) == 1


def test_only_errors_that_may_pass_are_raised_for_a_runner():
    import errno

    assert may_pass(ConnectionResetError()) and may_pass(TimeoutError())
    assert may_pass(OSError(errno.ESTALE, "stale"))
    assert not may_pass(FileNotFoundError()) and not may_pass(PermissionError())
    outer = CheckpointArgumentError("x")
    outer.__cause__ = OSError(errno.ETIMEDOUT, "slow")
    assert may_pass(outer) and not may_pass(CheckpointArgumentError("x"))


def test_what_nobody_has_foreseen_is_a_row_too(monkeypatch):
    from estimator_ckpt.fleet.listing import ModelDir

    def broken(row, **options):
        raise ZeroDivisionError("oh")

    monkeypatch.setitem(VERBS, "doctor", broken)
    row = work("doctor", ModelDir("a"), {})
    assert (row.status, row.problem) == ("failed", "ZeroDivisionError: oh")
    assert "broken" in row.details[0]["traceback"]
    with pytest.raises(ZeroDivisionError):
        work("doctor", ModelDir("a"), {}, raises=lambda error: True)


def test_the_work_of_one_more_is_that_of_one(here, monkeypatch):
    """Twice as many take twice as many looks at files, not four times."""
    counted = []
    for number in (4, 8):
        paths = fleets.make(f"jobs{number}", number)
        looks: list[str] = []
        with monkeypatch.context() as patched:
            patched.setattr(sys.modules[__name__], "seen", looks)
            convert_many(paths, output_root="out", to="tf2")
        counted.append(len(looks))
    assert 0 < counted[1] <= 2 * counted[0]
