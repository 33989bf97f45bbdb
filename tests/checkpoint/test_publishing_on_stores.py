"""Checkpoints on object stores: nothing is renamed, the index is the commit, each server counts."""

from __future__ import annotations

import time

import numpy as np
import pytest

from estimator_ckpt.bundle.index import BundleIndex, encode_index
from estimator_ckpt.checkpoint import BundleWriter, Shard, open_checkpoint, publish
from estimator_ckpt.checkpoint.leftovers import remove_leftovers
from estimator_ckpt.checkpoint.publishing import remove_checkpoint
from estimator_ckpt.conversion import convert
from estimator_ckpt.conversion.model_dir import convert_all
from estimator_ckpt.errors import CheckpointExistsError, CheckpointWriteError
from estimator_ckpt.operations.doctor import doctor
from estimator_ckpt.storage.object_store import ObjectStore

MOST_REQUESTS = 14
TENSOR = 32 * 1024
ELSEWHERE = ".staging-00000000-1-" + "0" * 24  # of a process that can't be looked up from here


def write(prefix, tensors=5, value=1.0):
    with BundleWriter(prefix) as writer:
        for number in range(tensors):
            data = np.full(TENSOR // 4, value + number, "float32")
            writer.put(f"layer_{number}/kernel", writer.append(1, data.shape, [data.tobytes()]))
        writer.put("global_step", writer.append(9, (), [np.int64(10).tobytes()]))
        writer.commit()


def names(store):
    return sorted(key.rpartition("/")[2] for key in store.objects() if key.startswith("out/"))


@pytest.fixture
def source(object_store, tmp_path):
    """A model_dir in the store."""
    prefix = str(tmp_path / "job" / "model.ckpt-10")
    write(prefix)
    for file in (tmp_path / "job").iterdir():
        object_store.put(f"job/{file.name}", file.read_bytes())
    object_store.put("job/checkpoint", b'model_checkpoint_path: "model.ckpt-10"\n')
    return object_store.url + "/job"


@pytest.fixture
def target(object_store):
    return object_store.url + "/out/model.ckpt-10"


def test_a_conversion_within_a_store_moves_no_tensor(object_store, source, target):
    with object_store.counted() as traffic:
        report = convert(source, target, to="tf2")
    assert traffic.requests <= MOST_REQUESTS, str(traffic)
    assert traffic.copied == ["out/model.ckpt-10.data-00000-of-00002"]
    assert traffic.downloaded < TENSOR
    assert traffic.uploaded < TENSOR
    assert report.bytes_copied == 5 * TENSOR + 8
    assert names(object_store) == [
        "model.ckpt-10.data-00000-of-00002",
        "model.ckpt-10.data-00001-of-00002",
        "model.ckpt-10.index",
    ]
    opened = open_checkpoint(target)
    assert len(opened.index.entries) == 8


def test_the_index_is_put_last_and_only_where_there_is_none(object_store, source, target):
    with object_store.counted() as traffic:
        convert(source, target, to="tf2")
    puts = [each.key for each in traffic.log if each.method == "PUT"]
    assert puts[-1] == "out/model.ckpt-10.index"
    with object_store.counted() as traffic, pytest.raises(CheckpointExistsError):
        convert(source, target, to="tf2")
    assert not any(each.is_write for each in traffic.log)


def test_a_whole_model_dir_is_converted_with_its_state_file_in_one_put(object_store, source):
    with object_store.counted() as traffic:
        convert_all(source, object_store.url + "/out", to="tf2")
    assert traffic.requests <= MOST_REQUESTS, str(traffic)
    state = object_store.objects()["out/checkpoint"].decode()
    assert "://" not in state  # the bucket may be copied
    assert [each.key for each in traffic.log if each.key == "out/checkpoint"] == ["out/checkpoint"]
    opened = open_checkpoint(object_store.url + "/out")
    assert opened.prefix == object_store.url + "/out/model.ckpt-10"


def test_who_replaces_a_checkpoint_writes_to_no_file_of_it(object_store, source, target):
    convert(source, target, to="tf2")
    before = object_store.objects()
    with object_store.counted() as traffic:
        convert(source, target, to="tf1", overwrite=True)
    written = {each.key for each in traffic.log if each.method == "PUT" and each.status < 300}
    assert written & before.keys() == {"out/model.ckpt-10.index"}
    opened = open_checkpoint(target)
    # Those of the old one are there until the next save, for whoever reads it.
    assert {path.rpartition("/")[2] for path in opened.file_paths} < set(names(object_store))
    assert {key.rpartition("/")[2] for key in before if "out/" in key} <= set(names(object_store))


@pytest.mark.parametrize("overwrite", [False, True])
def test_of_two_that_write_the_same_files_one_sees_the_other(object_store, target, overwrite):
    other = "out/model.ckpt-10.index" + ELSEWHERE
    rival = encode_index(BundleIndex({}, 1))
    object_store.at_write(1, lambda: object_store.put(other, rival) or 503)
    with pytest.raises(CheckpointWriteError, match="another process is writing"):
        publish(target, BundleIndex({}), [Shard(data=b"data")], overwrite=overwrite)
    assert object_store.objects() == {other: rival}


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_another_has_written_meanwhile_is_not_written_over(object_store, target, overwrite):
    others = {
        "out/model.ckpt-10.data-00000-of-00001": b"precious",
        "out/model.ckpt-10.index": encode_index(BundleIndex({}, 1)),
    }

    def write_all():
        for key, data in others.items():
            object_store.put(key, data)

    # It is carried out and answered by an error, so that it is put again.
    object_store.at_write(1, lambda: write_all() or 503, after=True)
    with pytest.raises(CheckpointWriteError, match="another process is writing"):
        publish(target, BundleIndex({}), [Shard(data=b"data")], overwrite=overwrite)
    assert object_store.objects() == others


def test_a_store_that_lists_late_lets_a_command_overlook_another(object_store, target, monkeypatch):
    rival = "out/model.ckpt-10.index" + ELSEWHERE
    object_store.at_write(
        1, lambda: object_store.put(rival, encode_index(BundleIndex({}, 1))) or 503
    )
    listed = ObjectStore._list

    def late(store, path):
        listing = listed(store, path)
        listing.files.pop(rival.rpartition("/")[2], None)
        return listing

    monkeypatch.setattr(ObjectStore, "_list", late)
    publish(target, BundleIndex({}), [Shard(data=b"data")])
    assert "model.ckpt-10.index" in names(object_store)


@pytest.mark.slow
@pytest.mark.parametrize("shift", [-1e8, 1e8])
def test_the_clock_of_this_machine_is_of_no_account(object_store, source, monkeypatch, shift):
    now, now_ns = time.time, time.time_ns
    found = []
    for place in ("place-1", "place-2"):
        convert_all(source, f"{object_store.url}/{place}", to="dual")
        convert(source, f"{object_store.url}/{place}/other", to="tf2")
        time.sleep(1.1)  # stores tell whole seconds: what is left of the one before is older now
        convert(source, f"{object_store.url}/{place}/other", to="dual", overwrite=True)
        told = doctor(f"{object_store.url}/{place}")
        objects = {key: data for key, data in object_store.objects().items() if place in key}
        found.append((str(told).replace(place, ""), [*objects.values()], told.healthy))
        monkeypatch.setattr(time, "time", lambda: now() + shift)
        monkeypatch.setattr(time, "time_ns", lambda: now_ns() + int(shift * 1e9))
    assert found[0] == found[1]


def test_what_a_machine_that_is_gone_has_claimed_keeps_nobody_from_writing(object_store, target):
    other = "out/model.ckpt-10.index" + ELSEWHERE
    object_store.put(other, encode_index(BundleIndex({}, 1)))
    publish(target, BundleIndex({}), [Shard(data=b"data")])
    assert "model.ckpt-10.data-00000-of-00002" in names(object_store)
    object_store.put("out/model.ckpt-10.data-00000-of-00001", b"of the other one")
    publish(target, BundleIndex({}), [Shard(data=b"data")], overwrite=True)
    assert "model.ckpt-10.data-00000-of-00001" in names(object_store)  # it may still be needed


def test_an_index_that_appears_meanwhile_is_not_replaced(object_store, target):
    if "conditions" in object_store.lacks:
        pytest.skip("this server lets the last one win")
    index = "out/model.ckpt-10.index"
    object_store.at_write(2, lambda: object_store.put(index, b"precious") or 503)
    with pytest.raises(CheckpointWriteError, match="File exists"):
        publish(target, BundleIndex({}), [Shard(data=b"data")])
    assert object_store.objects() == {index: b"precious"}


def test_a_refusal_leaves_nothing_behind(object_store, source, target):
    convert(source, object_store.url + "/count/ckpt", to="tf2")
    for number in range(1, 5):  # the staged index, two data files, the index
        object_store.at_write(number, lambda: 403)
        with pytest.raises(CheckpointWriteError, match="nothing was left behind"):
            convert(source, target, to="tf2")
        assert names(object_store) == []
    convert(source, target, to="tf2")


def test_a_staged_index_that_can_t_be_removed_is_no_failure(object_store, target):
    object_store.at_write(4, lambda: 403)
    publish(target, BundleIndex({}), [Shard(data=b"data")])
    assert open_checkpoint(target)
    assert len(names(object_store)) == 3


def test_a_checkpoint_is_removed_index_first(object_store, source):
    with object_store.counted() as traffic:
        remove_checkpoint(source + "/model.ckpt-10")
    assert sorted(object_store.objects()) == ["job/checkpoint"]
    deleted = [each.key for each in traffic.log if each.method == "DELETE"]
    assert deleted[:1] in (["job/model.ckpt-10.index"], [])  # S3 has them in the body of a POST


def test_tensors_go_up_once_and_by_way_of_no_other_object(object_store, target):
    with object_store.counted() as traffic:
        write(target)
    assert traffic.copied == []
    assert traffic.downloaded < 1000
    assert traffic.uploaded < 5 * TENSOR + 3000
    assert open_checkpoint(target).index.num_shards == 1


def test_what_this_machine_left_is_removed(object_store, target):
    write(target)
    staged = "out/other.ckpt.index" + ELSEWHERE
    object_store.put(staged, encode_index(BundleIndex({}, 1)))
    assert not remove_leftovers(object_store.url + "/out")  # it is somebody's
    assert staged in object_store.objects()
