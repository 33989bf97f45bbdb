"""Lines of a map that change values, judged by networks of TensorFlow and Keras."""

from __future__ import annotations

import os
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from keras_models import HERE, package

from estimator_ckpt import (
    CheckpointArgumentError,
    DamagedCheckpointError,
    VariableMap,
    convert,
    convert_all,
    describe,
    diff,
    export_checkpoint,
    propose_map,
    rename,
    restore,
    verify,
    warm_start_settings,
)
from estimator_ckpt.naming.transformations import Kind

tf1 = tf.compat.v1
RANDOM = np.random.RandomState(0)


def normal(*shape):
    return RANDOM.normal(size=shape).astype(np.float32)


def saved(prefix, values, parts=None):
    """Writes values by name with TensorFlow; those of `parts` in two parts, by their rows."""
    names, slices, tensors = [], [], []
    for name, value in values.items():
        rows = [slice(None)] if name != parts else [slice(0, 1), slice(1, None)]
        for part in rows:
            held = np.asarray(value)[part] if name == parts else value
            where = f"{part.start},{len(held)}:" + "-:" * (held.ndim - 1) if name == parts else ""
            spec = f"{' '.join(map(str, np.shape(value)))} {where[:-1]}" if where else ""
            names.append(name)
            slices.append(spec)
            tensors.append(tf.constant(held))
    tf.raw_ops.SaveV2(
        prefix=str(prefix), tensor_names=names, shape_and_slices=slices, tensors=tensors
    )
    return str(prefix)


def pinned(*lines):
    return VariableMap.parse("\n".join(["[pinned]", *lines]))


def accepted(made):
    """The map with what it refuses moved to what is pinned, as someone would edit its text."""
    head, _, rest = made.text().partition("[refused]\n")
    lines, _, end = rest.partition("\n\n")
    return VariableMap.parse(f"{head}\n[pinned]\n{lines}\n\n{end}")


def read(prefix, name):
    return tf.train.load_checkpoint(str(prefix)).get_tensor(name)


@pytest.fixture(scope="module")
def turned(tmp_path_factory):
    """A TF1 network that has its kernel the other way, after two steps of Adam; and its output."""
    prefix = str(tmp_path_factory.mktemp("turned") / "model.ckpt")
    x = normal(2, 3)
    with tf1.Graph().as_default(), tf1.Session() as session:
        step = tf1.train.get_or_create_global_step()
        with tf1.variable_scope("net/dense"):
            kernel, bias = tf1.get_variable("kernel", [5, 3]), tf1.get_variable("bias", [5])
        y = tf.matmul(x, kernel, transpose_b=True) + bias
        train = tf1.train.AdamOptimizer(0.01).minimize(tf.reduce_sum(y**2), step)
        session.run(tf1.global_variables_initializer())
        session.run(train)
        session.run(train)
        tf1.train.Saver().save(session, prefix)
        values = {v.op.name: session.run(v) for v in tf1.global_variables()}
        return prefix, x, session.run(y), values, (session.run(train), session.run(y))[1]


@pytest.mark.parametrize("kind", HERE)
@pytest.mark.parametrize("through", ["restore", "convert", "dual", "compact"])
def test_a_transposed_kernel_goes_into_keras_with_its_slots(turned, tmp_path, kind, through):
    prefix, x, output, _, later = turned
    keras = package(kind)
    model = keras.Sequential([keras.layers.InputLayer((3,)), keras.layers.Dense(5)])
    model.compile(keras.optimizers.Adam(0.01, epsilon=1e-8), "mse")
    model.optimizer.build(model.trainable_variables)
    proposed = propose_map(prefix, model, accept="likely")
    assert "net/dense/kernel -> " in proposed.text() and " : transpose(1, 0)" in proposed.text()
    made = accepted(proposed)
    assert len(made.changes) == 1
    if through == "restore":
        report = restore(model, prefix, rename=made)
        assert [row.name for row in report.unmatched if "learning_rate" not in row.name] == []
    else:
        out = tmp_path / "like"
        how = {"to": "dual" if through == "dual" else "tf2", "compact": through == "compact"}
        report = convert(prefix, out, like=model, rename=made, **how)
        assert report.bytes_copied == 0 and any("3 tensors" in note for note in report.notes)
        assert verify(out).ok
        tf.train.Checkpoint(model).restore(str(out)).expect_partial()
    np.testing.assert_allclose(model(x), output, rtol=1e-5, atol=1e-6)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(x) ** 2)
    weights = model.trainable_variables
    gradients = (
        tape.gradient(loss, [getattr(each, "value", each) for each in weights])
        if (kind == "keras3")
        else tape.gradient(loss, weights)
    )
    model.optimizer.apply_gradients(zip(gradients, weights))
    np.testing.assert_allclose(model(x), later, rtol=1e-5, atol=1e-6)


def legacy_cell(kind, units, **arguments):
    if tf.__version__ < "2.16":
        cells = tf1.nn.rnn_cell
    else:
        from tf_keras.src.layers.rnn import legacy_cells as cells
    return getattr(cells, kind)(units, **arguments)


def cell_of_tensorflow_1(session, cell, x):
    """The last output of a cell of TensorFlow 1, in a Session."""
    state = cell.zero_state(len(x), tf.float32)
    with tf1.variable_scope("rnn"):
        for at in range(x.shape[1]):
            y, state = cell(x[:, at], state)
    session.run(tf1.global_variables_initializer())
    return y


CELLS = {
    "LSTMCell": ({}, "f+1", lambda layers: layers.LSTM(5)),
    "BasicLSTMCell": ({"forget_bias": 0.5}, "f+0.5", lambda layers: layers.LSTM(5)),
    "GRUCell": ({}, "", lambda layers: layers.GRU(5, reset_after=False)),
    "BasicRNNCell": ({}, "", lambda layers: layers.SimpleRNN(5)),
}


@pytest.mark.filterwarnings("ignore:.*Cell. is deprecated")
@pytest.mark.parametrize("kind", HERE)
@pytest.mark.parametrize("cell", CELLS)
def test_a_cell_of_tensorflow_1_becomes_one_of_keras_and_goes_back(tmp_path, kind, cell):
    """Gates have another order, and a forget gate's bias is added at each step."""
    arguments, forget, layer = CELLS[cell]
    prefix, x = str(tmp_path / "old"), normal(2, 6, 4)
    with tf1.Graph().as_default(), tf1.Session() as session:
        y = cell_of_tensorflow_1(session, legacy_cell(cell, 5, **arguments), x)
        for variable in tf1.global_variables():
            variable.load(normal(*variable.shape), session)
        tf1.train.Saver().save(session, prefix)
        expected = session.run(y)
    keras = package(kind)
    model = keras.Sequential([keras.layers.InputLayer((6, 4)), layer(keras.layers)])
    text = accepted(propose_map(prefix, model, accept="likely")).text()
    assert text.count(" : ") > 2 and ("f+1" in text) == bool(forget)
    restore(model, prefix, rename=VariableMap.parse(text.replace("f+1", forget)))
    np.testing.assert_allclose(model(x), expected, rtol=1e-4, atol=1e-5)

    leaves = ("kernel", "recurrent_kernel", "bias")
    values = dict(zip((f"cell/{leaf}" for leaf in leaves), (w.numpy() for w in model.weights)))
    new = saved(tmp_path / "new", values)
    text = accepted(propose_map(new, prefix, accept="likely")).text()
    back = VariableMap.parse(text.replace("f-1", forget.replace("+", "-")))
    convert(new, tmp_path / "back", rename=back)
    with tf1.Graph().as_default(), tf1.Session() as session:
        y = cell_of_tensorflow_1(session, legacy_cell(cell, 5, **arguments), x)
        tf1.train.Saver().restore(session, str(tmp_path / "back"))
        np.testing.assert_allclose(session.run(y), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("through", ["convert", "restore", "tf2"])
def test_a_fused_kernel_is_split_with_its_slots_and_averages(tmp_path, through):
    held = {
        "qkv/kernel": normal(4, 12),
        "qkv/kernel/Adam": normal(4, 12),
        "qkv/kernel/Adam_1": normal(4, 12) ** 2,
        "qkv/kernel/ExponentialMovingAverage": normal(4, 12),
        "qkv/bias": normal(12),
        "beta1_power": np.float32(0.9),
        "global_step": np.int64(7),
    }
    prefix = saved(tmp_path / "old", held)
    if through == "tf2":
        convert(prefix, tmp_path / "objects", to="tf2")
        prefix = str(tmp_path / "objects")
    target = {
        f"{name}/{leaf}": tf.Variable(tf.zeros(shape))
        for name in ("query", "key", "value")
        for leaf, shape in (("kernel", [4, 4]), ("bias", [4]))
    }
    made = accepted(propose_map(prefix, target))
    assert len(made.changes) == 6 and not made.refused
    order = [each.target for each in made.changes if each.target.endswith("kernel")]
    expected = {}
    for leaf in ("kernel", "bias"):
        for at, name in enumerate(order):
            new, at = name.replace("kernel", leaf), slice(4 * at, 4 * at + 4)
            for old, value in held.items():
                if old.startswith(f"qkv/{leaf}"):
                    expected[old.replace(f"qkv/{leaf}", new)] = value[..., at]
    if through == "restore":
        every = {name: tf.Variable(tf.zeros(value.shape)) for name, value in expected.items()}
        report = restore(every, prefix, rename=made)
        assert len(report.restored) == 15
        reasons = {row.name: row.reason for row in report.left}
        assert reasons["qkv/kernel"].startswith("made into 'query/kernel' (split(1, ")
        found = {name: variable.numpy() for name, variable in every.items()}
    else:
        report = convert(prefix, tmp_path / "new", to="tf1", rename=made)
        names = {row.name for row in describe(tmp_path / "new").variables}
        assert names == {*expected, "beta1_power", "global_step"}
        reasons = {each.key: each.reason for each in report.dropped}
        (reason,) = {each for each in reasons.values() if "made into " in each and "bias" in each}
        assert all(f"'{name}/bias' (split(0, " in reason for name in ("query", "key", "value"))
        found = {name: read(tmp_path / "new", name) for name in expected}
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_parts_that_were_saved_as_variables_are_merged_with_their_slots(tmp_path):
    held = {
        f"emb/part_{at}{slot}": normal(size, 3)
        for at, size in enumerate((3, 2, 2))
        for slot in ("", "/Adagrad")
    }
    prefix = saved(tmp_path / "old", held)
    made = pinned("emb/part_0, emb/part_1, emb/part_2 -> emb : concat(0)")
    report = rename(prefix, tmp_path / "new", made)
    for slot in ("", "/Adagrad"):
        whole = np.concatenate([held[f"emb/part_{at}{slot}"] for at in range(3)])
        np.testing.assert_array_equal(read(tmp_path / "new", f"emb{slot}"), whole)
    assert len(describe(tmp_path / "new").variables) == 2 and len(report.dropped) == 6
    table = {"emb": tf.Variable(tf.zeros([7, 3]))}
    assert len(restore(table, prefix, rename=made).restored) == 1
    expected = table["emb"].numpy()
    with tf1.Graph().as_default(), tf1.Session() as session:
        split = tf1.get_variable("emb", [7, 3], partitioner=tf1.fixed_size_partitioner(2))
        restore({"emb": list(split)}, prefix, rename=made, session=session)
        np.testing.assert_array_equal(session.run(tf.concat(list(split), 0)), expected)


def test_parts_without_a_slot_of_each_are_told(tmp_path):
    held = {f"emb/part_{at}": normal(2, 3) for at in range(2)} | {
        "emb/part_0/Adagrad": normal(2, 3)
    }
    prefix = saved(tmp_path / "old", held)
    report = rename(prefix, tmp_path / "new", pinned("emb/part_0, emb/part_1 -> emb : concat(0)"))
    reasons = {each.key: each.reason for each in report.dropped}
    assert "have such a one to be merged with" in reasons["emb/part_0/Adagrad"]
    assert [row.name for row in describe(tmp_path / "new").variables] == ["emb"]


@pytest.mark.parametrize("to", ["tf1", "tf2", "dual"])
def test_a_reshape_reads_and_copies_no_tensor_and_slots_follow(tmp_path, to):
    held = {"fc/w": normal(2, 3, 4), "fc/w/Adam": normal(2, 3, 4), "other": normal(1000)}
    prefix = saved(tmp_path / "old", held)
    data = pathlib.Path(f"{prefix}.data-00000-of-00001")
    good = data.read_bytes()
    data.write_bytes(bytes(len(good)))  # so that whoever reads a tensor finds it damaged
    report = convert(prefix, tmp_path / "new", to=to, rename=pinned("fc/w -> w : reshape(6, 4)"))
    assert report.bytes_written < 4000 and report.bytes_copied == 0
    (new,) = [each for each in tmp_path.glob("new.data*") if each.stat().st_size == len(good)]
    assert os.path.samefile(new, data)
    data.write_bytes(good)
    if to != "tf2":
        np.testing.assert_array_equal(read(tmp_path / "new", "w"), held["fc/w"].reshape(6, 4))
        np.testing.assert_array_equal(
            read(tmp_path / "new", "w/Adam"), held["fc/w/Adam"].reshape(6, 4)
        )
    if to != "tf1":
        w = tf.Variable(tf.zeros([6, 4]))
        tf.train.Checkpoint(var_list={"w": w}).restore(str(tmp_path / "new")).expect_partial()
        np.testing.assert_array_equal(w.numpy(), held["fc/w"].reshape(6, 4))
    assert any("reshaped, with their bytes as they are" in note for note in report.notes)


def test_a_partitioned_variable_is_merged_to_be_reshaped(tmp_path):
    prefix = saved(tmp_path / "old", {"w": (value := normal(2, 3, 4)), "v": normal(2)}, parts="w")
    assert describe(prefix).variables[1].name == "w"
    report = rename(prefix, tmp_path / "new", pinned("w -> w : reshape(6, 4)"))
    np.testing.assert_array_equal(read(tmp_path / "new", "w"), value.reshape(6, 4))
    assert any("in parts, which are merged to reshape them: 'w'" in note for note in report.notes)


def test_objects_of_another_layout_keep_their_places_and_get_the_new_values(tmp_path):
    def make(value, table):
        made = tf.Module()
        made.net, made.table = tf.Module(), tf.Variable(table)
        made.net.dense = tf.Module()
        made.net.dense.kernel = tf.Variable(value, name="kernel")
        return made

    value, table = normal(4, 2), normal(3)
    prefix = tf.train.Checkpoint(make(value, table)).save(str(tmp_path / "old"))
    name = next(row.name for row in describe(prefix).variables if "kernel" in row.name)
    convert(prefix, tmp_path / "new", rename=pinned(f"{name} -> {name} : cast(float16)"))
    other = make(tf.zeros([4, 2], tf.float16), tf.zeros(3))
    tf.train.Checkpoint(other).restore(str(tmp_path / "new")).assert_existing_objects_matched()
    np.testing.assert_array_equal(other.net.dense.kernel.numpy(), value.astype(np.float16))
    np.testing.assert_array_equal(other.table.numpy(), table)


def test_slots_of_another_shape_are_dropped_with_the_reason_and_scalars_stay(tmp_path):
    held = {
        "w": normal(4, 6),
        "w/Adafactor": normal(4),
        "w/Adafactor_1": normal(6),
        "w/Adam": normal(4, 6),
    }
    prefix = saved(tmp_path / "old", held)
    report = rename(prefix, tmp_path / "new", pinned("w -> k : transpose(1, 0)"))
    names = {row.name for row in describe(tmp_path / "new").variables}
    dropped = {each.key: each.reason for each in report.dropped}
    np.testing.assert_array_equal(read(tmp_path / "new", "k/Adam"), held["w/Adam"].T)
    assert "k" in names and "w" not in names
    assert set(dropped) == {"w/Adafactor", "w/Adafactor_1"}
    assert all("has another shape than 'w'" in reason for reason in dropped.values())


def test_what_a_diff_says_of_changed_values(tmp_path):
    prefix = saved(tmp_path / "old", {"w": normal(4, 6), "v": normal(6, 4)})
    made = pinned("w -> k : transpose(1, 0)", "v -> u : reshape(24)")
    rename(prefix, tmp_path / "new", made)
    assert [each.kind for each in diff(prefix, tmp_path / "new", rename=made).changes] == [
        "unknown"
    ]
    assert diff(prefix, tmp_path / "new", rename=made, values=True).same


def test_a_map_that_is_proposed_again_keeps_its_changes(tmp_path):
    prefix = saved(tmp_path / "old", {"w": normal(4, 6), "v": normal(5)})
    target = {"k": tf.Variable(tf.zeros([6, 4])), "u": tf.Variable(tf.zeros(5))}
    made = propose_map(prefix, target, pins=pinned("w -> k : transpose(1, 0)"))
    assert made.pairs() == {"v": "u"} and len(made.changes) == 1
    assert not made.refused and not made.unmapped_source and not made.unmapped_target
    assert VariableMap.parse(made.text()) == made and made.counts()["pinned"] == 1


BAD = {
    "two lines for a target": (
        ["w -> net/k : transpose(1, 0)", "v -> net/k : reshape(6, 4)"],
        "line 3: 'net/k' already gets the variable of line 2; remove one",
    ),
    "a source twice": (
        ["w -> net/k : transpose(1, 0)", "w -> net/u"],
        "line 3: 'w' is mapped in line 2 already; remove one",
    ),
    "no source": (["x -> net/k : transpose(1, 0)"], "line 2: the source has no 'x'"),
    "no part": (["w, x -> net/k : concat(0)"], "line 2: the source has no 'x'"),
    "no target": (["w -> net/n : transpose(1, 0)"], "line 2: the target has no 'net/n'"),
    "no concat": (["w, v -> net/k : transpose(1, 0)"], "line 2: .*become one by concat"),
    "several without one": (["w, v -> net/k"], "line 2: the source has no 'w, v'"),
    "no step": (["w -> net/k : turn(1)"], "line 2: there is no transformation 'turn'"),
    "a shape before": (
        ["w -> net/k : transpose(2, 1, 0)"],
        "line 2: 'w': transpose.* does not fit",
    ),
    "a shape after": (
        ["w -> net/k : transpose(0, 1)"],
        r"line 2: 'w' \[4, 6\] does not fit 'net/k' \[6, 4\]; .* : transpose\(1, 0\)",
    ),
    "a type": (
        ["w -> net/k : cast(float16), transpose(1, 0)"],
        r"line 2: 'w' float16 \[6, 4\] does not fit 'net/k' float32 .*put ' : cast\(float32\)'",
    ),
    "a reshape to another size": (["w -> net/k : reshape(5, 5)"], "line 2: .*24 elements"),
    "a reshape that is not said": (
        ["w -> net/f"],
        r"line 2: 'w' \[4, 6\] does not fit 'net/f' \[24\]; put ' : reshape\(24\)' behind the line",
    ),
}


CASES = [(what, through) for what in BAD for through in ("restore", "convert", "map")]
CASES.remove(("a reshape that is not said", "map"))  # the proposer says it, behind the pin


@pytest.mark.parametrize(("what", "through"), CASES)
def test_a_change_that_can_not_be_made_is_told_by_its_line(tmp_path, what, through):
    lines, message = BAD[what]
    prefix = saved(tmp_path / "old", {"w": normal(4, 6), "v": normal(4, 6)})
    shapes = {"k": [6, 4], "u": [4, 6], "f": [24]}
    objects = tf.Module()
    objects.net = tf.Module()
    for name, shape in shapes.items():
        setattr(objects.net, name, tf.Variable(tf.zeros(shape)))
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(CheckpointArgumentError, match=message):
        made = pinned(*lines)
        if through == "restore":
            restore(objects, prefix, rename=made, strict=False)
        elif through == "convert":
            convert(prefix, tmp_path / "out", to="tf2", like=objects, rename=made)
        else:
            propose_map(prefix, objects, pins=made)
    assert sorted(os.listdir(tmp_path)) == before
    assert not any(getattr(objects.net, name).numpy().any() for name in shapes)


def test_a_conversion_by_names_checks_its_lines_too(tmp_path):
    prefix = saved(tmp_path / "old", {"w": normal(4, 6), "s": np.array([b"a", b"b"], object)})
    before = sorted(os.listdir(tmp_path))
    for line, message in (
        (
            "w -> k : split(1, 0:7)",
            r"line 2: 'w': split\(1, 0:7\) does not fit: axis 1 of \[4, 6\]",
        ),
        ("s -> t : split(0, 0:1)", "line 2: 's': values of type string can't be changed"),
    ):
        with pytest.raises(CheckpointArgumentError, match=message):
            convert(prefix, tmp_path / "out", to="tf1", rename=pinned(line))
    assert sorted(os.listdir(tmp_path)) == before


def test_a_warm_start_says_to_convert_first(turned):
    made = pinned("net/dense/kernel -> a/kernel : transpose(1, 0)")
    with pytest.raises(CheckpointArgumentError, match="make a checkpoint by the map first"):
        warm_start_settings(turned[0], rename=made)


@pytest.mark.parametrize("damaged", [0, 1, 2])
@pytest.mark.parametrize(
    "line",
    [
        "u, v, w -> k : concat(0)",
        "u, v, w -> k : concat(1)",
        "u, v, w -> k : concat(1), transpose(1, 0)",
        "u, v, w -> k : concat(0), split(0, 0:1)",
        "u, v, w -> k : concat(1), split(1, 0:1)",
    ],
)
def test_damage_is_found_and_leaves_nothing_behind(tmp_path, damaged, line):
    prefix = saved(tmp_path / "old", {name: normal(4, 6) for name in "uvw"})
    data = pathlib.Path(f"{prefix}.data-00000-of-00001")
    held = bytearray(data.read_bytes())
    held[96 * damaged + 95] ^= 1
    data.write_bytes(held)
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(DamagedCheckpointError, match="checksum"):
        convert(prefix, tmp_path / "out", to="tf1", rename=pinned(line))
    assert sorted(os.listdir(tmp_path)) == before
    (change,) = pinned(line).changes
    shape = change.transformation.result([Kind((4, 6), "float32")] * 3).shape
    with pytest.raises(DamagedCheckpointError, match="checksum"):
        restore({"k": tf.Variable(tf.zeros(shape))}, prefix, rename=pinned(line))


def test_a_dry_run_says_what_will_be_done(tmp_path):
    prefix = saved(tmp_path / "old", {"w": normal(4, 6), "v": normal(3)})
    made = pinned("w -> k : transpose(1, 0)")
    said = rename(prefix, tmp_path / "new", made, dry_run=True)
    assert not list(tmp_path.glob("new*"))
    done = rename(prefix, tmp_path / "new", made)
    assert (said.keys, said.dropped, said.notes) == (done.keys, done.dropped, done.notes)
    assert said.bytes_unused == done.bytes_unused == 96


@pytest.mark.parametrize("kind", HERE)
@pytest.mark.parametrize("through", ["restore", "convert", "map"])
def test_a_model_that_is_not_built_is_to_be_built_first(turned, tmp_path, kind, through):
    model = package(kind).Sequential([package(kind).layers.Dense(5)])
    made = pinned("net/dense/kernel -> layer-0/kernel : transpose(1, 0)")
    with pytest.raises(CheckpointArgumentError, match=r"no variables to map to.*build it first"):
        if through == "restore":
            restore(model, turned[0], rename=made, strict=False)
        elif through == "convert":
            convert(turned[0], tmp_path / "new", to="tf2", like=model, rename=made)
        else:
            propose_map(turned[0], model)
    assert not list(tmp_path.iterdir())


def test_what_no_line_takes_of_a_variable_is_told(tmp_path):
    prefix = saved(tmp_path / "old", {"w": normal(4, 12)})
    made = pinned("w -> a : split(1, 2:6)", "w -> b : split(-1, 4:8)")
    report = rename(prefix, tmp_path / "new", made)
    assert [note for note in report.notes if "nowhere" in note] == [
        "of 'w', what is at 0:2 of axis 1 goes nowhere",
        "of 'w', what is at 8:12 of axis 1 goes nowhere",
    ]


@pytest.mark.parametrize("kind", HERE)
def test_a_keras_model_is_split_with_the_slots_of_its_optimizer(tmp_path, kind):
    keras = package(kind)
    model = keras.Sequential([keras.layers.InputLayer((4,)), keras.layers.Dense(6, name="qkv")])
    model.compile(keras.optimizers.Adam(), "mse")
    model.optimizer.build(model.trainable_variables)
    for variable in model.optimizer.variables[2:]:
        variable.assign(normal(*variable.shape))
    kernel = model.layers[-1].kernel
    moments = [each.numpy() for each in model.optimizer.variables if tuple(each.shape) == (4, 6)]
    prefix = tf.train.Checkpoint(model).save(str(tmp_path / "old"))
    names = [row.name for row in describe(prefix).variables]
    name = min((name for name in names if name.endswith("qkv/kernel")), key=len)
    made = pinned(f"{name} -> q/kernel : split(1, 0:2)", f"{name} -> kv/kernel : split(1, 2:6)")
    convert(prefix, tmp_path / "new", to="tf1", rename=made)
    found = {row.name: tuple(row.shape) for row in describe(tmp_path / "new").variables}
    np.testing.assert_array_equal(read(tmp_path / "new", "kv/kernel"), kernel.numpy()[:, 2:])
    slots = [name for name in found if "kv/kernel" in name and name != "kv/kernel"]
    assert len(slots) == len(moments) == 2 and not [name for name in found if " : " in name]
    for name in slots:
        value = read(tmp_path / "new", name)
        assert any(np.array_equal(moment[:, 2:], value) for moment in moments)


@pytest.mark.parametrize("source", ["tf1", "tf2", "dual"])
@pytest.mark.parametrize("to", ["tf1", "tf2", "dual", None])
def test_from_each_format_to_each(tmp_path, source, to):
    held = {
        "qk": normal(3, 4),
        "qk/Adam": normal(3, 4),
        "p_0": normal(2, 2),
        "p_1": normal(1, 2),
        "w": normal(2, 5),
        "w/Adam": normal(2, 5),
        "v": normal(6),
        "same": normal(2),
        "global_step": np.int64(3),
    }
    prefix = saved(tmp_path / "tf1", held)
    if source != "tf1":
        convert(prefix, tmp_path / source, to=source)
    made = pinned(
        "qk -> q : split(1, 0:1)",
        "qk -> k : split(1, 1:4)",
        "p_0, p_1 -> p : concat(0)",
        "w -> u : transpose(1, 0)",
        "v -> v : reshape(2, 3)",
    )
    expected = {
        "q": held["qk"][:, :1],
        "k": held["qk"][:, 1:],
        "q/Adam": held["qk/Adam"][:, :1],
        "k/Adam": held["qk/Adam"][:, 1:],
        "p": np.concatenate([held["p_0"], held["p_1"]]),
        "u": held["w"].T,
        "u/Adam": held["w/Adam"].T,
        "v": held["v"].reshape(2, 3),
        "same": held["same"],
        "global_step": held["global_step"],
    }
    report = convert(tmp_path / source, tmp_path / "new", to=to, rename=made)
    assert report.format == (to or source) and verify(tmp_path / "new").ok
    assert {row.name for row in describe(tmp_path / "new").variables} == expected.keys()
    if report.format != "tf2":
        for name, value in expected.items():
            np.testing.assert_array_equal(read(tmp_path / "new", name), value, err_msg=name)
    if report.format != "tf1":
        step = expected.pop("global_step")
        every = {name: tf.Variable(tf.zeros(value.shape)) for name, value in expected.items()}
        checkpoint = tf.train.Checkpoint(var_list=every, step=tf.Variable(0, dtype=tf.int64))
        checkpoint.restore(str(tmp_path / "new")).assert_consumed()
        assert checkpoint.step.numpy() == step
        for name, value in expected.items():
            np.testing.assert_array_equal(every[name].numpy(), value, err_msg=name)


def test_all_checkpoints_of_a_job_are_changed(tmp_path):
    for step in (1, 2):
        saved(tmp_path / f"job/model.ckpt-{step}", {"w": np.full([2, 3], step, np.float32)})
    tf1.train.update_checkpoint_state(
        str(tmp_path / "job"), "model.ckpt-2", ["model.ckpt-1", "model.ckpt-2"]
    )
    convert_all(
        tmp_path / "job", tmp_path / "new", to="tf1", rename=pinned("w -> k : split(0, 1:2)")
    )
    for step in (1, 2):
        assert (read(tmp_path / f"new/model.ckpt-{step}", "k") == [[step] * 3]).all()


@pytest.mark.parametrize("through", ["restore", "convert"])
def test_averages_are_taken_of_what_is_changed(tmp_path, through):
    average = "ExponentialMovingAverage"
    held = {name: normal(4, 6) for name in ("w", f"w/{average}", "v", f"v/{average}")}
    prefix = saved(tmp_path / "old", held)
    made = pinned("w -> k : transpose(1, 0)", "v -> a : split(0, 0:1)", "v -> b : split(0, 1:4)")
    expected = {
        "k": held[f"w/{average}"].T,
        "a": held[f"v/{average}"][:1],
        "b": held[f"v/{average}"][1:],
    }
    variables = {name: tf.Variable(tf.zeros(value.shape)) for name, value in expected.items()}
    if through == "restore":
        restore(variables, prefix, rename=made, averages=average)
    else:
        convert(prefix, tmp_path / "new", to="tf1", rename=made, averages=average)
        assert {row.name for row in describe(tmp_path / "new").variables} == expected.keys()
        restore(variables, tmp_path / "new")
    for name, value in expected.items():
        np.testing.assert_array_equal(variables[name].numpy(), value, err_msg=name)


@pytest.mark.parametrize("through", [convert, export_checkpoint, restore])
@pytest.mark.parametrize(
    ("values", "line", "message"),
    [
        (np.float32([1e30, np.nan, -5]), "cast(int32)", "does not keep 2 of the values, as 1e.30"),
        (np.float32([1, 0.5, 2]), "cast(int64)", "does not keep 1 of the values, as 0.5"),
        (np.int32([300, -1, 2147483647]), "cast(uint8)", "does not keep 3 of the values, as 300"),
        (np.int32([0, 1, 2]), "cast(bool)", "does not keep 1 of the values, as 2"),
        (
            np.int32([3, 2147483647]),
            "gates(a b+1 -> b a)",
            "does not keep 1 of the values, as 2147483647",
        ),
    ],
)
def test_values_that_an_integer_type_lacks_are_an_error_that_leaves_nothing(
    tmp_path, through, values, line, message
):
    saved(tmp_path / "old", {"w": values, "other": np.float32([7.0])})
    rules = pinned(f"w -> w : {line}", "other -> other")
    target = tmp_path / "new" / ("out.npz" if through is export_checkpoint else "ckpt")
    (tmp_path / "new").mkdir()
    message = f"line 2: 'w': .*{message}"
    if through is restore:
        dtype = line[5:-1] if line.startswith("cast") else "int32"
        live = {"w": tf.Variable(tf.zeros(len(values), dtype)), "other": tf.Variable([0.0])}
        with pytest.raises(CheckpointArgumentError, match=message):
            restore(live, tmp_path / "old", rename=rules)
        assert not live["w"].numpy().any() and not live["other"].numpy().any()
    else:
        with pytest.raises(CheckpointArgumentError, match=message):
            through(tmp_path / "old", target, rename=rules)
    assert os.listdir(tmp_path / "new") == []


def test_values_that_an_integer_type_has_are_cast(tmp_path):
    saved(tmp_path / "old", {"w": np.float32([2, 0, 255])})
    live = {"w": tf.Variable(tf.zeros(3, tf.uint8))}
    restore(live, tmp_path / "old", rename=pinned("w -> w : cast(uint8)"))
    np.testing.assert_array_equal(live["w"].numpy(), [2, 0, 255])


@pytest.mark.parametrize("through", ["convert", "restore"])
def test_what_a_shorter_float_loses_is_counted_and_said(tmp_path, caplog, through):
    saved(tmp_path / "old", {"w": np.float32([1e30, -1e30, 1e-30, 1.0, np.inf])})
    rules = pinned("w -> w : cast(float16)")
    if through == "convert":
        convert(tmp_path / "old", tmp_path / "new", rename=rules)
    else:
        restore({"w": tf.Variable(tf.zeros(5, tf.float16))}, tmp_path / "old", rename=rules)
    said = [row.getMessage() for row in caplog.records if "infinite" in row.getMessage()]
    assert said == [
        "line 2: 'w': cast(float16) makes 2 finite values infinite, and 1 zero that were not"
    ]


def test_slots_of_what_becomes_integer_stay_as_they_are(tmp_path):
    values = {"w": np.float32([[1, 2]]), "w/Adam": np.float32([[0.25, 0.5]])}
    values["w/Adam_1"] = values["w/Adam"] / 2
    saved(tmp_path / "old", values)
    rules = pinned("w -> w : cast(int32), transpose(1, 0)")
    report = convert(tmp_path / "old", tmp_path / "new", rename=rules)
    np.testing.assert_array_equal(read(tmp_path / "new", "w"), np.int32([[1], [2]]))
    for name in ("w/Adam", "w/Adam_1"):
        np.testing.assert_array_equal(read(tmp_path / "new", name), values[name].T)
    said = "not cast to integers with their variables, but of their own types: 'w/Adam', 'w/Adam_1'"
    assert said in report.notes
    report = convert(tmp_path / "old", tmp_path / "plain", rename=pinned("w -> w : cast(int32)"))
    np.testing.assert_array_equal(read(tmp_path / "plain", "w/Adam"), values["w/Adam"])
    assert said in report.notes
