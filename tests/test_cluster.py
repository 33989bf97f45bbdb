"""Clusters on this machine: processes are started, watched and ended, as docs/cluster.md says."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jobs
import pytest

from estimator_ckpt.examples import local_cluster
from estimator_ckpt.examples.local_cluster import LocalCluster, TaskFailedError, free_ports

REPOSITORY = Path(__file__).parent.parent
SLEEP = "import time; print('up', flush=True); time.sleep(600)"


def cluster(folder, code, **settings):
    sizes = settings.pop("sizes", {"chief": 1, "ps": 2})
    return LocalCluster(sizes, [sys.executable, "-c", code], folder / "logs", **settings)


def wait_until_up(processes, *tasks):
    deadline = time.monotonic() + 300
    while not all("up" in processes.output(task) for task in tasks):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_every_process_is_told_its_place(tmp_path):
    code = "import os; print(os.environ['TF_CONFIG'])"
    with cluster(tmp_path, code, evaluator=True) as processes:
        processes.start()
        codes = processes.wait(processes.tasks, timeout=600)
        told = {task: processes.output(task) for task in processes.tasks}
    assert codes == {"chief": 0, "ps:0": 0, "ps:1": 0, "evaluator": 0}
    assert len(set(re.findall(r"127\.0\.0\.1:\d+", told["chief"]))) == 3
    assert '"task": {"type": "ps", "index": 1}' in told["ps:1"]
    assert '"task": {"type": "evaluator", "index": 0}' in told["evaluator"]


def test_no_process_outlives_the_block(tmp_path):
    code = "import os; print(os.getpid(), flush=True); " + SLEEP
    with cluster(tmp_path, code) as processes:
        processes.start()
        wait_until_up(processes, *processes.tasks)
        pids = [int(processes.output(task).split()[0]) for task in processes.tasks]
        assert all(map(is_alive, pids))
    assert not any(map(is_alive, pids))


def test_a_process_that_fails_is_named_with_its_output(tmp_path):
    code = "import os, sys; '\"ps\"' in os.environ['TF_CONFIG'] and sys.exit('no such thing')"
    with cluster(tmp_path, code) as processes:
        processes.start(["ps:1"])
        with pytest.raises(TaskFailedError, match="ps:1 ended with code 1:\nno such thing"):
            processes.wait(["ps:1"], timeout=600)


def test_a_killed_process_can_be_started_again(tmp_path):
    with cluster(tmp_path, SLEEP) as processes:
        processes.start()
        wait_until_up(processes, "ps:1")
        with pytest.raises(ValueError, match="ps:1 is running already"):
            processes.start(["ps:1"])
        processes.kill(["ps:1"])
        processes.start(["ps:1"])
        with pytest.raises(TimeoutError, match="still running: ps:1"):
            processes.wait(["ps:1"], timeout=0.5)


def test_a_process_ends_by_itself_when_its_time_is_up(tmp_path):
    with cluster(tmp_path, SLEEP, time_limit=1) as processes:
        processes.start(["chief"])
        with pytest.raises(TaskFailedError, match=f"chief ended with code -{signal.SIGALRM}"):
            processes.wait(["chief"], timeout=600)


def test_free_ports_are_different_ones():
    assert len(set(free_ports(20))) == 20


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux says which those are")
def test_free_ports_are_none_that_the_system_hands_out():
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert max(free_ports(1000)) < max(lowest, 32_768)


@pytest.mark.slow
@pytest.mark.parametrize("question", ["--help", "-h", "--helpshort", "--helpfull", "-help"])
def test_a_question_starts_nothing(question, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(local_cluster.LocalCluster, "start", None)
    assert local_cluster.main(["--flagfile=configs/digits_cluster.flags", question]) == 0
    assert "--workers" in capsys.readouterr().out and not list(tmp_path.iterdir())


@pytest.mark.one_version
@pytest.mark.slow
def test_what_the_page_says_runs(tmp_path):
    shutil.copytree(REPOSITORY / "configs", tmp_path / "configs")
    page = (REPOSITORY / "docs/cluster.md").read_text(encoding="utf-8")
    commands = "".join(re.findall(r"^```bash\n(.*?)^```", page, re.DOTALL | re.MULTILINE))
    # `python` and `estimator-ckpt` are those of the environment that this test runs in.
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=tmp_path,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "started chief, worker:0, ps:0, ps:1, evaluator" in ran.stdout
    assert ran.stdout.count("21 of 21 values equal") == 3
    assert re.search(r"^evaluator: .*^step 30\d\d: accuracy 0\.9", ran.stdout, re.DOTALL | re.M)
    model_dir = tmp_path / "runs/digits_cluster"
    assert (model_dir / "flags.txt").read_text().count("--mode=train_and_evaluate") == 1
    for name in jobs.listed(model_dir):
        jobs.assert_equal_values(
            jobs.values(model_dir / name), jobs.values(model_dir / "tf1" / name)
        )


@pytest.mark.slow
def test_a_mode_that_starts_no_server_is_refused(tmp_path):
    command = [sys.executable, "-m", "estimator_ckpt.train", "--mode=train", "--model_dir=job"]
    command.append(f"--flagfile={REPOSITORY}/configs/common.flags")
    with LocalCluster({"chief": 1, "ps": 1}, [*command, "--mode=train"], tmp_path) as processes:
        processes.start(["chief"])
        with pytest.raises(TaskFailedError, match="use --mode=train_and_evaluate"):
            processes.wait(["chief"], timeout=600)
