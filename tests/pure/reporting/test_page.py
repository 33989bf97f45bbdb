"""The page: one file that needs no other, in which data are data."""

from __future__ import annotations

import base64
import hashlib
import html.parser
import json
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from estimator_ckpt.reporting.page import FRONT, joined, page, safe_json

EVIL = [
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<!--<script>",
    "]]>&lt;&amp;{data}{script}{policy}",
    "\u2028\u2029\ud800\0",
]


class Blocks(html.parser.HTMLParser):
    """The elements of a page, with the text of scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self.inside = [], [], None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.inside = self.tags[-1] if tag in ("script", "style") else None

    def handle_endtag(self, tag):
        self.inside = None

    def handle_data(self, data):
        if self.inside:
            self.texts.append((self.inside, data))


@pytest.mark.parametrize("name", EVIL)
def test_data_stay_data(name):
    plain, evil = Blocks(page({"name": "x"})), Blocks(page({"name": name}))
    assert evil.tags == plain.tags
    ((_, text),) = [each for each in evil.texts if each[0][1].get("type") == "application/json"]
    assert json.loads(text) == {"name": name}
    assert [t for tag, t in evil.texts if tag[1].get("type") != "application/json"] == [
        t for tag, t in plain.texts if tag[1].get("type") != "application/json"
    ]


def test_only_what_the_policy_names_runs():
    blocks = Blocks(page({}))
    (policy,) = [
        attributes["content"]
        for tag, attributes in blocks.tags
        if attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert "unsafe" not in policy and "*" not in policy and "http" not in policy
    for (tag, attributes), text in blocks.texts:
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        named = rules["style-src" if tag == "style" else "script-src"] == f"'sha256-{digest}'"
        assert named != (attributes.get("type") == "application/json")
    assert len(blocks.texts) == 3


def test_the_page_asks_for_nothing():
    blocks = Blocks(page({}))
    for _, attributes in blocks.tags:
        assert not {"src", "href", "style", "srcset", "action"} & attributes.keys()
        assert not any(name.startswith("on") for name in attributes)
    text = "".join(path.read_text(encoding="utf-8") for path in sorted(FRONT.iterdir()))
    for forbidden in ("innerHTML", "outerHTML", "insertAdjacentHTML", "eval(", "new Function",
                      "document.write", "@import", "url(", "DOMParser"):  # fmt: skip
        assert forbidden not in text, forbidden
    assert re.findall(r"https?://[^\"]*", text) == ["http://www.w3.org/2000/svg"]


def test_the_modules_name_no_two_things_alike():
    text = joined("report.js")
    assert "import " not in re.sub(r"//.*", "", text) and "export " not in text
    names = re.findall(r"^(?:async )?(?:const|let|class|function) (\w+)", text, re.MULTILINE)
    assert len(names) == len(set(names)) > 50


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON)
def test_json_is_read_as_it_was_given(value):
    text = safe_json(value)
    assert text.isascii() and not set("<>&") & set(text)
    infinite = {"Infinity": math.inf, "-Infinity": -math.inf}

    def without(found):
        if isinstance(found, float) and math.isinf(found):
            return next(word for word, number in infinite.items() if number == found)
        if isinstance(found, dict):
            return {key: without(each) for key, each in found.items()}
        return list(map(without, found)) if isinstance(found, list) else found

    assert json.loads(text) == without(value)


def test_numbers_that_json_lacks_are_words():
    assert json.loads(safe_json([math.nan, math.inf, -math.inf])) == [
        *("NaN", "Infinity", "-Infinity")
    ]


def test_a_large_model_is_a_small_page():
    rows = 1200  # BERT of 24 layers with two slots each
    names = [f"bert/encoder/layer_{i}/attention/self/query/kernel/adam_m" for i in range(rows)]
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=rows).tolist()
    data = {
        "checkpoint": {
            "variables": {"name": names, "key": names, "path": [f"x/{n}" * 2 for n in names]},
            "values": {
                **{key: numbers for key in ("min", "max", "mean", "std", "norm", "zeros")},
                "histogram": [[0.5, 0.25, *range(10**5, 10**5 + 48)]] * rows,
            },
        }
    }
    assert len(page(data)) < 3_000_000
