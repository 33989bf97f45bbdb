"""`--from-file`: each verb that has it, on lists; its exit codes, its lines, and Ctrl-C."""

from __future__ import annotations

import io
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import fleets
import pytest

from estimator_ckpt import describe
from estimator_ckpt.cli.verbs import VERBS as VERBS_OF_COMMAND
from estimator_ckpt.fleet.work import VERBS

ROOT = pathlib.Path(__file__).resolve().parents[3]
LINES = {
    "inspect": "inspect --from-file=dirs.txt",
    "convert": "convert --from-file=dirs.txt --output-root=out --to=tf2",
    "verify": "verify --from-file=dirs.txt",
    "doctor": "doctor --from_file=dirs.txt",
    "diff": "diff --from-file=dirs.txt --output-root=copies",
}


@pytest.fixture(autouse=True)
def in_threads(monkeypatch):
    fleets.in_threads(monkeypatch)


@pytest.fixture
def listed(tmp_path, monkeypatch):
    """Three model_dirs in a list, and copies of them."""
    monkeypatch.chdir(tmp_path)
    paths = fleets.make("jobs", 3, steps=(10, 20))
    fleets.make("copies/jobs", 3, steps=(10, 20))
    pathlib.Path("dirs.txt").write_text("# all\n" + "\r\n".join([*paths, paths[0]]) + "\n")
    return paths


def test_each_verb_of_many_is_here():
    assert (
        LINES.keys()
        == {name for name, each in VERBS_OF_COMMAND.items() if each.many}
        == VERBS.keys()
    )


@pytest.mark.parametrize("verb", LINES)
def test_all_is_well(command, listed, verb):
    result = command(*LINES[verb].split())
    titles, *rows = [line.split("\t") for line in result.out.splitlines()]
    assert titles[:2] == ["model_dir", "status"] and "problem" in titles
    assert sorted((row[0], row[1]) for row in rows) == [(path, "done") for path in listed]
    assert result.code == 0 and result.err.startswith("3 model_dirs: 3 ")


@pytest.mark.parametrize("verb", LINES)
def test_json_is_a_line_each(command, listed, verb):
    result = command(*LINES[verb].split(), "--json", "--report=r.jsonl", "--workers=1")
    rows = [json.loads(line) for line in result.out.splitlines()]
    assert [row["model_dir"] for row in rows] == listed
    assert {row["verb"] for row in rows} == {verb} and rows[0]["checkpoints"] == 2
    assert pathlib.Path("r.jsonl").read_text() == result.out


@pytest.mark.parametrize("verb", LINES)
def test_what_fails_is_trouble_and_stops_nothing(command, listed, verb):
    fleets.damage(listed[0])
    pathlib.Path("dirs.txt").write_text("\n".join(["gone", *listed]))
    result = command(*LINES[verb].split())
    found = dict(line.split("\t")[:2] for line in result.out.splitlines()[1:])
    assert found["gone"] == "failed" and found[listed[1]] == found[listed[2]] == "done"
    assert found[listed[0]] in ("failed", "no")
    assert result.code == 2 and " failed" in result.err


def test_an_answer_that_is_no_is_one(command, listed):
    fleets.change_data(listed[1])
    os.remove(f"{listed[2]}/model.ckpt-10.index")  # its data is left over
    (pathlib.Path(listed[2]) / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-20"')
    fleets.job("copies/jobs/job0000", steps=(10, 20), variables=4)
    for verb in ("verify", "doctor", "diff"):
        result = command(*LINES[verb].split())
        assert result.code == 1 and "\tno\t" in result.out, verb


def test_a_second_run_skips(command, listed):
    command(*LINES["convert"].split())
    result = command(*LINES["convert"].split())
    assert result.code == 0 and result.out.count("\tskipped\t") == 3
    assert result.err == "3 model_dirs: 3 skipped\n"
    result = command(*LINES["convert"].split(), "--dry-run", "--to=tf1", "--overwrite")
    assert result.code == 0 and result.err == "3 model_dirs: 3 to be converted\n"


def test_a_list_is_read_from_standard_input(command, listed, monkeypatch):
    data = "".join(f"{path}\tmine/{path}\n" for path in listed).encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert command("convert", "--from-file=-", "--to=dual").code == 0
    assert sorted(os.listdir("mine/jobs")) == ["job0000", "job0001", "job0002"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
@pytest.mark.parametrize(
    "line",
    [
        "convert --from-file=<(sed s,$,, dirs.txt) --output-root=out --to=tf2",
        "cat dirs.txt | {} convert --from-file=/dev/stdin --output-root=out --to=tf2",
        "convert --from-file=/dev/stdin --output-root=out --to=tf2 < dirs.txt",
        "convert --from-file=- --output-root=out --to=tf2 --rename=@<(echo re:^=m/) < dirs.txt",
    ],
)
def test_what_a_shell_pipes_is_a_list_and_rules(listed, line):
    ours = f"{sys.executable} -m estimator_ckpt"
    ran = subprocess.run(
        ["bash", "-c", line.replace("{}", ours) if "{}" in line else f"{ours} {line}"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert ran.returncode == 0 and ran.stderr == "3 model_dirs: 3 converted\n", ran
    assert sorted(os.listdir("out/jobs")) == ["job0000", "job0001", "job0002"]
    names = describe("out/jobs/job0001").variables
    assert any(each.name.startswith("m/") for each in names) == ("--rename" in line)


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
@pytest.mark.parametrize(
    "line",
    [
        "report jobs/job0000 jobs/job0001 --map=<(cat map.txt) -o out.html",
        "map jobs/job0000 --like=jobs/job0001 --pins=<(cat map.txt)",
        "convert jobs/job0000 out/ckpt --to=tf2 --rename=@<(cat map.txt)",
    ],
)
def test_a_map_may_be_a_pipe(command, listed, line):
    assert command(*["map", "jobs/job0000", "--like=jobs/job0001", "-o", "map.txt"]).code == 0
    ran = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m estimator_ckpt {line}"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert ran.returncode == 0, ran


def test_a_device_is_no_list(command, listed):
    result = command("verify", "--from-file=/dev/zero")
    assert result.code == 2 and "a device, not a file" in result.err


def test_filters_and_rules_reach_each(command, listed):
    command(*LINES["convert"].split(), "--rename=dense_0/=first/", "--exclude=dense_2")
    result = command("inspect", "out/jobs/job0001")
    assert "first/kernel" in result.out and "dense_2" not in result.out
    result = command("diff", "--from-file=dirs.txt", "--output-root=out")
    assert result.code == 1 and "1 renamed" in result.out and "1 removed" in result.out
    rules = ("--rename=dense_0/=first/", "--exclude=dense_2")
    assert command("diff", "--from-file=dirs.txt", "--output-root=out", *rules).code == 0
    assert (
        command("doctor", "--from-file=dirs.txt", "--include=-20", "--json").out.count(
            '"checkpoints": 1'
        )
        == 3
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("convert a b --from-file=dirs.txt --to=tf2", "unexpected argument 'a'"),
        ("convert --from-file=dirs.txt --to=tf2", "'jobs/job0000' has no target"),
        ("convert --from-file=dirs.txt --output-root=out", "--to is required"),
        ("convert --from-file=none.txt --output-root=out --to=tf2", "no list of model_dirs"),
        ("convert --from-file=dirs.txt --output-root=out --to=tf2 --like=a:b", "is of one model"),
        ("verify --from-file=dirs.txt --workers=0", "workers"),
        ("verify --from-file=dirs.txt --report=dirs.txt", "no report of an earlier run"),
        ("verify --from-file=dirs.txt --output-root=x", "unknown flag"),
        ("diff --from-file=jobs --output-root=x", "is a directory"),
        ("rename --from-file=dirs.txt", "unknown flag '--from-file'"),
        ("inspect --from-file=dirs.txt --tree", "--tree shows one checkpoint"),
    ],
)
def test_a_wrong_line_is_told_and_nothing_is_done(command, listed, line, said):
    before = sorted(map(str, pathlib.Path().rglob("*")))
    result = command(*line.split())
    assert (result.code, result.out) == (2, "") and said in result.err
    assert result.err.count("\n") == 1
    assert sorted(map(str, pathlib.Path().rglob("*"))) == before


def test_dashes_and_underscores_are_the_same_in_flags(command, listed):
    pathlib.Path("values").mkdir()
    assert command("convert", listed[0], "new/ckpt", "--to=tf1", "--dry-run").code == 0
    assert command("convert", listed[0], "new/ckpt", "--to=tf1", "--nodry-run").code == 0
    assert command("convert", "--", listed[0], "--dry-run").code == 2  # an operand by then


def test_on_a_terminal_only_what_is_wrong_is_listed_but_by_doctor(command, listed, on_terminal):
    on_terminal(200)
    fleets.damage(listed[0])
    found = command(*LINES["convert"].split()).out
    assert "job0000" in found and "job0001" not in found and "2 converted, 1 failed" in found
    found = command(*LINES["doctor"].split()).out
    assert "job0000" in found and "job0001" in found


HOLDING = """
import os, sys
from estimator_ckpt.cli.main import main
from estimator_ckpt.fleet import workers
workers._PROGRAM = workers._PROGRAM.replace("main()\\n", '''
import os, time, estimator_ckpt.fleet.worker as worker
work = worker.work
def holding(verb, model_dir, options):
    if os.path.basename(model_dir.source) >= "job0030":
        open(f"held-{os.getpid()}", "w").close()
        time.sleep(1000)
    return work(verb, model_dir, options)
worker.work = holding
main()
''')
sys.exit(main(sys.argv[1:]))
"""
"""The command, whose processes come to the thirtieth model_dir, and stay there."""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
def test_ctrl_c_ends_all_and_what_is_left_is_done_by_the_next_run(tmp_path):
    fleets.make(tmp_path / "jobs", 60, steps=(10, 20))
    (tmp_path / "dirs.txt").write_text("".join(f"jobs/job{n:04d}\n" for n in range(60)))
    line = [*LINES["convert"].split(), "--report=r.jsonl", "--workers=2"]
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDING, *line],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # so that all of it gets the signal, as from a terminal
        # Where the tests run in the background of a shell, they ignore it, and so would this one.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    for _ in range(4):
        process.stdout.readline()
    while len(list(tmp_path.glob("held-*"))) < 2:
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=600)
    assert process.returncode == 130
    assert told.count("\n") == 1 and told.startswith("interrupted: "), told
    rows = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert 3 <= len(rows) < 60 and {row["status"] for row in rows} == {"done"}
    left = [path for path in tmp_path.rglob("*") if path.name.startswith(".") or "tmp" in path.name]
    assert left == []
    with pytest.raises(ProcessLookupError):  # none of its processes is left
        os.killpg(process.pid, 0)
    ran = subprocess.run(
        [sys.executable, "-m", "estimator_ckpt.cli.main", *line],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.count("\tskipped\t") >= len(rows)
