"""Variables as layers: what lies in one scope, with the roles that its parts play.

    layers, states = layers_of(rows)          # states: {name: reason} of what is no weight
    layers[0].rows["kernel"].shape
    fit(layers[0], other)                     # the rows that correspond, or None

A layer is what a layer object would hold: kernel and bias; gamma, beta and moving averages.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from estimator_ckpt.bundle.dtypes import DTYPE_NAMES
from estimator_ckpt.naming.matcher.rows import NamedShape
from estimator_ckpt.naming.matcher.shapes import same_bytes, squeezed
from estimator_ckpt.naming.matcher.words import Name, parsed, role_of, slashed
from estimator_ckpt.naming.roles import Named, tell_roles
from estimator_ckpt.naming.slots import kind_of_optimizer

# What Keras and TensorFlow call the attribute that holds an optimizer and its slots.
_OPTIMIZER_PARTS = frozenset(("optimizer", "_optimizer", ".OPTIMIZER_SLOT"))
_REASONS = {
    "global_step": "the step of training, not a weight",
    "counter": "a counter of an optimizer, not a weight",
    "hyperparameter": "a hyperparameter of an optimizer, not a weight",
    "save_counter": "counts saves, not a weight",
}
_NUMBERS = {name: number for number, name in DTYPE_NAMES.items()}
_MAIN = frozenset(("kernel", "weight", "embedding", "depthwise", "pointwise", ""))
_OPTIONAL = frozenset(("bias", "beta", "gamma"))
_NORM = frozenset(("gamma", "beta", "mean", "variance"))


@dataclass(frozen=True, eq=False)
class Layer:
    """The variables of one layer.

    Attributes:
      key: its scope, and what leaves of that scope have in common.
      rows: {role: variable}.
      names: what its name says, by its best name first.
      words: of all its names.
      signature: roles, shapes and kinds of dtypes; layers with the same one look alike.
    """

    key: tuple[str, ...]
    rows: Mapping[str, NamedShape]
    names: tuple[Name, ...]
    words: frozenset[str]
    signature: tuple[tuple[str, tuple[int, ...], str], ...]

    @cached_property
    def main(self) -> NamedShape:
        """The variable that shows best which layer this is."""
        return max(self.rows.values(), key=lambda row: (len(squeezed(row.shape)), row.shape))

    @cached_property
    def marks(self) -> frozenset[str]:
        """The chosen numbers of its name as words, `block=2` or, behind that, `block.=1`."""
        name, found = self.names[0], []
        before, number = "", 0
        for word in name.template:
            if word != "#":
                before = word
                continue
            if name.explicit[number]:
                found.append(f"{before}={name.numbers[number]}")
            before, number = before + ".", number + 1
        return frozenset(found)

    @cached_property
    def kind(self) -> str:
        """What sort of a layer it is: `norm`, `embedding`, `depthwise`, `kernel`, `bias` ..."""
        if self.rows.keys() & {"mean", "variance"}:
            return "batch norm"
        if self.rows.keys() <= _NORM:
            return "norm"
        roles = sorted(self.rows.keys() - {"bias"}) or ["bias"]
        return "+".join("kernel" if role in _MAIN - {"depthwise"} else role for role in roles)


def layers_of(rows: Iterable[NamedShape]) -> tuple[list[Layer], dict[str, str]]:
    """Groups variables into layers.

    Args:
      rows: variables, in any order.

    Returns:
      The layers, sorted by their keys, and {name: reason} of what is no weight: the slots of
      optimizers and their scalars, the step.
    """
    rows = sorted(rows, key=lambda row: row.name)
    states = _states(rows)
    scopes: dict[tuple[str, ...], list[tuple[str, str, NamedShape]]] = {}
    for row in rows:
        if row.name not in states:
            scope, role, rest = _placed(row)
            scopes.setdefault(scope, []).append((role, rest, row))
    layers = [layer for key, found in sorted(scopes.items()) for layer in _split(key, found)]
    return layers, states


def _states(rows: Sequence[NamedShape]) -> dict[str, str]:
    tensors = {row.name: Named(tuple(row.shape), _NUMBERS.get(row.dtype, 0)) for row in rows}
    others = {row.name: row.second_name or row.name for row in rows}
    told, found = tell_roles(tensors), {}
    for name, role in told.items():
        if role.kind == "average":
            found[name] = f"a moving average of '{role.of}'"
        elif role.of is not None:
            found[name] = f"a slot of '{role.of}': it goes where its variable goes"
        elif role.kind in _REASONS:
            found[name] = _REASONS[role.kind]
        elif role.kind != "variable" or _is_optimizers(name, others[name]):
            found[name] = "state of an optimizer, not a weight"
    return found


def _is_optimizers(*names: str) -> bool:
    """Whether it lies below an optimizer, by one of its names."""
    parts = [name.split("/") for name in names]
    return any(
        bool(kind_of_optimizer(each[0]) and len(each) > 1) or not _OPTIMIZER_PARTS.isdisjoint(each)
        for each in parts
    )


def _placed(row: NamedShape) -> tuple[tuple[str, ...], str, str]:
    """The scope of a variable by all its names, its role, and the rest of its leaf."""
    spelled = [slashed(name.partition(":")[0]) for name in (row.second_name, row.name) if name]
    scopes = tuple(name.rpartition("/")[0] for name in spelled)
    for name in spelled:
        role, rest = role_of(name.rpartition("/")[2])
        if role and (not rest or len(spelled) == 1):
            return scopes, role, rest
    role, rest = role_of(spelled[0].rpartition("/")[2])
    return scopes, role, rest


def _split(key: tuple[str, ...], found: list[tuple[str, str, NamedShape]]) -> list[Layer]:
    """The layers of one scope: one, or several where leaves are numbered (`w1`, `b1`, `w2`)."""
    rests: dict[str, list[tuple[str, str, NamedShape]]] = {}
    for role, rest, row in found:
        rests.setdefault(rest, []).append((role, rest, row))
    layers = []
    for rest, group in rests.items():
        roles = [role for role, _, _ in group]
        if len(set(roles)) == len(roles):
            layers.append(_layer((*key, rest), {role: row for role, _, row in group}))
        else:
            for role, _, row in group:
                leaf = slashed(row.name).rpartition("/")[2]
                layers.append(_layer((*key, f"{rest}/{leaf}".strip("/")), {role: row}))
    return layers


def _layer(key: tuple[str, ...], rows: dict[str, NamedShape]) -> Layer:
    rows = _as_norm(rows)
    *scopes, rest = key
    names = tuple(dict.fromkeys(parsed(f"{scope}/{rest}".strip("/")) for scope in scopes))
    signature = tuple(
        sorted((role, tuple(row.shape), _dtype_kind(row.dtype)) for role, row in rows.items())
    )
    words = frozenset().union(*(name.words for name in names))
    return Layer(key, rows, names, words, signature)


def _as_norm(rows: dict[str, NamedShape]) -> dict[str, NamedShape]:
    """Scale and shift by the names that a normalization's have: `weight` and `bias` are vectors."""
    scales = [role for role in ("gamma", "weight") if role in rows]
    is_norm = "gamma" in rows or ("weight" in rows and len(rows["weight"].shape) == 1)
    if not (is_norm and len(scales) == 1 and not rows.keys() - {*_NORM, "weight", "bias"}):
        return rows
    renamed = {"weight": "gamma", "bias": "beta"}
    if "bias" in rows and "beta" in rows:
        return rows
    return {renamed.get(role, role): row for role, row in rows.items()}


def _dtype_kind(dtype: str) -> str:
    return "float" if "float" in dtype or dtype == "half" else dtype


Signature = tuple[tuple[str, tuple[int, ...], str], ...]


def fit(one: Signature, other: Signature) -> tuple[tuple[str, str], ...] | None:
    """Returns the roles of two layers that correspond, or None where the layers don't fit.

    They fit if what both have is of the same bytes, and if what only one has is optional: a
    convolution may have a bias on one side only.
    """
    left = {role: (shape, kind) for role, shape, kind in one}
    right = {role: (shape, kind) for role, shape, kind in other}
    pairs = [(role, role) for role in left if role in right]
    spare = [[r for r in side if r not in both] for side, both in ((left, right), (right, left))]
    for role in list(spare[0]):
        fitting = [r for r in spare[1] if _roles_fit(role, r, left[role][0])]
        if len(fitting) == 1:
            pairs.append((role, fitting[0]))
            spare[0].remove(role)
            spare[1].remove(fitting[0])
    if not pairs or not all(r in _OPTIONAL for r in (*spare[0], *spare[1])):
        return None
    if spare[0] and spare[1]:
        return None
    for mine, theirs in pairs:
        (shape, kind), (other_shape, other_kind) = left[mine], right[theirs]
        if kind != other_kind or not same_bytes(shape, other_shape):
            return None
    rank = max(len(squeezed(shape)) for shape, _ in (*left.values(), *right.values()))
    paired = max(
        len(squeezed(shape))
        for mine, theirs in pairs
        for shape in (left[mine][0], right[theirs][0])
    )
    return tuple(pairs) if paired == rank or rank <= 1 else None


def _roles_fit(one: str, other: str, shape: tuple[int, ...]) -> bool:
    """Whether two names of roles can mean the same: `weight` can be a kernel or an embedding."""
    if not one or not other:
        return not {one, other} & {"mean", "variance", "recurrent"}
    if {one, other} <= _MAIN:
        return {one, other} != {"kernel", "embedding"}
    return len(squeezed(shape)) <= 1 and {one, other} in ({"weight", "gamma"}, {"bias", "beta"})
