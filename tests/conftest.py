"""What all tests share: TensorFlow as writer and reader, checkpoints that other projects wrote."""

from __future__ import annotations

import importlib.metadata
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import hypothesis
import pytest

from estimator_ckpt import compat

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before any test imports TensorFlow
hypothesis.settings.register_profile(
    "any load", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any load")

_THIRD_PARTY = pathlib.Path(__file__).resolve().parents[2] / "shared" / "testdata"
_VERSIONS = {each.metadata["Name"]: each.version for each in importlib.metadata.distributions()}
_TENSORFLOW = _VERSIONS.get("tensorflow", "none")
_PURE = pathlib.Path(__file__).resolve().parent / "pure"


def pytest_collectstart(collector: pytest.Collector) -> None:
    """Puts tf.estimator in place for tests that say it; those in `pure` have no TensorFlow."""
    if isinstance(collector, pytest.Module) and _PURE not in collector.path.parents:
        compat.install()


@pytest.fixture(scope="session")
def third_party_twins(tmp_path_factory) -> pathlib.Path:
    """A folder like that of the third-party checkpoints, of made ones with the same traits."""
    import twins

    folder = tmp_path_factory.mktemp("third_party")
    twins.write(folder)
    return folder


@pytest.fixture(scope="session", params=["made", "theirs"])
def third_party(request, third_party_twins) -> pathlib.Path:
    """A folder of third-party checkpoints: made ones like them, and theirs, read in place."""
    if request.param == "made":
        return third_party_twins
    if not _THIRD_PARTY.is_dir():
        pytest.skip("the third-party checkpoints (../shared/testdata) are not here")
    return _THIRD_PARTY


@pytest.fixture(scope="session")
def theirs_or_made(third_party_twins) -> pathlib.Path:
    """The folder of third-party checkpoints where it is here, else one of made ones like them."""
    return _THIRD_PARTY if _THIRD_PARTY.is_dir() else third_party_twins


@pytest.fixture(scope="session")
def s3_server():
    """A server of S3 in this process."""
    pytest.importorskip("moto")
    import stores

    with stores.s3_server() as server:
        yield server


@pytest.fixture(scope="session")
def gcs_server():
    """A server of Google Cloud Storage in this process."""
    pytest.importorskip("werkzeug")
    import stores

    with stores.gcs_server() as server:
        yield server


@pytest.fixture(scope="session")
def azure_server():
    """A server of Azure's blobs: Azurite, which npm installs."""
    pytest.importorskip("werkzeug")
    if not os.path.isdir(os.environ.get("AZURITE", "")):
        lacks = "AZURITE names no folder of Azurite: npm install azurite"
        if os.environ.get("CI"):
            pytest.fail(f"as CI, {lacks}")
        pytest.skip(lacks)
    import stores

    with stores.azure_server() as server:
        yield server


def _store_of(server, monkeypatch):
    with server.new_store() as store:
        for name, value in store.environment.items():
            monkeypatch.setenv(name, value)
        yield store


@pytest.fixture
def s3_store(s3_server, monkeypatch):
    """An empty `stores.Store`, and what reaches it in the environment."""
    yield from _store_of(s3_server, monkeypatch)


@pytest.fixture
def gcs_store(gcs_server, monkeypatch):
    """As `s3_store`, of Google Cloud Storage."""
    yield from _store_of(gcs_server, monkeypatch)


@pytest.fixture
def azure_store(azure_server, monkeypatch):
    """As `s3_store`, of Azure."""
    yield from _store_of(azure_server, monkeypatch)


@pytest.fixture(params=["s3", "gcs", "azure"])
def object_store(request, monkeypatch):
    """A store of each kind in turn."""
    yield from _store_of(request.getfixturevalue(f"{request.param}_server"), monkeypatch)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Says in a JUnit file what it is about: tests/support/versions.py makes a table of them."""
    item.user_properties.append(("tensorflow", _TENSORFLOW))


@pytest.fixture(scope="session")
def save():
    """Writes a bundle of one shard with TensorFlow: save(prefix, {name: value}, {name: slice})."""
    import tensorflow as tf

    def save(prefix: Any, tensors: Mapping[Any, Any], slices: Mapping[Any, str] | None = None):
        tf.raw_ops.SaveV2(
            prefix=os.fspath(prefix),
            tensor_names=list(tensors),
            shape_and_slices=[(slices or {}).get(name, "") for name in tensors],
            tensors=[tf.convert_to_tensor(value) for value in tensors.values()],
        )

    return save


@pytest.fixture(scope="session")
def merge():
    """Makes one bundle of several with TensorFlow: merge(prefixes, target)."""
    import tensorflow as tf

    def merge(prefixes: Any, target: Any):
        tf.raw_ops.MergeV2Checkpoints(
            checkpoint_prefixes=[os.fspath(prefix) for prefix in prefixes],
            destination_prefix=os.fspath(target),
            delete_old_dirs=False,
        )

    return merge


@pytest.fixture(scope="session")
def values():
    """Reads all tensors of a checkpoint with TensorFlow, {key: list}; it checks their checksums."""
    import tensorflow as tf

    def values(prefix: Any) -> dict[str, Any]:
        reader = tf.train.load_checkpoint(os.fspath(prefix))
        return {
            key: reader.get_tensor(key).tolist()
            if hasattr(reader.get_tensor(key), "tolist")
            else reader.get_tensor(key)
            for key in reader.get_variable_to_shape_map()
        }

    return values
