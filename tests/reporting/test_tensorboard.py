"""The tab of TensorBoard: a real one on 127.0.0.1, which finds the plug-in by its entry point."""

from __future__ import annotations

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import numpy as np
import pytest
from browser import serious

from estimator_ckpt import describe, diff, doctor
from estimator_ckpt.messages import escaped

pytestmark = pytest.mark.slow
pytest.importorskip("tensorboard")
ROOT = pathlib.Path(__file__).resolve().parents[2]
SECONDS = 600  # at most, until it answers


class TensorBoard:
    """A TensorBoard over a folder."""

    def __init__(self, logdir: pathlib.Path, info: pathlib.Path):
        line = [sys.executable, "-m", "tensorboard.main", f"--logdir={logdir}", "--port=0"]
        self.process = subprocess.Popen(
            [*line, "--host=127.0.0.1", "--load_fast=false"],
            env={**os.environ, "PYTHONPATH": os.pathsep.join((str(info), str(ROOT)))},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.said: list[str] = []
        self.url = ""
        self._is_up = threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()
        assert self._is_up.wait(SECONDS) and self.url, "".join(self.said)

    def _listen(self):
        for line in self.process.stderr:
            self.said.append(line)
            if found := re.search(r"http://127\.0\.0\.1:\d+/", line):
                self.url = found[0]
                self._is_up.set()
        self._is_up.set()

    def ask(self, route, method="GET", **arguments):
        """What a route answers: (code, text)."""
        query = urllib.parse.urlencode(arguments)
        address = f"{self.url}data/{route}?{query}"
        request = urllib.request.Request(address, method=method)
        try:
            with urllib.request.urlopen(request, timeout=600) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def plugin(self, route, **arguments):
        return self.ask(f"plugin/checkpoints/{route}", **arguments)

    def is_active(self):
        return json.loads(self.ask("plugins_listing")[1])["checkpoints"]["enabled"]

    def stop(self):
        os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(120)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(120)


@pytest.fixture(scope="module")
def logdir(tmp_path_factory):
    return tmp_path_factory.mktemp("logs")


@pytest.fixture(scope="module")
def board(logdir, tmp_path_factory):
    info = tmp_path_factory.mktemp("info")
    line = [sys.executable, "setup.py", "-q", "egg_info", "--egg-base", str(info)]
    subprocess.run(line, cwd=ROOT, check=True, capture_output=True)
    (logdir / "nothing" / "below").mkdir(parents=True)
    board = TensorBoard(logdir, info)
    yield board
    board.stop()


@pytest.fixture(scope="module")
def was_active(board):
    """Whether the tab was there before any checkpoint was."""
    return board.is_active()


@pytest.fixture(scope="module")
def job(board, was_active, logdir, evil_job):
    """A model_dir below --logdir: (its name there, the folder)."""
    folder = logdir / "runs" / "<b>job"
    folder.mkdir(parents=True)
    for path in evil_job.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return "runs/<b>job", folder


def until(true):
    end = time.monotonic() + 300
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_it_is_active_once_there_are_checkpoints(board, was_active, job):
    assert not was_active

    def is_active():
        board.plugin("state", directory="unknown")  # so that it looks anew
        return board.is_active()

    until(is_active)
    until(lambda: json.loads(board.plugin("directories")[1]) == {"directories": [job[0]]})


def test_it_answers_what_describe_doctor_and_diff_say(board, job):
    name, folder = job
    asked = {"directory": name, "checkpoint": "model.ckpt-300"}
    both = {"other_directory": name, "other": "model.ckpt-600"}
    found = json.loads(board.plugin("data", **asked, **both, values="all")[1])
    said = describe(folder / "model.ckpt-300", values=True)
    assert found["checkpoint"]["variables"]["name"] == [row.name for row in said.variables]
    stds = [None if row.values is None else row.values.std for row in said.variables]
    assert found["checkpoint"]["values"]["std"] == stds
    rows = [row["name"] for row in found["model_dir"]["checkpoints"]]
    assert rows == [row.name for row in doctor(folder).checkpoints]
    changes = diff(folder / "model.ckpt-300", folder / "model.ckpt-600", values=True).changes
    assert [change["name"] for change in found["difference"]["changes"]] == [
        change.name for change in changes
    ]
    latest = json.loads(board.plugin("data", directory=name)[1])
    assert latest["checkpoint"]["step"] == 600 and "values" not in latest["checkpoint"]


def test_values_are_read_only_when_they_are_asked_for(board, job, logdir):
    _, folder = job
    other = logdir / "damaged"
    other.mkdir(exist_ok=True)
    for path in folder.glob("model.ckpt-600*"):
        (other / path.name).write_bytes(path.read_bytes())
    (data,) = other.glob("*.data-*")
    data.write_bytes(bytes(data.stat().st_size))
    asked = {"directory": "damaged", "checkpoint": "model.ckpt-600"}
    assert board.plugin("data", **asked)[0] == 200
    code, text = board.plugin("data", **asked, values="all")
    assert code == 409 and "checksum is wrong" in json.loads(text)["error"]
    code, text = board.plugin("data", **asked, values="=net/dense/kernel")
    assert code == 409
    for path in other.iterdir():
        path.unlink()
    other.rmdir()


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"])
@pytest.mark.parametrize("route", ["directories", "state", "data", "index.js", "app.css"])
def test_only_get_is_answered(board, job, route, method):
    code, text = board.plugin(route, method=method, directory=job[0])
    assert code == 405
    assert "variables" not in text


@pytest.fixture(scope="module")
def outside(job, logdir, save, tmp_path_factory):
    """A model_dir elsewhere, to which links below --logdir lead."""
    folder = tmp_path_factory.mktemp("elsewhere")
    save(folder / "secret", {"secret": np.ones(3)})
    (logdir / "link").symlink_to(folder)
    (logdir / "linked_files").mkdir()
    (logdir / "linked_state").mkdir()
    (logdir / "linked_data").mkdir()
    for path in folder.glob("secret*"):
        (logdir / "linked_files" / path.name).symlink_to(path)
        copied = logdir / "linked_state" / path.name
        copied.write_bytes(path.read_bytes())
        data = logdir / "linked_data" / path.name
        data.symlink_to(path) if ".data" in path.name else data.write_bytes(path.read_bytes())
    (logdir / "linked_state" / "checkpoint").symlink_to(folder / "checkpoint")
    return folder


def test_links_that_lead_out_are_not_followed(board, job, outside):
    assert board.plugin("state", directory="unknown")[0] == 404  # so that it looks anew
    assert json.loads(board.plugin("directories")[1]) == {"directories": [job[0]]}


@pytest.mark.parametrize("scheme", ["", "file://", "FILE://"])
def test_they_are_not_followed_however_logdir_is_spelled(job, outside, logdir, scheme):
    from tensorboard.plugins.base_plugin import TBContext
    from werkzeug.test import Client

    from estimator_ckpt.reporting.tensorboard import CheckpointsPlugin

    plugin = CheckpointsPlugin(TBContext(logdir=f"{scheme}{logdir}"))
    answered = Client(plugin.get_plugin_apps()["/directories"]).get("/")
    assert json.loads(answered.data) == {"directories": [job[0]]}


@pytest.mark.parametrize("route", ["state", "data"])
@pytest.mark.parametrize(
    "path",
    [
        *("..", "../", "../..", "/", "/etc", "{outside}", "{relative}", "{job}/../../link"),
        *("{job}/..", "{job}/../{name}", "./{job}", "{job}/", "{absolute}", "link", "link/."),
        *("linked_files", "linked_state", "linked_data", "", "%2e%2e", "..%2f..", "\0", "nothing"),
        *("{job}\0", "file://{outside}", "//{outside}", "~", "runs"),
    ],
)
def test_nothing_but_what_was_found_can_be_asked(board, job, outside, logdir, route, path):
    path = path.format(
        outside=outside,
        relative=os.path.relpath(outside, logdir),
        job=job[0],
        name=job[1].name,
        absolute=job[1],
    )
    code, text = board.plugin(route, directory=path)
    assert code == 404 and "secret" not in text.replace(path, "")
    code, text = board.plugin("data", directory=job[0], other_directory=path, other="secret")
    assert code == 404


@pytest.mark.parametrize(
    "name",
    ["../{outside}/secret", "{outside}/secret", "../../link/secret", "", ".", "..", "model.ckpt-3"],
)
def test_no_checkpoint_but_one_of_the_directory_can_be_asked(board, job, outside, name):
    name = name.format(outside=outside)
    found = json.loads(board.plugin("data", directory=job[0], checkpoint=name)[1])
    assert "no complete checkpoint" in found["trouble"]
    assert found["checkpoint"]["prefix"] == str(job[1] / "model.ckpt-600")
    code, text = board.plugin("data", directory=job[0], other_directory=job[0], other=name)
    assert code == 404 and "variables" not in text


def test_what_it_answers_is_no_page(board, job):
    for route in ("directories", "data", "index.js"):
        address = f"{board.url}data/plugin/checkpoints/{route}?directory={job[0]}"
        with urllib.request.urlopen(
            urllib.parse.quote(address, safe=":/?=&"), timeout=600
        ) as found:
            assert found.headers["Content-Security-Policy"] == "default-src 'none'"
            assert found.headers["X-Content-Type-Options"] == "nosniff"
            assert found.headers["Content-Type"].split(";")[0] in (
                *("application/json", "text/javascript"),
            )


def test_the_tab_shows_it_and_sees_what_a_job_saves(board, job, save, open_page, axe):
    _, folder = job
    page = open_page(f"{board.url}#checkpoints", height=1100)
    frame = page.frame_locator("iframe")
    frame.get_by_role("tab", name="Time line").wait_for()
    assert frame.locator("h1").text_content() == "<b>job/model.ckpt-600"
    said = describe(folder / "model.ckpt-600")
    assert f"{len(said.variables)} variables" in frame.locator(".facts").text_content()
    frame.get_by_role("tab", name="Variables").click()
    rows = frame.locator(".variables .vbody [role=row] > :first-child")
    rows.first.wait_for()
    assert rows.all_text_contents() == [escaped(row.name) for row in said.variables]
    rows.nth(0).click()
    frame.get_by_role("button", name="Read its values").click()
    frame.locator("[data-value=norm]").wait_for()
    frame.get_by_role("button", name="Close").click()
    frame.get_by_label("Compare with").select_option(label="model.ckpt-100")
    frame.get_by_role("tab", name="Differences").click()
    changes = diff(folder / "model.ckpt-600", folder / "model.ckpt-100").changes
    frame.locator(".chip").first.wait_for()
    chips = frame.locator(".chip").all_text_contents()
    assert chips[1] == f"{len(changes)} changed"
    frame.get_by_role("button", name="Read all values").click()
    frame.get_by_text("max ").first.wait_for()
    frame.get_by_role("tab", name="Time line").click()
    frame.locator(".timeline .sparkline").first.wait_for()
    inside = next(each for each in page.frames if "plugin_entry" in each.url)
    assert serious(inside, axe) == []
    save(folder / "model.ckpt-700", {"new/weight": np.ones(3), "global_step": np.int64(700)})
    frame.locator("th", has_text="model.ckpt-700").wait_for()
    frame.locator("h1", has_text="<b>job/model.ckpt-700").wait_for()
    frame.get_by_role("tab", name="Bytes").click()
    frame.locator("ol.ranks", has_text="new/weight").wait_for()
    assert page.locator("img[src=x]").count() == frame.locator("img").count() == 0
