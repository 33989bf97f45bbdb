"""What a checkpoint holds: whose bytes each key has, what they are called, what part they play.

    account = open_account("model_dir")
    account.key_of["dnn/kernel"], account.keys_of["dnn/kernel"]
    account.roles["dnn/kernel/Adam"].of                    # "dnn/kernel"

That is answered here, once, for every format; whatever asks about a checkpoint's tensors asks this.
A tensor is called by its name-based key where it has one, else by the name that its place among the
objects or the object graph gives, else by its object path. The object graph is read and parsed at
most once, and only where something needs it; no tensor is read.
"""

from __future__ import annotations

import functools
import os
import struct
from collections import Counter
from collections.abc import Mapping

from estimator_ckpt import naming
from estimator_ckpt.bundle import TensorEntry, checksums
from estimator_ckpt.bundle.strings import decode_strings
from estimator_ckpt.checkpoint.opening import Checkpoint, open_checkpoint, step_in_name
from estimator_ckpt.errors import CheckpointArgumentError, DamagedCheckpointError
from estimator_ckpt.naming.layout import reason_without_name
from estimator_ckpt.naming.object_graph import OBJECT_GRAPH_KEY, ObjectGraph
from estimator_ckpt.naming.paths import VARIABLE_VALUE, container_and_name, is_object_key
from estimator_ckpt.naming.roles import Role, tell_roles

NAMES = ("auto", "path")
"""How tensors may be called: by name where they have one, or all by their object paths."""
_EMPTY_STRING = 5  # bytes that a string tensor of one empty string takes


class Account:
    """What one checkpoint holds, by the names of its tensors."""

    def __init__(self, checkpoint: Checkpoint, names: str = "auto"):
        """Takes account of a checkpoint.

        Args:
          checkpoint: of any format.
          names: one of `NAMES`.

        Raises:
          CheckpointArgumentError: `names` is none of these.
        """
        if names not in NAMES:
            raise CheckpointArgumentError(
                f"names='{names}' must be {' or '.join(map(repr, NAMES))}"
            )
        self.checkpoint = checkpoint
        self.notes: tuple[str, ...] = ()
        """What there is to know of tensors that are made of others."""
        self.entries: Mapping[str, TensorEntry] = checkpoint.index.entries
        """{key: entry}, of all keys."""
        self._by_path = names == "path"

    @functools.cached_property
    def has_objects(self) -> bool:
        """Whether there is an object graph. One that is empty is none: nothing can be in it."""
        entry = self.entries.get(OBJECT_GRAPH_KEY)
        return entry is not None and entry.size > _EMPTY_STRING

    @property
    def format(self) -> str:
        """The format: "tf1", "tf2" or "dual"."""
        return naming.format_of(self.entries) if self.has_objects else "tf1"

    @property
    def stored_as(self) -> str:
        """The format; "keras" of a file of Keras, whose variables have names as in a tf1 one."""
        return "keras" if self.checkpoint.is_foreign else self.format

    @functools.cached_property
    def graph(self) -> ObjectGraph | None:
        """The object graph, whose checksum and references were checked; None if there is none.

        Raises:
          DamagedCheckpointError: it is damaged.
        """
        return read_object_graph(self.checkpoint) if self.has_objects else None

    @functools.cached_property
    def name_of(self) -> dict[str, str]:
        """{key: name}, without the keys of what is no tensor of a variable (see `others`).

        Raises:
          NameClashError: two tensors have the same name, and no object path that tells them apart.
        """
        return self._named[0]

    @property
    def by_path(self) -> dict[str, str]:
        """{name: why that is an object path}, of the tensors that have no name of their own."""
        return self._named[1]

    @functools.cached_property
    def key_of(self) -> dict[str, str]:
        """{name: key}; of two keys for the same bytes, the name-based one."""
        if not self.has_objects:
            return self.name_of
        keys: dict[str, str] = {}
        for key, name in self.name_of.items():  # name-based keys come first
            keys.setdefault(name, key)
        return keys

    @functools.cached_property
    def keys_of(self) -> dict[str, list[str]]:
        """{name: all keys that its bytes have}, the name-based one first; no keys of parts."""
        keys: dict[str, list[str]] = {}
        for key, name in self.name_of.items():
            if key not in self._wholes:
                keys.setdefault(name, []).append(key)
        return keys

    def origin(self, name: str, key: str) -> str:
        """Returns the key of a tensor that a key of another checkpoint is best said to be from.

        Args:
          name: of the tensor.
          key: in the other checkpoint; if the tensor has it here, too, it is the one.

        Returns:
          The key; an object key where there is one, so that a report says what became of that.
        """
        keys = self.keys_of[name]
        return key if key in keys else next(filter(is_object_key, keys), keys[0])

    def key_like(self, name: str, key: str) -> str:
        """Returns the key of a tensor for what is stored under another one: it, or a part of it.

        Args:
          name: of the tensor.
          key: of a tensor; or of a part, as objects that hold the parts of a variable have it.

        Raises:
          CheckpointArgumentError: there is no key for this part.
        """
        if key not in self._wholes:
            return self.key_of[name]
        extents = self._extents(key)
        for other in self._wholes:
            if self.name_of.get(other) == name and self._extents(other) == extents:
                return other
        raise CheckpointArgumentError(
            f"'{key}' is a part of '{self.name_of[key]}', and no object holds this part of "
            f"'{name}'; convert it without its objects first (to='tf1')"
        )

    @functools.cached_property
    def others(self) -> dict[str, Role]:
        """{key: role}, of what is no variable's: object graph, save counter, Python state."""
        return {
            key: _role_of_other(key)
            for key in self.entries
            if key == OBJECT_GRAPH_KEY or (is_object_key(key) and reason_without_name(key))
        }

    @functools.cached_property
    def roles(self) -> dict[str, Role]:
        """{name: the part that its tensor plays}."""
        # Where the objects hold everything by name, their graph tells no more than the names.
        by_name = not self.has_objects or self.layout is not None
        tensors = {name: self.entries[key] for name, key in self.key_of.items()}
        graph = None if by_name else self.graph
        roles = tell_roles(tensors, graph, self._object_key if graph is not None else None)
        step = self.step_name
        if step is not None:
            roles[step] = Role("global_step")
        return roles

    @functools.cached_property
    def layout(self) -> naming.Layout | None:
        """The layout that holds all variables by name; None if objects hold them otherwise."""
        return self._layout()

    @functools.cached_property
    def variables_layout(self) -> naming.Layout | None:
        """As `layout`, where tables and iterators, too, may be objects of their own beside it."""
        return self._layout(beside_state=True)

    def _layout(self, *, beside_state: bool = False) -> naming.Layout | None:
        """As `naming.layout_of`, where what lies beside the container is a step, not a weight."""
        if not self.has_objects:
            return None
        found = naming.layout_of(self.entries, beside_state=beside_state)
        if found is None or found.step is None:
            return found
        step = self.entries[found.key(naming.GLOBAL_STEP)]
        is_step = not step.shape and step.dtype_name in ("int64", "int32")
        return found if is_step else None

    @property
    def step_name(self) -> str | None:
        """The name of the global step, or None where there is none."""
        return naming.GLOBAL_STEP if naming.GLOBAL_STEP in self.key_of else self._step_by_path

    @functools.cached_property
    def global_step(self) -> int | None:
        """The global step; None where there is none, or it is no integer.

        It is told from its checksum if the checkpoint is called by it, else its bytes are read.

        Raises:
          DamagedCheckpointError: its checksum is wrong.
        """
        return None if self.step_name is None else self.integer(self.step_name)

    @functools.cached_property
    def lost_keys(self) -> tuple[str, ...]:
        """Keys of variables that the object graph names and the index lacks: their values are lost.

        TensorFlow's MaxShardSizePolicy loses those of variables without elements.
        """
        graph = self.graph
        if graph is None:
            return ()
        keys = (
            attribute.checkpoint_key
            for node in graph.nodes
            for attribute in node.attributes
            if attribute.name == VARIABLE_VALUE
        )
        return tuple(sorted({key for key in keys if key not in self.entries}))

    def entry(self, name: str) -> TensorEntry:
        """Returns the entry of a tensor by its name."""
        return self.entries[self.key_of[name]]

    def integer(self, name: str) -> int | None:
        """Returns the value of a scalar integer; None for any other tensor.

        Where its checksum tells, no data file is read: of 32 bits, and of the number that the
        checkpoint is called by. Numbers of 64 bits share their checksum with others.

        Raises:
          DamagedCheckpointError: its checksum is wrong.
        """
        entry = self.entry(name)
        if entry.parts or entry.shape or entry.dtype_name not in ("int64", "int32"):
            return None
        value = checksums.integer_of(entry.crc32c, entry.size)
        if value is not None and (entry.size == 4 or value == step_in_name(self.checkpoint.prefix)):
            return value
        data = self.checkpoint.read_bytes(entry)
        if checksums.masked_crc32c(data) != entry.crc32c:
            if value is not None:  # what was there before the damage, as far as that tells
                return value
            raise DamagedCheckpointError(
                f"'{name}' in '{self.checkpoint.shard_paths[entry.shard_id]}' is damaged: its "
                "checksum is wrong; restore the checkpoint from a copy, or use another one"
            )
        return int(struct.unpack("<q" if entry.size == 8 else "<i", data)[0])

    def float32(self, name: str) -> float | None:
        """Returns the value of a positive scalar float32, from its checksum; else None."""
        entry = self.entry(name)
        if entry.parts or entry.shape or entry.dtype_name != "float32":
            return None
        bits = checksums.integer_of(entry.crc32c, entry.size)
        return None if bits is None else float(struct.unpack("<f", struct.pack("<I", bits))[0])

    @functools.cached_property
    def _named(self) -> tuple[dict[str, str], dict[str, str]]:
        if not self.has_objects:
            keys = dict(zip(self.entries, self.entries))
            keys.pop(OBJECT_GRAPH_KEY, None)
            return keys, {}
        names: dict[str, str] = {}
        owners: dict[object, str] = {}
        places: dict[str, object] = {}
        firsts: dict[object, str] = {}
        for key, entry in self.entries.items():
            if key in self._wholes:
                continue
            place = _place(entry)
            if is_object_key(key):
                places[key] = place
                firsts.setdefault(place, key)
            elif key != OBJECT_GRAPH_KEY:
                names[key] = key
                owners[place] = key
        if not self._by_path and (len(firsts) < len(places) or len(owners) < len(names)):
            self._tell_apart(names, places, owners)
            firsts = {}
            for key, place in places.items():
                firsts.setdefault(place, key)
        # Keys of the same bytes are one tensor's; the first of them has to have a name.
        unnamed = [key for place, key in firsts.items() if self._by_path or place not in owners]
        found = naming.name_tensors(
            unnamed,
            lambda: self.graph.full_names if self.graph else {},
            taken=() if self._by_path else {n for n in names if self.entries[n].bytes},
            by_path=self._by_path,
        )
        if self._by_path:
            # A name-based key has the path that its bytes have.
            paths = {key: firsts.get(_place(self.entries[key]), "") for key in names}
            names = {key: found.by_key.get(path, key) for key, path in paths.items()}
            owners = {}
        for key, place in places.items():
            name = owners.get(place) or found.by_key.get(firsts[place])
            if name is not None:
                names[key] = name
        names.update((key, names[whole]) for key, whole in self._wholes.items())
        return names, found.by_path

    def _tell_apart(
        self, names: Mapping[str, str], places: dict[str, object], owners: dict[object, str]
    ) -> None:
        """Takes keys of the same bytes for as many variables, where they are held by name.

        Such an object key gets a place of its own, and the owner that has its name. The step is
        one in any case: a Checkpoint that has it among the others has it as an attribute, too.
        """
        if self.layout is None:
            return
        shared = Counter(places.values())
        for key, place in places.items():
            held = container_and_name(key)
            if held is None:
                continue
            if held[1] in names and _place(self.entries[held[1]]) == place:
                places[key] = held
                owners[held] = held[1]
            elif place not in owners and shared[place] > 1 and held[1] != naming.GLOBAL_STEP:
                places[key] = held

    @functools.cached_property
    def _wholes(self) -> dict[str, str]:
        """{key: the key of the whole}, of the parts of a partitioned variable that have keys.

        A Checkpoint that holds the parts has one key for each, on the bytes of the whole's.
        """
        parts: dict[object, str] = {}
        for key, entry in self.entries.items():
            for part in entry.parts:
                whole = parts.setdefault(_place(part.entry), key)
                if is_object_key(whole) and not is_object_key(key):
                    parts[_place(part.entry)] = key
        if not parts:
            return {}
        return {
            key: parts[entry]
            for key, entry in self.entries.items()
            if is_object_key(key) and entry in parts
        }

    def _extents(self, key: str) -> object:
        """Returns where in the whole the part of a key is."""
        entry = self.entries[key]
        return next(
            part.extents for part in self.entries[self._wholes[key]].parts if part.entry == entry
        )

    @functools.cached_property
    def _object_key(self) -> dict[str, str]:
        """{name: its first object key}."""
        keys: dict[str, str] = {}
        for key, name in self.name_of.items():
            if is_object_key(key):
                keys.setdefault(name, key)
        return keys

    @functools.cached_property
    def _step_by_path(self) -> str | None:
        return self.name_of.get(naming.Layout().key(naming.GLOBAL_STEP)) if self._by_path else None


def open_account(checkpoint: str | os.PathLike[str], names: str = "auto") -> Account:
    """Opens a checkpoint and takes account of it.

    Args:
      checkpoint: as for `open_checkpoint`.
      names: as for `Account`.

    Returns:
      The account.

    Raises:
      CheckpointNotFoundError: there is no checkpoint.
      DamagedCheckpointError: it is damaged or incomplete.
      CheckpointArgumentError: `names` is no way to name tensors.
    """
    return Account(open_checkpoint(checkpoint), names)


def read_object_graph(checkpoint: Checkpoint) -> ObjectGraph:
    """Reads a checkpoint's object graph, whose checksum and references it checks.

    Args:
      checkpoint: one that has an object graph.

    Returns:
      The graph.

    Raises:
      DamagedCheckpointError: it is damaged.
    """
    entry = checkpoint.index.entries[OBJECT_GRAPH_KEY]
    try:
        (data,), crc32c = decode_strings(checkpoint.read_bytes(entry), 1)
        if crc32c != entry.crc32c:
            raise DamagedCheckpointError("its checksum is wrong")
        return ObjectGraph.parse(data)
    except DamagedCheckpointError as error:
        raise DamagedCheckpointError(
            f"the object graph of '{checkpoint.prefix}', in "
            f"'{checkpoint.shard_paths[entry.shard_id]}', is damaged: {error}; "
            "restore the checkpoint from a copy, or use another one"
        ) from error


def _role_of_other(key: str) -> Role:
    if key == OBJECT_GRAPH_KEY:
        return Role("object_graph")
    return Role("save_counter" if key == naming.SAVE_COUNTER_KEY else "python_state")


def _place(entry: TensorEntry) -> object:
    """Identifies a tensor by the place of its bytes; an empty one has none, and equals no other."""
    return entry if entry.size or entry.bytes else object()
