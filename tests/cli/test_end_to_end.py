"""Every command, end to end, on checkpoints of every kind and in every place; TensorFlow reads
what was written.

A table of sources and a table of commands; each command has to do the right thing on each source,
or say why it can't and write nothing.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf

from estimator_ckpt import convert, describe
from estimator_ckpt.bundle import BundleIndex, TensorEntry, checksums, encode_index
from estimator_ckpt.checkpoint.account import open_account

THIRD_PARTY = (
    "babyweight_keras_object/babyweight",
    "bert_lite_object/bert_lite_tf2.ckpt",
    "chicago_taxi_model_dir",
    "half_plus_two_snappy/variables",
    "int64_multiply_object/variables.index",
    "regression_name_based/model.index",
    "taxi_serving_snappy/variables",
    "uint8_multiply_object/variables",
)
MADE = {  # where the checkpoint of a format lies, and what of it is given to the commands
    "tf1 prefix": ("tf1", "{0}/model.ckpt-7", "{0}/model.ckpt-7"),
    "tf1 ram": ("tf1", "ram://end_to_end/model.ckpt-7", "ram://end_to_end/model.ckpt-7"),
    "tf2 index": ("tf2", "{0}/ckpt-7", "{0}/ckpt-7.index"),
    "tf2 saved_model": ("tf2", "{0}/variables/variables", "{0}"),
    "dual empty_basename": ("dual", "{0}/", "{0}/"),
    "dual model_dir": ("dual", "{0}/model.ckpt-7", "{0}"),
}
FORMATS = ("tf1", "tf2", "dual")


@dataclasses.dataclass(frozen=True)
class Source:
    given: str  # to the commands
    prefix: str
    keys: dict[str, str]  # by the names that `inspect` says
    has_names: bool  # whether all have names of their own; else their paths stand for them


def tensors_of(prefix):
    """{key: array}, as TensorFlow reads them."""
    reader = reader_of(prefix)
    return {key: reader.get_tensor(key) for key in reader.get_variable_to_shape_map()}


def reader_of(prefix):
    """TensorFlow's reader; `tf.train.load_checkpoint` takes some prefixes for directories."""
    return tf.compat.v1.train.NewCheckpointReader(str(prefix))


def assert_same(tensor, other, message=None):
    tensor, other = np.asarray(tensor), np.asarray(other)
    assert tensor.dtype == other.dtype, message
    assert tensor.shape == other.shape, message
    np.testing.assert_array_equal(tensor, other, err_msg=message)


def write_made(folder):
    """Two shards, a variable in parts, every kind of type and of name, a slot, an average."""
    random = np.random.RandomState(0)
    values = {
        "a.b": tf.cast(random.randn(5), tf.bfloat16),
        "a/b/c": tf.constant([True, False]),
        "complex": tf.constant(random.randn(3) + 1j * random.randn(3), tf.complex64),
        "dense/kernel": tf.constant(random.randn(40, 7), tf.float32),
        "dense/kernel/Adam": tf.constant(random.randn(40, 7), tf.float32),
        "dense/kernel/ExponentialMovingAverage": tf.constant(random.randn(40, 7), tf.float32),
        "double": tf.constant(random.randn(2, 2), tf.float64),
        "empty": tf.zeros([0, 4]),
        "global_step": tf.constant(7, tf.int64),
        "name with spaces/größe 变量": tf.constant(random.randn(3), tf.float32),
        "scalar": tf.constant(1.5),
        "string": tf.constant([["text"], [b"\xff\0"]]),
        "x.Sy/..S.": tf.constant([1, 2], tf.int32),
    }
    parts = tf.constant(random.randn(6, 2), tf.float32)
    shards = [str(folder / f"shard-{number}") for number in range(2)]
    tf.raw_ops.SaveV2(
        prefix=shards[0],
        tensor_names=list(values),
        shape_and_slices=[""] * len(values),
        tensors=list(values.values()),
    )
    tf.raw_ops.SaveV2(
        prefix=shards[1],
        tensor_names=["parts", "parts"],
        shape_and_slices=["6 2 0,4:-", "6 2 4,2:-"],
        tensors=[parts[:4], parts[4:]],
    )
    merged = str(folder / "merged")
    tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=shards, destination_prefix=merged)
    return merged


def source_of(given):
    description = describe(given)
    keys = {row.name: row.key for row in description.variables}
    return Source(str(given), description.prefix, keys, not open_account(given).by_path)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    merged = write_made(folder)
    found = {}
    for number, (label, (to, prefix, given)) in enumerate(MADE.items()):
        place = str(folder / str(number))
        if prefix.endswith("/"):  # none is written so by a command, but by TensorFlow
            convert(merged, f"{place}/model", to=to)
            for file in pathlib.Path(place).iterdir():
                file.rename(file.with_name(file.name[len("model") :]))
        else:
            convert(merged, prefix.format(place), to=to, overwrite=True)
        if label.endswith("model_dir"):
            tf.compat.v1.train.update_checkpoint_state(place, prefix.format(place))
        found[label] = source_of(given.format(place))
    return found


@pytest.fixture(params=[*MADE, *THIRD_PARTY])
def source(request, made):
    if request.param in made:
        return made[request.param]
    return source_of(request.getfixturevalue("theirs_or_made") / request.param)


@pytest.fixture
def run(command):
    """Runs a command with `--json`; returns what it printed."""

    def with_json(*arguments, code=0):
        ran = command(*arguments, "--json")
        assert ran.code == code, ran.err
        return json.loads(ran.out)

    return with_json


@pytest.fixture
def refused(command, tmp_path):
    """Runs a command that has to refuse, and write nothing."""

    def refuse(message, *arguments):
        ran = command(*arguments)
        assert ran.code == 2
        assert re.search(message, ran.err)
        assert not list(tmp_path.iterdir())

    return refuse


def test_inspect(run, command, source):
    found = run("inspect", source.given, "--values")
    reader = reader_of(source.prefix)
    dtypes = reader.get_variable_to_dtype_map()
    shapes = reader.get_variable_to_shape_map()
    for row in found["variables"]:
        assert row["shape"] == shapes[row["key"]]
        assert row["dtype"] == dtypes[row["key"]].name
        if row["dtype"] in ("float32", "int64") and row["bytes"]:
            value = reader.get_tensor(row["key"])
            assert row["values"]["max"] == pytest.approx(value.max(), rel=1e-6)
    listed = {row["key"] for row in found["variables"]} | set(found["other_keys"])
    if found["format"] != "dual":
        assert listed == set(shapes)
    assert len(command("inspect", source.given).out.splitlines()) == len(source.keys) + 1
    assert run("inspect", source.given, "--tree")["variables"] == len(source.keys)


def test_doctor(command, source):
    ran = command("doctor", source.given, "--json")
    found = json.loads(ran.out)
    serious = [finding for finding in found["findings"] if finding["severity"] != "note"]
    assert ran.code == bool(serious)
    directory, name = os.path.split(source.prefix)
    assert os.path.join(found["directory"], "") == os.path.join(directory, "")
    (row,) = [each for each in found["checkpoints"] if each["name"] == name]
    assert row["complete"]
    assert row["format"] == describe(source.given).format


def test_verify(run, source):
    assert run("verify", source.given)["findings"] == []


def test_diff(run, source, tmp_path):
    assert run("diff", source.given, source.given)["equal"] == len(source.keys)
    if source.has_names:
        run("convert", source.given, tmp_path / "x", "--to=dual")
        assert run("diff", source.given, tmp_path / "x")["changes"] == []
        name = next(iter(source.keys))
        run("drop", source.given, tmp_path / "y", f"--pattern=^{re.escape(name)}$")
        found = run("diff", source.given, tmp_path / "y", code=1)
        assert [(change["kind"], change["name"]) for change in found["changes"]] == [
            ("removed", name)
        ]


@pytest.mark.parametrize("to", FORMATS)
def test_convert(run, source, tmp_path, to):
    done = run("convert", source.given, tmp_path / "x", f"--to={to}")
    old, new = tensors_of(source.prefix), tensors_of(tmp_path / "x")
    assert describe(tmp_path / "x").format == to
    assert len(describe(tmp_path / "x").variables) == len(source.keys)
    assert {change["target"] for change in done["keys"]} | set(done["added"]) == set(new)
    for change in done["keys"]:
        assert_same(new[change["target"]], old[change["source"]], change["target"])


def test_rename(run, source, tmp_path):
    rule = "--rename=re:^=new/"
    run("rename", source.given, tmp_path / "x", rule, "--container=held")
    old, new = tensors_of(source.prefix), tensors_of(tmp_path / "x")
    renamed = source_of(tmp_path / "x").keys
    names = {name: new_name(name, role) for name, role in open_account(source.given).roles.items()}
    assert set(renamed) == set(names.values())
    for name, key in source.keys.items():
        assert_same(new[renamed[names[name]]], old[key], name)


def new_name(name, role):
    """What `re:^=new/` makes of a name: slots and averages follow, the step keeps its own."""
    if role.kind == "global_step":
        return name
    at = name.rfind(role.of) if role.of else 0
    return f"{name[:at]}new/{name[at:]}"


def test_drop(run, source, tmp_path):
    name = sorted(source.keys)[-1]
    arguments = ("drop", source.given, tmp_path / "x", f"--pattern=^{re.escape(name)}$")
    run(*arguments, "--dry-run")
    assert not list(tmp_path.iterdir())  # it said what it would do
    run(*arguments)
    old, new = tensors_of(source.prefix), tensors_of(tmp_path / "x")
    if not source.has_names:  # what is left may have a name of its own now
        assert set(new) == set(old) - {source.keys[name]}
        return
    kept = source_of(tmp_path / "x").keys
    assert set(kept) == set(source.keys) - {name}
    for left, key in kept.items():
        assert_same(new[key], old[source.keys[left]], left)


def test_ema(run, refused, source, tmp_path):
    arguments = ("ema", source.given, tmp_path / "x")
    average = "dense/kernel/ExponentialMovingAverage"
    if average not in source.keys:
        refused("there is no average", *arguments)
        return
    run(*arguments)
    new = source_of(tmp_path / "x")
    assert set(new.keys) == set(source.keys) - {average}
    value = tensors_of(tmp_path / "x")[new.keys["dense/kernel"]]
    assert_same(value, tensors_of(source.prefix)[source.keys[average]])


def test_average(run, source, tmp_path):
    run("convert", source.given, tmp_path / "x", "--to=" + describe(source.given).format)
    done = run("average", source.given, tmp_path / "x", tmp_path / "y")
    assert len(done["sources"]) == 2
    assert len(done["averaged"]) + len(done["kept"]) == len(source.keys)
    old, new = tensors_of(source.prefix), tensors_of(tmp_path / "y")
    assert set(old) == set(new)
    for key in source.keys.values():
        assert_same(new[key], old[key], key)


def test_cast(run, refused, source, tmp_path):
    arguments = ("cast", source.given, tmp_path / "x", "--to=bfloat16")
    if "multiply" in source.given:  # integers only
        refused("nothing to cast", *arguments)
        return
    done = run(*arguments)
    short = {row["name"] for row in done["cast"]}
    old, new = tensors_of(source.prefix), tensors_of(tmp_path / "x")
    for name, key in source.keys.items():
        assert (name in short) == (old[key].dtype == np.float32)
        value = tf.cast(old[key], tf.bfloat16).numpy() if name in short else old[key]
        assert_same(new[key], value, name)


def test_compact(run, source, tmp_path):
    done = run("compact", source.given, tmp_path / "x")
    old, new = tensors_of(source.prefix), tensors_of(tmp_path / "x")
    assert done["keys"] == len(new) and set(new) == set(old)
    for key, value in old.items():
        assert_same(new[key], value, key)
    assert done["bytes_after"] == sum(path.stat().st_size for path in tmp_path.glob("x.*"))
    name = sorted(source.keys)[-1]
    done = run("compact", source.given, tmp_path / "y", f"--exclude=^{re.escape(name)}$")
    gone = set(old) - set(tensors_of(tmp_path / "y"))
    assert source.keys[name] in gone
    assert gone <= {row["key"] for row in done["dropped"]}


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_export_and_import(run, source, tmp_path, suffix):
    path = tmp_path / f"x.{suffix}"
    done = run("export", source.given, path, "--skip_unsupported")
    names = {tensor["name"]: tensor["key"] for tensor in done["tensors"]}
    assert len(names) + len(done["left_out"]) >= len(source.keys)
    for to in FORMATS:
        run("import", path, tmp_path / to, f"--to={to}")
        old, new = tensors_of(source.prefix), tensors_of(tmp_path / to)
        back = source_of(tmp_path / to).keys
        assert set(back) == set(names)
        for name, key in back.items():
            assert_same(new[key], old[names[name]], name)


INDEX_ONLY = (
    ("inspect", "{0}", "--json"),
    ("inspect", "{0}", "--tree"),
    *(("convert", "{0}", "{1}", f"--to={to}", "--verbose") for to in FORMATS),
    ("convert", "{0}", "{1}", "--to=dual", "--rename=dense/=d/", "--drop=Adam", "--container=c"),
    ("rename", "{0}", "{1}", "--rename=dense/=d/"),
    ("drop", "{0}", "{1}", "--slots"),
    ("ema", "{0}", "{1}"),
    ("diff", "{0}", "{0}.other"),
)


@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize("arguments", INDEX_ONLY, ids=" ".join)
def test_what_needs_no_values_reads_no_shard(command, made, tmp_path, to, arguments):
    prefix = str(tmp_path / "source")
    for copy in (prefix, prefix + ".other"):
        convert(made["tf1 prefix"].prefix, copy, to=to, copy=True)
    found = []
    for target in ("before", "after"):
        target = str(tmp_path / target)
        ran = command(*(text.format(prefix, target) for text in arguments))
        assert ran.code == 0, ran.err
        index = tmp_path / f"{target}.index"
        found.append((ran.out.replace(target, ""), index.read_bytes() if index.exists() else None))
        for shard in tmp_path.glob("source*.data-*"):  # as large as they were, and all zeros
            size = shard.stat().st_size
            shard.unlink()
            with shard.open("wb") as file:
                file.truncate(size)
    assert found[0] == found[1]


def test_what_needs_no_values_takes_tensors_of_any_size(command, tmp_path):
    entry = TensorEntry(1, (9 << 26,), size=9 << 28)
    entries = {"w": entry, "w/Adam": entry}
    (tmp_path / "big.index").write_bytes(encode_index(BundleIndex(entries)))
    with (tmp_path / "big.data-00000-of-00001").open("wb") as shard:
        shard.truncate(9 << 28)  # 2.25 GiB that take no room
    for arguments in INDEX_ONLY[:-2]:
        arguments = [text.replace("dense/=d/", "w=v") for text in arguments]
        target = str(tmp_path / "target")
        flags = ["--overwrite"] if "{1}" in arguments else []
        prefix = str(tmp_path / "big")
        ran = command(*(text.format(prefix, target) for text in arguments), *flags)
        assert ran.code == 0, ran.err
    assert tf.train.list_variables(target) == [("w", [9 << 26])]


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """100,000 variables, all zeros."""
    prefix = tmp_path_factory.mktemp("many") / "many"
    crc32c = checksums.masked_crc32c(bytes(4))
    entries = {
        f"scope_{n // 100}/v_{n}": TensorEntry(1, (), 0, 4 * n, 4, crc32c) for n in range(100_000)
    }
    prefix.with_name("many.index").write_bytes(encode_index(BundleIndex(entries)))
    prefix.with_name("many.data-00000-of-00001").write_bytes(bytes(400_000))
    yield str(prefix)
    shutil.rmtree(prefix.parent)


@pytest.mark.slow
def test_a_hundred_thousand_variables(command, many, tmp_path):
    assert command("convert", many, tmp_path / "tf2", "--to=tf2").code == 0
    assert command("diff", many, tmp_path / "tf2").code == 0
    assert len(command("inspect", tmp_path / "tf2").out.splitlines()) == 100_001
    listed = tf.train.list_variables(str(tmp_path / "tf2"))
    assert len(listed) == 100_002  # with the object graph and save_counter


@pytest.mark.slow
def test_a_hundred_thousand_variables_in_every_command(command, many, tmp_path):
    source, out = tmp_path / "source", tmp_path / "out"
    convert(many, source, to="dual")
    for arguments in (
        ("verify", source),
        ("doctor", source),
        ("inspect", source, "--tree"),
        ("inspect", source, "--json"),
        ("rename", source, out, "--rename=scope_0/=s/", "--overwrite"),
        ("drop", source, out, "--pattern=^scope_0/", "--overwrite"),
        ("compact", source, out, "--overwrite"),
        ("cast", source, out, "--to=float16", "--overwrite"),
        ("average", source, many, out, "--overwrite"),
        ("export", source, f"{out}.safetensors"),
        ("import", f"{out}.safetensors", out, "--to=dual", "--overwrite"),
        ("diff", source, out),
    ):
        ran = command(*arguments)
        no_state_file = arguments[0] == "doctor"
        assert ran.code == no_state_file, (arguments, ran.err)
