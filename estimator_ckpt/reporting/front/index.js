// The tab of TensorBoard: what is below --logdir, fetched, and again when it has changed.
import { App } from "./app.js";
import { h } from "./dom.js";

const SECONDS = 4; // between two looks for news

async function ask(route, parameters) {
  const address = new URL(`./${route}`, import.meta.url);
  for (const [name, value] of Object.entries(parameters ?? {})) {
    if (value !== null && value !== undefined) address.searchParams.set(name, value);
  }
  const answer = await fetch(address, { credentials: "same-origin" });
  const data = await answer.json();
  if (!answer.ok) throw new Error(data.error);
  return data;
}

class Tab {
  constructor(place) {
    this.app = new App(place, { open: (name) => this.#open(name), readValues: (name) => this.#read(name) });
    this.directory = this.#select("Directory", () => this.#enter());
    this.checkpoint = this.#select("Checkpoint", () => this.#load());
    this.other = this.#select("Compare with", () => this.#load());
    this.values = h("button", { type: "button", "aria-pressed": "false", onclick: () => this.#read(null) }, "Read all values");
    this.news = h("output", { class: "muted" });
    this.app.toolbar.append(this.directory, this.checkpoint, this.other, this.values, this.news);
    this.read = "";
    this.asked = 0;
  }

  #select(label, change) {
    return h("select", { "aria-label": label, onchange: change });
  }

  async start() {
    const { directories } = await ask("directories");
    const kept = this.directory.value;
    this.known = directories.join("\n");
    this.directory.replaceChildren(...directories.map((each) => h("option", { value: each }, each)));
    if (directories.includes(kept)) this.directory.value = kept;
    else await this.#enter();
  }

  async #enter() {
    this.read = "";
    this.checkpoint.replaceChildren(h("option", { value: "" }, "the latest"));
    this.other.replaceChildren(h("option", { value: "" }, "compare with …"));
    await this.#load();
  }

  #open(name) {
    this.checkpoint.value = name;
    this.app.tab = "bytes";
    this.#load();
  }

  #read(name) {
    this.read = name === null ? (this.read === "all" ? "" : "all") : `=${name}`;
    this.#load();
  }

  async #load() {
    this.asked += 1;
    const { asked } = this;
    const [directory, other] = [this.directory.value, JSON.parse(this.other.value || "null")];
    const parameters = {
      directory,
      checkpoint: this.checkpoint.value || null,
      other_directory: other?.[0],
      other: other?.[1],
      values: this.read || null,
    };
    this.news.textContent = "reading …";
    try {
      const [state, data] = [await ask("state", { directory }), await ask("data", parameters)];
      if (asked !== this.asked) return; // something else has been asked for since
      this.state = JSON.stringify(state);
      this.#offer(directory, data.model_dir);
      this.app.show(data);
      this.values.setAttribute("aria-pressed", String(this.read === "all"));
      this.news.textContent = "";
    } catch (error) {
      if (asked === this.asked) this.#fail(error);
    }
  }

  #fail(error) {
    this.news.textContent = "";
    this.app.say(error.message);
  }

  #offer(directory, modelDir) {
    const names = modelDir.checkpoints.filter((row) => row.complete).map((row) => row.name).reverse();
    const options = (select, first, values) => {
      const kept = select.value;
      select.replaceChildren(
        h("option", { value: "" }, first),
        ...names.map((name) => h("option", { value: values(name) }, name)),
      );
      select.value = kept;
      if (select.selectedIndex < 0) select.value = "";
    };
    options(this.checkpoint, "the latest", (name) => name);
    options(this.other, "compare with …", (name) => JSON.stringify([directory, name]));
  }

  async watch() {
    if (document.visibilityState === "visible") {
      try {
        const { directories } = await ask("directories");
        if (directories.join("\n") !== this.known) await this.start();
        const state = JSON.stringify(await ask("state", { directory: this.directory.value }));
        if (state !== this.state) await this.#load();
      } catch (error) {
        this.#fail(error);
      }
    }
    setTimeout(() => this.watch(), SECONDS * 1000);
  }
}

export async function render() {
  const style = h("link", { rel: "stylesheet", href: new URL("./app.css", import.meta.url).href });
  const place = h("div", { id: "app" });
  document.documentElement.lang = "en";
  document.head.append(style);
  document.body.append(place);
  await new Promise((resolve) => {
    style.addEventListener("load", resolve);
    style.addEventListener("error", resolve);
  });
  const tab = new Tab(place);
  try {
    await tab.start();
  } catch (error) {
    tab.app.say(error.message);
  }
  tab.watch();
}
