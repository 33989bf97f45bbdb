"""Faults of one kind each, by the smallest checkpoint that shows it, with the right value."""

from __future__ import annotations

import os

import made_checkpoints as made
import pytest

from estimator_ckpt import convert
from estimator_ckpt.checkpoint.account import open_account
from estimator_ckpt.conversion.editing import drop, rename
from estimator_ckpt.naming.roles import Named, tell_roles


def values(*names, kinds=None, shape=(2,)):
    give = made._Values()
    return {name: give.tensor((kinds or {}).get(name, "variable"), shape) for name in names}


@pytest.fixture
def write(tmp_path):
    def write(kind, *names, keep=lambda name: True, **options):
        laid_out = made.lay_out(kind, "none", values(*names, **options))
        for name, tensor in laid_out.tensors.items():
            if not keep(name):  # it has a name, and no object
                tensor.keys[1:] = []
        return laid_out.write(os.path.join(tmp_path, "source", "ckpt"))

    return write


@pytest.mark.parametrize(
    ("shapes", "name", "expected"),
    [
        ({"logits": (2,), "logits/kernel": (2,)}, "logits/kernel", ("variable", None)),
        ({"v": (3, 2), "m": (2,), "Adam/v/m": (2,)}, "Adam/v/m", ("slot", "m")),
        ({"w": (3, 2), "w/Adam": (2,)}, "w/Adam", ("variable", None)),
        ({"w": (3, 2), "w/Adafactor": (2,)}, "w/Adafactor", ("slot", "w")),
        ({"m": (2,), "v": (2,)}, "v", ("variable", None)),
    ],
)
def test_a_weight_is_no_slot_and_a_slot_is_that_of_its_variable(shapes, name, expected):
    roles = tell_roles({each: Named(shape, 1) for each, shape in shapes.items()})
    assert roles[name][:2] == expected


@pytest.mark.parametrize("style", [each for each in made.SLOTS if each != "none"])
@pytest.mark.parametrize(
    ("rules", "new"),
    [
        ("d/kernel=d/weights", "d/weights"),
        ("d/=e/", "e/kernel"),
        ("/=root/", "root/d/kernel"),
        ("re:kernel$=weights", "d/weights"),
        ("d/=e/\n+re:kernel$=weights", "e/weights"),
        ("d/=/\n+/=root/", "root/kernel"),
    ],
)
@pytest.mark.parametrize("verb", [rename, lambda a, b, c: convert(a, b, rename=c)])
def test_slots_have_the_names_that_follow_from_their_variables(tmp_path, style, rules, new, verb):
    give = made._Values()
    tensors = {"d/kernel": give.tensor("variable", (3, 2))}
    patterns = (*made.SLOTS[style][0], "{}/ExponentialMovingAverage")
    for pattern in patterns:
        tensors[pattern.format("d/kernel", flat="d_kernel")] = give.tensor("slot", (3, 2))
    source = made.lay_out("tf1", style, tensors).write(str(tmp_path / "source" / "ckpt"))
    verb(source, str(tmp_path / "target" / "ckpt"), rules)
    found = set(open_account(str(tmp_path / "target" / "ckpt")).key_of)
    assert found == {new, *(each.format(new, flat=new.replace("/", "_")) for each in patterns)}


@pytest.mark.parametrize("rule", ["re:n=nn", "re:A=B", "re:m=mm", "re:verage=x"])
def test_an_expression_does_not_touch_what_only_a_slot_is_called(write, tmp_path, rule):
    names = ("w", "w/Adam", "w/Momentum", "w/ExponentialMovingAverage")
    source = write("tf1", *names, "beside/mnA/verage")
    rename(source, str(tmp_path / "target"), rule)
    assert set(open_account(str(tmp_path / "target")).key_of) > set(names)


def test_the_scope_of_an_optimizer_can_be_renamed_by_itself(write, tmp_path):
    rename(write("tf1", "w", "training/Adam/w/m"), str(tmp_path / "target"), "training/=/")
    assert set(open_account(str(tmp_path / "target")).key_of) == {"w", "Adam/w/m"}


def test_what_has_a_name_only_has_a_place_in_tf2(write, tmp_path):
    source = write("dual", "w", "w/Momentum", keep=lambda name: name != "w/Momentum")
    report = convert(source, str(tmp_path / "target"), to="tf2")
    assert {name for name, _ in report.dropped} <= {"w", "w/Momentum"} | {made.OBJECT_GRAPH_KEY}
    assert open_account(str(tmp_path / "target")).roles["w/Momentum"].of == "w"


def test_an_empty_object_graph_is_none(write, tmp_path):
    source = write("empty graph", "w", "w/Adam")
    assert open_account(source).format == "tf1"
    convert(source, str(tmp_path / "target"), to="tf2")
    account = open_account(str(tmp_path / "target"))
    assert (account.format, set(account.key_of)) == ("tf2", {"w", "w/Adam"})


def test_a_layout_that_is_not_kept_is_told_of(write, tmp_path):
    source = write("legacy", "dense/kernel")
    report = convert(source, str(tmp_path / "names"), to="tf1")
    assert any("not kept by name" in note and "like=" in note for note in report.notes)
    report = convert(str(tmp_path / "names"), str(tmp_path / "back"), to="tf2")
    assert any("var_list" in note for note in report.notes)


@pytest.mark.parametrize("kind", ["tf1", "dual", "tf2"])
@pytest.mark.parametrize(
    ("rule", "step"),
    [("/=new/", "global_step"), ("re:^=model/", "global_step"), ("global_step=s", "s")],
)
def test_the_step_keeps_its_name_unless_it_is_named_itself(write, tmp_path, kind, rule, step):
    source = write(kind, "w", "global_step", kinds={"global_step": "global_step"}, shape=())
    rename(source, str(tmp_path / "target"), rule)
    assert step in open_account(str(tmp_path / "target")).key_of


@pytest.mark.parametrize("kind", ["dual", "tf2", "legacy"])
@pytest.mark.parametrize("names", ["auto", "path"])
def test_what_is_asked_for_is_dropped_under_all_its_keys(write, tmp_path, kind, names):
    source = write(kind, "dense/kernel", "dense/bias")
    report = drop(source, str(tmp_path / "target"), ["bias"], names=names)
    gone = {key for key, reason in report.dropped if reason.startswith("asked for")}
    expected = {key for key in open_account(source).entries if "bias" in key}
    assert gone == expected


def test_names_that_clash_are_paths_and_the_others_stay(tmp_path):
    laid_out = made.lay_out("legacy", "none", values("count", "kernel"))
    graph = made._Graph()
    for number, tensor in enumerate(list(laid_out.tensors.values())[:2]):
        tensor.keys[:] = [graph.add(("metrics", str(number)), "count")]
    graph.add(("kernel",), "kernel")
    third = made._Values().tensor("variable", (7,))
    third.keys.append("kernel/.ATTRIBUTES/VARIABLE_VALUE")
    laid_out.tensors = {**dict(list(laid_out.tensors.items())[:2]), "third": third}
    laid_out.graph = graph.proto.SerializeToString()
    source = laid_out.write(str(tmp_path / "source"))
    report = convert(source, str(tmp_path / "target"), to="tf1")
    names = set(open_account(str(tmp_path / "target")).key_of)
    assert names == {"metrics/0", "metrics/1", "kernel"}
    assert any("another tensor is called 'count'" in note for note in report.notes)
