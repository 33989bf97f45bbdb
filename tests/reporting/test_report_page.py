"""The page of a report in a browser: it shows what `describe`, `diff` and `doctor` say."""

from __future__ import annotations

import collections
import math
import os
import pathlib
import tempfile

import made_checkpoints
import numpy as np
import pytest
from browser import LONGEST, serious
from hypothesis import HealthCheck, Phase, given, settings

from estimator_ckpt import VariableMap, describe, diff, doctor, report
from estimator_ckpt.cli import main
from estimator_ckpt.messages import escaped
from estimator_ckpt.reporting.making import Report

pytestmark = pytest.mark.slow
VIEWS = ("Bytes", "Variables", "Time line", "Differences", "Map")
MAP = """\
accept: certain

[certain]
net/dense/kernel -> tower/dense/kernel  # the only ones
net/same -> tower/same  # the only ones

[likely]
net/embedding/table -> tower/table  # an order says so

[asked]
question 1: they look alike
sources: {data}&amp;, tab\there
targets: one, two
answer: ?
a: in this order
a  {data}&amp; -> one
a  tab\there -> two
b: the other way round
b  {data}&amp; -> two
b  tab\there -> one

[unmapped in the source]
<img src=x onerror=alert(1)>  # nothing fits
"""


@pytest.fixture(scope="module")
def pages(evil_job, tmp_path_factory):
    """A report of everything there is."""
    folder = tmp_path_factory.mktemp("pages")
    made = VariableMap.parse(MAP.replace("tab\there", "net/dense/bias"))
    first, last = evil_job / "model.ckpt-300", evil_job / "model.ckpt-600"
    data = {
        **report(evil_job, values=True).data,
        "checkpoint": report(first, values=True).data["checkpoint"],
        "difference": report(first, last, values=True).data["difference"],
        "map": report(first, map=made).data["map"],
    }
    Report("all", data).write(folder / "all.html")
    return folder


def go(page, view):
    page.get_by_role("tab", name=view).click()
    drawn(page)


def drawn(page):
    """Waits until it has drawn: what it draws, it draws in the next frame, or the one after."""
    frames = "requestAnimationFrame(() => requestAnimationFrame(() => requestAnimationFrame(done)))"
    page.evaluate(f"() => new Promise(done => {frames})")


def cells(page, table):
    rows = page.locator(f"[role=grid][aria-label='{table}'] .vbody [role=row]")
    return rows.evaluate_all("rows => rows.map(row => [...row.children].map(c => c.textContent))")


def shown(number):
    """A number of the page, as a float."""
    words = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
    return words[number] if number in words else float(number.split(" ")[0].replace(",", ""))


def test_variables_are_those_of_describe(open_page, pages, evil_job):
    page = open_page(pages / "all.html", height=1400)
    go(page, "Variables")
    said = describe(evil_job / "model.ckpt-300", values=True).variables
    rows = cells(page, "Variables")
    assert [row[0] for row in rows] == [escaped(variable.name) for variable in said]
    assert [row[2] for row in rows] == [str(list(variable.shape)) for variable in said]
    assert [row[4] for row in rows] == [f"{variable.bytes:,}" for variable in said]
    wanted = ("net/dense/kernel", "net/dense/bias", "net/embedding/table", "global_step")
    for number, variable in enumerate(said):
        if variable.name not in wanted:
            continue
        page.locator(".variables .vbody [role=row]").nth(number).click()
        detail = page.locator("aside.detail")
        assert detail.locator("h2").text_content() == variable.name
        for key in ("min", "max", "mean", "std", "zeros", "NaN", "Inf"):
            text = detail.locator(f"[data-value='{key}']").text_content()
            expected = getattr(variable.values, key.lower())
            assert math.isclose(shown(text), expected, rel_tol=1e-3, abs_tol=1e-12), key
    row = [variable.name for variable in said].index("net/embedding/table")
    page.locator(".variables .vbody [role=row]").nth(row).click()
    assert page.locator("[data-value='dead rows']").text_content() == "4 of 40 rows are all zeros"
    row = [variable.name for variable in said].index("net/dense/kernel")
    page.locator(".variables .vbody [role=row]").nth(row).click()
    page.get_by_role("button", name="net/dense/kernel/Adam_1").click()
    assert page.locator("aside.detail h2").text_content() == "net/dense/kernel/Adam_1"


def test_variables_are_sorted_filtered_and_searched(open_page, pages, evil_job):
    page = open_page(pages / "all.html", height=1400)
    go(page, "Variables")
    said = describe(evil_job / "model.ckpt-300", values=True).variables
    page.get_by_role("button", name="bytes", exact=True).click()
    sizes = [shown(row[4]) for row in cells(page, "Variables")]
    page.locator("[aria-sort=descending]").first.wait_for()
    drawn(page)
    sizes = [shown(row[4]) for row in cells(page, "Variables")]
    assert sizes == sorted((variable.bytes for variable in said), reverse=True)
    page.get_by_label("Role").select_option("slot")
    drawn(page)
    slots = {variable.name for variable in said if variable.role == "slot"}
    assert {row[0] for row in cells(page, "Variables")} == slots and len(slots) == 2
    page.get_by_label("Role").select_option("")
    page.get_by_label("Values").select_option("bad")
    drawn(page)
    assert [row[0] for row in cells(page, "Variables")] == ["net/dense/bias"]
    page.get_by_label("Values").select_option("")
    for text, found in (("DENSE", "dense"), (r"/^net\/.*kernel$/", "net/dense/kernel")):
        page.get_by_label("Search names").fill(text)
        drawn(page)
        names = {variable.name for variable in said if found in variable.name}
        names = {"net/dense/kernel"} if text.startswith("/") else names
        assert {row[0] for row in cells(page, "Variables")} == set(map(escaped, names))


def test_names_are_text_in_every_view(open_page, pages):
    page = open_page(pages / "all.html")
    for view in VIEWS:
        go(page, view)
        drawn(page)
        assert page.locator("img, iframe, object, embed, #app script").count() == 0
    go(page, "Bytes")
    for tile in page.locator(".tile").all()[:3]:
        tile.hover()
    assert "<img src=x onerror=alert(1)>" in page.locator("ol.ranks").text_content()
    assert "</script><script>alert(2)</script>" in page.content().replace("&lt;", "<").replace(
        "&gt;", ">"
    )


def test_bytes_add_up_and_can_be_gone_through_by_keyboard(open_page, pages, evil_job):
    page = open_page(pages / "all.html")
    go(page, "Bytes")
    said = describe(evil_job / "model.ckpt-300")
    crumbs = page.locator(".crumbs")
    assert f"{len(said.variables)} variables" in crumbs.text_content()
    labels = page.locator(".tile").evaluate_all("all => all.map(e => e.getAttribute('aria-label'))")
    assert labels[0].startswith("net: ")
    tiles = page.locator(".tiles")
    tiles.locator("[tabindex='0']").focus()
    focused = "document.activeElement.getAttribute('aria-label')"
    first = page.evaluate(focused)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    assert page.evaluate(focused) in labels and page.evaluate(focused) != first
    tiles.locator(".tile").first.focus()
    page.keyboard.press("Enter")
    inside = [variable for variable in said.variables if variable.name.startswith("net/")]
    page.locator(".crumbs", has_text="net").wait_for()
    assert f"{len(inside)} variables" in crumbs.text_content()
    drawn(page)
    assert page.evaluate(focused).startswith("dense: ")
    page.keyboard.press("Escape")
    drawn(page)
    assert f"{len(said.variables)} variables" in crumbs.text_content()
    page.keyboard.press("/")
    page.keyboard.type("embedding")
    drawn(page)
    assert page.locator("ol.ranks button").count() == 1


def test_tables_and_tabs_go_by_keyboard(open_page, pages, evil_job):
    page = open_page(pages / "all.html")
    page.get_by_role("tab", name="Bytes").click()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.id") == "tab-variables"
    page.locator("[role=grid][aria-label=Variables]").focus()
    for key in ("ArrowDown", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    said = describe(evil_job / "model.ckpt-300").variables
    assert page.locator("aside.detail h2").text_content() == escaped(said[2].name)
    page.locator("aside.detail button").first.focus()
    page.keyboard.press("Escape")
    assert page.locator("aside.detail").is_hidden()


def test_the_time_line_is_what_doctor_says(open_page, pages, evil_job):
    page = open_page(pages / "all.html", height=1600)
    go(page, "Time line")
    said = doctor(evil_job)
    rows = page.locator(".timeline tbody tr")
    names = rows.locator("th").evaluate_all("all => all.map(e => e.firstChild.textContent)")
    assert names == [row.name for row in reversed(said.checkpoints)]
    steps = rows.locator("td:nth-child(2)").all_text_contents()
    assert list(map(int, steps)) == [row.step for row in reversed(said.checkpoints)]
    assert rows.nth(0).locator("td.gap").count() == 1 and rows.locator("td.gap").count() == 1
    answers = rows.nth(0).locator(".answer").all_text_contents()
    last = said.checkpoints[-1]
    assert answers == [
        *(last.tf1_saver, last.raw_estimator, last.wrapped_estimator, last.tf2_checkpoint)
    ]
    problems = page.locator(".findings .remedy").all_text_contents()
    assert [text.removeprefix("Remedy: ") for text in problems] == [
        finding.remedy for finding in said.findings
    ]
    found = {row[0]: row for row in cells(page, "Norms and updates over the steps")}
    kernel = describe(evil_job, values=True).variables
    table = next(row for row in kernel if row.name == "net/same")
    norm = math.sqrt((table.values.std**2 + table.values.mean**2) * 5)
    assert math.isclose(shown(found["net/same"][1]), norm, rel_tol=1e-3)
    assert shown(found["net/same"][3]) == 0


def test_differences_are_those_of_diff(open_page, pages, evil_job):
    page = open_page(pages / "all.html", height=1600)
    go(page, "Differences")
    said = diff(evil_job / "model.ckpt-300", evil_job / "model.ckpt-600", values=True)
    chips = page.locator(".chip").all_text_contents()
    kinds = collections.Counter(change.kind for change in said.changes)
    assert chips == [f"{said.equal} equal", f"{kinds['values']} changed"]
    page.get_by_label("Order", exact=True).select_option("most")
    drawn(page)
    rows = page.locator(".difference .vrow")
    texts = rows.evaluate_all("all => all.map(r => [...r.children].map(c => c.textContent))")
    by_name = {change.name: change for change in said.changes}
    assert len(texts) == len(by_name)
    for first, kind, second in texts:
        name = next(name for name in by_name if first.startswith(f"{escaped(name)} ["))
        assert kind == "changed"
        largest = second.split("max ")[1].split(",")[0]
        expected = by_name[name].max_difference
        assert shown(largest) == pytest.approx(expected, rel=1e-3, nan_ok=True)
    page.get_by_role("button", name="changed").click()
    drawn(page)
    assert page.locator(".difference .vrow.empty").count() == 1


def test_a_map_is_answered_edited_saved_and_taken(open_page, save, tmp_path):
    rng = np.random.default_rng(0)
    names = ("net/dense/kernel", "net/same", "net/embedding/table", "{data}&amp;", "net/dense/bias")
    values = {name: rng.normal(size=(4, 2)).astype("f") for name in names}
    save(tmp_path / "old" / "m", {**values, "global_step": np.int64(3)})
    (tmp_path / "map.txt").write_text(MAP.replace("tab\there", "net/dense/bias"))
    line = f"report {tmp_path}/old/m --map={tmp_path}/map.txt -o {tmp_path}/map.html"
    assert main.main(line.split()) == 0
    page = open_page(tmp_path / "map.html")
    drawn(page)
    assert page.locator(".names.left .name").count() == 6
    page.get_by_role("radio", name="the other way round").check()
    drawn(page)
    assert page.locator(".wire.class-asked").count() == 2
    page.locator(".names.left").get_by_role("button", name="net/embedding/table").click()
    assert "an order says so" in page.locator("aside.pair").text_content()
    page.get_by_role("button", name="Pin this line").click()
    page.locator(".names.left").get_by_role("button", name="net/same").click()
    page.get_by_role("button", name="Leave it out").click()
    page.locator("#accept").select_option("likely")
    page.get_by_role("button", name="Undo").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Save map.txt").click()
    download.value.save_as(tmp_path / "edited.txt")
    made = VariableMap.parse((tmp_path / "edited.txt").read_text())
    assert made.accept == "certain" and made.asked[0].answer == 1
    assert made.left_out == ("net/same",)
    assert made.pairs() == {
        "net/dense/kernel": "tower/dense/kernel",
        "net/embedding/table": "tower/table",
        "{data}&amp;": "two",
        "net/dense/bias": "one",
    }
    line = f"rename {tmp_path}/old/m {tmp_path}/new/m --rename=@{tmp_path}/edited.txt"
    assert main.main(line.split()) == 0
    renamed = {row.name for row in describe(tmp_path / "new" / "m").variables}
    assert renamed == {*made.pairs().values(), "global_step"}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_each_view_fits_each_width_and_has_no_serious_finding(open_page, pages, axe, theme):
    for width in (360, 768, 1280, 1600):
        page = open_page(pages / "all.html", width=width, theme=theme)
        for view in VIEWS:
            go(page, view)
            drawn(page)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (view, width)
            if view == "Variables":
                page.locator(".variables .vbody [role=row]").nth(1).click()
            if width in {"light": (768, 1600), "dark": (360, 1280)}[theme]:
                assert serious(page, axe) == [], (view, width)
            if view == "Variables":
                page.get_by_role("button", name="Close").click()


@settings(
    max_examples=8,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(made_checkpoints.checkpoints())
def test_whatever_a_checkpoint_is_it_is_shown(chromium, made):
    said = []
    with tempfile.TemporaryDirectory() as folder, chromium.new_context() as context:
        prefix = made.write(os.path.join(folder, "ckpt"))
        path = pathlib.Path(folder, "report.html")
        report(prefix, prefix, values=True, output=path)
        page = context.new_page()
        page.set_default_timeout(LONGEST)
        page.on("console", lambda message: message.type == "error" and said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(path.as_uri())
        rows = describe(prefix).variables
        for view in ("Bytes", "Differences", "Variables"):
            go(page, view)
            drawn(page)
        shown = page.locator(".variables .vbody [role=row] > :first-child")
        names = [escaped(row.name) for row in rows]
        assert shown.all_text_contents() == names[: shown.count()]
        assert shown.count() == len(rows) or shown.count() > 15
        if rows:
            shown.nth(0).click()
            assert page.locator("aside.detail h2").text_content() == names[0]
    assert said == []


SEEN = """all => all.map(name => name.dataset.short ?? name.textContent)"""
FIT = """all => all.every(name => {
  const { short } = name.dataset;
  name.removeAttribute("data-short");
  const [room, whole] = [name, name.firstChild].map(e => e.getBoundingClientRect().width);
  const each = whole / name.textContent.length;
  return (short ?? name.textContent).length * each <= room + 0.1;
})"""
PAIRS = [
    ("x1/a/model.ckpt-30", "x2/a/model.ckpt-30"),
    ("job/model.ckpt-100", "job/model.ckpt-200"),
    ("jobs/one/with/a/long/way/down/model.ckpt-30", "jobs/two/with/a/long/way/down/model.ckpt-30"),
    (
        "one_rather_long_name_of_a_job_1/model.ckpt-5",
        "one_rather_long_name_of_a_job_2/model.ckpt-5",
    ),
]


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_two_checkpoints_are_told_apart_wherever_they_are_named(open_page, save, tmp_path, width):
    values = {"w": np.ones(3, "f"), "global_step": np.int64(1)}
    for number, pair in enumerate(PAIRS):
        for side, name in enumerate(pair):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            save(tmp_path / name, {**values, "w": values["w"] * side})
        first, second = (tmp_path / name for name in pair)
        report(first, second, output=tmp_path / f"{number}.html")
        page = open_page(tmp_path / f"{number}.html", width=width)
        go(page, "Differences")
        one, other = page.locator(".sides .parts").evaluate_all(SEEN)
        assert one != other
        titles = page.locator(".sides .parts").evaluate_all("all => all.map(e => e.title)")
        assert titles == [str(first), str(second)]
        if width == 1280:
            assert (one, other) == tuple(pair) or len(pair[0].split("/")) > 3
        heading, facts = page.locator("h1").text_content(), page.locator(".facts").text_content()
        assert str(first).endswith(heading) and f"compared with {heading}:" not in facts
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_bars_are_of_what_the_terminal_has_bars_of(open_page, save, tmp_path):
    def values(scale, step):
        found = {name: np.array([scale * by, 0], "f") for name, by in WEIGHTS.items()}
        return {**found, "nan": np.array([scale / 0 if scale else 0], "f"),
                "global_step": np.int64(step), "count": np.int32(step)}  # fmt: skip

    WEIGHTS = {"dense/kernel": 1.0, "dense/bias": 0.25}
    with np.errstate(all="ignore"):
        save(tmp_path / "m-0", values(np.float64(0), 0))
        save(tmp_path / "m-20", values(np.float64(2), 20))
    report(tmp_path / "m-0", tmp_path / "m-20", values=True, output=tmp_path / "r.html")
    page = open_page(tmp_path / "r.html")
    go(page, "Differences")
    rows = page.locator(".difference .vrow:not(.scope)")
    bars = "all => Object.fromEntries(all.map(r => [r.querySelector('.parts').textContent, "
    bars += "r.querySelector('.bar.none') ? '' : r.querySelector('.bar i').style.width]))"
    expected = {"kernel": "100%", "bias": "25%", "nan": "", "global_step": "", "count": ""}
    assert rows.evaluate_all(bars) == expected
    page.set_viewport_size({"width": 360, "height": 800})
    drawn(page)
    assert page.locator(".difference .parts").evaluate_all(FIT)


def deep(kinds):
    scopes = [f"bert/encoder/layer_{at}/attention/output" for at in range(12)] + ["head/dense"]
    names = [f"{scope}/{part}" for scope in scopes for part in ("kernel", "bias")]
    return [name + kind for name in names for kind in kinds]


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("kinds", [("", "/ExponentialMovingAverage"), ("", "/Adam", "/Adam_1")])
def test_what_is_elided_of_names_leaves_them_distinct(open_page, save, tmp_path, kinds, width):
    names = deep(kinds)
    save(tmp_path / "m", {name: np.ones(2, "f") for name in names})
    report(tmp_path / "m", values=True, output=tmp_path / "r.html")
    page = open_page(tmp_path / "r.html", width=width, height=2600)
    go(page, "Variables")
    parts = page.locator(".variables .vbody [role=row] > :first-child .parts")
    seen = parts.evaluate_all(SEEN)
    assert parts.all_text_contents() == parts.evaluate_all("all => all.map(e => e.title)")
    assert set(parts.all_text_contents()) <= set(names) and len(seen) > 30
    assert len(set(seen)) == len(seen)
    assert width > 360 or any("…" in name for name in seen)
    assert parts.evaluate_all(FIT)


def test_names_are_on_one_line_with_nothing_that_is_not_seen(open_page, save, tmp_path):
    names = ["line\nbreak/w", "esc\x1b[31m/w", "bidi\u202eeman/w", "tab\tw", "nbsp\xa0w"]
    for step in (1, 2):
        save(tmp_path / f"m-{step}", {name: np.full(2, step, "f") for name in names})
    first, second = tmp_path / "m-1", tmp_path / "m-2"
    text = "accept: certain\n[certain]\n" + "".join(f"{n} -> {n}\n" for n in names[1:3])
    data = report(first, second, values=True).data
    data = {**data, "map": report(first, second, map=VariableMap.parse(text)).data["map"]}
    Report("r", data).write(tmp_path / "r.html")
    page = open_page(tmp_path / "r.html")
    raw = "() => /[\\n\\t\\x1b\\u202e\\xa0]/.test(document.title "
    raw += "+ document.querySelector('#app').textContent "
    raw += "+ [...document.querySelectorAll('#app [title]')].map(e => e.title).join(''))"
    for view in ("Bytes", "Variables", "Differences", "Map"):
        go(page, view)
        assert not page.evaluate(raw), view
    go(page, "Variables")
    shown = page.locator(".variables .vbody [role=row] > :first-child").all_text_contents()
    assert set(shown) == set(map(escaped, names))
    assert all(row["height"] <= 28 for row in page.locator(".variables .parts").evaluate_all(
        "all => all.map(e => ({height: e.getBoundingClientRect().height}))"))  # fmt: skip
    page.evaluate("navigator.clipboard.writeText = text => { window.copied = text; }")
    for row in range(len(names)):
        page.locator(".variables .vbody [role=row]").nth(row).click()
        page.get_by_role("button", name="Copy name").click()
        assert escaped(page.evaluate("window.copied")) == shown[row]
        assert page.evaluate("window.copied") in names
        page.get_by_role("button", name="Close").click()


def test_a_checkpoint_without_variables_is_shown(open_page, tmp_path):
    Report("none", many(0)).write(tmp_path / "none.html")
    page = open_page(tmp_path / "none.html")
    assert "nothing is in it" not in page.locator("ol.ranks").text_content()  # unused bytes are
    go(page, "Variables")
    assert page.locator(".toolbar output").first.text_content() == "0 variables, 0 B"


def many(rows):
    """Data as of a checkpoint of that many variables."""
    names = sorted(f"model/block_{n // 500:03}/layer_{n // 5}/w{n % 5}" for n in range(rows))
    size = [4 * (1 + n % 4099) for n in range(rows)]
    columns = {
        "name": names,
        "key": names,
        "path": [
            f"var_list/{name.replace('/', '.S')}/.ATTRIBUTES/VARIABLE_VALUE" for name in names
        ],
        "shape": [[number // 4] for number in size],
        "dtype": [0] * rows,
        "role": [n % 3 > 0 for n in range(rows)],
        "bytes": size,
        "of": [n - n % 3 if n % 3 else None for n in range(rows)],
        "shares": [None] * rows,
    }
    columns["role"] = list(map(int, columns["role"]))
    head = {"prefix": "large", "format": "dual", "step": 7, "shards": 1, "other_keys": []}
    total = sum(size)
    files = [{"name": "large.data", "bytes": total + 999, "used": total, "links": 1}]
    more = {"bytes": total, "files": files, "dtypes": ["float32"], "roles": ["variable", "slot"]}
    return {"checkpoint": {**head, **more, "variables": columns}}


AFTER_A_FRAME = """() => new Promise(done => {
  const began = performance.now();
  ACT;
  requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - began)));
})"""


def test_a_hundred_thousand_variables(open_page, tmp_path, capsys):
    Report("large", many(100_000)).write(tmp_path / "large.html")
    page = open_page(tmp_path / "large.html")
    paint = page.evaluate(
        """() => new Promise(done => new PerformanceObserver(
          seen => done(seen.getEntries().map(each => each.startTime))
        ).observe({type: "paint", buffered: true}))"""
    )
    times = {"first paint": max(paint)}
    search = "const field = document.querySelector('input[type=search]'); field.value = '{}'; "
    search += "field.dispatchEvent(new Event('input'))"
    go(page, "Variables")
    page.locator(".vbody [role=row]").nth(10).wait_for()
    acts = {
        "search": search.format("layer_77"),
        "search ends": search.format(""),
        "scroll": "document.querySelector('.variables .vtable').scrollTop = 1.4e6",
        "sort": "[...document.querySelectorAll('.vhead button')].at(-1).click()",
        "tab": "document.querySelector('#tab-bytes').click()",
        "go in": "document.querySelector('.tile').click()",
        "go out": "document.querySelector('.crumbs button').click()",
        "go in again": "document.querySelector('.ranks button').click()",
    }
    for name, act in acts.items():
        times[name] = page.evaluate(AFTER_A_FRAME.replace("ACT", act))
    ranks = page.locator(".ranks li:not(.more)")
    ranks.nth(199).wait_for()  # not by a function of the page, which may evaluate no text
    sizes = [name.split()[0] for name in ranks.locator(".rank-name").all_text_contents()]
    assert len(set(sizes)) == 200  # each scope once, those that come later, too
    with capsys.disabled():
        print("\n100,000 variables, in ms:", {name: round(ms) for name, ms in times.items()})
    assert page.locator("h1").text_content() == "large"
