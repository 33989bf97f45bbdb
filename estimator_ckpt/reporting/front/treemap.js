// The bytes of a checkpoint by scope: rectangles to go into, and the same as a list.
import { bar } from "./charts.js";
import { announce, bytes, count, counted, escaped, fitNames, h, nameParts, onceAFrame, partsOf, percent, resolvedColors, shapeText, styled } from "./dom.js";
import { nodeAt, only, ROLE_WORDS, squares, treeOf } from "./scopes.js";

const HEADER = 19;
const LISTED = 200;
const AT_ONCE = 30; // of them: the others come when what was asked for is on the screen
const LATER = 150; // ms
const LEAST = 16; // square pixels a child, on average: what has less is drawn as one
const FONT = "12px system-ui, sans-serif";
const COLORS = ["accent", "ink", "muted", "line", "panel", "hatch", ...Object.keys(ROLE_WORDS).map((role) => `role-${role}`)];

export class TreemapView {
  constructor(app) {
    this.app = app;
    this.canvas = h("canvas", { "aria-hidden": "true" });
    this.tiles = h("div", { class: "tiles", role: "group", "aria-label": "Scopes by bytes; arrows move, Enter goes in, Escape goes out" });
    this.tip = h("div", { class: "tip", hidden: true });
    this.stage = h("div", { class: "stage" }, this.canvas, this.tiles, this.tip);
    this.crumbs = h("nav", { class: "crumbs", "aria-label": "Scope" });
    this.list = h("ol", { class: "ranks" });
    this.legend = h("ul", { class: "legend", "aria-label": "Colours" });
    this.element = h(
      "div",
      { class: "treemap" },
      h("div", { class: "treemap-main" }, this.crumbs, this.stage, this.legend),
      h("section", { class: "treemap-side", "aria-label": "Largest in this scope" }, this.list),
    );
    this.draw = onceAFrame(() => this.#draw());
    new ResizeObserver(this.draw).observe(this.stage);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", this.draw);
    this.tiles.addEventListener("keydown", (event) => this.#key(event));
    this.stage.addEventListener("pointermove", (event) => this.#hover(event));
    this.stage.addEventListener("pointerleave", () => (this.tip.hidden = true));
  }

  show(model) {
    this.model = model;
    const path = this.node?.path ?? "";
    this.root = treeOf(model);
    this.root.children ??= [];
    this.node = path ? nodeAt(this.root, path) : this.root;
    this.filter(this.app.matches);
    this.#legend();
    this.#enter(this.node);
  }

  // matches: for each row whether it is looked for; null: there is no search.
  filter(matches) {
    this.matches = matches;
    if (!this.root) return;
    const add = (node) => {
      if (!node.children) {
        node.found = !matches || (node.row !== null && matches[node.row]) ? node.bytes : 0;
        node.hits = !matches || (node.row !== null && matches[node.row]) ? 1 : 0;
        return;
      }
      node.found = 0;
      node.hits = 0;
      for (const child of node.children) {
        add(child);
        node.found += child.found;
        node.hits += child.hits;
      }
    };
    add(this.root);
    this.draw();
    this.#list();
  }

  #enter(node, focus) {
    this.node = node;
    const trail = [];
    for (let at = node; at; at = at.parent) trail.unshift(at);
    this.crumbs.replaceChildren(
      h(
        "ol",
        {},
        trail.map((each) =>
          h(
            "li",
            {},
            each === node
              ? h("span", { "aria-current": "location" }, each.label || "all")
              : h("button", { type: "button", onclick: () => this.#enter(each, true) }, each.label || "all"),
          ),
        ),
      ),
      h("span", { class: "muted" }, `${counted(node.variables, "variable")}, ${bytes(node.bytes)}`),
    );
    this.#list();
    this.wantsFocus = focus;
    this.draw();
    if (focus) announce(`${node.path || "all"}: ${counted(node.variables, "variable")}, ${bytes(node.bytes)}`);
  }

  #open(node) {
    const { node: target } = only(node);
    if (target.children) this.#enter(target, true);
    else if (target.row !== null) this.app.select(target.row);
  }

  #list() {
    if (!this.node) return;
    const nodes = (this.node.children ?? []).filter((child) => child.hits || !this.matches);
    const most = nodes[0]?.bytes ?? 0;
    const item = (child) => {
      const { node, label } = only(child);
      return h(
        "li",
        {},
        h(
          "button",
          { type: "button", onclick: () => this.#open(child) },
          h("span", { class: "rank-name" }, nameParts(label === "\u00a0" ? "(itself)" : label)),
          h("span", { class: "rank-size" }, bytes(child.bytes)),
          bar(child.bytes, most, node.role),
          h("span", { class: "rank-note muted" }, node.children ? counted(node.variables, "variable") : this.#facts(node)),
          h("span", { class: "rank-share muted" }, percent(child.bytes, this.node.bytes)),
        ),
      );
    };
    clearTimeout(this.waiting);
    const items = nodes.slice(0, AT_ONCE).map(item);
    if (nodes.length > LISTED) items.push(h("li", { class: "muted more" }, `and ${count(nodes.length - LISTED)} smaller ones`));
    if (!nodes.length) items.push(h("li", { class: "muted more" }, this.matches ? "nothing here matches the search" : "nothing is in it"));
    this.list.replaceChildren(...items);
    this.labels = nodes.slice(0, LISTED).map((child) => only(child).label);
    const others = nodes.slice(AT_ONCE, LISTED);
    if (!others.length) return;
    this.waiting = setTimeout(() => {
      this.list.children[AT_ONCE - 1].after(...others.map(item));
      fitNames(this.list, () => partsOf(this.labels));
    }, LATER);
  }

  #facts(node) {
    if (node.row === null) return "belongs to no tensor";
    const { shape } = this.model.checkpoint.variables;
    return `${shapeText(shape[node.row])} ${this.model.dtypeOf(node.row)}`;
  }

  #legend() {
    const sums = {};
    const { variables } = this.model.checkpoint;
    let shared = 0;
    for (let row = 0; row < this.model.rows; row += 1) {
      const role = this.model.roleOf(row);
      sums[role] = (sums[role] ?? 0) + variables.bytes[row];
      if (variables.shares[row] !== null) shared += variables.bytes[row];
    }
    if (this.model.unused) sums.unused = this.model.unused;
    if (shared) sums.shared = shared;
    this.legend.replaceChildren(
      ...Object.entries(sums).sort((one, other) => other[1] - one[1]).map(([role, sum]) =>
        h("li", {}, h("i", { class: `swatch role-${role}` }), `${ROLE_WORDS[role] ?? role} `, h("span", { class: "muted" }, bytes(sum))),
      ),
    );
  }

  #draw() {
    const width = this.stage.clientWidth;
    const height = this.stage.clientHeight;
    if (!width || !height || !this.node) return;
    fitNames(this.list, () => partsOf(this.labels));
    const scale = window.devicePixelRatio || 1;
    this.canvas.width = width * scale;
    this.canvas.height = height * scale;
    const pen = this.canvas.getContext("2d");
    pen.scale(scale, scale);
    pen.font = FONT;
    pen.textBaseline = "middle";
    this.colors = resolvedColors(COLORS);
    this.hits = [];
    const whole = { node: this.node, x: 0, y: 0, w: width, h: height };
    const top = squares(this.node.children ?? [], whole.x, whole.y, whole.w, whole.h);
    for (const place of top) this.#paint(pen, place, 0);
    this.#overlay(top);
  }

  #paint(pen, place, depth) {
    const { x, y, w, h: height } = place;
    if (w < 1 || height < 1) return;
    const { node, label } = only(place.node);
    this.hits.push({ ...place, node });
    pen.globalAlpha = this.matches && !node.hits ? 0.22 : 1;
    if (!node.children) {
      this.#leaf(pen, node, label, x, y, w, height);
    } else if (w < 8 || height < 8 || w * height < LEAST * node.children.length) {
      pen.fillStyle = this.colors[`role-${node.role}`];
      pen.fillRect(x + 0.5, y + 0.5, w - 1, height - 1);
    } else {
      pen.fillStyle = this.colors.panel;
      pen.fillRect(x, y, w, height);
      pen.strokeStyle = this.colors.line;
      pen.strokeRect(x + 0.5, y + 0.5, w - 1, height - 1);
      const head = w > 52 && height > 44 ? HEADER : 0;
      if (head) this.#text(pen, label, x + 6, y + 1 + head / 2, w - 10, depth ? this.colors.muted : this.colors.ink, bytes(node.bytes));
      const gap = depth < 2 ? 2 : 1;
      const inner = squares(node.children, x + gap, y + (head || gap), w - 2 * gap, height - (head || gap) - gap);
      for (const each of inner) this.#paint(pen, each, depth + 1);
    }
    pen.globalAlpha = 1;
  }

  #leaf(pen, node, label, x, y, w, height) {
    const inset = w > 4 && height > 4 ? 0.5 : 0;
    const role = node.role in ROLE_WORDS ? node.role : "table";
    pen.fillStyle = this.colors[`role-${role}`];
    pen.fillRect(x + inset, y + inset, w - 2 * inset, height - 2 * inset);
    const shared = node.row !== null && this.model.checkpoint.variables.shares[node.row] !== null;
    if (shared || role === "unused") this.#hatch(pen, x + inset, y + inset, w - 2 * inset, height - 2 * inset);
    if (node.row !== null && node.row === this.app.selected) {
      pen.strokeStyle = this.colors.accent;
      pen.lineWidth = 2;
      pen.strokeRect(x + 1.5, y + 1.5, w - 3, height - 3);
      pen.lineWidth = 1;
    }
    if (w < 34 || height < 16) return;
    const name = nameOf(node, label);
    this.#text(pen, name, x + 6, y + 10, w - 10, this.colors.ink);
    if (height > 34 && w > 60) this.#text(pen, this.#facts(node), x + 6, y + 26, w - 10, this.colors.ink);
    if (height > 52 && w > 60) this.#text(pen, bytes(node.bytes), x + 6, y + 42, w - 10, this.colors.ink);
  }

  #hatch(pen, x, y, w, height) {
    pen.save();
    pen.beginPath();
    pen.rect(x, y, w, height);
    pen.clip();
    pen.strokeStyle = this.colors.hatch;
    pen.beginPath();
    for (let at = -height; at < w; at += 7) {
      pen.moveTo(x + at, y + height);
      pen.lineTo(x + at + height, y);
    }
    pen.stroke();
    pen.restore();
  }

  #text(pen, raw, x, y, room, color, aside) {
    const text = escaped(raw);
    const fits = (most) => {
      if (pen.measureText(text).width <= most) return text;
      // What tells names apart is often at their end: so what is left out is in the middle.
      const cut = (kept) => `${text.slice(0, Math.ceil(kept / 2))}…${text.slice(text.length - Math.floor(kept / 2))}`;
      let low = 0;
      let high = Math.min(text.length, 200) - 1;
      while (low < high) {
        const middle = (low + high + 1) >> 1;
        if (pen.measureText(cut(middle)).width <= most) low = middle;
        else high = middle - 1;
      }
      return low > 1 ? cut(low) : "";
    };
    const side = aside && room > 130 ? pen.measureText(aside).width + 8 : 0;
    pen.fillStyle = color;
    pen.fillText(fits(room - side), x, y);
    if (!side) return;
    pen.fillStyle = this.colors.muted;
    pen.fillText(aside, x + room - side + 6, y);
  }

  // What can be focused: the scopes one level down that are large enough to be pointed at.
  #overlay(top) {
    const places = top.filter((place) => place.w >= 24 && place.h >= 24).slice(0, 120);
    this.places = places;
    this.tiles.replaceChildren(
      ...places.map((place, at) => {
        const { node, label } = only(place.node);
        const what = node.children ? counted(node.variables, "variable") : `${ROLE_WORDS[node.role] ?? node.role} ${this.#facts(node)}`;
        const tile = h("button", {
          type: "button",
          class: "tile",
          tabindex: at ? "-1" : "0",
          "aria-label": `${nameOf(node, label)}: ${bytes(node.bytes)}, ${percent(node.bytes, this.node.bytes)}, ${what}`,
          onclick: (event) => (event.detail ? this.#click(event) : this.#open(place.node)),
        });
        return styled(tile, {
          left: `${place.x}px`,
          top: `${place.y}px`,
          width: `${place.w}px`,
          height: `${place.h}px`,
        });
      }),
    );
    if (this.wantsFocus) this.tiles.firstElementChild?.focus({ preventScroll: true });
    this.wantsFocus = false;
  }

  // A click shows the variable below it; a click on a scope's head goes into the scope.
  #click(event) {
    const hit = this.#hit(event);
    if (!hit) return;
    if (hit.node.children) this.#open(hit.node);
    else if (hit.node.row !== null) this.app.select(hit.node.row);
  }

  #hit(event) {
    const box = this.stage.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    return this.hits?.findLast((hit) => x >= hit.x && x < hit.x + hit.w && y >= hit.y && y < hit.y + hit.h);
  }

  #hover(event) {
    const hit = event.pointerType === "touch" ? null : this.#hit(event);
    this.tip.hidden = !hit;
    if (!hit) return;
    const { node } = hit;
    const role = node.row === null ? null : this.model.roleOf(node.row);
    const first = node.row === null ? null : this.model.checkpoint.variables.shares[node.row];
    this.tip.replaceChildren(
      h("b", { class: "mono" }, node.path || node.label),
      h("span", {}, `${bytes(node.bytes)}, ${percent(node.bytes, this.root.bytes)}`),
      h("span", { class: "muted" }, node.children ? counted(node.variables, "variable") : this.#facts(node)),
      role && h("span", { class: "muted" }, ROLE_WORDS[role] ?? role),
      first !== null && h("span", { class: "muted" }, `the bytes of ${this.model.checkpoint.variables.name[first]}`),
    );
    const box = this.stage.getBoundingClientRect();
    const x = event.clientX - box.left;
    const y = event.clientY - box.top;
    styled(this.tip, {
      left: `${Math.max(0, Math.min(x + 14, box.width - this.tip.offsetWidth - 4))}px`,
      top: `${y + 18 + this.tip.offsetHeight > box.height ? Math.max(0, y - this.tip.offsetHeight - 10) : y + 18}px`,
    });
  }

  #key(event) {
    const tiles = [...this.tiles.children];
    const at = tiles.indexOf(document.activeElement);
    if (event.key === "Escape" || event.key === "Backspace") {
      if (!this.node.parent) return;
      event.preventDefault();
      let up = this.node.parent;
      while (up.parent && up.children.length === 1) up = up.parent;
      this.#enter(up, true);
      return;
    }
    const turns = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };
    if (at < 0 || !(event.key in turns)) return;
    event.preventDefault();
    const [right, down] = turns[event.key];
    const middle = (place) => [place.x + place.w / 2, place.y + place.h / 2];
    const [x, y] = middle(this.places[at]);
    let best = -1;
    let least = Infinity;
    this.places.forEach((place, other) => {
      const [u, v] = middle(place);
      const along = (u - x) * right + (v - y) * down;
      const aside = Math.abs((u - x) * down) + Math.abs((v - y) * right);
      if (along > 1 && along + 2 * aside < least) [best, least] = [other, along + 2 * aside];
    });
    if (best < 0) return;
    tiles[at].tabIndex = -1;
    tiles[best].tabIndex = 0;
    tiles[best].focus();
  }
}

function nameOf(node, label) {
  return label === "\u00a0" ? node.path.split("/").pop() : label;
}
