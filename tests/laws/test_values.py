"""What reads and writes values loses no tensor: average, cast, export, import, convert_all."""

from __future__ import annotations

import os

import made_checkpoints
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from laws import Held, require_same_roles, require_sound, require_true, written

from estimator_ckpt import convert, convert_all
from estimator_ckpt.conversion.editing import drop, rename
from estimator_ckpt.interchange.export import export_checkpoint
from estimator_ckpt.interchange.import_ import import_checkpoint
from estimator_ckpt.naming.object_graph import OBJECT_GRAPH_KEY
from estimator_ckpt.operations.average import average
from estimator_ckpt.operations.cast import cast
from estimator_ckpt.operations.compact import compact

EXAMPLES = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))


def tensors(held: Held) -> dict[str, tuple[int, tuple[int, ...], bytes]]:
    return {name: held.data[key] for name, key in held.account.key_of.items()}


@EXAMPLES
@given(made=made_checkpoints.checkpoints())
def test_the_average_of_equal_checkpoints_is_like_them(made):
    with written(made) as (prefix, goal):
        twin = made.write(f"{os.path.dirname(goal)}-twin/model.ckpt-7")
        report = average([prefix, twin], goal)
        source, target = Held(prefix), Held(goal)
        assert target.data == source.data
        assert set(report.averaged) | set(report.kept) == set(source.account.key_of)
        assert report.dropped == ()
        require_sound(target)
        require_same_roles(source, target)


@EXAMPLES
@given(made=made_checkpoints.checkpoints(), pattern=st.sampled_from(["Adam", "kernel", "m", "e"]))
def test_an_average_of_some_says_what_it_leaves_out(made, pattern):
    with written(made) as (prefix, goal):
        source = Held(prefix)
        names = [name for name in source.account.key_of if pattern in name]
        assume(0 < len(names) < len(source.account.key_of))
        twin = made.write(f"{os.path.dirname(goal)}-twin/model.ckpt-7")
        report = average([prefix, twin], goal, exclude=pattern)
        target = Held(goal)
        require_sound(target)
        gone = {key for name in names for key in source.account.keys_of[name]}
        told = {dropped.key for dropped in report.dropped}
        assert told - {"_CHECKPOINTABLE_OBJECT_GRAPH"} == gone
        for key, data in source.data.items():
            if key not in told and key != "_CHECKPOINTABLE_OBJECT_GRAPH":
                assert target.data[key] == data


@EXAMPLES
@given(made=made_checkpoints.checkpoints())
def test_a_cast_there_and_back_changes_nothing(made):
    with written(made) as (prefix, goal):
        there = cast(prefix, f"{goal}-short", to="bfloat16")
        cast(f"{goal}-short", goal, to="float32")
        source, target = Held(prefix), Held(goal)
        assert target.data == source.data
        names = {each.name for each in there.cast} | {each.name for each in there.kept}
        assert names == set(source.account.key_of)
        require_sound(Held(f"{goal}-short"))
        require_same_roles(source, target)


@pytest.mark.parametrize("kind", ["npz", "safetensors"])
@pytest.mark.parametrize("to", ["tf1", "tf2", "dual"])
@EXAMPLES
@given(made=made_checkpoints.checkpoints())
def test_what_is_exported_and_imported_has_the_same_names_and_bytes(made, kind, to):
    with written(made) as (prefix, goal):
        source = Held(prefix)
        os.makedirs(os.path.dirname(goal))
        exported = export_checkpoint(prefix, f"{goal}.{kind}")
        assert {each.name for each in exported.tensors} == set(source.account.key_of)
        assert {each.key for each in exported.left_out} == set(source.account.others)
        imported = import_checkpoint(f"{goal}.{kind}", goal, to=to)
        assert imported.left_out == ()
        target = Held(goal)
        assert tensors(target) == tensors(source)
        require_sound(target)
        require_same_roles(source, target)


@pytest.mark.parametrize("kind", ["npz", "safetensors"])
@EXAMPLES
@given(made=made_checkpoints.checkpoints())
def test_an_export_without_slots_leaves_out_what_training_needs_only(made, kind):
    with written(made) as (prefix, goal):
        os.makedirs(os.path.dirname(goal))
        account = Held(prefix).account
        report = export_checkpoint(prefix, f"{goal}.{kind}", slots=False)
        gone = {
            account.name_of[each.key] for each in report.left_out if each.key in account.name_of
        }
        kept = {each.name for each in report.tensors}
        assert gone | kept == set(account.key_of) and not gone & kept
        for name, tensor in made.tensors.items():
            if name in account.key_of and not made.nameless:
                needed = tensor.kind in ("variable", "global_step", "table")
                assert (name in kept) == needed, name


@pytest.mark.parametrize("kind", ["npz", "safetensors"])
@EXAMPLES
@given(made=made_checkpoints.checkpoints(), pattern=st.sampled_from(["Adam", "kernel", "m", "e"]))
def test_an_export_of_some_has_just_these_by_either_name(made, kind, pattern):
    with written(made) as (prefix, goal):
        os.makedirs(os.path.dirname(goal))
        for names in ("auto", "path"):
            source = Held(prefix, names)
            chosen = {name for name in source.account.key_of if pattern in name}
            if not chosen:
                continue
            report = export_checkpoint(
                prefix, f"{goal}.{kind}", include=pattern, names=names, overwrite=True
            )
            assert {each.name for each in report.tensors} == chosen
            gone = {source.account.key_of[each] for each in source.account.key_of.keys() - chosen}
            assert {each.key for each in report.left_out} == gone | set(source.account.others)
            import_checkpoint(f"{goal}.{kind}", goal, to="tf1", overwrite=True)
            expected = {name: tensors(source)[name] for name in chosen}
            assert tensors(Held(goal)) == expected


@EXAMPLES
@given(made=made_checkpoints.checkpoints())
def test_what_is_compacted_has_the_same_bytes_and_no_others(made):
    with written(made) as (prefix, goal):
        report = compact(prefix, goal)
        source, target = Held(prefix), Held(goal)
        assert target.data == source.data
        assert (report.keys, report.dropped) == (len(target.data), ())
        require_sound(target)
        require_same_roles(source, target)
        places = {
            (stored.shard_id, stored.offset): stored.size
            for entry in target.account.entries.values()
            for stored in entry.stored
            if stored.size  # one without bytes lies where another one does
        }
        paths = target.account.checkpoint.shard_paths
        assert sum(places.values()) == sum(map(os.path.getsize, paths))


@EXAMPLES
@given(made=made_checkpoints.checkpoints(), pattern=st.sampled_from(["Adam", "kernel", "m", "e"]))
def test_compacting_some_says_what_it_leaves_out(made, pattern):
    with written(made) as (prefix, goal):
        source = Held(prefix)
        names = [name for name in source.account.key_of if pattern in name]
        assume(0 < len(names) < len(source.account.key_of))
        report = compact(prefix, goal, exclude=pattern)
        target = Held(goal)
        require_sound(target)
        told = {dropped.key for dropped in report.dropped} - {OBJECT_GRAPH_KEY}
        assert told == {key for name in names for key in source.account.keys_of[name]}
        for key, data in source.data.items():
            if key not in told and key != OBJECT_GRAPH_KEY:
                assert target.data[key] == data


SHARING = {
    "convert to tf1": lambda source, target: convert(source, target, to="tf1"),
    "convert to tf2": lambda source, target: convert(source, target, to="tf2"),
    "convert to dual": lambda source, target: convert(source, target, to="dual"),
    "rename": lambda source, target: rename(source, target, "/=root/"),
    "compact": compact,
    "average": lambda source, target: average([source], target),
    "cast": lambda source, target: cast(source, target, to="bfloat16"),
}


@pytest.mark.parametrize("source_format", ["tf1", "tf2", "dual"])
@pytest.mark.parametrize("command", SHARING)
@settings(EXAMPLES, max_examples=5)
@given(made=made_checkpoints.checkpoints(formats=("tf1",)))
def test_variables_that_share_their_bytes_go_on_sharing_them(made, command, source_format):
    variables = [name for name, each in made.tensors.items() if each.kind == "variable"]
    shared = {name: f"twin/{name}" for name in variables if made.tensors[name].data}
    for name, twin in shared.items():
        made.tensors[name].keys.append(twin)
    with written(made) as (original, goal):
        prefix = f"{goal}-shared"
        convert(original, prefix, to=source_format)
        SHARING[command](prefix, goal)
        values, target = tensors(Held(prefix)), Held(goal)
        root = "root/" if command == "rename" else ""
        for name, twin in shared.items():
            keys = [target.account.key_of[root + each] for each in (name, twin)]
            one, other = (target.account.entries[key] for key in keys)
            assert one == other
            if command != "cast":
                assert target.data[keys[0]] == values[name] == values[twin]
        require_sound(target)


@pytest.mark.parametrize("source_format", ["tf2", "dual"])
@EXAMPLES
@given(made=made_checkpoints.checkpoints(formats=("tf1",)))
def test_of_variables_that_share_their_bytes_one_can_be_dropped(made, source_format):
    name = next(iter(made.tensors))
    assume(made.tensors[name].data)
    made.tensors[name].keys.append("twin")
    with written(made) as (original, goal):
        convert(original, f"{goal}-shared", to=source_format)
        drop(f"{goal}-shared", goal, ["^twin$"])
        convert(original, f"{goal}-expected", to=source_format, drop=["^twin$"])
        found, expected = Held(goal).data, Held(f"{goal}-expected").data
        for data in (found, expected):
            del data[OBJECT_GRAPH_KEY]  # of the same objects, in another order
        assert found == expected


@pytest.mark.parametrize("to", ["tf1", "tf2", "dual"])
@EXAMPLES
@given(made=made_checkpoints.checkpoints())
def test_a_whole_directory_is_converted_as_one_checkpoint_is(made, to):
    with written(made) as (prefix, goal):
        (report,) = convert_all(os.path.dirname(prefix), os.path.dirname(goal), to=to)
        source, target = Held(prefix), Held(goal)
        require_true(source, target, report, lambda name, role: False)
        require_sound(target)
        convert(prefix, f"{goal}-alone", to=to)
        assert Held(f"{goal}-alone").data == target.data


@EXAMPLES
@given(made=made_checkpoints.checkpoints(formats=("tf1",)))
def test_through_dual_and_tf2_to_tf1_nothing_changes(made):
    with written(made) as (prefix, goal):
        convert(prefix, f"{goal}-dual", to="dual")
        convert(f"{goal}-dual", f"{goal}-tf2", to="tf2")
        convert(f"{goal}-tf2", goal, to="tf1")
        assert Held(goal).data == Held(prefix).data


@pytest.mark.parametrize(
    ("there", "back"),
    [("/=root/", "root/=/"), ("re:kernel$=weights", "re:weights$=kernel"), ("re:^=p_", "re:^p_=")],
)
@EXAMPLES
@given(made=made_checkpoints.checkpoints(formats=("tf1", "dual", "tf2")))
def test_rules_and_their_inverse_give_the_same_again(made, there, back):
    assume("kernel" not in there or any(name.endswith("kernel") for name in made.tensors))
    keys = [key for tensor in made.tensors.values() for key in tensor.keys]
    assume(made.format != "dual" or any(key.startswith("var_list/") for key in keys))
    with written(made) as (prefix, goal):
        convert(prefix, f"{goal}-there", rename=there)
        convert(f"{goal}-there", goal, rename=back)
        source, target = Held(prefix), Held(goal)
        assert tensors(target) == tensors(source)
        if made.format != "dual":  # there, what had no object gets one
            assert set(target.data) == set(source.data)
        require_same_roles(source, Held(f"{goal}-there"))
