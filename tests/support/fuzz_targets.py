"""What is fuzzed: functions of bytes that may refuse them, but only by an error of this library.

fuzz_targets.TARGETS["index"](data)      # raises what a bug raises
fuzz_targets.seeds("index")              # inputs to start from

`fuzz.py` runs them under atheris, which is guided by what code an input reaches; `test_fuzz.py`
also under hypothesis, and on each file of the corpus. An input may take `SECONDS` of the processor
and `MEGABYTES` of memory.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import logging
import math
import pathlib
import resource
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
from absl import flags

import estimator_ckpt.flags as checkpoint_flags
from estimator_ckpt import naming
from estimator_ckpt.bundle import many_entries
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
from estimator_ckpt.checkpoint.opening import find_prefix, read_state, write_state
from estimator_ckpt.checkpoint.ownership import OWNER_FILE, claim
from estimator_ckpt.cli import main, output
from estimator_ckpt.errors import CheckpointError
from estimator_ckpt.interchange import npz_file, safetensors_file
from estimator_ckpt.messages import escaped, listed, logger, near
from estimator_ckpt.naming.object_graph import Leaf
from estimator_ckpt.naming.optimizers import optimizer_state
from estimator_ckpt.naming.paths import escape, is_object_key, parse_key, unescape
from estimator_ckpt.naming.slots import parse_slot

SECONDS, MEGABYTES = 0.1, 64
_HELD = tempfile.TemporaryDirectory()  # removed when the process ends
_FOLDER = pathlib.Path(_HELD.name)
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
    few, many_entries._FEW = many_entries._FEW, 1  # as where there are many
    try:
        assert decode_index(encoded) == index
    finally:
        many_entries._FEW = few


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
    except ValueError as error:  # absl's own for `--noflag=value`
        assert str(error).endswith(" does not take an argument")
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


def fuzz_npz(data: bytes) -> None:
    """Any file as an archive of arrays; or arrays of any header and bytes in one that is sound."""
    if data[:1] == b"\0":
        names_and_arrays = _pieces(data[1:])
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for number, array in enumerate(names_and_arrays):
                archive.writestr(f"{number}.npy", array)
        data = file.getvalue()
    try:
        for tensor in npz_file.read(io.BytesIO(data)):
            if tensor.why_not is None:
                _require_elements(tensor)
    except CheckpointError:
        pass


def fuzz_safetensors(data: bytes) -> None:
    """Any file; or any header, with its length before it."""
    if data[:1] == b"{":
        header, _, tensors = data.partition(b"\n")
        data = len(header).to_bytes(8, "little") + header + tensors
    path = _FOLDER / "x.safetensors"
    path.write_bytes(data)
    try:
        with safetensors_file.opened(str(path)) as tensors:
            for tensor in tensors:
                if tensor.why_not is None:
                    _require_elements(tensor)
    except CheckpointError:
        pass


def _require_elements(tensor: Any) -> None:
    elements = sum(chunk.size for chunk in tensor.chunks())
    assert elements == math.prod(tensor.shape), tensor


def fuzz_state(data: bytes) -> None:
    """Any file as a state file; what is one is written as one that says the same."""
    if b"://" in data:
        return  # of no file system here
    folder = _FOLDER / "state"
    folder.mkdir(exist_ok=True)
    (folder / "checkpoint").write_bytes(data)
    with contextlib.suppress(CheckpointError):
        find_prefix(folder)
    try:
        latest, listed_ones = read_state(str(folder))
    except CheckpointError:
        return
    if latest is not None and len(data) % 16 == 0:  # flushing to the disk takes its time
        write_state(str(folder), latest, listed_ones)
        again, _ = read_state(str(folder))
        assert again is not None


def fuzz_owner(data: bytes) -> None:
    """Any file as that which says whose a directory of TF1 checkpoints is."""
    if b"://" in data:
        return
    folder = _FOLDER / "tf1"
    folder.mkdir(exist_ok=True)
    (folder / OWNER_FILE).write_bytes(data)
    (_FOLDER / "job").mkdir(exist_ok=True)
    try:
        claim(str(folder), str(_FOLDER / "job"), take_over=True)
    except CheckpointError:
        return
    assert json.loads((folder / OWNER_FILE).read_bytes())


def fuzz_terminal(data: bytes) -> None:
    """Any name on its way to a terminal: no line is forged, nothing is obeyed, nothing is lost."""
    text = data.decode("utf-8", "surrogateescape")
    stream = io.StringIO()
    with contextlib.redirect_stdout(stream):
        output.print_tabbed((text, text))
        output.print_json({"name": text})
    row, _, printed = stream.getvalue().partition("\n")
    assert row.count("\t") == 1
    _require_plain(row.replace("\t", ""))
    _require_plain(printed.replace("\n", ""))
    # JSON has no other way to say a pair of surrogates than that of the character they make up.
    assert text.encode("utf-16", "surrogatepass") == json.loads(printed)["name"].encode(
        "utf-16", "surrogatepass"
    )
    for shown in (
        str(CheckpointError(f"there is no '{text}'")),
        escaped(text),
        listed([text] * 3, 2),
        near(text, [text, text[1:]]),
        _logged(text),
    ):
        _require_plain(shown)
    assert escaped(escaped(text)) == escaped(text)
    _require_command_line(text)


def _require_command_line(text: str) -> None:
    if "flagfile" in text:
        return
    for arguments in ([text], ["inspect", f"--{text}", "a"], ["convert", "a", "b", f"--to={text}"]):
        told = io.StringIO()
        with contextlib.redirect_stderr(told), contextlib.redirect_stdout(io.StringIO()):
            code = main.main(arguments)
        if code == 2:
            assert told.getvalue().endswith("\n")
            _require_plain(told.getvalue()[:-1])


def _logged(text: str) -> str:
    record = logging.LogRecord("fuzz", logging.WARNING, "", 0, "'%s' and %s", (text, text), None)
    assert logger("fuzz").filter(record)
    return record.getMessage()


def _require_plain(shown: str) -> None:
    assert shown.isprintable(), ascii(shown)


def limited(target: Callable[[bytes], None], seconds: float = SECONDS) -> Callable[[bytes], None]:
    """Returns a target that may take only so much time and memory for an input.

    One that is slow is tried again, as the first may have had to import something. Memory is what
    the process has grown by, beyond all that it ever had.
    """

    @functools.wraps(target)
    def measured(data: bytes) -> None:
        memory = most_memory()
        start = time.thread_time()
        target(data)
        took = time.thread_time() - start
        grown = most_memory() - memory
        assert grown <= MEGABYTES, f"it took {grown:.0f} MB"
        if took > seconds:
            start = time.thread_time()
            target(data)
            took = time.thread_time() - start
        assert took <= seconds, f"it took {took:.2f} s"

    return measured


def most_memory() -> float:
    """Returns the most memory, in MB, that this process has ever had."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 2**10)


_ALL: dict[str, Callable[[bytes], None]] = {
    "table": fuzz_table,
    "index": fuzz_index,
    "object_graph": fuzz_object_graph,
    "names": fuzz_names,
    "rename": fuzz_rename,
    "renames": fuzz_renames,
    "flags": fuzz_flags,
    "strings": fuzz_strings,
    "npz": fuzz_npz,
    "safetensors": fuzz_safetensors,
    "state": fuzz_state,
    "owner": fuzz_owner,
    "terminal": fuzz_terminal,
}
# absl compares an unknown flag with all that there are, in Python and in the square of its length.
TARGETS = {
    name: limited(target, 10 * SECONDS if name == "flags" else SECONDS)
    for name, target in _ALL.items()
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


_HEADER = (
    b'{"__metadata__":{"format":"tf"},"w":{"dtype":"F32","shape":[1,3],"data_offsets":[0,12]},'
    b'"b":{"dtype":"I8","shape":[2],"data_offsets":[12,14]}}'
)


def _archive(**arrays: Any) -> bytes:
    """An archive whose members have no time of writing."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            held = io.BytesIO()
            np.save(held, array)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), held.getvalue())
    return file.getvalue()


def _array(descr: str, shape: str, data: bytes, fortran_order: bool = False) -> bytes:
    header = f"{{'descr': '{descr}', 'fortran_order': {fortran_order}, 'shape': {shape}, }}\n"
    return b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header.encode() + data


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
        "npz": {
            "file": _archive(w=np.arange(6, dtype=np.float32).reshape(2, 3), s=np.array([b"ab"])),
            "arrays": b"\0"
            + b"".join(
                bytes((len(array),)) + array
                for array in (
                    _array("<f4", "(2,)", b"\0" * 8),
                    _array("|S3", "(2,)", b"abcde\0"),
                    _array("<i2", "(2, 2)", b"\1\0" * 4, fortran_order=True),
                )
            ),
        },
        "safetensors": {
            "file": len(_HEADER).to_bytes(8, "little") + _HEADER + b"\0" * 14,
            "header": _HEADER + b"\n" + b"\0" * 14,
        },
        "state": {
            "relative": b'model_checkpoint_path: "ckpt-2"\n'
            b'all_model_checkpoint_paths: "ckpt-1"\nall_model_checkpoint_paths: "ckpt-2"\n',
            "windows": b'model_checkpoint_path: "C:\\\\job\\\\ckpt-2"\n',
            "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n",
        },
        "owner": {
            "this": b'{"model_dir": "/job", "from_here": "../job", "job": "1f", "run": "2e"}',
            "early": b'{"model_dir": "/job"}',
        },
        "terminal": {
            "marks": "a/b\n\x1b[2K\u202e\u2028\\ größe".encode(),
            "flag": b"to=tf3",
        },
        "strings": {"two": b"\x02" + encode_strings([b"ab", b"x" * 200])[0]},
    }
