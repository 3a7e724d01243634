// Light or dark colours: the reader's choice, else JupyterLab's theme, else the system's.

import { setAttributes, setText } from "./shared/dom.js";

const STORAGE_KEY = "queuectl-theme";
const THEMES = ["", "light", "dark"];
const SYMBOLS = { "": "◐", light: "☀", dark: "☾" };
const NAMES = { "": "automatic", light: "light", dark: "dark" };

function storedTheme() {
  try {
    const value = localStorage.getItem(STORAGE_KEY) ?? "";
    return THEMES.includes(value) ? value : "";
  } catch {
    return "";
  }
}

function storeTheme(value) {
  try {
    localStorage.setItem(STORAGE_KEY, value);
  } catch {
    // storage is disabled: the choice lasts until the page is closed
  }
}

/** Return the theme of the JupyterLab that embeds the page; "" elsewhere. */
function jupyterTheme() {
  try {
    const light = parent !== window ? parent.document.body?.dataset.jpThemeLight : undefined;
    return light === undefined ? "" : light === "true" ? "light" : "dark";
  } catch {
    return ""; // embedded by a page of another origin
  }
}

/** Apply the theme and make the button switch it. */
export function setUpTheme(button, symbol) {
  let chosen = storedTheme();
  const apply = () => {
    setAttributes(document.documentElement, { "data-theme": chosen || jupyterTheme() || null });
    setAttributes(button, { "aria-label": `Theme: ${NAMES[chosen]}`, title: `Theme: ${NAMES[chosen]}` });
    setText(symbol, SYMBOLS[chosen]);
  };
  button.addEventListener("click", () => {
    chosen = THEMES[(THEMES.indexOf(chosen) + 1) % THEMES.length];
    storeTheme(chosen);
    apply();
  });
  try {
    if (parent !== window) new MutationObserver(apply).observe(parent.document.body, { attributeFilter: ["data-jp-theme-light"] });
  } catch {
    // embedded by a page of another origin
  }
  apply();
}
