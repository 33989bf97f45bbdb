"""The protocol buffers that a checkpoint is made of, defined without TensorFlow.

    from estimator_ckpt.bundle import protos

    header = protos.BundleHeaderProto.FromString(data)     # or raises protos.DecodeError

Field numbers and types are those of TensorFlow's `tensor_bundle.proto`, `tensor_shape.proto`,
`tensor_slice.proto`, `versions.proto`, `trackable_object_graph.proto`, `checkpoint_state.proto`,
`meta_graph.proto` and `variable.proto`.
They live in a descriptor pool of their own, so TensorFlow's may be loaded beside them, and they
are here because importing TensorFlow's takes seconds. The classes are made when the first one is
used, as protobuf itself is nearly half of a start.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

Message = Any
"""A message, or a class of them, made at runtime: nothing tells the types of its fields."""

if TYPE_CHECKING:
    from google.protobuf import descriptor_pb2
    from google.protobuf.message import DecodeError as DecodeError

    BundleHeaderProto: Message
    BundleEntryProto: Message
    TrackableObjectGraph: Message
    CheckpointState: Message
    MetaGraphDef: Message
    VariableDef: Message

_CLASSES = {
    "BundleHeaderProto": "Header",
    "BundleEntryProto": "Entry",
    "TrackableObjectGraph": "TrackableObjectGraph",
    "CheckpointState": "CheckpointState",
    "MetaGraphDef": "MetaGraph",
    "VariableDef": "Variable",
}
_SCALARS = frozenset(("int32", "int64", "fixed32", "bool", "double", "string", "bytes"))

# name -> ((field, number, type), ...); "*" before a type says repeated. Enums travel as int32.
_MESSAGES: dict[str, tuple[tuple[str, int, str], ...]] = {
    "VersionDef": (
        ("producer", 1, "int32"),
        ("min_consumer", 2, "int32"),
        ("bad_consumers", 3, "*int32"),
    ),
    "Header": (
        ("num_shards", 1, "int32"),
        ("endianness", 2, "int32"),
        ("version", 3, "VersionDef"),
    ),
    "Dim": (("size", 1, "int64"), ("name", 2, "string")),
    "Shape": (("dim", 2, "*Dim"), ("unknown_rank", 3, "bool")),
    "Extent": (("start", 1, "int64"), ("length", 2, "?int64")),
    "Slice": (("extent", 1, "*Extent"),),
    "Entry": (
        ("dtype", 1, "int32"),
        ("shape", 2, "Shape"),
        ("shard_id", 3, "int32"),
        ("offset", 4, "int64"),
        ("size", 5, "int64"),
        ("crc32c", 6, "fixed32"),
        ("slices", 7, "*Slice"),
    ),
    "BoolValue": (("value", 1, "bool"),),
    "ObjectReference": (("node_id", 1, "int32"), ("local_name", 2, "string")),
    "SerializedTensor": (
        ("name", 1, "string"),
        ("full_name", 2, "string"),
        ("checkpoint_key", 3, "string"),
    ),
    "SlotVariableReference": (
        ("original_variable_node_id", 1, "int32"),
        ("slot_name", 2, "string"),
        ("slot_variable_node_id", 3, "int32"),
    ),
    "RegisteredSaver": (("name", 1, "string"), ("object_name", 2, "string")),
    "TrackableObject": (
        ("children", 1, "*ObjectReference"),
        ("attributes", 2, "*SerializedTensor"),
        ("slot_variables", 3, "*SlotVariableReference"),
        ("registered_saver", 4, "RegisteredSaver"),
        ("has_checkpoint_values", 5, "BoolValue"),
    ),
    "TrackableObjectGraph": (("nodes", 1, "*TrackableObject"),),
    "CheckpointState": (
        ("model_checkpoint_path", 1, "string"),
        ("all_model_checkpoint_paths", 2, "*string"),
        ("all_model_checkpoint_timestamps", 3, "*double"),
        ("last_preserved_timestamp", 4, "double"),
    ),
    "BytesList": (("value", 1, "*bytes"),),
    "Collection": (("bytes_list", 2, "BytesList"),),
    "CollectionEntry": (("key", 1, "string"), ("value", 2, "Collection")),
    "MetaGraph": (("collection_def", 4, "*CollectionEntry"),),
    "SliceOfVariable": (("full_name", 1, "string"),),
    "Variable": (("variable_name", 1, "string"), ("slice", 4, "SliceOfVariable")),
}
_PACKAGE = "estimator_ckpt"
_making = threading.Lock()
_kept: dict[str, Message] = {}  # protobuf 4.22 to 4.24 crash where the class of a field is gone


def _add_field(message: descriptor_pb2.DescriptorProto, name: str, number: int, kind: str) -> None:
    field = message.field.add(name=name, number=number)
    field.label = field.LABEL_REPEATED if kind.startswith("*") else field.LABEL_OPTIONAL
    if kind.startswith("?"):  # presence is told from zero, as a member of a oneof does
        message.oneof_decl.add(name=f"has_{name}")
        field.oneof_index = len(message.oneof_decl) - 1
    kind = kind.lstrip("*?")
    if kind in _SCALARS:
        field.type = getattr(field, f"TYPE_{kind.upper()}")
    else:
        field.type = field.TYPE_MESSAGE
        field.type_name = f".{_PACKAGE}.{kind}"


def _message_classes() -> dict[str, Message]:
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(
        name="estimator_ckpt/bundle.proto", package=_PACKAGE, syntax="proto3"
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, kind in fields:
            _add_field(message, field, number, kind)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    if hasattr(message_factory, "GetMessageClass"):
        make = message_factory.GetMessageClass
    else:  # protobuf before 4.22
        make = message_factory.MessageFactory(pool).GetPrototype
    _kept.update(
        {name: make(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in _MESSAGES}
    )
    return {public: _kept[name] for public, name in _CLASSES.items()}


def __getattr__(name: str) -> Any:
    if name == "DecodeError":
        from google.protobuf.message import DecodeError

        return DecodeError
    if name not in _CLASSES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    with _making:  # of two threads, both get the same ones
        if name not in globals():
            globals().update(_message_classes())
    return globals()[name]
