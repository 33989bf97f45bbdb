"""The pages that list everything are current, and every link of the docs leads somewhere."""

import pathlib
import re
import sys

import pytest

import estimator_ckpt

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT)]
import reference  # noqa: E402

from benchmarks import sentences  # noqa: E402

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


@pytest.mark.parametrize("sentence", sentences.SENTENCES, ids=lambda each: each.pattern[:30])
def test_a_number_of_a_sentence_is_that_of_the_tables(sentence):
    """Renew it by `python -m benchmarks.sentences`."""
    text = (ROOT / sentence.page).read_text(encoding="utf-8")
    tables = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert sentences.renewed(sentence, text, tables) == text


@pytest.mark.parametrize("page", TEXTS, ids=lambda path: path.name)
def test_what_reads_like_a_speed_is_compared_with_the_tables(page):
    """A new one is a new row in benchmarks/sentences.py."""
    text = page.read_text(encoding="utf-8")
    assert list(sentences.unknown(page.relative_to(ROOT).as_posix(), text)) == []


def test_a_stale_number_and_an_unknown_one_are_found_and_renewed():
    sentence = sentences.SENTENCES[1]
    tables = (
        "**a save.** So it is.\n\n"
        "| data, variables | saved by | time | of plain TF2 |\n|---|---|---|---|\n"
        "| 64 MB, 64 | wrapped, dual and TF1 | 1.00 s | 3.00 |\n"
        "| 1 GB, 64 | wrapped, dual and TF1 | 2.00 s | 0.98 |\n"
    )
    text = (
        "A `dual` save with a TF1 checkpoint beside it takes 9.99 of the time of one plain save.\n"
    )
    assert sentences.renewed(sentence, text, tables) == text.replace("9.99", "0.98")
    with pytest.raises(ValueError, match="rows"):
        sentences.renewed(sentence, text, tables.replace("1 GB", "2 GB"))
    with pytest.raises(ValueError, match="0 times"):
        sentences.renewed(sentence, "Nothing.", tables)
    said = "It is 7 x as fast, takes 3 ms, four times as long, 0.5 of the time, and saves 20 %."
    assert list(sentences.unknown("README.md", text + said)) == [
        "7 x",
        "3 ms",
        "four times as",
        "0.5 of the time",
        "20 %",
    ]


def test_the_readme_says_how_many_scenarios_there_are():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
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
