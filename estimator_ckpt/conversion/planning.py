"""Works out which keys a converted checkpoint has, and from where; nothing is written.

    conversion = plan(open_account("model_dir"), "tf2")
    conversion.sources, conversion.dropped, conversion.notes

A dry run is this plan. Whatever the target does not have was asked for, has another key of the same
bytes there, or is of no use in that format; `plan` makes sure of it, so that no tensor is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from estimator_ckpt import naming
from estimator_ckpt.bundle import TensorEntry
from estimator_ckpt.checkpoint import Checkpoint
from estimator_ckpt.checkpoint.account import Account
from estimator_ckpt.conversion.report import OTHER_NAME, DroppedKey
from estimator_ckpt.errors import CheckpointArgumentError, NameClashError
from estimator_ckpt.naming.layout import reason_without_name
from estimator_ckpt.naming.object_graph import OBJECT_GRAPH_KEY, Leaf
from estimator_ckpt.naming.paths import VARIABLE_VALUE, attribute_of, is_object_key

UNMAPPED = "the map gives it to no variable of the objects"
"""Why a variable that is not mapped is left out where there are objects to be like."""
FORMATS = ("tf1", "tf2", "dual")
_OTHER_NAMES = f"{OTHER_NAME}; a {{}} checkpoint has no use for it"
_EMPTY_GRAPH = "an empty object graph, in which no variable is: the same as none"
_NO_LAYOUT = (
    "the variables are held by name, as tf.train.Checkpoint({}={{name: variable}}) does: the "
    "source tells of no objects; like= or container= (--container) gives others"
)
_LOST_LAYOUT = (
    "the places of {} tensors among the objects, such as '{}', are not kept by name; "
    "converted back to tf2, give like= (or container=), or they are held in 'var_list'"
)
_SHOWN = 3

Edit = Callable[[Account], naming.Edit]


@dataclass(frozen=True)
class Conversion:
    """What a conversion would do: the keys of the target, and where each is from.

    Attributes:
      sources: {key of the target: key of the source whose bytes it has}.
      dropped: what is left out of the target.
      added: tensors that the source doesn't have: {key: its value}.
      notes: what else there is to know of it.
      checkpoint: the source as a map changes it, where one does.
    """

    sources: Mapping[str, str]
    dropped: tuple[DroppedKey, ...]
    added: Mapping[str, bytes | int]
    notes: tuple[str, ...] = ()
    checkpoint: Checkpoint | None = None


def fitted(
    rules: naming.RenameRules, account: Account, like: object = None
) -> tuple[Account, naming.RenameRules]:
    """Returns a source as a map changes it, and the rules that are left to be applied to it.

    Args:
      rules: for its variables; those of a map are checked against it, and against the objects.
      account: of the source.
      like: the live object whose keys the target has, or None.

    Raises:
      CheckpointArgumentError: a map can't be followed; the message says the line.
    """
    if rules.variable_map is None:
        return account, rules
    from estimator_ckpt.checkpoint.derived import derived
    from estimator_ckpt.checkpoint.variable_rows import variable_rows

    if like is None:
        return derived(account, rules.for_target(variable_rows(account)))
    from estimator_ckpt.live.objects import LiveObjects  # it needs TensorFlow

    return derived(account, LiveObjects(like).fitted(rules, account))


def require_format(to: str) -> None:
    """Makes sure that there is such a format.

    Raises:
      CheckpointArgumentError: there is none.
    """
    if to not in FORMATS:
        raise CheckpointArgumentError(
            f"to='{to}' must be {', '.join(map(repr, FORMATS[:-1]))} or '{FORMATS[-1]}'"
        )


def plan(
    account: Account,
    to: str | None = None,
    *,
    edit: Edit | None = None,
    layout: naming.Layout | None = None,
    default: naming.Layout = naming.Layout(),
    like: object = None,
) -> Conversion:
    """Works out which keys the target has.

    Args:
      account: of the source.
      to: the format of the target; None for that of the source.
      edit: says, given the account, what becomes of the tensors.
      layout: where variables go in the object graph; None to keep the source's.
      default: the layout for a source that has none.
      like: a live object whose keys the target has; None for a layout by name.

    Returns:
      The plan.

    Raises:
      NameClashError: two tensors would get the same name.
      CheckpointArgumentError: the format does not exist, or new names don't fit the objects.
    """
    to = to or account.format
    require_format(to)
    keeps_objects = to != "tf1" and layout is None and like is None and account.has_objects
    if keeps_objects and edit is None and not _without_objects(account, to):
        target = _Target(account, to)
        target.take(key for key in account.entries if _belongs_to_objects(key))
        if to == "dual":
            target.add_names({name: name for name in account.key_of})
        return target.conversion()
    edited = edit(account) if edit else naming.Edit.nothing(account.key_of)
    if keeps_objects and edit:
        # Where the objects hold variables by name, their graph is made anew rather than read.
        layout = account.layout
        keeps_objects = layout is None
        if keeps_objects and edited.renames and account.variables_layout is None:
            raise CheckpointArgumentError(
                "the objects of this checkpoint don't hold its variables by name, as "
                "Checkpoint(var_list={name: variable}) does, so a new name would fit none of them; "
                "give a container to lay them out by name"
            )
    target = _Target(account, to, edited)
    target.notes += edited.notes
    if to != "tf1":
        if keeps_objects:
            target.add_same_objects(default)
        elif like is not None:
            target.add_objects_like(like)
        else:
            target.add_new_objects(layout or default)
            if layout is None:
                target.notes.append(_NO_LAYOUT.format(default.container))
    elif account.has_objects and account.layout is None:
        paths = [key for key in account.name_of if is_object_key(key)]
        if paths:
            target.notes.append(_LOST_LAYOUT.format(len(paths), paths[0]))
    if to != "tf2":
        target.add_names(edited.names)
    return target.conversion()


@dataclass
class _Target:
    """A plan in the making."""

    account: Account
    to: str
    edited: naming.Edit = field(default_factory=lambda: naming.Edit({}))
    sources: dict[str, str] = field(default_factory=dict)
    added: dict[str, bytes | int] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def take(self, keys: Iterable[str]) -> None:
        """Takes keys as they are."""
        self.sources.update((key, key) for key in keys)

    def add_names(self, names: Mapping[str, str]) -> None:
        """Adds name-based keys, {new name: old one}."""
        key_of = self.account.key_of
        self.sources.update(zip(names, map(key_of.__getitem__, names.values())))
        by_path = self.account.by_path
        odd = [name for name, old in names.items() if old in by_path]
        if odd:
            shown = ", ".join(f"'{name}' ({by_path[names[name]]})" for name in odd[:_SHOWN])
            more = f" and {len(odd) - _SHOWN:,} more" if len(odd) > _SHOWN else ""
            self.notes.append(f"called by their paths among the objects: {shown}{more}")

    def add_same_objects(self, default: naming.Layout) -> None:
        """Keeps the objects of the source, less those whose variable is dropped.

        A variable with a new name gets a new place, where they are held by name. What is no
        variable, a table or an iterator, keeps its place.
        """
        account, edited = self.account, self.edited
        new_names = {old: new for new, old in edited.names.items()}
        gone, state = set(), {}
        for key in filter(_belongs_to_objects, account.entries):
            name = account.name_of.get(key)
            if name in new_names and attribute_of(key) != VARIABLE_VALUE:
                state[name] = key
            old = name if name is None or name in state else edited.names.get(name)
            if name is not None and old is None:
                gone.add(key)
            else:
                same = old is None or old == name
                self.sources[key] = key if same else account.key_like(str(old), key)
        homeless = [name for name in _without_objects(account, self.to) if name in edited.names]
        moved = [
            new
            for new, old in edited.names.items()
            if new not in account.key_of and old not in state
        ]
        graph = account.graph
        if graph is None or not (gone or homeless or moved):
            return
        container = account.variables_layout or naming.Layout(default.container, None)
        places = (*homeless, *moved)
        leaves = [Leaf(container.path(name), name, container.key(name)) for name in places]
        for leaf, name in zip(leaves, places):
            if leaf.key in self.sources:
                raise NameClashError(
                    f"'{name}' belongs to no object, and '{leaf.key}' is another tensor's key; "
                    "give another container"
                )
            self.sources[leaf.key] = account.origin(edited.names[name], leaf.key)
        if homeless:
            self.notes.append(
                f"{len(homeless)} tensors that no object of the source holds, such as "
                f"'{homeless[0]}', are held in '{container.container}'"
            )
        if stayed := [key for name, key in state.items() if new_names[name] != name]:
            self.notes.append(
                f"{len(stayed)} tensors of objects that are no variables, such as '{stayed[0]}', "
                "keep their places"
            )
        del self.sources[OBJECT_GRAPH_KEY]
        self.added[OBJECT_GRAPH_KEY] = graph.without(gone).with_leaves(leaves).data

    def add_objects_like(self, like: object) -> None:
        """Adds the keys of live objects."""
        from estimator_ckpt.live.objects import LiveObjects  # they need TensorFlow
        from estimator_ckpt.live.sources import find_sources

        found = find_sources(
            LiveObjects(like), self.account, self.edited.names, by_name=self.edited.by_rules
        )
        self.sources.update(found.sources)
        self.added[OBJECT_GRAPH_KEY] = found.graph.data
        self.added.update(found.added)
        self.reasons.update(found.unused)
        self.notes += found.notes

    def add_new_objects(self, layout: naming.Layout) -> None:
        """Lays the variables out anew."""
        account, names = self.account, self.edited.names
        keys = layout.keys(names)
        taken, new = {naming.SAVE_COUNTER_KEY, *self.sources}, set(keys.values())
        if len(new) < len(keys) or not taken.isdisjoint(new):
            for name, key in keys.items():
                if key in taken:
                    raise NameClashError(
                        f"'{name}' would get the key '{key}', which another tensor has; "
                        "give another container"
                    )
                taken.add(key)
        if account.has_objects:
            self.sources.update(
                (key, account.origin(names[name], key)) for name, key in keys.items()
            )
        else:
            old = map(account.key_of.__getitem__, names.values())
            self.sources.update(zip(keys.values(), old))
        counted = naming.SAVE_COUNTER_KEY in account.entries
        graph = layout.object_graph(names, save_counter=counted or not account.has_objects)
        self.added[OBJECT_GRAPH_KEY] = graph.data
        if counted:
            self.sources[naming.SAVE_COUNTER_KEY] = naming.SAVE_COUNTER_KEY
        elif not account.has_objects:
            self.added[naming.SAVE_COUNTER_KEY] = 1

    def conversion(self) -> Conversion:
        """Returns the plan, in which each key that is dropped has its reason."""
        account = self.account
        gone = self.edited.dropped
        asked = {
            key: gone[name]
            for key, name in (account.name_of.items() if gone else ())
            if name in gone
        }
        unused = set(account.entries).difference(self.sources.values(), self.added)
        kept: set[TensorEntry] | None = None
        other_names = _OTHER_NAMES.format(self.to)
        dropped = []
        for key in sorted(unused):
            reason = asked.get(key) or self.reasons.get(key) or self._reason_of_format(key)
            if reason is None:
                kept = self._kept() if kept is None else kept
                if account.entries[key] not in kept:
                    raise CheckpointArgumentError(
                        f"'{key}' has no place in a {self.to} checkpoint of this layout, and would "
                        "be lost; give container= (--container), or leave it out (--exclude)"
                    )
                reason = other_names
            dropped.append(DroppedKey(key, reason))
        notes = (*account.notes, *self.notes)
        return Conversion(self.sources, tuple(dropped), self.added, notes, account.checkpoint)

    def _kept(self) -> set[TensorEntry]:
        """Returns what the target has the bytes of, parts of a partitioned variable included."""
        kept = set(map(self.account.entries.__getitem__, self.sources.values()))
        return kept.union(*[entry.stored for entry in kept if entry.parts])

    def _reason_of_format(self, key: str) -> str | None:
        if key == OBJECT_GRAPH_KEY and not self.account.has_objects:
            return _EMPTY_GRAPH
        if key == OBJECT_GRAPH_KEY and self.to != "tf1":
            return "replaced by that of the new layout"
        return reason_without_name(key) if _belongs_to_objects(key) else None


def _without_objects(account: Account, to: str) -> list[str]:
    """Returns the names of tensors that no object of a checkpoint holds.

    Where objects hold the parts of one, a dual checkpoint has the whole by its name.
    """
    if account.format != "dual":
        return []
    held = {entry for key, entry in account.entries.items() if is_object_key(key)}
    homeless = [
        key
        for key, entry in account.entries.items()
        if not is_object_key(key)
        and key != OBJECT_GRAPH_KEY
        and entry not in held
        and not (to == "dual" and entry.parts and held.issuperset(entry.stored))
    ]
    return [account.name_of[key] for key in homeless] if homeless else []


def _belongs_to_objects(key: str) -> bool:
    return key == OBJECT_GRAPH_KEY or is_object_key(key)
