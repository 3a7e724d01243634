// The dashboard's table of jobs: rows come from the kernel as messages, only those that this page does not have yet.

import { el, setAttributes, setText } from "./dom.js";
import { Pulse } from "./heartbeat.js";
import { VirtualTable } from "./table.js";
import { clock, count } from "./format.js";

const COLUMNS = [
  { field: "id", title: "ID", kind: "mono", width: "minmax(90px, 1.1fr)" },
  { field: "state", title: "State", kind: "state", width: "104px" },
  { field: "attempts", title: "Attempts", kind: "attempts", width: "90px" },
  { field: "command", title: "Command", kind: "mono", width: "minmax(150px, 3fr)" },
  { field: "queue", title: "Queue", kind: "text", width: "minmax(64px, 0.6fr)" },
  { field: "priority", title: "Priority", kind: "number", width: "72px" },
  { field: "ran", title: "Ran", kind: "duration", width: "86px", sort: false },
  { field: "updated_at", title: "Updated", kind: "time", width: "124px" },
];
const WORDS = {
  live: "live",
  waiting: "The kernel does not answer; it may be busy.",
  gone: "The kernel of this dashboard is gone. Workers that it did not start, and all jobs, are safe: run the cell again.",
};

/** One view of the table in a page. */
class TablePane {
  constructor(model, root) {
    this.model = model;
    this.root = root;
    this.count = 0;
    this.banner = el("div", { class: "qc-banner", role: "alert", hidden: true });
    this.status = el("div", { class: "qc-status" });
    this.said = el("div", { class: "qc-said", role: "status" });
    const grid = el("div");
    this.top = el("button", { type: "button", class: "qc-link", hidden: true, text: "Back to the newest" });
    this.top.addEventListener("click", () => this.table.update({ top: true }));
    root.classList.add("qc-table-pane");
    const line = el("div", { class: "qc-table-line" }, this.said, this.status, this.top);
    root.replaceChildren(this.banner, grid, line);
    this.table = new VirtualTable(grid, {
      columns: COLUMNS,
      label: "Jobs; arrows move, Space chooses, Enter opens the log",
      onWindow: () => this.pulse && this.pulse.beat(),
      onSort: (field, reverse) => this.send({ kind: "sort", field, reverse }),
      onSelect: (keys, active) => this.send({ kind: "select", keys, active }),
      onOpen: () => this.frame()?.querySelector(".qc-log")?.focus(),
    });
    this.hear = (message) => this.take(message);
    model.on("msg:custom", this.hear);
    this.anew = true; // until the first rows have come, and after a message was lost
    const facts = () => ({ ...this.table.asked, anew: this.anew });
    this.mending = setInterval(() => this.mend(), 500);
    this.pulse = new Pulse(model, root, (state) => this.live(state), facts);
    this.send({ kind: "select", keys: [], active: null }); // what was chosen before a reload is not seen any more
  }

  send(message) {
    this.pulse.send(message);
  }

  take(message) {
    if (message.view && message.view !== this.pulse.view) return; // one without a name is for whoever is there
    this.pulse.hear();
    if (message.kind === "rows") this.takeRows(message);
    else if (message.kind === "said") this.say(message.text, message.bad);
  }

  takeRows(message) {
    if (message.n !== 1 && message.n !== this.count + 1) {
      if (this.anew) return;
      this.anew = true;
      this.pulse.beat();
      return;
    }
    this.anew = !message.view;
    this.count = message.n;
    const rows = message.rows.map(([key, ...values]) => [
      key,
      Object.fromEntries(message.fields.map((field, place) => [field, values[place]])),
    ]);
    // what is not known yet stays as it is
    const known = Object.fromEntries(Object.entries(message).filter(([, value]) => value !== null));
    this.table.update({ ...known, rows });
    const { total } = this.table.space;
    const parts = message.total === null ? [] : [total === 1 ? "1 job" : `${count(total)} jobs`];
    if (message.searching) parts.push("searching…");
    else if (message.still) parts.push(`in the order of ${clock(message.still)}`);
    setText(this.status, parts.join(" · "));
    this.top.hidden = !message.still;
    setAttributes(this.table.root, { "aria-busy": message.searching ? true : null });
  }

  say(text, bad) {
    setText(this.said, text);
    this.said.classList.toggle("qc-bad", Boolean(bad));
  }

  /** Tell screen readers what ipywidgets do not: which chip is pressed, and that there are lines that change. */
  mend() {
    for (const chip of this.frame()?.querySelectorAll(".qc-chip") ?? []) {
      setAttributes(chip, { "aria-pressed": chip.classList.contains("mod-active") });
    }
    for (const line of this.frame()?.querySelectorAll(".qc-form-said .widget-html-content") ?? []) {
      setAttributes(line, { role: "status" });
    }
    const chips = this.frame()?.querySelector(".qc-chips");
    if (chips) setAttributes(chips, { role: "group", "aria-label": "Jobs by state; press one to see only those" });
  }

  /** The dashboard around this view. */
  frame() {
    return this.root.closest(".qc-dash");
  }

  /** Show whether the kernel is there; without one nothing can be done, and nothing that could be looks so. */
  live(state) {
    const frame = this.frame();
    this.banner.hidden = state === "live";
    this.banner.classList.toggle("qc-gone", state === "gone");
    setText(this.banner, state === "live" ? "" : WORDS[state]);
    if (!frame) {
      requestAnimationFrame(() => this.frame() && this.pulse && this.live(this.pulse.state));
      return;
    }
    frame.dataset.life = state;
    for (const each of frame.querySelectorAll(".widget-button, .widget-toggle-button, input, select, textarea")) {
      if (state === "gone" && !each.disabled) {
        each.disabled = true;
        each.dataset.gone = "";
      } else if (state !== "gone" && "gone" in each.dataset) {
        each.disabled = false;
        delete each.dataset.gone;
      }
    }
  }

  close() {
    this.model.off("msg:custom", this.hear);
    clearInterval(this.mending);
    this.pulse.close();
    this.table.close();
  }
}

export default {
  render({ model, el: root }) {
    const pane = new TablePane(model, root);
    return () => pane.close();
  },
};
