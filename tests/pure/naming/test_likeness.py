"""Which values go, along their paths, to other variables than they were saved from."""

from __future__ import annotations

import pytest

from estimator_ckpt.naming.likeness import mixed_up

# {what it is: (pairs of one variable, pairs that are mixed up)}, each "name here < name saved"
CASES = {
    "the same": (["net/a/w < net/a/w", "net/b/w < net/b/w"], []),
    "swapped": ([], ["net/a/w < net/b/w", "net/b/w < net/a/w"]),
    "swapped, without scopes": ([], ["a < b", "b < a"]),
    "other model": (["new/a/w < net/a/w", "new/b/w < net/b/w"], []),
    "other model, swapped": ([], ["new/a/w < net/b/w", "new/b/w < net/a/w"]),
    "no model any more, swapped": ([], ["a/w < net/b/w", "b/w < net/a/w"]),
    "swapped below": ([], ["new/a/q/w < net/b/q/w", "new/b/q/w < net/a/q/w"]),
    "first removed": ([], ["new/b/w < net/a/w", " < net/b/w"]),
    "last removed": (["new/a/w < net/a/w", " < net/b/w"], []),
    "inserted": (["new/a/w < net/a/w"], ["new/n/w < net/b/w", "new/b/w < "]),
    "renamed": (["new/a/w < net/a/w", "new/n/w < net/b/w"], []),
    "renamed to a layer's name in another scope": (
        ["new/b/w < net/a/w", "new/head/b/w < net/head/b/w"],
        [],
    ),
    "one scope each": (["a/w < x/w", "b/w < y/w"], []),
    "the last part alone": (["new/mean < net/average", " < x/mean"], []),
    "two models": (["n/a/w < k/a/w", "n/b/w < k/b/w", "m/a/w < l/a/w", "m/b/w < l/b/w"], []),
    "numbers drift": (["s_1/d_1/w < s/d/w", "s_1/d_2/w < s/d_1/w"], []),
    "numbers drift in another model": (["new/d_1/w < net/d/w", "new/d_2/w < net/d_1/w"], []),
    "numbered instead of named": (["s_1/d_1/w < s/a/w", "s_1/d_2/w < s/d_1/w"], []),
    "numbers drift, swapped": ([], ["s_1/a/w < s/b/w", "s_1/b/w < s/a/w"]),
    "numbers drift, first removed": ([], ["s_1/d_7/w < s/a/w", " < s/d/w"]),
    "two of one name": ([], ["net/a/w < net/b/w", "net/b/w < net/a/w"] * 2),
}


@pytest.mark.parametrize("case", CASES)
def test_only_what_fits_better_elsewhere_is_mixed_up(case):
    right, wrong = ([tuple(pair.split(" < ")) for pair in pairs] for pairs in CASES[case])
    pairs = [tuple(part.strip() for part in pair) for pair in right + wrong]
    assert mixed_up(pairs) == {pair for pair in wrong if all(pair)}
