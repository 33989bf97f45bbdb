"""The pages that list everything are current, and every link of the docs leads somewhere."""

import pathlib
import re
import sys

import pytest

import estimator_ckpt

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
import reference  # noqa: E402

TEXTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md"))]
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def pages():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "100")
        return reference.pages()


@pytest.mark.parametrize(
    "name", ["docs/api.md", "docs/commands.md", "docs/flags.md", "README.md", "CONTRIBUTING.md"]
)
def test_the_page_is_what_the_code_says(pages, name):
    """Renew it by `python scripts/reference.py`."""
    assert (ROOT / name).read_text(encoding="utf-8") == pages[ROOT / name]


def test_every_public_name_verb_and_flag_is_in_the_docs(pages):
    from absl import flags

    from estimator_ckpt import flags as checkpoint_flags
    from estimator_ckpt.cli.verbs import VERBS
    from estimator_ckpt.train import job_flags

    api, commands, job = (pages[ROOT / "docs" / f"{name}.md"] for name in reference.NAMES)
    for name in estimator_ckpt.__all__:
        assert name.startswith("__") or f"### `{name}`" in api, name
    for name, command in VERBS.items():
        assert f"## `{name}`\n" in commands
        values = command.new_flags()
        for flag in values:
            if values[flag].name == flag:  # no short one
                assert re.search(rf"--(\[no\])?{flag}\b", commands), flag
    values = flags.FlagValues()
    checkpoint_flags.define_checkpoint_flags(values)
    job_flags.define_job_flags(values)
    for flag in values:
        assert re.search(rf"--(\[no\])?{flag}`", job), flag


def test_the_readme_is_short_and_names_each_verb():
    from estimator_ckpt.cli.verbs import VERBS

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme.count("\n") <= 130
    rows = [
        f"| `{name} {' '.join(verb.operands)}` | {verb.summary} |" for name, verb in VERBS.items()
    ]
    assert re.findall(r"^\| `[\w-]+ [^|]*` \| [^|]* \|$", readme, re.MULTILINE) == rows


def test_the_numbers_of_the_readme_are_those_of_the_tables():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    numbers = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    took, times = re.search(r"1 GB converts in (\S+ ms), (\S+ x) as fast", readme).groups()
    assert re.search(
        rf"^\| 1 GB \| estimator_ckpt \| {took} \|.*\| {times} \|$", numbers, re.MULTILINE
    )
    ratio = re.search(r"takes (\S+) of the time of one plain save of 1 GB", readme)[1]
    row = rf"^\| 1 GB, 64 \| wrapped, dual and TF1 \| [^|]* \| {ratio} \|"
    assert re.search(row, numbers, re.MULTILINE)
    table = (ROOT / "docs" / "conformance.md").read_text(encoding="utf-8")
    scenarios = re.findall(r"^\| (?!\*\*|scenario|-).* \|$", table, re.MULTILINE)
    assert f"* {len(scenarios)} scenarios were run raw and wrapped" in readme


def test_each_page_is_in_the_menu_of_the_site():
    menu = re.findall(r": (\w+\.md)$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.MULTILINE)
    others = ["index.md", "measuring.md"]  # the READMEs
    assert sorted(menu) == sorted([*others, *(page.name for page in ROOT.glob("docs/*.md"))])


def _anchors(text: str) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", [path for path in TEXTS if path.exists()], ids=lambda p: p.name)
def test_every_link_leads_somewhere(page):
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for target in LINK.findall(text):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), target
        assert not anchor or anchor in _anchors(found.read_text(encoding="utf-8")), target
