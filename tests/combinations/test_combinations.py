"""Jobs put together from many factors, raw beside wrapped; see `job_combinations` in support."""

import itertools

import job_combinations
import pytest
import tensorflow as tf
from job_combinations import LEVELS, Configuration, is_possible, pairwise

SEED = 2
EVERYDAY = job_combinations.few(pairwise(1))
# Some 50, at 2.4 s each on a core of its own.
SLOW = pairwise(SEED)


def _case(number, configuration, marks=()):
    name = "-".join(job_combinations.differing(configuration).values())
    return pytest.param(configuration, id=f"{number}-{name}", marks=marks)


@pytest.mark.parametrize(
    "configuration",
    [
        *(_case(number, each) for number, each in enumerate(EVERYDAY)),
        *(_case(number, each, pytest.mark.slow) for number, each in enumerate(SLOW, 100)),
    ],
)
def test_a_combination_does_wrapped_what_it_does_raw(configuration, tmp_path):
    try:
        job_combinations.check(configuration, tmp_path)
    except Exception as error:
        smallest = job_combinations.shrink(configuration, job_combinations.fails)
        pytest.fail(f"{type(error).__name__}: {error}\n\n{job_combinations.script(smallest)}")


def test_each_level_is_met_everyday():
    for factor, levels in LEVELS.items():
        assert {getattr(each, factor) for each in EVERYDAY} == set(levels), factor


def test_each_possible_pair_of_levels_is_met_by_one_seed():
    for first, second in itertools.combinations(LEVELS, 2):
        wanted = {
            levels
            for levels in itertools.product(LEVELS[first], LEVELS[second])
            if is_possible(Configuration(**dict(zip((first, second), levels))))
        }
        assert wanted <= {(getattr(each, first), getattr(each, second)) for each in SLOW}


def test_a_seed_gives_the_same_combinations_again():
    assert SLOW == pairwise(SEED) != pairwise(4)
    assert all(map(is_possible, SLOW))


def test_what_fails_is_shrunk_to_what_matters():
    def fails(configuration):
        return configuration.saver == "map" and configuration.trait in ("table", "dtypes")

    failing = [each for each in SLOW if fails(each)]
    shrunk = {job_combinations.shrink(each, fails) for each in failing}
    assert shrunk <= {Configuration(saver="map", trait=trait) for trait in ("table", "dtypes")}
    assert shrunk


def test_the_script_of_a_failure_checks_that_configuration(monkeypatch):
    checked = []
    monkeypatch.setattr(job_combinations, "check", lambda each, folder: checked.append(each))
    for configuration in SLOW[:3]:
        exec(job_combinations.script(configuration), {})
    assert checked == SLOW[:3]


def test_a_difference_is_a_failure(monkeypatch):
    """A wrapper whose jobs learn nothing does not pass."""

    def lossy(model_fn, **options):
        def wrapped(features, labels, mode):
            spec = model_fn(features, labels, mode)
            if mode == "train":
                step = tf.compat.v1.train.get_global_step()
                spec = spec._replace(train_op=step.assign_add(1))
            return spec

        return wrapped

    assert not job_combinations.fails(Configuration())
    monkeypatch.setattr(job_combinations, "wrap_model_fn", lossy)
    assert job_combinations.fails(Configuration())
