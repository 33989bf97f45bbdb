// The variables as a table, and all that is known of one of them.
import { histogram } from "./charts.js";
import { bytes, copyButton, count, counted, h, nameParts, partsOf, percent, real, renameRule, shapeText } from "./dom.js";
import { ROLE_WORDS } from "./scopes.js";
import { VirtualTable } from "./virtual.js";

// Who can read a variable, and how: told from the keys that it has.
export function readers(variables, row) {
  const named = variables.key[row] !== null;
  const held = variables.path[row] !== null;
  return { saver: named ? "yes" : "by name", checkpoint: held ? "yes" : "by name" };
}

export class VariablesView {
  constructor(app) {
    this.app = app;
    this.role = h("select", { "aria-label": "Role", onchange: () => this.filter() });
    this.dtype = h("select", { "aria-label": "Type", onchange: () => this.filter() });
    this.odd = h("select", { "aria-label": "Values", onchange: () => this.filter() },
      [["", "any values"], ["bad", "with NaN or Inf"], ["zero", "all zeros"], ["dead", "with dead rows"]].map(
        ([value, text]) => h("option", { value }, text)));
    this.sum = h("output", { class: "muted" });
    this.place = h("div", { class: "fills" });
    this.element = h(
      "div",
      { class: "variables" },
      h("div", { class: "toolbar" }, this.role, this.dtype, this.odd, this.sum),
      this.place,
    );
  }

  show(model) {
    this.model = model;
    const { checkpoint } = model;
    const option = (text) => h("option", { value: text }, ROLE_WORDS[text] ?? text);
    const keep = [this.role.value, this.dtype.value];
    this.role.replaceChildren(h("option", { value: "" }, "any role"), ...checkpoint.roles.map(option));
    this.dtype.replaceChildren(h("option", { value: "" }, "any type"), ...checkpoint.dtypes.map(option));
    [this.role.value, this.dtype.value] = keep.map((value, at) =>
      (at ? checkpoint.dtypes : checkpoint.roles).includes(value) ? value : "");
    this.odd.hidden = !checkpoint.values;
    const sorting = this.table?.sorting;
    this.table = new VirtualTable(columnsOf(model), {
      id: "variable",
      label: "Variables",
      parts: () => partsOf(checkpoint.variables.name),
      sort: sorting,
      onopen: (row) => this.app.select(row),
    });
    this.place.replaceChildren(this.table.element);
    this.filter();
  }

  filter() {
    const { checkpoint } = this.model;
    const { variables, values } = checkpoint;
    const role = checkpoint.roles.indexOf(this.role.value);
    const dtype = checkpoint.dtypes.indexOf(this.dtype.value);
    const tests = {
      bad: (row) => values.nan[row] > 0 || values.inf[row] > 0,
      zero: (row) => values.zeros[row] !== null && values.zeros[row] === this.model.elements(row),
      dead: (row) => values.dead_rows[row] > 0,
    };
    const odd = values && tests[this.odd.value];
    const rows = [];
    let size = 0;
    for (let row = 0; row < this.model.rows; row += 1) {
      if (this.app.matches && !this.app.matches[row]) continue;
      if (role >= 0 && variables.role[row] !== role) continue;
      if (dtype >= 0 && variables.dtype[row] !== dtype) continue;
      if (odd && !odd(row)) continue;
      rows.push(row);
      size += variables.bytes[row];
    }
    this.sum.textContent =
      rows.length === this.model.rows
        ? `${counted(rows.length, "variable")}, ${bytes(size)}`
        : `${count(rows.length)} of ${counted(this.model.rows, "variable")}, ${bytes(size)}`;
    this.table.show(rows);
    if (this.app.selected !== null) this.table.select(this.app.selected);
  }

  select(row) {
    this.table?.reveal(row);
  }
}

function columnsOf(model) {
  const { variables, values } = model.checkpoint;
  const number = (title, column, from) => ({
    title,
    right: true,
    width: "minmax(74px, .5fr)",
    from,
    cell: (row) => real(values[column][row]),
    sort: (row) => numeric(values[column][row]),
  });
  const role = (row) => ROLE_WORDS[model.roleOf(row)] ?? model.roleOf(row);
  const owner = (row) => (variables.of[row] === null ? "" : variables.name[variables.of[row]]);
  return [
    { title: "name", named: true, width: "minmax(min(240px, 46vw), 3fr)",
      cell: (row) => [h("i", { class: `dot role-${model.roleOf(row)}` }), nameParts(variables.name[row])],
      sort: (row) => variables.name[row] },
    { title: "role", width: "minmax(76px, .6fr)", from: 630, cell: role, sort: role },
    { title: "shape", mono: true, width: "minmax(84px, .8fr)", from: 460,
      cell: (row) => shapeText(variables.shape[row]), sort: (row) => model.elements(row) },
    { title: "dtype", width: "minmax(64px, .5fr)", from: 560, cell: (row) => model.dtypeOf(row), sort: (row) => model.dtypeOf(row) },
    { title: "bytes", right: true, width: "minmax(84px, .5fr)",
      cell: (row) => count(variables.bytes[row]), sort: (row) => variables.bytes[row] },
    ...(values
      ? [
          { title: "values", width: "96px", from: 740,
            cell: (row) => histogram(values.histogram[row], 84, 20, `histogram of ${variables.name[row]}`) },
          number("mean", "mean", 1010),
          number("std", "std", 920),
          number("norm", "norm", 840),
          number("zeros", "zeros", 1100),
          number("NaN", "nan", 1190),
          number("Inf", "inf", 1280),
          number("dead rows", "dead_rows", 1370),
        ]
      : [
          { title: "slot of", named: true, width: "minmax(90px, 1.2fr)", from: 900, cell: (row) => (owner(row) ? nameParts(owner(row)) : ""), sort: owner },
          { title: "Saver", width: "72px", from: 1040, cell: (row) => readers(variables, row).saver, sort: (row) => readers(variables, row).saver },
          { title: "Checkpoint", width: "92px", from: 1040, cell: (row) => readers(variables, row).checkpoint, sort: (row) => readers(variables, row).checkpoint },
        ]),
  ];
}

function numeric(value) {
  if (typeof value !== "string") return value;
  return { Infinity, "-Infinity": -Infinity }[value] ?? null;
}

export class DetailPanel {
  constructor(app) {
    this.app = app;
    this.element = h("aside", { class: "detail", hidden: true, "aria-label": "Variable" });
    this.element.addEventListener("keydown", (event) => event.key === "Escape" && app.select(null));
  }

  show(model, row) {
    this.element.hidden = row === null;
    if (row === null) return;
    const { checkpoint } = model;
    const { variables } = checkpoint;
    const name = variables.name[row];
    const owner = variables.of[row];
    const first = variables.shares[row];
    const reading = readers(variables, row);
    const go = (other) => h("button", { type: "button", class: "link mono", onclick: () => this.app.select(other) }, variables.name[other]);
    const facts = [
      ["shape", `${shapeText(variables.shape[row])} = ${counted(model.elements(row), "element")}`],
      ["dtype", model.dtypeOf(row)],
      ["bytes", `${count(variables.bytes[row])} (${percent(variables.bytes[row], checkpoint.bytes)} of all)`],
      ["role", ROLE_WORDS[model.roleOf(row)] ?? model.roleOf(row)],
      owner !== null && [model.roleOf(row) === "average" ? "average of" : "slot of", go(owner)],
      model.slots.has(row) && ["has", h("ul", {}, model.slots.get(row).map((slot) => h("li", {}, go(slot))))],
      first !== null && ["same bytes as", go(first)],
      ["key (tf1)", variables.key[row] === null ? h("span", { class: "muted" }, "none") : h("code", {}, variables.key[row])],
      ["key (tf2)", variables.path[row] === null ? h("span", { class: "muted" }, "none") : h("code", {}, variables.path[row])],
      ["tf1 Saver", reading.saver === "yes" ? "reads it" : "reads it by the names in the object graph, before the graph is finalized"],
      ["tf.train.Checkpoint", reading.checkpoint === "yes" ? "restores it" : "restores it by name, into a variable that exists"],
    ].filter(Boolean);
    const keys = [variables.key[row], variables.path[row]].filter((key) => key !== null && key !== name);
    this.element.replaceChildren(
      h(
        "header",
        {},
        h("h2", { class: "mono" }, h("i", { class: `dot role-${model.roleOf(row)}` }), name),
        h("button", { type: "button", class: "close", "aria-label": "Close", onclick: () => this.app.select(null) }, "×"),
      ),
      h(
        "p",
        { class: "actions" },
        copyButton("Copy name", name),
        copyButton("Copy rename rule", renameRule(name)),
        keys.length ? copyButton("Copy key", keys[keys.length - 1]) : null,
      ),
      h("dl", {}, facts.map(([term, value]) => [h("dt", {}, term), h("dd", {}, value)])),
      this.#values(model, row),
    );
    this.element.scrollTop = 0;
  }

  #values(model, row) {
    const { values } = model.checkpoint;
    if (!values) {
      const read = this.app.source?.readValues;
      if (!read) return h("p", { class: "muted" }, "Values were not read: --values reads them.");
      return h("p", {}, h("button", { type: "button", onclick: () => read(model.checkpoint.variables.name[row]) }, "Read its values"));
    }
    if (values.zeros[row] === null) return h("p", { class: "muted" }, "It has no numbers.");
    const elements = model.elements(row);
    const part = (number) => (number ? `${count(number)} (${percent(number, elements)})` : "0");
    const facts = [
      ["min", real(values.min[row])],
      ["max", real(values.max[row])],
      ["mean", real(values.mean[row])],
      ["std", real(values.std[row])],
      ["norm", real(values.norm[row])],
      ["zeros", part(values.zeros[row])],
      ["NaN", part(values.nan[row])],
      ["Inf", part(values.inf[row])],
    ];
    if (values.dead_rows[row] !== null) {
      const rows = model.checkpoint.variables.shape[row][0];
      facts.push(["dead rows", `${count(values.dead_rows[row])} of ${count(rows)} rows are all zeros`]);
    }
    const bins = values.histogram[row];
    const ends = bins && [bins[0], bins[0] + bins[1] * (bins.length - 2)];
    return h(
      "section",
      { class: "values" },
      h("h3", {}, "Values"),
      histogram(bins, 280, 90, `histogram of ${counted(elements, "value")}`),
      ends && h("p", { class: "ends muted" }, h("span", {}, real(ends[0])), h("span", {}, real(ends[1]))),
      h("dl", {}, facts.map(([term, value]) => [h("dt", {}, term), h("dd", { "data-value": term }, value)])),
    );
  }
}
