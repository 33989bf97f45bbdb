"""Commands on stores, killed at requests that write; tests/support/store_tables.py has them all."""

from __future__ import annotations

import pytest
import store_tables

pytest.importorskip("moto")
pytest.importorskip("obstore")


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    return store_tables.Sources(tmp_path_factory.mktemp("sources"), store_tables.FEW)


def sweep(scenario, server, sources, every):
    """What was lost by kills at each request that writes, or some of them."""
    places = [
        (number, after)
        for number in range(1, store_tables.writes(scenario, server, sources) + 1)
        for after in (False, True)
    ]
    assert places
    return [
        (number, after, problem)
        for number, after in places[::every]
        for problem in store_tables.kill(scenario, server, sources, number, after=after)
    ]


def test_nothing_is_lost_by_some_kills(gcs_server, sources):
    scenario = next(each for each in store_tables.WRITING if each.name == "convert --overwrite")
    assert sweep(scenario, gcs_server, sources, 4) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["s3", "gcs", "azure"])
@pytest.mark.parametrize(
    "scenario",
    [each for each in store_tables.WRITING if not each.large],
    ids=lambda scenario: scenario.name,
)
def test_nothing_is_lost_by_all_kills(scenario, kind, request, sources):
    every = {"s3": 1, "gcs": 2, "azure": 4}[kind]
    assert sweep(scenario, request.getfixturevalue(f"{kind}_server"), sources, every) == []


@pytest.mark.parametrize("name", ["convert", "rename", "drop", "ema", "convert --all"])
@pytest.mark.parametrize("kind", ["s3", "gcs", "azure"])
def test_within_a_store_few_requests_and_no_tensor(name, kind, request, sources):
    scenario = next(each for each in store_tables.SCENARIOS if each.name == name)
    traffic = store_tables.count(scenario, request.getfixturevalue(f"{kind}_server"), sources)
    assert traffic.requests < 15, str(traffic)
    assert len(traffic.copied) == 1
    assert traffic.uploaded + traffic.downloaded < store_tables.TENSOR / 2
