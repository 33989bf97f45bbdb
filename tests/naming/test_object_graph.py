"""Object graphs: TensorFlow restores by those that are built here, and reads back its own."""

from __future__ import annotations

import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from tensorflow.core.protobuf import trackable_object_graph_pb2

from estimator_ckpt.bundle import BundleIndex
from estimator_ckpt.bundle.strings import int64_scalar, string_scalar
from estimator_ckpt.checkpoint import Shard, open_checkpoint, publish
from estimator_ckpt.errors import DamagedCheckpointError
from estimator_ckpt.naming import OBJECT_GRAPH_KEY, Layout, Leaf, ObjectGraph
from estimator_ckpt.naming.paths import variable_key


def built(leaves):
    return ObjectGraph.of(leaves).data


def leaf(*path, name=""):
    return Leaf(path, name, variable_key(*path))


def tree(data):
    """The graph as {path: (full name, key)}, by TensorFlow's own message."""
    nodes = trackable_object_graph_pb2.TrackableObjectGraph.FromString(data).nodes
    found = {}

    def walk(number, path):
        for attribute in nodes[number].attributes:
            found[path] = (attribute.full_name, attribute.checkpoint_key)
        for child in nodes[number].children:
            walk(child.node_id, (*path, child.local_name))

    walk(0, ())
    return found


def write(prefix, graph, numbers):
    """Writes a checkpoint of int64 scalars, {path: number}, with this object graph."""
    data, entry = string_scalar(graph, 0, 0)
    entries = {OBJECT_GRAPH_KEY: entry}
    for path, number in numbers.items():
        encoded, entries[variable_key(*path)] = int64_scalar(number, 0, len(data))
        data += encoded
    publish(str(prefix), BundleIndex(entries), [Shard(data=data)])


def test_a_graph_has_a_node_for_each_object():
    data = built([leaf("var_list", "a/b", name="a/b"), leaf("step", name="s")])
    assert tree(data) == {
        ("var_list", "a/b"): ("a/b", "var_list/a.Sb/.ATTRIBUTES/VARIABLE_VALUE"),
        ("step",): ("s", "step/.ATTRIBUTES/VARIABLE_VALUE"),
    }
    assert len(ObjectGraph.parse(data).nodes) == 4  # the root and the dictionary, too


def test_a_graph_is_that_of_tensorflow_for_the_same_objects(tmp_path):
    saved = tf.train.Checkpoint(
        var_list={name: tf.Variable(1.0, name=name) for name in ("a", "b.c", "d/e")},
        step=tf.Variable(1, name="global_step"),
    )
    prefix = saved.save(str(tmp_path / "ckpt"))
    theirs = tf.train.load_variable(prefix, OBJECT_GRAPH_KEY)
    leaves = [
        leaf("step", name="global_step"),
        *(leaf("var_list", name, name=name) for name in ("a", "b.c", "d/e")),
        leaf("save_counter", name="save_counter"),
    ]
    read = trackable_object_graph_pb2.TrackableObjectGraph.FromString
    assert read(built(leaves)) == read(theirs)


def test_tensorflow_matches_every_object_of_a_built_graph(tmp_path):
    numbers = {("box", "a/b"): 1, ("box", "c.d"): 2, ("net", "deep", "er", "x"): 3, ("step",): 4}
    write(tmp_path / "ckpt", built([leaf(*path) for path in numbers]), numbers)
    box = {"a/b": tf.Variable(0, dtype=tf.int64), "c.d": tf.Variable(0, dtype=tf.int64)}
    deep = tf.train.Checkpoint(er=tf.train.Checkpoint(x=tf.Variable(0, dtype=tf.int64)))
    step = tf.Variable(0, dtype=tf.int64)
    root = tf.train.Checkpoint(box=box, net=tf.train.Checkpoint(deep=deep), step=step)
    root.read(str(tmp_path / "ckpt")).assert_consumed()
    restored = [box["a/b"], box["c.d"], deep.er.x, step]
    assert [int(variable) for variable in restored] == [1, 2, 3, 4]


def test_an_object_without_a_value_is_matched_and_keeps_the_one_it_has(tmp_path):
    graph = built([leaf("w"), Leaf(("save_counter",), "save_counter", "")])
    assert tree(graph).keys() == {("w",)}
    write(tmp_path / "ckpt", graph, {("w",): 5})
    root = tf.train.Checkpoint(w=tf.Variable(0, dtype=tf.int64))
    root.restore(str(tmp_path / "ckpt")).assert_consumed()
    assert (int(root.w), int(root.save_counter)) == (5, 0)


def test_variables_are_added_to_a_graph_of_tensorflow(tmp_path):
    saved = tf.train.Checkpoint(net=tf.train.Checkpoint(w=tf.Variable(1, dtype=tf.int64)))
    data = tf.train.load_variable(saved.write(str(tmp_path / "old")), OBJECT_GRAPH_KEY)
    # Below the root, below an object that exists, and below one that doesn't.
    added = [leaf("step"), leaf("net", "b"), leaf("box", "x/y")]
    more = ObjectGraph.parse(data).with_leaves(added).data
    assert tree(more).keys() == {("net", "w"), ("step",), ("net", "b"), ("box", "x/y")}
    root = ObjectGraph.parse(more).nodes[0]
    assert sorted(child.local_name for child in root.children) == ["box", "net", "step"]
    numbers = {("net", "w"): 1, ("step",): 2, ("net", "b"): 3, ("box", "x/y"): 4}
    write(tmp_path / "new", more, numbers)
    zero = [tf.Variable(0, dtype=tf.int64) for _ in range(4)]
    net = tf.train.Checkpoint(w=zero[0], b=zero[2])
    root = tf.train.Checkpoint(net=net, step=zero[1], box={"x/y": zero[3]})
    root.read(str(tmp_path / "new")).assert_consumed()
    assert [int(variable) for variable in zero] == [1, 2, 3, 4]


def test_adding_nothing_changes_nothing():
    data = built([leaf("a", "b"), leaf("c")])
    assert ObjectGraph.parse(data).with_leaves([]).data == data


def by_protobuf(data, leaves):
    """Adds leaves to a serialized graph, one message after the other."""
    graph = trackable_object_graph_pb2.TrackableObjectGraph.FromString(data)
    below = {}
    for path, full_name, key in leaves:
        branch = below
        for name in path:
            branch = branch.setdefault(name, {})
        branch.clear()
        branch[None] = (full_name, key)
    if not graph.nodes:
        graph.nodes.add()
    queue = [(0, below)]
    for number, branch in queue:
        node = graph.nodes[number]
        node.has_checkpoint_values.value = True
        full_name, key = branch.pop(None, ("", ""))
        if key:
            node.attributes.add(name="VARIABLE_VALUE", full_name=full_name, checkpoint_key=key)
        numbers = {child.local_name: child.node_id for child in node.children}
        for name, under in branch.items():
            if name not in numbers:
                numbers[name] = len(graph.nodes)
                node.children.add(node_id=numbers[name], local_name=name)
                graph.nodes.add()
            queue.append((numbers[name], under))
    return graph.SerializeToString(deterministic=True)


texts = st.one_of(
    st.sampled_from(["", "a", "b", "größe", "x" * 127, "y" * 128, "z" * 20_000]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
)
some_leaves = st.lists(st.builds(Leaf, st.lists(texts, max_size=3).map(tuple), texts, texts))


@given(some_leaves, some_leaves)
def test_a_graph_has_the_bytes_that_protobuf_gives_it(first, more):
    data = ObjectGraph.of(first).data
    assert data == by_protobuf(b"", first)
    assert ObjectGraph.parse(data).with_leaves(more).data == by_protobuf(data, more)


@pytest.mark.parametrize("step", ["step", "a", None])
@pytest.mark.parametrize("names", [[], ["global_step"], ["w", "global_step", "b/c", "v.x"], ["w"]])
def test_the_graph_of_a_layout_is_that_of_its_leaves(names, step):
    layout = Layout("var_list", step)
    keys = layout.keys(names)
    assert keys == {name: layout.key(name) for name in names}
    leaves = [Leaf(layout.path(name), name, key) for name, key in keys.items()]
    leaves.sort(key=lambda leaf: leaf.path[0])
    leaves.append(Leaf(("save_counter",), "save_counter", ""))
    assert layout.object_graph(names, save_counter=False).data == built(leaves)


def test_full_names_are_those_that_tensorflow_recorded(tmp_path):
    with tf.name_scope("scope"):
        named = tf.Variable(1.0, name="named")
    saved = tf.train.Checkpoint(named=named, plain=tf.Variable(1.0), step=tf.Variable(1, name="s"))
    data = tf.train.load_variable(saved.write(str(tmp_path / "ckpt")), OBJECT_GRAPH_KEY)
    assert ObjectGraph.parse(data).full_names == {
        variable_key("named"): "scope/named",
        variable_key("plain"): "Variable",
        variable_key("step"): "s",
    }


def test_keys_without_a_name_are_left_out():
    graph = built([leaf("a", name="named"), leaf("b")])
    assert ObjectGraph.parse(graph).full_names == {variable_key("a"): "named"}


def test_bytes_that_are_no_graph_are_refused():
    with pytest.raises(DamagedCheckpointError, match="object graph can't be decoded"):
        ObjectGraph.parse(b"\xff\xff\xff")


def test_the_graph_of_a_third_party_checkpoint_names_keys_that_exist(third_party):
    for name in ("babyweight_keras_object/babyweight", "bert_lite_object/bert_lite_tf2.ckpt"):
        checkpoint = open_checkpoint(third_party / name)
        data = tf.train.load_variable(str(third_party / name), OBJECT_GRAPH_KEY)
        names = ObjectGraph.parse(data).full_names
        assert names
        assert names.keys() <= checkpoint.index.entries.keys()
