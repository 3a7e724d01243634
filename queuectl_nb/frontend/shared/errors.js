// Why jobs failed: groups of failed jobs, each with its number of jobs, reason and message.

import { el, setAttributes, setText } from "./dom.js";
import { clock, count, oneLine, visible } from "./format.js";

/**
 * A list of groups that can be folded; it is hidden while there are none. `onSelect(key)` is called for a click on a group, with ""
 * to show all jobs again; with `onRetry(key)`, groups have a button.
 */
export class ErrorGroups {
  constructor(root, { onSelect, onRetry = null }) {
    this.root = root;
    this.callbacks = { onSelect, onRetry };
    this.summary = el("summary");
    this.list = el("ul");
    this.all = el("button", { type: "button", class: "qc-errors-all", text: "Show all jobs", on: { click: () => onSelect("") } });
    root.classList.add("qc-errors");
    root.replaceChildren(el("details", {}, this.summary, this.list), this.all);
    this.update({ errors: [], more: false, selected: "" });
  }

  /** Show `errors`, whether there are `more`, and which key is `selected`. */
  update({ errors, more, selected }) {
    const text = JSON.stringify([errors, more, selected]);
    if (text === this.shown) return;
    this.shown = text;
    const jobs = errors.reduce((sum, each) => sum + each.count, 0);
    const reasons = `${count(errors.length)}${more ? "+" : ""} reason${errors.length === 1 ? "" : "s"}`;
    setText(this.summary, `${reasons} why ${count(jobs)}${more ? "+" : ""} job${jobs === 1 ? "" : "s"} failed`);
    this.root.hidden = !errors.length && !selected;
    this.summary.parentNode.hidden = !errors.length;
    this.all.hidden = !selected;
    const focused = this.list.contains(document.activeElement) ? document.activeElement.dataset.name : null;
    this.list.replaceChildren(...errors.map((each) => this.row(each, each.key === selected)));
    if (focused) [...this.list.querySelectorAll("button")].find((button) => button.dataset.name === focused)?.focus();
  }

  row({ key, count: number, reason, message, last_at: lastAt, example }, selected) {
    const { onSelect, onRetry } = this.callbacks;
    const pick = el(
      "button",
      { type: "button", class: "qc-error-group", "aria-pressed": String(selected), on: { click: () => onSelect(selected ? "" : key) } },
      el("span", { class: "qc-error-count", text: count(number) }),
      " ",
      el("span", { class: "qc-error-reason", text: reason.replace("_", " ") }),
      " ",
      el("span", { class: "qc-error-message", text: oneLine(message) }),
      " ",
      el("span", { class: "qc-error-example", text: visible(example) }),
      " ",
      el("span", { class: "qc-error-time", text: clock(lastAt) }),
    );
    setAttributes(pick, { title: `${visible(message)}\nlast: ${visible(example)}, ${clock(lastAt)}`, "data-name": `pick ${key}` });
    const retry = onRetry && el("button", { type: "button", class: "qc-error-retry", "data-name": `retry ${key}`, text: `Retry ${count(number)}`, on: { click: () => onRetry(key) } });
    return el("li", {}, pick, retry);
  }
}
