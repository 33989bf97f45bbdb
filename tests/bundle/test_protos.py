"""The messages have the fields of TensorFlow's own, by TensorFlow's descriptors."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pytest
import tensorflow as tf
from google.protobuf import text_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import tensor_bundle_pb2, trackable_object_graph_pb2
from tensorflow.python.training import checkpoint_state_pb2

from estimator_ckpt.bundle import protos

ROOT = pathlib.Path(__file__).resolve().parents[2]

MESSAGES = {
    "header": (protos.BundleHeaderProto, tensor_bundle_pb2.BundleHeaderProto),
    "entry": (protos.BundleEntryProto, tensor_bundle_pb2.BundleEntryProto),
    "object graph": (
        protos.TrackableObjectGraph,
        trackable_object_graph_pb2.TrackableObjectGraph,
    ),
    "state": (protos.CheckpointState, checkpoint_state_pb2.CheckpointState),
}


def described(descriptor):
    """Fields as {number: (name, type, repeated, presence in a oneof)}, messages in full."""
    fields = {}
    for field in descriptor.fields:
        if field.message_type is not None:
            kind = described(field.message_type)
        elif field.type == FieldDescriptor.TYPE_ENUM:  # travels as an int32 does
            kind = FieldDescriptor.TYPE_INT32
        else:
            kind = field.type
        if hasattr(field, "is_repeated"):
            repeated = field.is_repeated
        else:  # before protobuf 6.31
            repeated = field.label == FieldDescriptor.LABEL_REPEATED
        in_oneof = field.containing_oneof is not None
        fields[field.number] = (field.name, kind, repeated, in_oneof)
    return fields


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_has_tensorflow_s_fields_and_no_other(name):
    ours, theirs = MESSAGES[name]
    assert described(ours.DESCRIPTOR) == described(theirs.DESCRIPTOR)


def test_a_slice_of_length_zero_differs_from_one_of_full_length():
    for make in MESSAGES["entry"]:
        entry = make()
        entry.slices.add().extent.add(length=0)
        entry.slices.add().extent.add()
        read = protos.BundleEntryProto.FromString(entry.SerializeToString())
        assert [each.extent[0].HasField("length") for each in read.slices] == [True, False]


def test_an_object_graph_of_tensorflow_survives_unchanged(tmp_path):
    model = tf.train.Checkpoint(
        net=tf.keras.Sequential([tf.keras.layers.Dense(2, input_shape=(3,))]),
        optimizer=tf.keras.optimizers.legacy.Adam(),
    )
    model.optimizer.apply_gradients([(v, v) for v in [tf.Variable(1.0)]])
    prefix = model.save(str(tmp_path / "ckpt"))
    data = tf.train.load_variable(prefix, "_CHECKPOINTABLE_OBJECT_GRAPH")
    graph = protos.TrackableObjectGraph.FromString(data)
    assert len(graph.nodes) > 5
    theirs = trackable_object_graph_pb2.TrackableObjectGraph.FromString(
        graph.SerializeToString(deterministic=True)
    )
    assert theirs == trackable_object_graph_pb2.TrackableObjectGraph.FromString(data)


def test_a_state_file_of_tensorflow_is_parsed(tmp_path):
    from_tensorflow = checkpoint_state_pb2.CheckpointState(
        model_checkpoint_path='a "quoted"\nname é',
        all_model_checkpoint_paths=["b", "c"],
        all_model_checkpoint_timestamps=[1.5, 2.5],
        last_preserved_timestamp=0.5,
    )
    text = text_format.MessageToString(from_tensorflow)
    state = text_format.Parse(text, protos.CheckpointState())
    assert text_format.MessageToString(state) == text


@pytest.mark.parametrize("name", MESSAGES)
def test_bytes_that_are_no_message_are_refused(name):
    ours, _ = MESSAGES[name]
    with pytest.raises(DecodeError):
        ours.FromString(b"\xff\xff\xff")


@pytest.mark.slow
@pytest.mark.parametrize("first", ["tensorflow", "estimator_ckpt.bundle.protos"])
def test_the_messages_live_beside_tensorflow_s_whichever_comes_first(first):
    code = f"import {first}, tensorflow, estimator_ckpt.bundle.protos"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
