// The table of the dashboard: the kernel sends rows as messages, only those that this page does not have yet.

import { el, setAttributes, setText } from "./dom.js";
import { Heartbeat } from "./heartbeat.js";
import { VirtualTable } from "./table.js";
import { clock, count } from "./format.js";

const COLUMNS = [
  { field: "id", title: "ID", kind: "mono" },
  { field: "state", title: "State", kind: "state" },
  { field: "attempts", title: "Attempts", kind: "attempts", drop: 3 },
  { field: "command", title: "Command", kind: "command", width: "minmax(0, 1fr)" },
  { field: "queue", title: "Queue", kind: "text", drop: 4 },
  { field: "priority", title: "Priority", kind: "number", drop: 1 },
  { field: "live", title: "Progress", kind: "live", sort: false, drop: 5 },
  { field: "ran", title: "Run time", kind: "duration", sort: false, drop: 6 },
  { field: "updated_at", title: "Updated", kind: "time", drop: 2 },
];
const KERNEL_MESSAGES = {
  live: "",
  waiting: "The kernel does not answer; it may be busy.",
  gone: "The kernel of this dashboard is gone. All jobs, and workers started elsewhere, are safe. Run the cell again.",
};

/** One view of the table. */
class TablePane {
  constructor(model, root) {
    this.model = model;
    this.root = root;
    this.sequence = 0;
    this.banner = el("div", { class: "qc-banner", role: "alert", hidden: true });
    this.status = el("div", { class: "qc-status" });
    this.message = el("div", { class: "qc-message", role: "status" });
    const grid = el("div");
    this.top = el("button", { type: "button", class: "qc-link", hidden: true, text: "Back to the latest" });
    this.top.addEventListener("click", () => this.table.update({ top: true }));
    root.classList.add("qc-table-pane");
    const line = el("div", { class: "qc-table-line" }, this.message, this.status, this.top);
    root.replaceChildren(this.banner, grid, line);
    this.table = new VirtualTable(grid, {
      columns: COLUMNS,
      label: "Jobs; move with the arrow keys, select with Space, open the log with Enter",
      onWindow: () => this.heartbeat && this.heartbeat.report(),
      onSort: (field, reverse) => this.heartbeat.send({ kind: "sort", field, reverse }),
      onSelect: (keys, active) => this.select(keys, active),
      onOpen: () => this.dashboard()?.querySelector(".qc-log")?.focus(),
    });
    this.onMessage = (message) => this.receive(message);
    model.on("msg:custom", this.onMessage);
    this.reload = true; // until the first rows have arrived, and after a message was lost
    const fields = () => ({ ...this.table.requested, reload: this.reload });
    this.labelling = setInterval(() => this.addLabels(), 500);
    this.heartbeat = new Heartbeat(model, root, (state) => this.showKernelState(state), fields);
    this.selection = { keys: [], active: null };
    this.join();
  }

  select(keys, active) {
    this.selection = { keys, active };
    this.heartbeat.send({ kind: "select", ...this.selection });
  }

  /** Name the view for the log, and let the buttons, which all pages share, follow this page while it is used. */
  join() {
    const dashboard = this.dashboard();
    if (!dashboard) {
      this.joining = requestAnimationFrame(() => this.join());
      return;
    }
    dashboard.dataset.view = this.heartbeat.view;
    const use = () => this.heartbeat.send({ kind: "select", ...this.selection });
    for (const event of ["pointerenter", "focusin"]) {
      this.heartbeat.listen(dashboard, event, ({ relatedTarget }) => dashboard.contains(relatedTarget) || use());
    }
    for (const event of ["pointerdown", "keydown"]) {
      this.heartbeat.listen(dashboard, event, ({ target }) => target.closest(".qc-act") && use());
    }
  }

  receive(message) {
    if (message.view && message.view !== this.heartbeat.view) return; // messages without a view are for all
    this.heartbeat.received(message);
    if (message.kind === "rows") this.receiveRows(message);
    else if (message.kind === "live") this.table.showLive(message.jobs);
    else if (message.kind === "message") this.showMessage(message.text, message.error);
  }

  receiveRows(message) {
    if (message.sequence !== 1 && message.sequence !== this.sequence + 1) {
      if (this.reload) return;
      this.reload = true;
      this.heartbeat.report();
      return;
    }
    this.reload = !message.view;
    this.sequence = message.sequence;
    const rows = message.rows.map(([key, ...values]) => [
      key,
      Object.fromEntries(message.fields.map((field, index) => [field, values[index]])),
    ]);
    // null means not known yet: keep what is shown
    const known = Object.fromEntries(Object.entries(message).filter(([, value]) => value !== null));
    this.table.update({ ...known, rows });
    const { total } = this.table.scroll;
    const parts = message.total === null ? [] : [total === 1 ? "1 job" : `${count(total)} jobs`];
    if (message.searching) parts.push("searching…");
    else if (message.frozen_at) parts.push(`order as of ${clock(message.frozen_at)}`);
    setText(this.status, parts.join(" · "));
    this.top.hidden = !message.frozen_at;
    setAttributes(this.table.root, { "aria-busy": message.searching ? true : null });
  }

  showMessage(text, error) {
    setText(this.message, text);
    this.message.classList.toggle("qc-bad", Boolean(error));
  }

  /** Add what ipywidgets do not tell screen readers: pressed state buttons, and texts that change. */
  addLabels() {
    for (const button of this.dashboard()?.querySelectorAll(".qc-chip") ?? []) {
      setAttributes(button, { "aria-pressed": button.classList.contains("mod-active") });
    }
    for (const line of this.dashboard()?.querySelectorAll(".qc-form-message .widget-html-content") ?? []) {
      setAttributes(line, { role: "status" });
    }
    const buttons = this.dashboard()?.querySelector(".qc-chips");
    if (buttons) setAttributes(buttons, { role: "group", "aria-label": "Filter by state" });
  }

  /** The element of the dashboard around this view. */
  dashboard() {
    return this.root.closest(".qc-dash");
  }

  /** Show whether the kernel is alive; without one, disable all controls. */
  showKernelState(state) {
    const dashboard = this.dashboard();
    this.banner.hidden = state === "live";
    this.banner.classList.toggle("qc-gone", state === "gone");
    setText(this.banner, KERNEL_MESSAGES[state]);
    this.table.setStale(state === "gone");
    if (!dashboard) {
      requestAnimationFrame(() => this.dashboard() && this.heartbeat && this.showKernelState(this.heartbeat.state));
      return;
    }
    dashboard.dataset.kernel = state;
    for (const control of dashboard.querySelectorAll(".widget-button, .widget-toggle-button, .qc-errors button, input, select, textarea")) {
      if (state === "gone" && !control.disabled) {
        control.disabled = true;
        control.dataset.gone = "";
      } else if (state !== "gone" && "gone" in control.dataset) {
        control.disabled = false;
        delete control.dataset.gone;
      }
    }
  }

  close() {
    this.model.off("msg:custom", this.onMessage);
    clearInterval(this.labelling);
    cancelAnimationFrame(this.joining);
    this.heartbeat.close();
    this.table.close();
  }
}

export default {
  render({ model, el: root }) {
    const pane = new TablePane(model, root);
    return () => pane.close();
  },
};
