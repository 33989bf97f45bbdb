// The checkpoints of a model_dir in order, who can read them, and what is wrong there.
import { bar, sparkline } from "./charts.js";
import { bytes, copyButton, count, counted, h, nameParts, partsOf, real, svg, time } from "./dom.js";
import { VirtualTable } from "./virtual.js";

const STRIP = 76;

export class TimelineView {
  constructor(app) {
    this.app = app;
    this.element = h("div", { class: "timeline" });
  }

  show(modelDir) {
    const steps = modelDir.steps?.name.length ? [this.#steps(modelDir)] : [];
    this.element.replaceChildren(strip(modelDir), this.#table(modelDir), findings(modelDir), ...steps);
  }

  #table(modelDir) {
    const rows = modelDir.checkpoints;
    const most = Math.max(...rows.map((row) => row.files), 1);
    const heads = ["checkpoint", "step", "since", "written", "format", "on disk", "shared", "Saver", "Estimator", "wrapped", "Checkpoint"];
    const right = new Set(["step", "since", "shared"]);
    const open = this.app.source?.open;
    return h(
      "div",
      { class: "scrolls", tabindex: "0", role: "region", "aria-label": "Checkpoints" },
      h(
        "table",
        {},
        h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col", class: right.has(head) ? "right" : "" }, head)))),
        h(
          "tbody",
          {},
          [...rows].reverse().map((row) =>
            h(
              "tr",
              { class: row.complete ? "" : "broken" },
              h(
                "th",
                { scope: "row", class: "mono" },
                open && row.complete ? h("button", { type: "button", class: "link mono", onclick: () => open(row.name) }, row.name) : row.name || "(no name)",
                row.state === "latest" && h("span", { class: "badge accent" }, "latest"),
                row.state === null && h("span", { class: "badge" }, "not listed"),
                !row.complete && h("span", { class: "badge bad" }, "incomplete"),
              ),
              h("td", { class: "right" }, row.step === null ? "–" : count(row.step)),
              h("td", { class: row.gap ? "right gap" : "right" }, row.since === null ? "" : `+${count(row.since)}`, row.gap && h("span", { class: "badge warn" }, "gap")),
              h("td", {}, time(row.time)),
              h("td", {}, row.format ? h("span", { class: `badge format-${row.format}` }, row.format) : "–"),
              h("td", { class: "size" }, bar(row.files, most, "variable"), bytes(row.files)),
              h("td", { class: "right" }, row.shared ? bytes(row.shared) : "–"),
              [row.tf1_saver, row.raw_estimator, row.wrapped_estimator, row.tf2_checkpoint].map((answer) => h("td", { class: `answer ${answer === "yes" ? "yes" : answer === "no" ? "no" : ""}` }, answer)),
            ),
          ),
        ),
      ),
    );
  }

  #steps(modelDir) {
    const { name, norm, ratio } = modelDir.steps;
    const lastOf = (values) => values.findLast((value) => value !== null) ?? null;
    const sparks = (title, columns) => ({
      title,
      width: "150px",
      from: 520,
      cell: (row) => sparkline(columns[row], 140, 24, `${title} of ${name[row]} over the steps`),
    });
    const last = (title, columns) => ({
      title,
      right: true,
      width: "minmax(90px, .6fr)",
      cell: (row) => real(lastOf(columns[row])),
      sort: (row) => {
        const value = lastOf(columns[row]);
        return typeof value === "number" ? value : null;
      },
    });
    const table = new VirtualTable(
      [
        { title: "variable", named: true, width: "minmax(140px, 3fr)", cell: (row) => nameParts(name[row]), sort: (row) => name[row] },
        last("norm", norm),
        sparks("norms", norm),
        last("update / weight", ratio),
        sparks("ratios", ratio),
      ],
      { id: "step", label: "Norms and updates over the steps", parts: () => partsOf(name) },
    );
    table.show(name.map((_, row) => row));
    return h(
      "section",
      { class: "steps" },
      h("h2", {}, "Norms and updates"),
      h("p", { class: "muted" }, "Over the checkpoints above: the norm of each variable, and the norm of what changed since the checkpoint before, divided by the norm there."),
      table.element,
    );
  }
}

function strip(modelDir) {
  const stepped = modelDir.checkpoints.filter((row) => row.step !== null);
  if (stepped.length < 2) return h("div");
  const first = stepped[0].step;
  const spread = stepped[stepped.length - 1].step - first || 1;
  const at = (step) => 3 + (94 * (step - first)) / spread;
  const y = 26;
  const picture = svg("svg", { class: "strip", width: "100%", height: STRIP, role: "img", "aria-label": `${counted(stepped.length, "checkpoint")} from step ${first} to ${first + spread}` });
  stepped.slice(1).forEach((row, before) => {
    picture.append(svg("line", { class: row.gap ? "missing" : "axis", x1: `${at(stepped[before].step)}%`, x2: `${at(row.step)}%`, y1: y, y2: y }));
  });
  let free = -Infinity;
  stepped.forEach((row, number) => {
    const x = at(row.step);
    const title = `${row.name}, step ${row.step}, ${row.format ?? "unreadable"}, ${bytes(row.files)}`;
    picture.append(
      svg("circle", { class: `point format-${row.format} ${row.complete ? "" : "broken"}`, cx: `${x}%`, cy: y, r: row.state === "latest" ? 8 : 6 }, svg("title", {}, title)),
    );
    const isLast = number === stepped.length - 1;
    if (!isLast && (x < free || x > 88)) return;
    free = x + 9;
    const anchor = x < 6 ? "start" : x > 94 ? "end" : "middle";
    picture.append(svg("text", { x: `${x < 6 ? 2 : x > 94 ? 98 : x}%`, y: y + 28, "text-anchor": anchor }, count(row.step)));
  });
  return picture;
}

function findings(modelDir) {
  if (!modelDir.findings.length) return h("p", { class: "fine" }, "doctor finds nothing wrong here.");
  return h(
    "section",
    { class: "findings" },
    h("h2", {}, `${counted(modelDir.findings.length, "finding")} of doctor`),
    h(
      "ul",
      {},
      modelDir.findings.map((finding) =>
        h(
          "li",
          { class: finding.severity },
          h("span", { class: `badge ${{ error: "bad", warning: "warn" }[finding.severity] ?? ""}` }, finding.severity),
          h("div", {}, h("b", { class: "mono" }, finding.subject), h("p", {}, finding.problem), h("p", { class: "remedy" }, h("span", { class: "muted" }, "Remedy: "), finding.remedy)),
          copyButton("Copy", `${finding.subject}: ${finding.problem}; ${finding.remedy}`),
        ),
      ),
    ),
  );
}
