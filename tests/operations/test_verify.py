"""That verify finds all damage and only damage, with TensorFlow's checkpoints as examples."""

from __future__ import annotations

import os
import tracemalloc

import damage
import jobs
import numpy as np
import pytest
import tensorflow as tf

from estimator_ckpt import CheckpointNotFoundError, convert, describe, diff, verify
from estimator_ckpt.checkpoint import open_checkpoint
from estimator_ckpt.operations import verify as verify_module

FORMATS = ("tf1", "tf2", "dual")


@pytest.mark.parametrize("to", FORMATS)
def test_every_type_that_tensorflow_writes_is_sound(make_checkpoint, to):
    prefix, values = make_checkpoint("ckpt", to)
    found = verify(prefix)
    assert (found.ok, found.findings) == (True, ())
    assert found.prefix == prefix
    extra = 0 if to == "tf1" else 2  # the object graph and save_counter
    assert found.tensors == len(values) + 1 + extra  # one has two parts
    stored = {place for e in open_checkpoint(prefix).index.entries.values() for place in e.stored}
    assert found.bytes == sum(place.size for place in stored)


def test_third_party_checkpoints_are_sound(third_party):
    indexes = sorted(third_party.rglob("*.index"))
    assert indexes
    for path in indexes:
        found = verify(path)  # the path of an index is one of a checkpoint
        assert found.ok, found
        assert found.tensors > 0


@pytest.mark.parametrize("to", FORMATS)
def test_each_flipped_byte_of_a_shard_is_found_in_its_tensor(make_checkpoint, tmp_path, to):
    source, _ = make_checkpoint("ckpt", to)
    prefix = str(tmp_path / "copy" / "ckpt")
    convert(source, prefix, to=to, copy=True)
    entries = open_checkpoint(prefix).index.entries
    for number, path in enumerate(damage.shards(prefix)):
        for offset in range(0, os.path.getsize(path), 7):
            damage.flip(path, offset, offset % 8)
            hit = {
                key
                for key, entry in entries.items()
                for place in entry.stored
                if place.shard_id == number and 0 <= offset - place.offset < place.size
            }
            (finding,) = verify(prefix).findings
            assert finding.file == path
            key = finding.tensor.partition(" (part")[0]
            assert any(key == each or jobs.VALUE in each for each in hit), (key, hit)
            damage.flip(path, offset, offset % 8)
    assert verify(prefix).ok


def test_each_flipped_byte_of_an_index_is_found(make_checkpoint):
    prefix, _ = make_checkpoint("ckpt")
    path = f"{prefix}.index"
    size = os.path.getsize(path)
    for offset in range(size):
        damage.flip(path, offset, offset % 8)
        found = verify(prefix)
        # Within the footer, what follows the two handles only fills it up.
        if not found.ok or not size - 48 <= offset < size - 8:
            assert found.findings[0].file == path
            assert found.findings[0].tensor is None
        damage.flip(path, offset, offset % 8)
    assert verify(prefix).ok


def test_all_damage_is_told_and_checking_goes_on(make_checkpoint):
    prefix, _ = make_checkpoint("ckpt")
    entries = open_checkpoint(prefix).index.entries
    hurt = ("dnn/kernel", "scalar", "string", "bool", "name with spaces/größe.x")
    for name in hurt:
        place = entries[name]
        damage.flip(damage.shards(prefix)[place.shard_id], place.offset + place.size - 1)
    second = entries["parts"].stored[1]
    damage.flip(damage.shards(prefix)[second.shard_id], second.offset)
    found = verify(prefix)
    assert {finding.tensor for finding in found.findings} == {*hurt, "parts (part 1)"}
    message = next(each.problem for each in found.findings if each.tensor == "scalar")
    assert f"by the index it is {entries['scalar'].crc32c:#010x}" in message


def test_names_are_those_of_variables_in_each_format(make_checkpoint):
    for to in FORMATS:
        prefix, _ = make_checkpoint(f"{to}/ckpt", to)
        entries = open_checkpoint(prefix).index.entries
        key = next(key for key in entries if "spaces" in key)
        place = entries[key]
        damage.flip(damage.shards(prefix)[place.shard_id], place.offset)
        (finding,) = verify(prefix).findings
        assert finding.tensor == "name with spaces/größe.x"


def test_a_damaged_block_of_several_leaves_the_others_to_be_checked(tmp_path):
    prefix = str(tmp_path / "ckpt")
    names = [f"a_scope/variable_{number:05d}" for number in range(20000)]
    values = list(np.arange(len(names), dtype=np.float32))
    tf.raw_ops.SaveV2(
        prefix=prefix, tensor_names=names, shape_and_slices=[""] * len(names), tensors=values
    )
    whole = verify(prefix)
    assert whole.ok
    assert os.path.getsize(f"{prefix}.index") > 310_000
    damage.flip(f"{prefix}.index", 300_000)  # in the second block
    damage.flip(damage.shards(prefix)[0], 0)
    found = verify(prefix)
    assert 0 < found.tensors < whole.tensors
    index_finding, data_finding = found.findings
    assert "has a wrong checksum" in index_finding.problem
    assert data_finding.tensor == names[0]


def test_a_missing_and_a_short_shard_are_findings(make_checkpoint):
    prefix, _ = make_checkpoint("ckpt")
    first, second = damage.shards(prefix)
    os.remove(second)
    os.truncate(first, os.path.getsize(first) - 1)
    short, missing = sorted(verify(prefix).findings, key=lambda finding: finding.file)
    assert (missing.file, missing.tensor) == (second, None)
    assert "missing, and 2 tensors with it" in missing.problem
    assert short.file == first
    assert "the file at" in short.problem


def test_a_damaged_object_graph_is_a_finding_of_its_own(make_checkpoint):
    prefix, _ = make_checkpoint("ckpt", "tf2")
    place = open_checkpoint(prefix).index.entries["_CHECKPOINTABLE_OBJECT_GRAPH"]
    damage.flip(damage.shards(prefix)[place.shard_id], place.offset + place.size // 2)
    (finding,) = verify(prefix).findings
    assert finding.tensor == "_CHECKPOINTABLE_OBJECT_GRAPH"


def test_variants_are_checked(tmp_path):
    prefix = str(tmp_path / "ckpt")
    lists = [
        tf.raw_ops.TensorListFromTensor(
            tensor=tf.fill([3], value), element_shape=tf.constant([], tf.int32)
        )
        for value in (1.0, 2.0)
    ]
    tf.raw_ops.SaveV2(
        prefix=prefix,
        tensor_names=["one", "two"],
        shape_and_slices=["", ""],
        tensors=[lists[0], tf.stack(lists)],
    )
    assert verify(prefix).ok
    path = damage.shards(prefix)[0]
    for offset in range(os.path.getsize(path)):
        damage.flip(path, offset, 4)
        assert len(verify(prefix).findings) == 1, offset
        damage.flip(path, offset, 4)


def test_strings_of_all_lengths_are_checked(tmp_path):
    prefix = str(tmp_path / "ckpt")
    values = [b"", b"a", b"b" * 127, b"c" * 128, b"d" * 300000, b""]
    tf.raw_ops.SaveV2(
        prefix=prefix,
        tensor_names=["none", "strings"],
        shape_and_slices=["", ""],
        tensors=[tf.constant([], tf.string), tf.constant(values)],
    )
    assert verify(prefix).ok
    damage.flip(damage.shards(prefix)[0], -1)
    assert [finding.tensor for finding in verify(prefix).findings] == ["strings"]


def test_only_what_is_wanted_is_checked(make_checkpoint):
    prefix, _ = make_checkpoint("ckpt")
    place = open_checkpoint(prefix).index.entries["scalar"]
    damage.flip(damage.shards(prefix)[place.shard_id], place.offset)
    found = verify(prefix, wanted=lambda name: name.startswith("dnn/"))
    assert (found.tensors, found.ok) == (2, True)
    assert not verify(prefix, wanted=lambda name: name == "scalar").ok


def test_progress_ends_with_all_bytes(large_checkpoint, monkeypatch):
    monkeypatch.setattr(verify_module, "_PROGRESS_STEP", 1 << 20)
    told = []
    prefix = large_checkpoint("ckpt")
    found = verify(prefix, progress=lambda *each: told.append(each))
    assert told[-1] == (prefix, found.bytes, found.bytes)
    assert len(told) > 4
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)


def test_memory_does_not_grow_with_the_tensors(large_checkpoint):
    prefix = large_checkpoint("ckpt")
    verify(prefix)
    tracemalloc.start()
    assert verify(prefix).ok
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    threads = min(8, (os.cpu_count() or 1) + 1)
    assert peak < threads * (1 << 20)  # of 16 MiB


def test_a_file_that_refuses_is_a_finding(make_checkpoint):
    prefix, _ = make_checkpoint("ckpt")
    path = damage.shards(prefix)[1]
    os.remove(path)
    os.mkdir(path)  # opening that fails for root, too
    with open(os.path.join(path, "x"), "wb"):
        pass
    problems = [each.problem for each in verify(prefix).findings if each.file == path]
    assert problems


def test_a_checkpoint_on_another_file_system_is_checked(make_checkpoint):
    prefix, _ = make_checkpoint("ckpt")
    folder = "ram://verified"
    tf.io.gfile.makedirs(folder)
    for path in (f"{prefix}.index", *damage.shards(prefix)):
        tf.io.gfile.copy(path, f"{folder}/{os.path.basename(path)}")
    assert verify(f"{folder}/ckpt").tensors == verify(prefix).tensors
    assert verify(f"{folder}/ckpt.index").ok
    shard = f"{folder}/{os.path.basename(damage.shards(prefix)[0])}"
    tf.io.gfile.remove(shard)  # writing to a file of ram:// appends
    with tf.io.gfile.GFile(shard, "wb") as file:
        file.write(b"x" * os.path.getsize(damage.shards(prefix)[0]))
    assert not verify(f"{folder}/ckpt").ok


def test_nothing_there_is_an_error(tmp_path):
    with pytest.raises(CheckpointNotFoundError):
        verify(tmp_path / "ckpt")


def test_the_source_is_not_changed(make_checkpoint):
    prefix, _ = make_checkpoint("kept/ckpt", "dual")
    before = jobs.snapshot(os.path.dirname(prefix))
    verify(prefix)
    assert jobs.snapshot(os.path.dirname(prefix)) == before


@pytest.mark.slow
def test_a_tensor_over_2_gib_is_verified_described_and_compared(tmp_path):
    count = 2**29 + 3
    prefixes = [str(tmp_path / name) for name in "ab"]
    for prefix in prefixes:
        values = np.zeros(count, np.float32)
        values[-1] = len(prefix) if prefix.endswith("a") else -1
        tf.raw_ops.SaveV2(
            prefix=prefix, tensor_names=["w"], shape_and_slices=[""], tensors=[values]
        )
        del values
    assert verify(prefixes[0]).ok
    (row,) = describe(prefixes[1], values=True).variables
    assert (row.values.min, row.values.max, row.values.zeros) == (-1, 0, count - 1)
    (change,) = diff(*prefixes, values=True).changes
    assert change.max_difference == len(prefixes[0]) + 1
    damage.flip(damage.shards(prefixes[0])[0], 2**31 + 5)
    assert [finding.tensor for finding in verify(prefixes[0]).findings] == ["w"]
