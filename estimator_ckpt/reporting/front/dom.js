// Elements, numbers and small helpers. What a checkpoint says becomes text, never markup, on one
// line and with nothing in it that can't be seen.

const SVG = "http://www.w3.org/2000/svg";

const SHOWN = new Set(["title", "aria-label"]);
const ESCAPES = { "\t": "\\t", "\n": "\\n", "\r": "\\r" };

// A text as messages.escaped has it: control characters and bidirectional marks as their escapes.
export function escaped(text) {
  return text.replace(/(?! )[\p{C}\p{Z}]/gu, (char) => {
    if (ESCAPES[char]) return ESCAPES[char];
    const code = char.codePointAt(0).toString(16);
    const [letter, digits] = code.length < 3 ? ["x", 2] : code.length < 5 ? ["u", 4] : ["U", 8];
    return `\\${letter}${code.padStart(digits, "0")}`;
  });
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : SHOWN.has(name) ? escaped(value) : value);
  }
  const there = children.flat(3).filter((child) => child !== null && child !== undefined && child !== false);
  element.append(...there.map((child) => (typeof child === "string" ? escaped(child) : child)));
  return element;
}

// h("button", {class: "quiet", onclick: act}, "text", otherElement)
export function h(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

export function styled(element, styles) {
  for (const [name, value] of Object.entries(styles)) element.style.setProperty(name, value);
  return element;
}

const grouped = new Intl.NumberFormat("en-US"); // made once: that takes longer than what it does

export function count(number) {
  return grouped.format(number);
}

export function counted(number, noun) {
  return `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
}

export function bytes(number) {
  if (number < 1024) return `${number} B`;
  let size = number;
  let unit = -1;
  do {
    size /= 1024;
    unit += 1;
  } while (size >= 1024 && unit < 3);
  return `${size.toFixed(1)} ${["KiB", "MiB", "GiB", "TiB"][unit]}`;
}

// A measured number, or one of the strings that stand for what JSON can't have.
export function real(value) {
  if (value === null || value === undefined) return "";
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value) && Math.abs(value) < 1e6) return String(value);
  const size = Math.abs(value);
  const rounded = Number(value.toPrecision(4));
  return size && (size < 1e-3 || size >= 1e7) ? rounded.toExponential() : String(rounded);
}

export function percent(part, whole) {
  if (!whole) return "0 %";
  const share = (100 * part) / whole;
  return share > 0 && share < 0.1 ? "<0.1 %" : `${share.toFixed(share < 10 ? 1 : 0)} %`;
}

export function shapeText(shape) {
  return shape === null || shape === undefined ? "" : `[${shape.join(", ")}]`;
}

// How many of the names have a part: what all have tells none apart.
export function partsOf(names) {
  const numbers = new Map();
  for (const name of names) {
    for (const part of new Set(escaped(name).split("/"))) numbers.set(part, (numbers.get(part) ?? 0) + 1);
  }
  return { all: names.length, numbers };
}

// A text of at most so many characters, in whose middle the others are left out.
export function middle(text, most) {
  if (text.length <= most) return text;
  const kept = Math.max(0, most - 1);
  return `${text.slice(0, Math.ceil(kept / 2))}…${text.slice(text.length - Math.floor(kept / 2))}`;
}

// A name in so much room: the parts that most names have are cut first, so that those stay which
// tell it from the others.
export function elided(name, most, { all, numbers }) {
  const parts = name.split("/");
  const text = () => parts.join("/").replace(/…(\/…)+/g, "…");
  const often = (at) => numbers.get(whole[at]) ?? 0;
  const whole = [...parts];
  const order = [...parts.keys()].sort((one, other) => often(other) - often(one) || whole[other].length - whole[one].length);
  const last = parts.length - 1;
  const cut = (at, least) => {
    const over = text().length - most;
    if (over > 0 && parts[at].length > least) parts[at] = least > 1 ? middle(whole[at], Math.max(least, parts[at].length - over)) : "…";
  };
  for (const at of order) if (all > 1 && at < last && often(at) >= all) cut(at, 1);
  for (const at of order) cut(at, 7);
  for (const at of order) if (at < last) cut(at, 1);
  return middle(text(), most);
}

// A name that is shown whole where there is room, else elided by `fitNames`; it is copied whole.
export function nameParts(name, shown) {
  return h("span", { class: "parts mono", title: name }, h("span", {}, shown ?? name));
}

// Elides the names in a place that are longer than their room. parts: what `partsOf` told.
export function fitNames(place, parts) {
  const names = [...place.querySelectorAll(".parts")];
  for (const name of names) name.removeAttribute("data-short");
  const widthOf = (element) => element.getBoundingClientRect().width;
  const sizes = names.map((name) => [widthOf(name), widthOf(name.firstChild)]); // before any is changed
  names.forEach((name, at) => {
    const [room, width] = sizes[at];
    const text = name.textContent;
    if (!room || width <= room + 0.1) return;
    name.setAttribute("data-short", elided(text, Math.max(1, Math.floor((text.length * (room - 0.5)) / width)), parts()));
  });
}

export function baseName(path) {
  return path.split("/").filter(Boolean).slice(-2).join("/") || path;
}

// The ends of two paths, long enough to tell them apart.
export function baseNames(first, second) {
  const [one, other] = [first, second].map((path) => path.split("/").filter(Boolean));
  if (one.join("/") === other.join("/")) return first === second ? [baseName(first), baseName(second)] : [first, second];
  let count = 2;
  while (one.slice(-count).join("/") === other.slice(-count).join("/")) count += 1;
  return [one, other].map((parts, at) => (count >= parts.length ? [first, second][at] : parts.slice(-count).join("/")));
}

export function time(seconds) {
  if (seconds === null || seconds === undefined) return "";
  const date = new Date(seconds * 1000);
  const two = (number) => String(number).padStart(2, "0");
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

// Says something to those who listen to the page instead of looking at it.
export function announce(text) {
  const place = document.getElementById("announcements");
  if (place) place.textContent = escaped(text);
}

export async function copyText(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const field = h("textarea", { "aria-hidden": "true", class: "away" });
    field.value = text;
    document.body.append(field);
    field.select();
    document.execCommand("copy"); // a page on disk may have no clipboard
    field.remove();
  }
  announce(`copied ${text}`);
  if (!button) return;
  const label = button.textContent;
  button.textContent = "copied";
  setTimeout(() => (button.textContent = label), 1200);
}

export function copyButton(label, text) {
  const button = h("button", { class: "small", type: "button" }, label);
  button.addEventListener("click", () => copyText(text, button));
  return button;
}

export function saveFile(name, text) {
  const url = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
  const link = h("a", { href: url, download: name, class: "away" });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

// What a shell takes for one word.
export function quoted(text) {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

// The flag that renames one variable; its new name is the old one, to be edited.
export function renameRule(name) {
  const special = name.includes("=") || /^(re:|\+|@)/.test(name) || name.endsWith("/");
  if (!special) return quoted(`--rename=${name}=${name}`);
  const expression = name.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&").replaceAll("=", "\\x3d");
  return quoted(`--rename=re:^${expression}$=${name.replaceAll("\\", "\\\\")}`);
}

// Finds names: a text in any case, or /an expression/. Null for no filter at all.
export function matcher(text) {
  const wanted = text.trim();
  if (!wanted) return null;
  if (wanted.length > 2 && wanted.startsWith("/") && wanted.endsWith("/")) {
    try {
      const expression = new RegExp(wanted.slice(1, -1), "i");
      return (name) => expression.test(name);
    } catch {
      return () => false;
    }
  }
  const lower = wanted.toLowerCase();
  return (name) => name.toLowerCase().includes(lower);
}

// Does a thing once after a burst of calls, before the next picture.
export function onceAFrame(act) {
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      act();
    });
  };
}

export function resolvedColors(names) {
  const probes = names.map((name) => {
    const probe = h("span", { class: "away" });
    probe.style.color = `var(--${name})`;
    return probe;
  });
  document.body.append(...probes);
  const found = Object.fromEntries(names.map((name, at) => [name, getComputedStyle(probes[at]).color]));
  for (const probe of probes) probe.remove();
  return found;
}
