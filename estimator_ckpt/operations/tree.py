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
from dataclasses import dataclass
from typing import Any

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


def tree(description: CheckpointDescription) -> TreeNode:
    """Makes a tree of the variables.

    Args:
      description: of a checkpoint. Its rows may be just some of those that it has.

    Returns:
      The root, with the checkpoint's prefix as its label.
    """
    branches: dict[str, Any] = {}
    for row in description.variables:
        branch = branches
        *scopes, last = _at_most(_path(row))
        for scope in scopes:
            # A slot lies below the name of its variable: that is one node, and no scope.
            branch = branch.setdefault(scope, [None, {}])[1]
        branch.setdefault(last, [None, {}])[0] = row
    return _node(description.prefix, None, _children(branches))


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


def _children(branches: dict[str, Any]) -> Iterator[TreeNode]:
    for name, (row, below) in sorted(branches.items()):
        yield _node(name if row or not below else f"{name}/", row, _children(below))


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
