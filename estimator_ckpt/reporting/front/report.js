// The page of one file: its data lie beside this script.
import { App } from "./app.js";

new App(document.getElementById("app")).show(JSON.parse(document.getElementById("data").textContent));
