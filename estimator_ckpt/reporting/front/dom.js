// Elements, numbers and small helpers. What a checkpoint says becomes text, never markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false));
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

export function count(number) {
  return number.toLocaleString("en-US");
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

// A name whose last part stays in sight where the scopes before it don't all fit.
export function nameParts(name) {
  const cut = name.lastIndexOf("/") + 1;
  return h("span", { class: "parts mono", title: name }, cut ? h("span", { class: "scopes" }, name.slice(0, cut)) : null, h("span", { class: "leaf" }, name.slice(cut)));
}

export function baseName(path) {
  return path.split("/").filter(Boolean).slice(-2).join("/") || path;
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
  if (place) place.textContent = text;
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
  const probe = h("span", { class: "away" });
  document.body.append(probe);
  const found = {};
  for (const name of names) {
    probe.style.color = `var(--${name})`;
    found[name] = getComputedStyle(probe).color;
  }
  probe.remove();
  return found;
}
