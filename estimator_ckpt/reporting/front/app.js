// The page around the views: what it is about, the search, the tabs and the panel at the side.
import { announce, baseName, baseNames, bytes, count, counted, escaped, h, matcher } from "./dom.js";
import { DifferenceView, summaryOf } from "./difference.js";
import { MapView } from "./map.js";
import { modelOf } from "./scopes.js";
import { TimelineView } from "./timeline.js";
import { TreemapView } from "./treemap.js";
import { DetailPanel, VariablesView } from "./variables.js";

const THEMES = ["auto", "light", "dark"];

export class App {
  // source: what can ask for more, in TensorBoard: {open(name), readValues(name)}; none in a file
  constructor(place, source) {
    this.source = source ?? null;
    this.matches = null;
    this.finds = null;
    this.selected = null;
    this.views = {
      bytes: { title: "Bytes", view: new TreemapView(this), of: (data) => data.checkpoint },
      variables: { title: "Variables", view: new VariablesView(this), of: (data) => data.checkpoint },
      timeline: { title: "Time line", view: new TimelineView(this), of: (data) => data.model_dir },
      difference: { title: "Differences", view: new DifferenceView(this), of: (data) => data.difference },
      map: { title: "Map", view: new MapView(this), of: (data) => data.map },
    };
    this.heading = h("h1", { class: "mono" });
    this.facts = h("p", { class: "facts" });
    this.search = h("input", { type: "search", placeholder: "Search names, or /expression/", "aria-label": "Search names", spellcheck: "false", autocomplete: "off" });
    this.search.addEventListener("input", () => this.#search());
    this.theme = h("button", { type: "button", class: "quiet", onclick: () => this.#turn() }, "theme: auto");
    this.tabs = h("div", { class: "tabs", role: "tablist", "aria-label": "Views" });
    this.tabs.addEventListener("keydown", (event) => this.#tabKey(event));
    this.detail = new DetailPanel(this);
    this.trouble = h("div", { role: "alert" });
    this.panels = h("div", { class: "panels" });
    this.toolbar = h("div", { class: "source" });
    place.replaceChildren(
      h("header", { class: "top" }, h("div", { class: "what" }, this.heading, this.facts), h("div", { class: "tools" }, this.search, this.theme)),
      this.toolbar,
      h("nav", { "aria-label": "Views of the checkpoint" }, this.tabs),
      this.trouble,
      h("main", {}, this.panels, this.detail.element),
      h("div", { id: "announcements", class: "away", "aria-live": "polite" }),
    );
    addEventListener("keydown", (event) => {
      if (event.key !== "/" || /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement?.tagName)) return;
      event.preventDefault();
      this.search.focus();
    });
  }

  show(data) {
    const name = this.selected === null ? null : this.model?.checkpoint.variables.name[this.selected];
    const changed = !this.data || data.checkpoint !== this.data.checkpoint;
    this.data = data;
    this.say(data.trouble);
    if (data.checkpoint && changed) {
      this.model = modelOf(data.checkpoint);
      this.#match();
    } else if (!data.checkpoint) this.model = null;
    this.#head();
    const shown = Object.keys(this.views).filter((key) => this.views[key].of(data));
    this.tabs.replaceChildren(
      ...shown.map((key) =>
        h("button", { type: "button", role: "tab", id: `tab-${key}`, "aria-controls": `panel-${key}`, onclick: () => this.go(key) }, this.views[key].title, this.#badge(key)),
      ),
    );
    this.panels.replaceChildren(
      ...shown.map((key) => h("section", { role: "tabpanel", id: `panel-${key}`, "aria-labelledby": `tab-${key}`, hidden: true }, this.views[key].view.element)),
    );
    this.stale = new Set(shown.filter((key) => key !== "bytes" && key !== "variables"));
    if (changed) this.dirty = new Set(["bytes", "variables"]);
    const wanted = this.tab ?? ((!this.source && location.hash.slice(1)) || this.#first(data));
    this.go(shown.includes(wanted) ? wanted : this.#first(data), false);
    const row = name && this.model ? this.model.checkpoint.variables.name.indexOf(name) : -1;
    this.select(row < 0 ? null : row);
  }

  say(trouble) {
    this.trouble.replaceChildren(...(trouble ? [h("p", { class: "trouble" }, trouble)] : []));
  }

  #first(data) {
    return data.map ? "map" : data.difference ? "difference" : data.checkpoint ? "bytes" : "timeline";
  }

  #badge(key) {
    const { data } = this;
    const number = {
      variables: () => data.checkpoint.variables.name.length,
      timeline: () => data.model_dir.checkpoints.length,
      difference: () => data.difference.changes.length,
      map: () => data.map.pairs.length,
    }[key]?.();
    return number === undefined ? null : h("span", { class: "number" }, count(number));
  }

  #head() {
    const { checkpoint, model_dir: modelDir, difference, other } = this.data;
    const title = checkpoint?.prefix ?? modelDir.directory;
    const [name, otherName] = other ? baseNames(title, other.prefix) : [baseName(title)];
    this.heading.replaceChildren(h("span", { title }, name));
    document.title = `${escaped(otherName ? `${name} and ${otherName}` : name)} - checkpoint report`;
    if (!checkpoint) {
      this.facts.replaceChildren(h("span", {}, counted(modelDir.checkpoints.length, "checkpoint")));
      return;
    }
    const { model } = this;
    this.facts.replaceChildren(
      ...[
        h("span", { class: `badge format-${checkpoint.format}` }, checkpoint.format),
        checkpoint.step === null ? "no step" : `step ${count(checkpoint.step)}`,
        counted(model.rows, "variable"),
        bytes(checkpoint.bytes),
        counted(checkpoint.shards, "shard"),
        model.unused ? `${bytes(model.unused)} unused` : null,
        checkpoint.files.some((file) => file.links > 1) ? "data files have further hard links" : null,
        difference && other ? h("span", { title: other.prefix }, `compared with ${otherName}: ${summaryOf(difference)}`) : null,
      ]
        .filter(Boolean)
        .map((fact) => (typeof fact === "string" ? h("span", {}, fact) : fact)),
    );
  }

  go(key, byHand = true) {
    this.current = key;
    if (byHand) {
      this.tab = key;
      if (!this.source) this.#address(key);
    }
    for (const tab of this.tabs.children) {
      const isIt = tab.id === `tab-${key}`;
      tab.setAttribute("aria-selected", String(isIt));
      tab.tabIndex = isIt ? 0 : -1;
      if (isIt) tab.scrollIntoView({ block: "nearest", inline: "nearest" });
    }
    for (const panel of this.panels.children) panel.hidden = panel.id !== `panel-${key}`;
    this.detail.element.classList.toggle("off", key === "timeline" || key === "map");
    const { view, of } = this.views[key];
    if (key === "bytes" || key === "variables") {
      if (this.dirty.delete(key)) view.show(this.model);
    } else if (this.stale.delete(key)) view.show(of(this.data));
    if (key === "variables" && this.selected !== null) view.select(this.selected);
  }

  #address(key) {
    try {
      history.replaceState(null, "", `#${key}`);
    } catch {
      // a page without an address, as in a notebook
    }
  }

  select(row) {
    this.selected = row;
    if (this.model) this.detail.show(this.model, row);
    else this.detail.element.hidden = true;
    this.detail.element.parentElement.classList.toggle("with-detail", row !== null && this.model !== null);
    this.views.bytes.view.draw();
    if (this.current === "variables" && this.model) this.views.variables.view.table?.select(row);
    if (row !== null && this.model) announce(`variable ${this.model.checkpoint.variables.name[row]}`);
  }

  selectName(...names) {
    if (!this.model) return;
    const rows = names.filter((name) => name !== null).map((name) => this.model.checkpoint.variables.name.indexOf(name));
    this.select(rows.find((row) => row >= 0) ?? null);
  }

  #search() {
    this.finds = matcher(this.search.value);
    this.#match();
    const { bytes: first, variables } = this.views;
    if (this.model) {
      if (!this.dirty.has("bytes")) first.view.filter(this.matches);
      if (!this.dirty.has("variables")) variables.view.filter();
    }
    if (this.data.difference && !this.stale.has("difference")) this.views.difference.view.filter();
    if (this.data.map && !this.stale.has("map")) this.views.map.view.filter();
  }

  #match() {
    this.matches = this.finds && this.model ? this.model.checkpoint.variables.name.map(this.finds) : null;
  }

  #turn() {
    const next = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme ?? "auto") + 1) % 3];
    if (next === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
    this.theme.textContent = `theme: ${next}`;
    this.views.bytes.view.draw();
  }

  #tabKey(event) {
    const turn = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!turn) return;
    const tabs = [...this.tabs.children];
    const next = tabs[(tabs.findIndex((tab) => tab.tabIndex === 0) + turn + tabs.length) % tabs.length];
    this.go(next.id.slice(4));
    next.focus();
  }
}
