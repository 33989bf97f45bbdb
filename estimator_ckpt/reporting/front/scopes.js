// The variables of a checkpoint as a tree of scopes, and rectangles for its bytes.

export const ROLE_WORDS = {
  variable: "variable",
  slot: "slot",
  average: "average",
  global_step: "step",
  counter: "counter",
  hyperparameter: "hyperparameter",
  table: "table",
  iterator: "iterator",
  unused: "unused bytes",
  shared: "shared bytes",
};

// What the pages need of a checkpoint again and again.
export function modelOf(checkpoint) {
  const { variables } = checkpoint;
  const rows = variables.name.length;
  const slots = new Map();
  for (let row = 0; row < rows; row += 1) {
    const owner = variables.of[row];
    if (owner !== null) slots.set(owner, [...(slots.get(owner) ?? []), row]);
  }
  const files = checkpoint.files ?? [];
  const total = files.reduce((sum, file) => sum + file.bytes, 0);
  const used = files.reduce((sum, file) => sum + file.used, 0);
  return {
    checkpoint,
    rows,
    slots,
    onDisk: total,
    unused: Math.max(0, total - used),
    roleOf: (row) => checkpoint.roles[variables.role[row]],
    dtypeOf: (row) => checkpoint.dtypes[variables.dtype[row]],
    elements: (row) => variables.shape[row].reduce((product, size) => product * size, 1),
  };
}

function newNode(label, path, parent) {
  return { label, path, parent, bytes: 0, variables: 0, row: null, role: null, children: null, byLabel: null };
}

function childOf(node, label) {
  node.byLabel ??= new Map();
  let child = node.byLabel.get(label);
  if (!child) {
    child = newNode(label, node.path ? `${node.path}/${label}` : label, node);
    node.byLabel.set(label, child);
  }
  return child;
}

export function treeOf(model) {
  const { variables } = model.checkpoint;
  const root = newNode("", "", null);
  for (let row = 0; row < model.rows; row += 1) {
    let node = root;
    for (const label of variables.name[row].split("/")) node = childOf(node, label);
    if (node.byLabel || node.row !== null) {
      node = childOf(node, "\u00a0"); // a variable that is a scope, too
      node.path = variables.name[row];
    }
    node.row = row;
    node.role = model.roleOf(row);
    node.bytes = variables.bytes[row];
    node.variables = 1;
  }
  if (model.unused > 0) {
    const node = childOf(root, "unused bytes in the data files");
    Object.assign(node, { role: "unused", bytes: model.unused });
  }
  finish(root, variables);
  return root;
}

function finish(node, variables) {
  if (node.byLabel && node.row !== null) {
    const own = { ...newNode("\u00a0", variables.name[node.row], node) };
    Object.assign(own, { row: node.row, role: node.role, bytes: node.bytes, variables: 1 });
    node.byLabel.set("\u00a0", own);
    Object.assign(node, { row: null, role: null, bytes: 0, variables: 0 });
  }
  if (!node.byLabel) return;
  node.children = [...node.byLabel.values()];
  node.byLabel = null;
  const byRole = {};
  for (const child of node.children) {
    finish(child, variables);
    node.bytes += child.bytes;
    node.variables += child.variables;
    byRole[child.role] = (byRole[child.role] ?? 0) + child.bytes + 1e-9;
  }
  node.children.sort((one, other) => other.bytes - one.bytes);
  node.role = Object.keys(byRole).reduce((best, role) => (byRole[role] > byRole[best] ? role : best));
}

// Scopes that hold one thing only are shown with it: a/b/c.
export function only(node) {
  let last = node;
  const labels = [node.label];
  while (last.children?.length === 1 && last.children[0].label !== "\u00a0") {
    [last] = last.children;
    labels.push(last.label);
  }
  return { node: last, label: labels.join("/") };
}

export function nodeAt(root, path) {
  let node = root;
  while (node.path !== path && node.children) {
    const next = node.children.find(
      (child) => child.children && (path === child.path || path.startsWith(`${child.path}/`)),
    );
    if (!next) break;
    node = next;
  }
  return node.children ? node : node.parent ?? root;
}

// Squarified: [{node, x, y, w, h}], the largest first; what would be no pixel is left out.
export function squares(nodes, x, y, w, h) {
  const placed = [];
  let left = { x, y, w, h };
  let rest = 0;
  for (const node of nodes) rest += node.bytes;
  let at = 0;
  while (at < nodes.length && left.w > 0 && left.h > 0 && rest > 0) {
    const scale = (left.w * left.h) / rest;
    if (nodes[at].bytes * scale < 1) break;
    const side = Math.min(left.w, left.h);
    let sum = 0;
    let worst = Infinity;
    let end = at;
    while (end < nodes.length) {
      const area = nodes[end].bytes * scale;
      const more = sum + area;
      const largest = nodes[at].bytes * scale;
      const ratio = Math.max((side * side * largest) / (more * more), (more * more) / (side * side * area));
      if (area <= 0 || ratio > worst) break;
      sum = more;
      worst = ratio;
      end += 1;
    }
    if (end === at) break;
    const thick = sum / side;
    let along = 0;
    for (; at < end; at += 1) {
      const node = nodes[at];
      const long = (node.bytes * scale) / thick;
      placed.push(
        left.w >= left.h
          ? { node, x: left.x, y: left.y + along, w: thick, h: long }
          : { node, x: left.x + along, y: left.y, w: long, h: thick },
      );
      along += long;
      rest -= node.bytes;
    }
    left =
      left.w >= left.h
        ? { x: left.x + thick, y: left.y, w: left.w - thick, h: left.h }
        : { x: left.x, y: left.y + thick, w: left.w, h: left.h - thick };
  }
  return placed;
}
