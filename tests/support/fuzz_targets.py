"""What is fuzzed: functions of bytes that may refuse them, but only by an error of this library.

fuzz_targets.TARGETS["index"](data)      # raises what a bug raises
fuzz_targets.seeds("index")              # inputs to start from

`fuzz.py` runs them under atheris, which is guided by what code an input reaches; `test_fuzz.py`
also under hypothesis, and on each file of the corpus.
"""

from __future__ import annotations

import pathlib
from collections.abc import Callable

from absl import flags

import estimator_ckpt.flags as checkpoint_flags
from estimator_ckpt import naming
from estimator_ckpt.bundle.index import (
    BundleIndex,
    Extent,
    TensorEntry,
    TensorPart,
    decode_index,
    encode_index,
)
from estimator_ckpt.bundle.protos import BundleHeaderProto
from estimator_ckpt.bundle.strings import decode_strings, encode_strings
from estimator_ckpt.bundle.table import read_table, write_table
from estimator_ckpt.errors import CheckpointError
from estimator_ckpt.naming.object_graph import Leaf
from estimator_ckpt.naming.optimizers import optimizer_state
from estimator_ckpt.naming.paths import escape, is_object_key, parse_key, unescape
from estimator_ckpt.naming.slots import parse_slot

CORPUS = pathlib.Path(__file__).resolve().parent.parent / "faults" / "corpus"
_NAMES = {"a", "a/Adam", "a/Adam_1", "a/b", "b/c", "b/c/Momentum", "global_step"}


def fuzz_table(data: bytes) -> None:
    """Any file as a table; what is one comes back."""
    try:
        rows = read_table(data)
    except CheckpointError:
        told: list[str] = []
        try:
            read_table(data, told.append)
        except CheckpointError:
            return
        assert told
        return
    assert read_table(write_table(rows)) == rows


def fuzz_index(data: bytes) -> None:
    """Rows of an index, cut from the data, in a table whose checksums are right."""
    header, *rows = _pieces(data)
    table = {b"": header or BundleHeaderProto(num_shards=1).SerializeToString()}
    table.update(zip(rows[::2], rows[1::2]))
    encoded = write_table(sorted(table.items()))
    try:
        index = decode_index(encoded)
    except CheckpointError:
        told: list[str] = []
        try:
            decode_index(encoded, told.append)
        except CheckpointError:
            return
        assert told
        return
    assert decode_index(encode_index(index)) == index


def fuzz_object_graph(data: bytes) -> None:
    """Any bytes as an object graph."""
    try:
        graph = naming.ObjectGraph.parse(data)
    except CheckpointError:
        return
    graph.matches(graph)
    for changed in (
        graph.without({"k"}),
        graph.below("a"),
        graph.split_shared("a")[0],
        graph.with_leaves([Leaf(("a", "b"), "a/b", "k")]),
    ):
        naming.ObjectGraph.parse(changed.data)
    assert len(graph.paths) == len(graph.nodes)
    optimizer_state(graph)


def fuzz_names(data: bytes) -> None:
    """Keys, and the names that they stand for."""
    text = _text(data)
    assert unescape(escape(text)) == text
    keys = [key for key in text.split("\n") if key]
    for key in keys:
        if is_object_key(key):
            parse_key(key)
    try:
        naming.name_tensors([key for key in keys if is_object_key(key)], dict)
    except CheckpointError:
        pass
    naming.format_of(keys)
    for key in keys:
        for slot in parse_slot(key):
            assert slot.variable != key


def fuzz_rename(data: bytes) -> None:
    """Rules that give variables new names; without expressions, which may take any time."""
    pairs = [line.partition("=") for line in _text(data).split("\n")]
    try:
        rules = naming.rename_rules((old, new) for old, _, new in pairs if old[:3] != "re:")
        renamed = rules.apply_all(_NAMES)
    except CheckpointError:
        return
    assert len(set(renamed.values())) == len(renamed) == len(_NAMES)


def fuzz_flags(data: bytes) -> None:
    """The checkpoint flags, one a line."""
    values = flags.FlagValues()
    checkpoint_flags.define_checkpoint_flags(values)
    lines = [line for line in _text(data).split("\n") if "flagfile" not in line]
    try:
        values(["job", *lines])
        checkpoint_flags.tf1_dir_from_flags("model_dir", flag_values=values)
    except flags.Error:
        return
    checkpoint_flags.parse_renames(values.warm_start_rename or ())
    _ = checkpoint_flags.flags_as_flagfile([checkpoint_flags], values)


def fuzz_renames(data: bytes) -> None:
    """The values of --warm_start_rename."""
    try:
        checkpoint_flags.parse_renames(_text(data).split("\n"))
    except ValueError:
        pass


def fuzz_strings(data: bytes) -> None:
    """The bytes of a string tensor; what is one comes back."""
    count = data[0] if data else 0
    try:
        values, crc32c = decode_strings(data[1:], count)
    except CheckpointError:
        return
    assert encode_strings(values)[1] == crc32c


TARGETS: dict[str, Callable[[bytes], None]] = {
    "table": fuzz_table,
    "index": fuzz_index,
    "object_graph": fuzz_object_graph,
    "names": fuzz_names,
    "rename": fuzz_rename,
    "renames": fuzz_renames,
    "flags": fuzz_flags,
    "strings": fuzz_strings,
}


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _pieces(data: bytes) -> list[bytes]:
    """Cuts data: each piece has its length, one byte, before it."""
    pieces, position = [], 0
    while position < len(data):
        size = data[position]
        pieces.append(data[position + 1 : position + 1 + size])
        position += 1 + size
    return pieces or [b""]


def seeds(target: str) -> list[bytes]:
    """The corpus of a target."""
    return [path.read_bytes() for path in sorted((CORPUS / target).glob("*"))]


def make_seeds() -> dict[str, dict[str, bytes]]:
    """What the corpus began with: sound inputs, {target: {name: data}}."""
    part = TensorEntry(1, (1, 3), 0, 24, 12, 8)
    parts = tuple(TensorPart((Extent(row, 1), Extent(0, -1)), part) for row in range(2))
    whole = TensorEntry(1, (2, 3), 0, 0, 24, 7)
    encoded = encode_index(BundleIndex({"w": whole, "table": TensorEntry(1, (2, 3), parts=parts)}))
    rows = read_table(encoded)
    cut = [rows[0][1], *(field for row in rows[1:] for field in row)]
    leaves = [
        Leaf(("var_list", name), name, f"var_list/{escape(name)}/.ATTRIBUTES/VARIABLE_VALUE")
        for name in sorted(_NAMES)
    ]
    rules = b"a/=x/\nb/c=d\n/=root/\nglobal_step=step"
    flag_lines = (
        b"--checkpoint_format=tf2\n--tf1_dir={model_dir}/tf1\n--save_checkpoints_steps=10\n"
        b"--keep_checkpoint_max=3\n--warm_start_from=old\n--warm_start_rename=a/=b/\n"
        b"--nowarm_start_with_slots\n--keep_checkpoint_every_n_hours=0.5"
    )
    return {
        "table": {"small": encoded, "empty": write_table([])},
        "index": {"small": b"".join(bytes((len(piece),)) + piece for piece in cut)},
        "object_graph": {"small": naming.ObjectGraph.of(leaves).data},
        "names": {"keys": "\n".join(leaf.key for leaf in leaves).encode() + b"\na..b.Sc"},
        "rename": {"rules": rules},
        "renames": {"rules": rules},
        "flags": {
            "some": flag_lines,
            "wrong": b"--tf1_dir={model_dir}\n--save_checkpoints_secs=-1",
        },
        "strings": {"two": b"\x02" + encode_strings([b"ab", b"x" * 200])[0]},
    }
