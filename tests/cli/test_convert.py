"""`estimator-ckpt convert`, with TensorFlow as the judge of what it wrote."""

from __future__ import annotations

import json
import os
import pathlib

import numpy as np
import pytest

STEP_KEY = "step/.ATTRIBUTES/VARIABLE_VALUE"
KERNEL_KEY = "var_list/dnn.Skernel/.ATTRIBUTES/VARIABLE_VALUE"


def facts(out: str) -> dict[str, str]:
    pairs = (line.split("\t") for line in out.splitlines())
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}


def files(folder: pathlib.Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize(
    ("to", "step"), [("tf1", "global_step"), ("tf2", STEP_KEY), ("dual", STEP_KEY)]
)
def test_tensorflow_reads_what_was_written(command, work, to, step):
    import tensorflow as tf

    target = work / "new" / "ckpt"
    assert command("convert", work / "tf1", target, f"--to={to}").code == 0
    assert tf.train.load_variable(str(target), step) == 3
    kernel = {"tf1": "dnn/kernel", "tf2": KERNEL_KEY, "dual": "dnn/kernel"}[to]
    expected = tf.train.load_variable(str(work / "tf1"), "dnn/kernel")
    np.testing.assert_array_equal(tf.train.load_variable(str(target), kernel), expected)


def test_the_report_counts_keys_and_bytes(command, work):
    target = work / "new" / "ckpt"
    data = work / "tf1" / "model.ckpt-3.data-00000-of-00001"
    result = command("convert", work / "tf1", target, "--to=tf2")
    assert (result.code, result.err) == (0, "")
    reported = facts(result.out)
    assert reported["prefix"] == str(target)
    assert reported["format"] == "tf2"
    assert reported["keys"] == reported["keys_renamed"] == "9"
    assert reported["keys_dropped"] == "0"
    assert reported["bytes_linked"] == str(data.stat().st_size)
    assert reported["bytes_copied"] == "0"
    assert int(reported["bytes_written"]) > 0
    assert "\nrenamed\t" not in result.out


def test_copy_leaves_no_link(command, work):
    target = work / "new" / "ckpt"
    reported = facts(command("convert", work / "tf1", target, "--to=tf1", "--copy").out)
    assert reported["bytes_linked"] == "0"
    assert int(reported["bytes_copied"]) > 0
    assert (work / "tf1" / "model.ckpt-3.data-00000-of-00001").stat().st_nlink == 1


def test_verbose_lists_each_renamed_key(command, work):
    result = command("convert", work / "tf1", work / "new" / "ckpt", "--to=tf2", "--verbose")
    assert f"\nrenamed\tdnn/kernel\t{KERNEL_KEY}\n" in result.out
    assert result.out.count("\nrenamed\t") == 9


def test_other_names_of_the_same_bytes_are_one_line(command, work, on_terminal):
    command("convert", work / "tf1", work / "dual" / "ckpt", "--to=dual")
    line = ("convert", work / "dual" / "ckpt", work / "back" / "ckpt", "--to=tf1", "--dry-run")
    out = command(*line).out
    counts = facts(out)
    assert counts["keys_dropped_other_names"] == "9" and int(counts["keys_dropped"]) > 9
    listed = {line.split("\t")[1] for line in out.splitlines() if line.startswith("dropped\t")}
    assert "_CHECKPOINTABLE_OBJECT_GRAPH" in listed and KERNEL_KEY not in listed
    assert f"\ndropped\t{KERNEL_KEY}\t" in command(*line, "-v").out
    on_terminal(80)
    short, long = command(*line).out, command(*line, "-v").out
    assert "9 keys dropped: another name of the same bytes" in short
    assert KERNEL_KEY not in short and "_CHECKPOINTABLE_OBJECT_GRAPH" in short
    assert f"    {KERNEL_KEY}\n" in long


def test_many_keys_that_are_dropped_for_one_reason_are_cut_without_verbose(
    command, save, tmp_path, on_terminal
):
    save(tmp_path / "ckpt", {f"v{number}": [1.0] for number in range(20)})
    line = ("drop", tmp_path / "ckpt", tmp_path / "new", "--pattern=1", "--dry-run")
    assert command(*line).out.count("\ndropped\t") == 11
    on_terminal(80)
    assert "    and 1 more (-v lists them)\n" in command(*line).out
    assert "more (-v" not in command(*line, "-v").out


def test_json_is_the_report(command, work):
    target = work / "new" / "ckpt"
    result = command("convert", work / "tf1", target, "--to=dual", "--json")
    report = json.loads(result.out)
    assert (report["prefix"], report["format"]) == (str(target), "dual")
    assert {"source": "dnn/kernel", "target": KERNEL_KEY} in report["keys"]


def test_the_container_can_be_chosen(command, work):
    import tensorflow as tf

    target = work / "new" / "ckpt"
    command("convert", work / "tf1", target, "--to=tf2", "--container=vars")
    keys = {key for key, _ in tf.train.list_variables(str(target))}
    assert "vars/dnn.Skernel/.ATTRIBUTES/VARIABLE_VALUE" in keys


def test_overwrite_replaces_the_target(command, work):
    target = work / "new" / "ckpt"
    command("convert", work / "tf1", target, "--to=tf1")
    assert command("convert", work / "tf1", target, "--to=tf2").code == 2
    result = command("convert", work / "tf1", target, "--to=tf2", "--overwrite")
    assert (result.code, facts(result.out)["format"]) == (0, "tf2")


def test_a_terminal_gets_sentences_the_result_last(command, work, on_terminal):
    on_terminal(80)
    result = command("convert", work / "tf1", work / "new" / "ckpt", "--to=tf2")
    assert "9 keys, 9 of them renamed (-v lists them)" in result.out
    last = result.out.splitlines()[-1]
    assert last.startswith(f"wrote {work}/new/ckpt, format tf2: ")
    assert " linked, 0 B copied, " in last


# What a user gets wrong. Each changes the folder as needed, and returns source, target, and a text
# that the message must have.


def no_such_prefix(work):
    return work / "tf1" / "model.ckpt-4", work / "new" / "ckpt", "model.ckpt-4"


def a_shard_as_prefix(work):
    prefix = work / "tf1" / "model.ckpt-3"
    return f"{prefix}.data-00000-of-00001", work / "new" / "ckpt", f"'{prefix}'"


def a_folder_without_checkpoints(work):
    (work / "empty").mkdir()
    return work / "empty", work / "new" / "ckpt", "empty"


def a_missing_shard(work):
    shard = work / "tf1" / "model.ckpt-3.data-00000-of-00001"
    shard.unlink()
    return work / "tf1", work / "new" / "ckpt", shard.name


def a_short_shard(work):
    shard = work / "tf1" / "model.ckpt-3.data-00000-of-00001"
    os.truncate(shard, shard.stat().st_size - 1)
    return work / "tf1", work / "new" / "ckpt", shard.name


def a_damaged_index(work):
    index = work / "tf1" / "model.ckpt-3.index"
    damaged = bytearray(index.read_bytes())
    damaged[20] ^= 0xFF
    index.write_bytes(damaged)
    return work / "tf1", work / "new" / "ckpt", index.name


def an_empty_index(work):
    index = work / "tf1" / "model.ckpt-3.index"
    index.write_bytes(b"")
    return work / "tf1", work / "new" / "ckpt", index.name


def a_target_that_exists(work):
    return work / "tf1", work / "clash" / "ckpt-1", "overwrite"


def a_target_that_is_the_source(work):
    return work / "tf1", work / "tf1" / "model.ckpt-3", "model.ckpt-3"


def a_target_below_a_file(work):
    return work / "tf1", work / "tf1" / "checkpoint" / "ckpt", "checkpoint"


def a_folder_that_is_not_writable(work):
    if os.geteuid() == 0:
        if not os.path.isdir("/proc/self"):
            pytest.skip("root may write everywhere")
        return work / "tf1", "/proc/self/ckpt", "/proc/self"
    (work / "closed").mkdir(mode=0o500)
    return work / "tf1", work / "closed" / "ckpt", "closed"


@pytest.mark.parametrize(
    "mistake",
    [
        no_such_prefix,
        a_shard_as_prefix,
        a_folder_without_checkpoints,
        a_missing_shard,
        a_short_shard,
        a_damaged_index,
        an_empty_index,
        a_target_that_exists,
        a_target_that_is_the_source,
        a_target_below_a_file,
        a_folder_that_is_not_writable,
    ],
)
def test_bad_input_is_one_clear_message_and_leaves_no_file(command, work, mistake):
    source, target, text = mistake(work)
    before = files(work)
    result = command("convert", source, target, "--to=tf1")
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("estimator-ckpt: error: ")
    assert "Traceback" not in result.err
    assert text in result.err
    assert files(work) == before


@pytest.mark.parametrize(
    "mistake", [no_such_prefix, a_folder_without_checkpoints, a_damaged_index, an_empty_index]
)
def test_inspect_refuses_the_same_sources(command, work, mistake):
    source, _, text = mistake(work)
    result = command("inspect", source)
    assert (result.code, result.out) == (2, "")
    assert text in result.err
