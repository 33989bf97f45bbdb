// What differs between two checkpoints, as a tree with a side for each.
import { baseNames, counted, count, fitNames, h, nameParts, onceAFrame, partsOf, real, shapeText, styled } from "./dom.js";
import { ROW_HEIGHT } from "./virtual.js";

export const KIND_WORDS = {
  removed: "removed",
  added: "added",
  renamed: "renamed",
  shape: "reshaped",
  dtype: "other type",
  values: "changed",
  unknown: "unknown",
};
const OPEN_ALL = 300; // as many changes are shown without opening scopes

export class DifferenceView {
  constructor(app) {
    this.app = app;
    this.hidden = new Set();
    this.chips = h("div", { class: "chips", role: "group", "aria-label": "Kinds of changes" });
    this.order = h("select", { "aria-label": "Order", onchange: () => this.filter() },
      h("option", { value: "" }, "by scope"), h("option", { value: "most" }, "by largest difference"));
    this.body = h("div", { class: "vbody", role: "rowgroup" });
    this.tree = h("div", { class: "vtable difference", role: "treegrid", tabindex: "0", "aria-label": "Changes" }, this.body);
    this.sides = h("div", { class: "sides" });
    this.element = h("div", { class: "differences" }, this.sides, h("div", { class: "toolbar" }, this.chips, this.order), this.tree);
    this.draw = onceAFrame(() => this.#draw());
    this.tree.addEventListener("scroll", this.draw, { passive: true });
    this.tree.addEventListener("keydown", (event) => this.#key(event));
    new ResizeObserver(this.draw).observe(this.tree);
  }

  show(difference) {
    this.difference = difference;
    const kinds = {};
    for (const change of difference.changes) kinds[change.kind] = (kinds[change.kind] ?? 0) + 1;
    const paths = [difference.first, difference.second];
    const names = baseNames(...paths);
    const side = (letter, at, format) =>
      h("div", { class: "side" }, h("b", {}, letter), nameParts(paths[at], names[at]), h("span", { class: `badge format-${format}` }, format));
    this.sides.replaceChildren(side("A", 0, difference.formats[0]), side("B", 1, difference.formats[1]));
    this.sideParts = partsOf(names);
    this.parts = null;
    const within = difference.within_tolerance ? `, ${count(difference.within_tolerance)} of them within the tolerance` : "";
    this.chips.replaceChildren(
      h("span", { class: "chip equal" }, `${count(difference.equal)} equal${within}`),
      ...Object.keys(KIND_WORDS)
        .filter((kind) => kinds[kind])
        .map((kind) =>
          h("button", { type: "button", class: `chip kind-${kind}`, "aria-pressed": String(!this.hidden.has(kind)), onclick: (event) => this.#toggle(kind, event.currentTarget) }, `${count(kinds[kind])} ${KIND_WORDS[kind]}`),
        ),
    );
    this.order.hidden = !difference.changes.some((change) => change.max_difference !== null);
    this.open = new Map();
    this.filter();
  }

  #toggle(kind, chip) {
    if (!this.hidden.delete(kind)) this.hidden.add(kind);
    chip.setAttribute("aria-pressed", String(!this.hidden.has(kind)));
    this.filter();
  }

  filter() {
    if (!this.difference) return;
    const wanted = this.app.finds;
    const changes = this.difference.changes.filter(
      (change) => !this.hidden.has(change.kind) && (!wanted || wanted(change.name) || (change.new_name !== null && wanted(change.new_name))),
    );
    this.most = this.difference.changes.map(barOf).reduce((most, size) => Math.max(most, size), 0);
    this.flat = this.order.value === "most";
    this.root = { label: "", children: new Map(), changes: [], path: "" };
    if (this.flat) this.root.changes = [...changes].sort((one, other) => sizeOf(other) - sizeOf(one));
    else for (const change of changes) this.#add(change);
    this.unfolded = changes.length <= OPEN_ALL;
    this.active = 0;
    this.#lay();
  }

  #add(change) {
    let node = this.root;
    const labels = (change.new_name ?? change.name).split("/");
    for (const label of labels.slice(0, -1)) {
      if (!node.children.has(label)) {
        node.children.set(label, { label, children: new Map(), changes: [], path: `${node.path}${label}/` });
      }
      node = node.children.get(label);
    }
    node.changes.push(change);
  }

  #lay() {
    this.lines = [];
    const walk = (node, depth) => {
      const scopes = [...node.children.values()].sort((one, other) => (one.label < other.label ? -1 : 1));
      for (let scope of scopes) {
        const labels = [scope.label];
        while (scope.children.size === 1 && !scope.changes.length) {
          [scope] = scope.children.values();
          labels.push(scope.label);
        }
        const open = this.open.get(scope.path) ?? this.unfolded;
        this.lines.push({ scope, depth, open, label: labels.join("/") });
        if (open) walk(scope, depth + 1);
      }
      for (const change of node.changes) this.lines.push({ change, depth });
    };
    walk(this.root, 0);
    this.body.style.height = `${Math.max(1, this.lines.length) * ROW_HEIGHT}px`;
    this.tree.setAttribute("aria-rowcount", this.lines.length);
    this.draw();
  }

  #draw() {
    if (!this.lines) return;
    fitNames(this.sides, () => this.sideParts);
    if (!this.lines.length) {
      const text = this.difference.changes.length ? "No change matches the search." : "All variables are equal.";
      this.body.replaceChildren(h("div", { role: "row", class: "vrow empty" }, h("div", { role: "gridcell" }, text)));
      return;
    }
    const { scrollTop, clientHeight } = this.tree;
    const first = Math.max(0, Math.floor(scrollTop / ROW_HEIGHT) - 4);
    const last = Math.min(this.lines.length, Math.ceil((scrollTop + clientHeight) / ROW_HEIGHT) + 4);
    const rows = [];
    for (let at = first; at < last; at += 1) rows.push(this.#row(at));
    this.body.replaceChildren(...rows);
    fitNames(this.body, () => (this.parts ??= partsOf(this.difference.changes.flatMap((change) => [change.name, change.new_name ?? change.name]))));
  }

  #row(at) {
    const line = this.lines[at];
    const cells = line.scope ? this.#scopeCells(line) : this.#changeCells(line);
    const row = h(
      "div",
      {
        role: "row",
        id: `change-${at}`,
        class: line.scope ? "vrow scope" : "vrow",
        "aria-level": line.depth + 1,
        "aria-rowindex": at + 1,
        "aria-expanded": line.scope ? String(line.open) : undefined,
        "data-active": at === this.active,
        onclick: () => this.#pick(at),
      },
      cells,
    );
    return styled(row, { top: `${at * ROW_HEIGHT}px`, "--depth": line.depth });
  }

  #scopeCells({ scope, label, open }) {
    const counts = {};
    const add = (node) => {
      for (const change of node.changes) counts[change.kind] = (counts[change.kind] ?? 0) + 1;
      for (const child of node.children.values()) add(child);
    };
    add(scope);
    return [
      h("div", { role: "gridcell", class: "indent mono" }, h("i", { class: "caret", "aria-hidden": "true" }, open ? "▾" : "▸"), nameParts(`${label}/`)),
      h("div", { role: "gridcell", class: "muted" }, Object.entries(counts).map(([kind, number]) => `${number} ${KIND_WORDS[kind]}`).join(", ")),
    ];
  }

  #changeCells({ change }) {
    const last = (name) => (this.flat ? name : name.split("/").pop());
    const side = (name, shape, dtype, full) => {
      if (shape === null) return h("span", { class: "muted" }, "–");
      return h("span", { class: "of", title: `${name} ${shapeText(shape)} ${dtype}` }, nameParts(name, full ? name : last(name)), " ", h("span", { class: "muted" }, `${shapeText(shape)} ${dtype}`));
    };
    const moved = change.new_name !== null;
    const apart = change.max_difference;
    const width = this.most ? (100 * barOf(change)) / this.most : 0;
    return [
      h("div", { role: "gridcell", class: "indent" }, side(change.name, change.shape, change.dtype, moved)),
      h("div", { role: "gridcell" }, h("span", { class: `badge kind-${change.kind}` }, KIND_WORDS[change.kind])),
      h(
        "div",
        { role: "gridcell", class: "after" },
        side(change.new_name ?? change.name, change.new_shape, change.new_dtype, false),
        apart === null
          ? null
          : h(
              "span",
              { class: "apart", title: `greatest difference ${apart}, mean ${change.mean_difference}` },
              h("span", { class: width ? "bar" : "bar none", "aria-hidden": "true" }, styled(h("i", { class: "kind-values" }), { width: `${width}%` })),
              h("span", {}, `max ${real(apart)}`, h("span", { class: "mean" }, `, mean ${real(change.mean_difference)}`)),
            ),
      ),
    ];
  }

  #pick(at) {
    this.active = at;
    const line = this.lines[at];
    if (line.scope) this.#unfold(line, !line.open);
    else {
      this.app.selectName(line.change.name, line.change.new_name);
      this.draw();
    }
  }

  #unfold(line, open) {
    this.open.set(line.scope.path, open);
    this.#lay();
  }

  #key(event) {
    const line = this.lines[this.active];
    if (event.target !== this.tree || !line) return;
    const moves = { ArrowDown: 1, ArrowUp: -1, Home: -Infinity, End: Infinity };
    if (event.key in moves) this.active = Math.max(0, Math.min(this.lines.length - 1, this.active + moves[event.key]));
    else if (event.key === "Enter" || event.key === " ") this.#pick(this.active);
    else if (event.key === "ArrowRight" && line.scope) this.#unfold(line, true);
    else if (event.key === "ArrowLeft" && line.scope) this.#unfold(line, false);
    else return;
    event.preventDefault();
    const top = this.active * ROW_HEIGHT;
    if (top < this.tree.scrollTop) this.tree.scrollTop = top;
    else if (top > this.tree.scrollTop + this.tree.clientHeight - ROW_HEIGHT) this.tree.scrollTop = top - this.tree.clientHeight + ROW_HEIGHT;
    this.#draw();
    this.tree.setAttribute("aria-activedescendant", `change-${this.active}`);
  }
}

function sizeOf(change) {
  if (typeof change.max_difference === "number") return change.max_difference;
  return change.max_difference === null ? 0 : Number.MAX_VALUE; // NaN on one side
}

// What a bar shows: no step or counter, which counts up to any number; nothing that isn't finite.
function barOf(change) {
  const size = change.max_difference;
  return typeof size === "number" && !change.dtype?.includes("int") ? size : 0;
}

export function summaryOf(difference) {
  const changed = difference.changes.length;
  return changed ? `${counted(changed, "difference")}, ${count(difference.equal)} equal` : `all ${count(difference.equal)} equal`;
}
