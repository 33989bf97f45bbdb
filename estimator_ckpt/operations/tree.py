"""The variables of a checkpoint as a tree of scopes or of objects, with subtotals.

    root = tree(describe("model_dir"))
    for child in root.children:
        print(child.label, child.variables, child.elements, child.bytes)

A name-based or dual checkpoint has scopes, which end in `/`; an object-based one has the objects
that its keys tell of, and where a name with slashes is the name of one, scopes below it. From the
64th level on, what is left of a name is one node.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from estimator_ckpt.naming.paths import VARIABLE_VALUE, is_object_key, parse_key
from estimator_ckpt.operations.describe import CheckpointDescription, VariableRow

_DEEPEST = 64  # levels, so that whoever walks through a tree may do so by recursion


@dataclass(frozen=True)
class TreeNode:
    """A scope, an object or a variable.

    Attributes:
      label: its own name; that of a scope ends in `/`.
      variables: how many there are below it, itself included.
      elements: of those, all together.
      bytes: of those.
      row: of the variable, or None where it is none. It may have children all the same: its slots.
      children: in the order of their names.
    """

    label: str
    variables: int
    elements: int
    bytes: int
    row: VariableRow | None
    children: tuple[TreeNode, ...]


@dataclass
class _Branch:
    """A node in the making. A slot lies below the name of its variable: one node, and no scope."""

    row: VariableRow | None = None
    below: dict[str, _Branch] = field(default_factory=dict)


def tree(description: CheckpointDescription, depth: int | None = None) -> TreeNode:
    """Makes a tree of the variables.

    Args:
      description: of a checkpoint. Its rows may be just some of those that it has.
      depth: how many levels there are below the root; what is deeper is in the sums alone. None
        for all.

    Returns:
      The root, with the checkpoint's prefix as its label.
    """
    root = _Branch()
    for row in description.variables:
        branch = root
        for name in _at_most(_path(row)):
            branch = branch.below.setdefault(name, _Branch())
        branch.row = row
    return _cut(_node(description.prefix, None, _children(root)), depth)


def _cut(node: TreeNode, depth: int | None) -> TreeNode:
    if depth is None:
        return node
    below = () if depth == 0 else tuple(_cut(child, depth - 1) for child in node.children)
    return replace(node, children=below)


def _path(row: VariableRow) -> list[str]:
    """Returns the nodes on the way to a variable, without the slashes at their ends."""
    if not is_object_key(row.key):
        return row.name.split("/")
    path, attribute = parse_key(row.key)
    nodes = [node for part in path for node in part.split("/")]
    return nodes if attribute == VARIABLE_VALUE else [*nodes, attribute]


def _at_most(nodes: list[str]) -> list[str]:
    """Leaves what lies deeper than a tree can be read in one node."""
    if len(nodes) <= _DEEPEST:
        return nodes
    return [*nodes[: _DEEPEST - 1], "/".join(nodes[_DEEPEST - 1 :])]


def _children(branch: _Branch) -> Iterator[TreeNode]:
    for name, child in sorted(branch.below.items()):
        is_scope = child.row is None and child.below
        yield _node(f"{name}/" if is_scope else name, child.row, _children(child))


def _node(label: str, row: VariableRow | None, children: Iterable[TreeNode]) -> TreeNode:
    below = tuple(children)
    own = 0 if row is None else math.prod(row.shape)
    return TreeNode(
        label,
        sum(child.variables for child in below) + (row is not None),
        sum(child.elements for child in below) + own,
        sum(child.bytes for child in below) + (row.bytes if row else 0),
        row,
        below,
    )
