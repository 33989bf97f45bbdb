"""Several checkpoints or folders on one command line: which are meant, and a row for each."""

from __future__ import annotations

import codecs
import csv
import io
import json
import re

import fleets
import pytest
import screens

from estimator_ckpt.checkpoint import BundleWriter
from estimator_ckpt.checkpoint.folders import checkpoints_in, with_checkpoints
from estimator_ckpt.cli import main

VERBS = ["inspect", "verify", "doctor"]


@pytest.fixture(autouse=True)
def in_threads(monkeypatch):
    fleets.in_threads(monkeypatch)


@pytest.fixture
def jobs_here(tmp_path, monkeypatch):
    """jobs/job0000 and jobs/job0001, of two checkpoints each, and jobs/deep/er/x."""
    monkeypatch.chdir(tmp_path)
    fleets.make("jobs", 2, steps=(9, 10))
    fleets.job("jobs/deep/er/x", steps=(3,))
    (tmp_path / "jobs" / "none").mkdir()
    return tmp_path


def rows(result):
    titles, *lines = (line.split("\t") for line in result.out.splitlines())
    return sorted((dict(zip(titles, line)) for line in lines), key=lambda row: row["model_dir"])


def paths(result):
    return [row["model_dir"] for row in rows(result)]


@pytest.mark.parametrize("verb", VERBS)
def test_several_are_a_row_each(command, jobs_here, verb):
    result = command(verb, "jobs/job0000", "jobs/job0001", "jobs/deep/er/x/model.ckpt-3")
    assert result.code == 0, result.err
    latest = "" if verb == "doctor" else "/model.ckpt-10"
    assert paths(result) == [
        "jobs/deep/er/x/model.ckpt-3",
        f"jobs/job0000{latest}",
        f"jobs/job0001{latest}",
    ]


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("flag", ["--recursive", "-r"])
def test_recursive_finds_each_folder_with_checkpoints(command, jobs_here, verb, flag):
    result = command(verb, "jobs", flag)
    assert result.code == 0, result.err
    latest = [""] * 3 if verb == "doctor" else ["/model.ckpt-3"] + ["/model.ckpt-10"] * 2
    folders = ["jobs/deep/er/x", "jobs/job0000", "jobs/job0001"]
    assert paths(result) == [each + last for each, last in zip(folders, latest)]


@pytest.mark.parametrize("verb", ["inspect", "verify"])
def test_all_is_each_checkpoint_of_a_folder(command, jobs_here, verb):
    result = command(verb, "jobs/job0000", "--all")
    assert set(paths(result)) == {f"jobs/job0000/model.ckpt-{step}" for step in (9, 10)}
    assert len(paths(command(verb, "jobs", "--all", "--recursive"))) == 5


def test_verify_all_finds_the_damaged_one(command, jobs_here):
    target = next((jobs_here / "jobs" / "job0000").glob("model.ckpt-9.data*"))
    data = target.read_bytes()
    target.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    assert command("verify", "jobs/job0000").code == 0
    result = command("verify", "jobs/job0000", "--all")
    assert result.code == 1
    assert {row["model_dir"][-2:]: row["status"] for row in rows(result)} == {
        "-9": "no",
        "10": "done",
    }
    assert "1 damaged" in result.err and "1 undamaged" in result.err


@pytest.mark.parametrize("verb", VERBS)
def test_what_can_not_be_read_is_a_row_and_stops_nothing(command, jobs_here, verb):
    result = command(verb, "jobs/job0000", "jobs/none", "jobs/job0001", "nowhere")
    assert result.code == 2
    found = rows(result)
    assert [row["status"] for row in found] == ["done", "done", "failed", "failed"]
    assert all(bool(row["problem"]) == (row["status"] == "failed") for row in found)


@pytest.mark.parametrize("verb", VERBS)
def test_the_formats_say_the_same(command, jobs_here, monkeypatch, verb):
    monkeypatch.setenv("COLUMNS", "160")
    line = (verb, "jobs/job0000", "jobs/job0001")
    found = paths(command(*line))
    read = csv.DictReader(io.StringIO(command(*line, "--format=csv").out))
    assert sorted(row["model_dir"] for row in read) == found
    told = [json.loads(line) for line in command(*line, "--format=json").out.splitlines()]
    assert sorted(row["model_dir"] for row in told) == found
    assert command(*line, "--json").out.count("\n") == 2
    titles, rule, *others = command(*line, "--format=md").out.splitlines()
    assert titles.startswith("| model_dir | status |") and set(rule) <= set("|-: ")
    assert sorted(row.split(" | ")[0][2:].replace("\\", "") for row in others) == found
    table = command(*line, "--format=table").out
    assert all(path in table for path in found) and "\t" not in table
    assert paths(command(*line, "--format=tsv")) == found


@pytest.mark.parametrize("verb", [*VERBS, "diff"])
def test_the_formats_of_one(command, jobs_here, verb):
    operands = ["jobs/job0000"] if verb != "diff" else ["jobs/job0000", "jobs/deep/er/x"]
    piped = command(verb, *operands)
    assert command(verb, *operands, "--format=tsv") == piped
    read = list(csv.reader(io.StringIO(command(verb, *operands, "--format=csv").out)))
    assert read[0] == piped.out.splitlines()[0].split("\t")
    assert command(verb, *operands, "--format=json") == command(verb, *operands, "--json")
    assert command(verb, *operands, "--format=md").out.startswith("| ")
    wrong = command(verb, *operands, "--format=xml")
    assert (wrong.code, wrong.out) == (2, "")
    assert "--format=xml: expected 'table', 'tsv', 'json', 'md' or 'csv'" in wrong.err


@pytest.mark.parametrize(
    ("line", "summary"),
    [
        ("inspect job --all", "2 checkpoints: 2 read"),
        ("verify job --all", "2 checkpoints: 2 undamaged"),
        ("inspect job both/ckpt", "2 checkpoints: 2 read"),
        ("doctor job untidy", "2 model_dirs: "),
        ("verify --from-file=dirs.txt", "1 model_dir: 1 undamaged"),
    ],
)
def test_rows_are_called_what_they_are(command, tmp_path, monkeypatch, line, summary):
    screens.make(tmp_path)
    (tmp_path / "dirs.txt").write_text("job\n")
    monkeypatch.chdir(tmp_path)
    assert summary in command(*line.split()).err


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("more", [(), ("--workers=1",), ("--format=csv",), ("--json",)])
def test_a_report_is_written_of_one_operand_too(command, jobs_here, tmp_path, verb, more):
    written = tmp_path / "rows.jsonl"
    ran = command(verb, "jobs/job0000", f"--report={written}", *more)
    (row,) = map(json.loads, written.read_text().splitlines())
    assert row["verb"] == verb and row["model_dir"].startswith("jobs/job0000")
    assert row["model_dir"] in ran.out


NAMES = [
    'a,"b"', "c|d", "e\nf", "e\\nf", "g\th", "g\\th", " i ", "*j*_k_`l`[m](n)<o>&amp;",
    "p\u202eq\x1b[31m", "r\rs", "tu\r\nv", "\\", "\\\\", "größe", "=1+1",
]  # fmt: skip


@pytest.mark.parametrize("values", [(), ("--values",)])
def test_each_format_has_the_names_as_they_are(command, tmp_path, values):
    prefix = str(tmp_path / "ckpt")
    with BundleWriter(prefix) as writer:
        for name in sorted(NAMES):
            writer.put(name, writer.append(1, (1,), [b"\0" * 4]))
        writer.commit()

    def shown(how):
        return command("inspect", prefix, f"--format={how}", *values).out

    rows = csv.reader(io.StringIO(shown("csv"), newline=""))
    assert [row[0] for row in rows][1:] == sorted(NAMES)
    assert [row["name"] for row in json.loads(shown("json"))["variables"]] == sorted(NAMES)
    written = [line.split("\t")[0] for line in shown("tsv").splitlines()[1:]]
    assert [codecs.decode(each.encode("latin-1"), "unicode_escape") for each in written] == sorted(
        NAMES
    )
    # What Markdown shows, with its own escapes taken away, is what the columns between tabs have.
    lines = shown("md").split("\n")[2:-1]
    cells = [re.split(r"(?<!\\)(?:\\\\)*\|", line)[1][1:-1] for line in lines]
    assert [re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", cell) for cell in cells] == written
    bare = re.sub(r"\\[!-/:-@\[-`{-~]", "", "".join(cells))
    assert bare.isprintable() and not set(bare) & set("*_`[]<>&|~\\")


def test_nothing_below_a_folder_is_told(command, jobs_here):
    result = command("verify", "-r", "jobs/none")
    assert (result.code, result.out) == (2, "")
    assert "no checkpoints in or below 'jobs/none'" in result.err


@pytest.mark.parametrize("flag", ["--values", "--tree", "--show=w"])
def test_what_shows_one_checkpoint_is_refused_for_several(command, jobs_here, flag):
    result = command("inspect", "jobs/job0000", "jobs/job0001", flag)
    assert (result.code, result.out) == (2, "")
    assert "shows one checkpoint" in result.err


def test_folders_of_others(jobs_here):
    saved = jobs_here / "model"
    (saved / "variables").mkdir(parents=True)
    (saved / "saved_model.pb").touch()
    (saved / "variables" / "variables.index").touch()
    assert list(with_checkpoints("model")) == ["model"]
    (jobs_here / "loop").symlink_to(jobs_here)
    assert len(list(with_checkpoints("."))) == 4
    for step in (100, 20):
        (saved / f"model.ckpt-{step}.index").touch()
    assert checkpoints_in("model") == ["model/model.ckpt-20", "model/model.ckpt-100"]


def test_a_name_that_no_file_can_have_is_a_row_with_its_problem(tmp_path, capsys):
    assert main.main(["verify", str(tmp_path / "a\0b"), str(tmp_path / "c"), "--json"]) == 2
    assert capsys.readouterr().out.count('"failed"') == 2
