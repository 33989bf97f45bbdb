// Small pictures of numbers.
import { bytes, percent, real, styled, svg, h } from "./dom.js";

export function histogram(bins, width, height, label) {
  if (!bins) return h("span", { class: "muted" }, "");
  const [start, step, ...counts] = bins;
  const most = Math.max(...counts);
  const bar = width / Math.max(counts.length, 12);
  const picture = svg("svg", {
    class: "histogram",
    viewBox: `0 0 ${width} ${height}`,
    width,
    height,
    role: "img",
    "aria-label": label,
  });
  counts.forEach((number, at) => {
    if (!number) return;
    const tall = Math.max(1, (number / most) * height);
    picture.append(
      svg(
        "rect",
        { x: at * bar, y: height - tall, width: Math.max(1, bar - (bar > 4 ? 1 : 0)), height: tall },
        svg("title", {}, `${real(start + at * step)} to ${real(start + (at + 1) * step)}: ${number}`),
      ),
    );
  });
  return picture;
}

// A line over the checkpoints; what is missing, or no number, is a gap in it.
export function sparkline(values, width, height, label) {
  const picture = svg("svg", {
    class: "sparkline",
    viewBox: `0 0 ${width} ${height}`,
    width,
    height,
    role: "img",
    "aria-label": label,
  });
  const numbers = values.filter((value) => typeof value === "number");
  if (!numbers.length) return picture;
  const low = Math.min(...numbers);
  const spread = Math.max(...numbers) - low || 1;
  const place = (value, at) => [
    values.length < 2 ? width / 2 : 3 + (at * (width - 6)) / (values.length - 1),
    height - 3 - ((value - low) / spread) * (height - 6),
  ];
  let path = "";
  let pen = "M";
  values.forEach((value, at) => {
    if (typeof value !== "number") {
      pen = "M";
      return;
    }
    const [x, y] = place(value, at);
    path += `${pen}${x.toFixed(1)} ${y.toFixed(1)}`;
    pen = "L";
  });
  picture.append(svg("path", { d: path }));
  const last = values.findLastIndex((value) => typeof value === "number");
  const [x, y] = place(values[last], last);
  picture.append(svg("circle", { cx: x, cy: y, r: 2 }));
  return picture;
}

export function bar(part, whole, role) {
  const inner = styled(h("i", { class: role ? `role-${role}` : "" }), {
    width: `${whole ? (100 * part) / whole : 0}%`,
  });
  return h("span", { class: "bar", "aria-hidden": "true", title: `${bytes(part)}, ${percent(part, whole)}` }, inner);
}
