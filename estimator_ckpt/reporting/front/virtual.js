// A table of any number of rows, of which only those in sight are elements.
import { fitNames, h, onceAFrame, styled } from "./dom.js";

export const ROW_HEIGHT = 28;

// columns: [{title, cell(row) -> text or element, sort(row), width, right, from, mono}]; `from` is
// the least width of the table, in pixels, at which the column is shown.
// options: id, label, parts() -> what partsOf tells of the names in it, onopen(row), sort: [column, descending]
export class VirtualTable {
  constructor(columns, options) {
    this.all = columns;
    this.options = options;
    this.rows = [];
    this.shown = [];
    this.sorting = options.sort ?? null;
    this.active = 0;
    this.selected = null;
    this.head = h("div", { class: "vhead", role: "row", "aria-rowindex": 1 });
    this.body = h("div", { class: "vbody", role: "rowgroup" });
    this.element = h(
      "div",
      { class: "vtable", role: "grid", "aria-label": options.label, tabindex: "0" },
      h("div", { role: "rowgroup", class: "vheads" }, this.head),
      this.body,
    );
    this.draw = onceAFrame(() => this.#draw());
    this.element.addEventListener("scroll", this.draw, { passive: true });
    this.element.addEventListener("keydown", (event) => this.#key(event));
    this.observer = new ResizeObserver(() => this.#fit());
    this.observer.observe(this.element);
  }

  // rows: a list of row numbers, in their own order.
  show(rows) {
    this.rows = rows;
    this.#sort();
    this.active = 0;
    this.element.scrollTop = 0;
    this.element.setAttribute("aria-rowcount", this.shown.length + 1);
    this.body.style.height = `${this.shown.length * ROW_HEIGHT}px`;
    this.draw();
  }

  select(row) {
    this.selected = row;
    this.draw();
  }

  reveal(row) {
    const at = this.shown.indexOf(row);
    if (at < 0) return;
    this.active = at;
    this.element.scrollTop = Math.max(0, at * ROW_HEIGHT - this.element.clientHeight / 2);
    this.select(row);
  }

  #fit() {
    const width = this.element.clientWidth;
    if (!width) return;
    this.columns = this.all.filter((column) => width >= (column.from ?? 0));
    styled(this.element, { "--columns": this.columns.map((column) => column.width).join(" ") });
    this.#drawHead();
    this.draw();
  }

  #drawHead() {
    this.head.replaceChildren(
      ...this.columns.map((column) => {
        const sorted = this.sorting?.[0] === column.title;
        const direction = sorted ? (this.sorting[1] ? "descending" : "ascending") : undefined;
        const label = column.sort
          ? h("button", { type: "button", onclick: () => this.#sortBy(column) }, column.title)
          : column.title;
        return h(
          "div",
          { role: "columnheader", "aria-sort": direction, class: column.right ? "right" : "" },
          label,
        );
      }),
    );
  }

  #sortBy(column) {
    const again = this.sorting?.[0] === column.title;
    this.sorting = [column.title, again ? !this.sorting[1] : Boolean(column.right)];
    const held = document.activeElement?.textContent;
    this.show(this.rows);
    this.#drawHead();
    [...this.head.querySelectorAll("button")].find((each) => each.textContent === held)?.focus();
  }

  #sort() {
    const column = this.all.find((each) => each.title === this.sorting?.[0]);
    if (!column?.sort) {
      this.shown = this.rows;
      return;
    }
    const keys = new Map(this.rows.map((row) => [row, column.sort(row)]));
    const turn = this.sorting[1] ? -1 : 1;
    this.shown = [...this.rows].sort((one, other) => {
      const [a, b] = [keys.get(one), keys.get(other)];
      if (a === b) return one - other;
      if (a === null || a === undefined) return 1; // what has no value comes last either way
      if (b === null || b === undefined) return -1;
      return (a < b ? -1 : 1) * turn;
    });
  }

  #draw() {
    if (!this.columns) return;
    const { scrollTop, clientHeight } = this.element;
    const first = Math.max(0, Math.floor(scrollTop / ROW_HEIGHT) - 4);
    const last = Math.min(this.shown.length, Math.ceil((scrollTop + clientHeight) / ROW_HEIGHT) + 4);
    const rows = [];
    for (let at = first; at < last; at += 1) rows.push(this.#row(at));
    this.body.replaceChildren(...rows);
    if (this.options.parts) fitNames(this.body, () => (this.parts ??= this.options.parts()));
  }

  #row(at) {
    const row = this.shown[at];
    const element = h(
      "div",
      {
        role: "row",
        class: "vrow",
        id: this.#id(at),
        "aria-rowindex": at + 2,
        "aria-selected": this.selected === row ? "true" : "false",
        "data-active": at === this.active,
        onclick: () => this.#open(at),
      },
      this.columns.map((column) => {
        const content = column.cell(row);
        const text = typeof content === "string" ? content : undefined;
        const classes = [column.right && "right", column.mono && "mono", column.named && "named"].filter(Boolean).join(" ");
        return h("div", { role: "gridcell", class: classes, title: text }, content);
      }),
    );
    return styled(element, { top: `${at * ROW_HEIGHT}px` });
  }

  #id(at) {
    return `${this.options.id}-${at}`;
  }

  #open(at) {
    this.active = at;
    this.selected = this.shown[at];
    this.draw();
    this.options.onopen?.(this.selected);
  }

  #key(event) {
    if (event.target !== this.element || !this.shown.length) return;
    const page = Math.max(1, Math.floor(this.element.clientHeight / ROW_HEIGHT) - 2);
    const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (event.key in moves) {
      event.preventDefault();
      const last = this.shown.length - 1;
      this.active = Math.max(0, Math.min(last, this.active + moves[event.key]));
      const top = this.active * ROW_HEIGHT;
      const visible = this.element.clientHeight - ROW_HEIGHT * 2;
      if (top < this.element.scrollTop) this.element.scrollTop = top;
      else if (top > this.element.scrollTop + visible) this.element.scrollTop = top - visible;
      this.#draw();
      this.element.setAttribute("aria-activedescendant", this.#id(this.active));
    } else if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      this.#open(this.active);
    }
  }
}
