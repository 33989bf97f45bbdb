"""The modules that tensorflow-estimator misses: found if nobody else has them, and honest."""

from __future__ import annotations

import importlib
import pathlib
import sys

import pytest
import tensorflow as tf

from estimator_ckpt.compat import missing_modules
from estimator_ckpt.errors import EstimatorUnavailableError

HAS_ITS_OWN = tuple(map(int, tf.__version__.split(".")[:2])) < (2, 16)
NAMES = (
    "tensorflow.python.distribute.estimator_training",
    "tensorflow.python.tpu.session_support",
    "tensorflow.python.tpu.tpu_embedding",
    "tensorflow.python.tpu.tpu_embedding_gradient",
)


@pytest.mark.parametrize("name", NAMES)
def test_tensorflows_own_module_wins(name):
    module = importlib.import_module(name)
    assert (module.__spec__.origin == missing_modules.__name__) != HAS_ITS_OWN


def test_supplying_twice_adds_one_finder():
    missing_modules.supply_missing_modules()
    missing_modules.supply_missing_modules()
    found = [each for each in sys.meta_path if isinstance(each, missing_modules._Finder)]
    sys.meta_path[:] = [each for each in sys.meta_path if not HAS_ITS_OWN or each not in found]
    assert len(found) == 1


def test_other_modules_are_not_found():
    finder = missing_modules._Finder()
    assert finder.find_spec("tensorflow.python.tpu.no_such_module", None) is None
    with pytest.raises(ImportError):
        importlib.import_module("tensorflow.python.distribute.no_such_module")


def supplied(name):
    """A module as it is supplied where TensorFlow lacks it."""
    spec = missing_modules._Finder().find_spec(name, None)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_name_that_tensorflow_estimator_takes_is_there():
    root = pathlib.Path(importlib.import_module("tensorflow_estimator").__file__).parent
    text = "\n".join(
        path.read_text(encoding="utf-8") for path in (root / "python/estimator").rglob("*.py")
    )
    taken = 0
    for name in NAMES:
        module = supplied(name)
        alias = {"estimator_training": "distribute_coordinator_training"}
        short = name.rpartition(".")[2]
        for word in set(text.replace("(", " ").replace(",", " ").replace(")", " ").split()):
            prefix, _, attribute = word.partition(".")
            if prefix == alias.get(short, short) and attribute.isidentifier():
                assert hasattr(module, attribute), word
                taken += 1
    assert taken > 20


@pytest.mark.parametrize("name", NAMES[1:])
def test_what_drives_a_tpu_says_that_it_cannot(name):
    module = supplied(name)
    public = [each for each in vars(module).values() if callable(each)]
    assert public
    for each in public:
        if each.__name__.startswith("_"):
            continue
        with pytest.raises(EstimatorUnavailableError, match=f"{each.__name__} drives a TPU"):
            each(1, learning_rate=2)
