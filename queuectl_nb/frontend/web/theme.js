// Light or dark: as the system has it, as JupyterLab around us has it, or as the reader says.

import { setAttributes, setText } from "./shared/dom.js";

const KEY = "queuectl-colours";
const ORDER = ["", "light", "dark"];
const MARKS = { "": "◐", light: "☀", dark: "☾" };
const NAMES = { "": "as the system has them", light: "light", dark: "dark" };

function kept() {
  try {
    const value = localStorage.getItem(KEY) ?? "";
    return ORDER.includes(value) ? value : "";
  } catch {
    return "";
  }
}

function keep(value) {
  try {
    localStorage.setItem(KEY, value);
  } catch {
    // a browser that keeps nothing shows it until the page is left
  }
}

/** Return what JupyterLab's theme is where it shows us in a tab of its own; "" elsewhere. */
function around() {
  try {
    const light = parent !== window ? parent.document.body?.dataset.jpThemeLight : undefined;
    return light === undefined ? "" : light === "true" ? "light" : "dark";
  } catch {
    return ""; // a page of another origin
  }
}

/** Give the page its colours, and the button its meaning. */
export function choose(button, mark) {
  let chosen = kept();
  const show = () => {
    setAttributes(document.documentElement, { "data-theme": chosen || around() || null });
    setAttributes(button, { "aria-label": `Colours: ${NAMES[chosen]}`, title: `Colours: ${NAMES[chosen]}` });
    setText(mark, MARKS[chosen]);
  };
  button.addEventListener("click", () => {
    chosen = ORDER[(ORDER.indexOf(chosen) + 1) % ORDER.length];
    keep(chosen);
    show();
  });
  try {
    if (parent !== window) new MutationObserver(show).observe(parent.document.body, { attributeFilter: ["data-jp-theme-light"] });
  } catch {
    // a page of another origin
  }
  show();
}
