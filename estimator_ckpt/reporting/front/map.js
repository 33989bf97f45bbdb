// A map of variables: both sides with lines between them, questions to answer, a file to save.
import { copyButton, copyText, count, counted, fitNames, h, nameParts, onceAFrame, partsOf, saveFile, shapeText, styled, svg } from "./dom.js";

const NAME_HEIGHT = 26;
const CLASSES = ["pinned", "certain", "likely", "asked", "refused", "left out", "unmapped"];
const ARROW = " -> ";

// The text of a map, line by line, as `VariableMap.text` writes it; edits are edits of lines.
export class MapText {
  constructor(text) {
    this.lines = text.split("\n");
  }

  toString() {
    return this.lines.join("\n");
  }

  accept(what) {
    const at = this.lines.findIndex((line) => line.startsWith("accept: "));
    this.lines[at] = `accept: ${what}`;
  }

  answer(question, letter) {
    const asked = this.#heading("asked");
    let seen = -1;
    for (let at = asked; at < this.lines.length; at += 1) {
      if (this.lines[at].startsWith("question ")) seen += 1;
      if (seen === question && this.lines[at].startsWith("answer: ")) {
        this.lines[at] = `answer: ${letter ?? "?"}`;
        return;
      }
    }
  }

  // Moves the line of these names below [pinned]; `line` stands there in its place, if given.
  pin(sources, targets, line) {
    const names = `${sources.join(", ")}${ARROW}${targets.join(", ")}`;
    const at = this.lines.findIndex(
      (each) => each === names || each.startsWith(`${names}  # `) || each.startsWith(`${names} : `),
    );
    const old = at < 0 ? names : this.lines.splice(at, 1)[0];
    let pinned = this.#heading("pinned");
    if (pinned < 0) {
      const accept = this.lines.findIndex((each) => each.startsWith("accept: "));
      this.lines.splice(accept + 1, 0, "", "[pinned]");
      pinned = accept + 2;
    }
    this.lines.splice(pinned + 1, 0, line ?? old);
  }

  #heading(name) {
    return this.lines.indexOf(`[${name}]`);
  }
}

export class MapView {
  constructor(app) {
    this.app = app;
    this.edits = [];
    this.questions = h("div", { class: "questions" });
    this.legend = h("ul", { class: "legend", "aria-label": "Classes" });
    this.accept = h("select", { id: "accept", onchange: () => this.#edit({ kind: "accept", what: this.accept.value }) },
      ["certain", "likely"].map((each) => h("option", { value: each }, each === "certain" ? "what is certain" : "what is likely, too")));
    this.straight = h("input", { type: "checkbox", id: "straight", onchange: () => this.#lay() });
    this.undo = h("button", { type: "button", onclick: () => this.#undo() }, "Undo");
    this.save = h("button", { type: "button", class: "primary", onclick: () => saveFile("map.txt", this.text) }, "Save map.txt");
    this.note = h("output", { class: "muted" });
    this.wires = svg("svg", { class: "wires", "aria-hidden": "true" });
    this.left = h("ul", { class: "names left", "aria-label": "Source" });
    this.right = h("ul", { class: "names right", "aria-label": "Target" });
    this.board = h("div", { class: "board" }, this.left, this.wires, this.right);
    this.scroll = h("div", { class: "board-scroll", tabindex: "0", role: "region", "aria-label": "Source and target" }, this.board);
    this.facts = h("aside", { class: "pair", "aria-live": "polite" });
    this.element = h(
      "div",
      { class: "map" },
      h(
        "div",
        { class: "toolbar" },
        h("label", { for: "accept" }, "Apply "), this.accept,
        h("label", { class: "check" }, this.straight, " straighten"),
        h("span", { class: "grow" }), this.note, this.undo,
        h("button", { type: "button", onclick: (event) => copyText(this.text, event.currentTarget) }, "Copy"), this.save,
      ),
      this.legend,
      this.questions,
      h("div", { class: "map-main" }, this.scroll, this.facts),
    );
    this.draw = onceAFrame(() => this.#draw());
    this.scroll.addEventListener("scroll", this.draw, { passive: true });
    new ResizeObserver(this.draw).observe(this.scroll);
  }

  show(map) {
    if (map === this.original) return;
    this.original = map;
    this.edits = [];
    this.picked = null;
    this.#apply();
  }

  filter() {
    if (this.original) this.#lay();
  }

  #edit(edit) {
    this.edits.push(edit);
    this.#apply();
  }

  #undo() {
    this.edits.pop();
    this.#apply();
  }

  // All edits anew on what was read: so that undoing one is leaving it out.
  #apply() {
    const map = this.original;
    const text = new MapText(map.text);
    const links = [
      ...map.pairs.map((pair) => ({ ...pair })),
      ...map.refused.map((each) => ({ ...each, class: "refused", also: "" })),
      ...map.left_out.map((name) => ({ source: [name], target: [], class: "left out", why: "", change: "", also: "" })),
    ];
    const answers = map.asked.map((question) => question.answer);
    let { accept } = map;
    for (const edit of this.edits) {
      if (edit.kind === "accept") {
        accept = edit.what;
        text.accept(accept);
      } else if (edit.kind === "answer") {
        answers[edit.question] = edit.answer;
        text.answer(edit.question, edit.answer === null ? null : "ab"[edit.answer]);
      } else {
        const link = links[edit.link];
        const out = edit.kind === "out";
        text.pin(link.source, link.target, out ? `${link.source[0]}${ARROW}-` : undefined);
        Object.assign(link, { class: out ? "left out" : "pinned", why: "edited here" }, out ? { target: [] } : {});
      }
    }
    map.asked.forEach((question, number) => {
      const answer = answers[number];
      if (answer === null || answer === undefined) return;
      for (const [source, target] of question.answers[answer].pairs) {
        links.push({ source: [source], target: [target], class: "asked", why: `answer ${"ab"[answer]}: ${question.answers[answer].title}`, change: "", also: "", fixed: true });
      }
    });
    this.text = text.toString();
    this.links = links;
    this.answers = answers;
    this.accept.value = accept;
    this.undo.disabled = !this.edits.length;
    this.note.textContent = this.edits.length ? counted(this.edits.length, "edit") : "";
    this.#sums();
    this.#ask();
    this.#lay();
    this.#explain();
  }

  #sums() {
    const sums = Object.fromEntries(CLASSES.map((each) => [each, 0]));
    for (const link of this.links) if (!link.fixed) sums[link.class] += link.source.length;
    for (const question of this.original.asked) sums.asked += question.source.length;
    sums.unmapped = this.original.unmapped.source.length;
    const items = CLASSES.filter((each) => sums[each]).map((each) =>
      h("li", {}, h("i", { class: `swatch class-${each.replace(" ", "-")}` }), `${each} `, h("span", { class: "muted" }, count(sums[each]))));
    const without = this.original.unmapped.target.length;
    if (without) items.push(h("li", { class: "muted" }, `${counted(without, "variable")} of the target without a source`));
    this.legend.replaceChildren(...items);
  }

  #ask() {
    const held = document.activeElement?.id;
    this.questions.replaceChildren(
      ...this.original.asked.map((question, number) => {
        const choices = [...question.answers.map((answer, at) => [at, answer.title, answer.pairs]), [null, "not answered", []]];
        return h(
          "fieldset",
          { class: this.answers[number] === null ? "question open" : "question" },
          h("legend", {}, `Question ${number + 1}: ${question.why}`),
          h("p", { class: "muted mono" }, `${question.source.join(", ")} → ${question.target.join(", ")}`),
          choices.map(([answer, title, pairs]) => {
            const id = `answer-${number}-${answer ?? "none"}`;
            return h(
              "label",
              { for: id, class: "choice" },
              h("input", {
                type: "radio", name: `question-${number}`, id,
                checked: this.answers[number] === answer,
                onchange: () => this.#edit({ kind: "answer", question: number, answer }),
              }),
              h("span", {}, title, pairs.length ? h("small", { class: "muted mono" }, pairs.slice(0, 3).map(([one, other]) => `${one} → ${other}`).join("; "), pairs.length > 3 ? `; and ${pairs.length - 3} more` : "") : null),
            );
          }),
        );
      }),
    );
    if (held) document.getElementById(held)?.focus();
  }

  #lay() {
    const map = this.original;
    const wanted = this.app.finds;
    const sources = new Map();
    const targets = new Map();
    const put = (names, name, link) => {
      if (!names.has(name)) names.set(name, { name, links: [] });
      if (link) names.get(name).links.push(link);
    };
    const links = this.links.filter((link) => !wanted || link.source.some(wanted) || link.target.some(wanted));
    for (const link of links) {
      for (const name of link.source) put(sources, name, link);
      for (const name of link.target) put(targets, name, link);
    }
    const other = (names, list) => list.filter((name) => !wanted || wanted(name)).forEach((name) => put(names, name));
    for (const question of map.asked) {
      other(sources, question.source);
      other(targets, question.target);
    }
    other(sources, map.unmapped.source.map(([name]) => name));
    other(targets, map.unmapped.target.map(([name]) => name));
    const asked = [new Set(map.asked.flatMap((each) => each.source)), new Set(map.asked.flatMap((each) => each.target))];
    const sorted = (names) => [...names.values()].sort((one, two) => (one.name.replaceAll("/", "\0") < two.name.replaceAll("/", "\0") ? -1 : 1));
    this.rows = [sorted(sources), sorted(targets)];
    if (this.straight.checked) {
      const places = new Map(this.rows[0].map((row, at) => [row.name, at]));
      const place = (row) => Math.min(...row.links.flatMap((link) => link.source.map((name) => places.get(name) ?? Infinity)), Infinity);
      this.rows[1] = this.rows[1].map((row) => [place(row), row]).sort((one, two) => (one[0] === two[0] ? 0 : one[0] < two[0] ? -1 : 1)).map(([, row]) => row);
    }
    this.rows.forEach((rows, side) => {
      rows.forEach((row, at) => {
        row.at = at;
        row.class = row.links[0]?.class ?? (asked[side].has(row.name) ? "asked" : "unmapped");
      });
    });
    const height = Math.max(this.rows[0].length, this.rows[1].length, 1) * NAME_HEIGHT;
    this.board.style.height = `${height}px`;
    this.at = [new Map(this.rows[0].map((row) => [row.name, row.at])), new Map(this.rows[1].map((row) => [row.name, row.at]))];
    this.shownLinks = links;
    this.parts = null;
    this.draw();
  }

  #draw() {
    if (!this.rows) return;
    const { scrollTop, clientHeight } = this.scroll;
    const first = Math.floor(scrollTop / NAME_HEIGHT) - 4;
    const last = Math.ceil((scrollTop + clientHeight) / NAME_HEIGHT) + 4;
    const held = document.activeElement?.id;
    [this.left, this.right].forEach((list, side) => {
      list.replaceChildren(...this.rows[side].slice(Math.max(0, first), Math.max(0, last)).map((row) => this.#name(row, side)));
    });
    fitNames(this.board, () => (this.parts ??= partsOf(this.rows.flat().map((row) => row.name))));
    if (held?.startsWith("name-")) document.getElementById(held)?.focus({ preventScroll: true });
    const width = this.wires.clientWidth;
    const bend = width / 2;
    this.wires.replaceChildren();
    const seen = (at) => at >= first && at <= last;
    for (const link of this.shownLinks) {
      for (const source of link.source) {
        for (const target of link.target) {
          const [from, to] = [this.at[0].get(source), this.at[1].get(target)];
          if (from === undefined || to === undefined) continue;
          if (!(seen(from) || seen(to) || (from < first && to > last) || (to < first && from > last))) continue;
          const [y, z] = [from, to].map((at) => at * NAME_HEIGHT + NAME_HEIGHT / 2);
          const strong = this.picked && (this.picked.links.includes(link));
          this.wires.append(svg("path", { class: `wire class-${link.class.replace(" ", "-")} ${strong ? "strong" : ""}`, d: `M0 ${y}C${bend} ${y} ${bend} ${z} ${width} ${z}` }));
        }
      }
    }
    for (const strong of this.wires.querySelectorAll(".strong")) this.wires.append(strong);
  }

  #name(row, side) {
    const shape = this.original.shapes[side ? "target" : "source"][row.name];
    const picked = this.picked?.name === row.name && this.picked.side === side;
    const related = this.picked && !picked && row.links.some((link) => this.picked.links.includes(link));
    const button = h(
      "button",
      {
        type: "button",
        id: `name-${side}-${row.at}`,
        class: `name class-${row.class.replace(" ", "-")} ${related ? "related" : ""}`,
        "aria-pressed": String(Boolean(picked)),
        title: row.name,
        onclick: () => this.#pick(row, side),
      },
      nameParts(row.name),
      shape && h("span", { class: "muted" }, shapeText(shape)),
    );
    return styled(h("li", {}, button), { top: `${row.at * NAME_HEIGHT}px` });
  }

  #pick(row, side) {
    const again = this.picked?.name === row.name && this.picked.side === side;
    this.picked = again ? null : { name: row.name, side, links: row.links, class: row.class };
    this.#explain();
    this.draw();
  }

  #explain() {
    const { picked } = this;
    if (picked) {
      const row = this.rows[picked.side].find((each) => each.name === picked.name);
      this.picked = row ? { ...picked, links: row.links, class: row.class } : null;
    }
    if (!this.picked) {
      this.facts.replaceChildren(h("p", { class: "muted" }, "Choose a name to see where it goes, and why."));
      return;
    }
    const { name, side, links } = this.picked;
    const reasons = new Map(this.original.unmapped[side ? "target" : "source"]);
    this.facts.replaceChildren(
      h("h2", { class: "mono" }, name),
      h("p", {}, h("span", { class: `badge class-${this.picked.class.replace(" ", "-")}` }, this.picked.class), " ", h("span", { class: "muted" }, reasons.get(name) ?? "")),
      ...links.map((link) => this.#link(link)),
      h("p", { class: "actions" }, copyButton("Copy name", name)),
    );
  }

  #link(link) {
    const at = this.links.indexOf(link);
    const actions = [];
    const canApply = link.class !== "refused" || link.change.includes("(");
    if (!link.fixed && link.target.length && link.class !== "pinned" && canApply) {
      actions.push(h("button", { type: "button", onclick: () => this.#edit({ kind: "pin", link: at }) }, "Pin this line"));
    }
    if (!link.fixed && link.source.length === 1 && link.target.length && link.class !== "refused") {
      actions.push(h("button", { type: "button", onclick: () => this.#edit({ kind: "out", link: at }) }, "Leave it out"));
    }
    return h(
      "div",
      { class: "link-facts" },
      h("p", { class: "mono" }, `${link.source.join(", ")} → ${link.target.join(", ") || "nowhere"}`, link.change ? ` : ${link.change}` : ""),
      link.also && h("p", { class: "muted" }, `also called ${link.also}`),
      link.why && h("p", { class: "muted" }, link.why),
      actions.length ? h("p", { class: "actions" }, actions) : null,
    );
  }
}
