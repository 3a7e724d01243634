// The log of the dashboard: the output of the selected job, followed while it is written.

import { el, setText } from "./dom.js";
import { LogView } from "./log.js";
import { oneLine, size, visible } from "./format.js";
import { showMetrics } from "./metrics.js";

const MAX_ATTEMPTS = 200;
const OPEN_INTERVAL_MS = 700;
const FIRST_OPEN_MS = 50; // when the table is there

/** One view of the log. */
class LogPane {
  constructor(model, root) {
    this.model = model;
    this.root = root;
    this.title = el("span", { class: "qc-log-title", text: "Log" });
    this.state = el("span", { class: "qc-state", hidden: true });
    this.attempt = this.select("Attempt", [["", "latest attempt"]], (value) =>
      model.send({ kind: "attempt", view: this.view, number: value ? Number(value) : null }),
    );
    this.stream = this.select(
      "Stream",
      [
        ["", "stdout and stderr"],
        ["stdout", "stdout"],
        ["stderr", "stderr"],
      ],
      (value) => this.log.show(value || null),
    );
    this.follow = el("input", { type: "checkbox", checked: true });
    this.follow.addEventListener("change", () => {
      this.log.follow = this.follow.checked;
    });
    const box = el("div");
    this.header = el(
      "div",
      { class: "qc-log-head" },
      this.title,
      this.state,
      el("span", { class: "qc-space" }),
      this.attempt,
      this.stream,
      el("label", { class: "qc-check" }, this.follow, "Follow"),
    );
    root.classList.add("qc-log-pane");
    this.call = el("pre", { class: "qc-call", "aria-label": "Call" });
    this.value = el("pre", { class: "qc-value" });
    this.job = el("div", { class: "qc-log-job", hidden: true }, this.call, this.value);
    this.metrics = el("div", { class: "qc-metrics", hidden: true });
    root.replaceChildren(this.header, this.job, this.metrics, box);
    this.log = new LogView(box, {
      label: "Log of the selected job",
      onFollow: (value) => {
        this.follow.checked = value;
      },
    });
    this.log.setNote("Select a job to see its output.");
    this.onMessage = (message) => this.receive(message);
    model.on("msg:custom", this.onMessage);
    // repeated until there is an answer: the first message may be delayed by a running cell
    const open = () => this.view && model.send({ kind: "open", view: this.view });
    this.opening = setInterval(open, OPEN_INTERVAL_MS);
    setTimeout(open, FIRST_OPEN_MS);
  }

  /** The name of the table's view in the same dashboard: each page has its own selection and log. */
  get view() {
    return this.root.closest(".qc-dash")?.dataset.view;
  }

  select(label, options, onChange) {
    const node = el("select", { class: "qc-select", "aria-label": label, on: { change: () => onChange(node.value) } });
    node.append(...options.map(([value, text]) => el("option", { value, text })));
    return node;
  }

  receive(message) {
    if (message.kind !== "log" || message.view !== this.view) return;
    clearInterval(this.opening);
    if (message.reset) {
      this.log.reset();
      setText(this.title, message.job ? `Log of ${visible(message.job)}` : "Log");
      this.showAttempts(message);
    }
    if (message.attempts !== this.attempts) this.showAttempts(message);
    if (message.skipped) this.log.append("stdout", `… ${size(message.skipped)} not shown …\n`);
    for (const [stream, text] of message.pieces) this.log.append(stream, text);
    this.log.setNote(message.note);
    this.state.hidden = !message.state;
    setText(this.state, message.state || "");
    this.showCall(message);
    showMetrics(this.metrics, message.metrics ?? { progress: null, series: [] }, message.state === "processing");
    this.state.className = `qc-state qc-is-${message.state}`;
  }

  /** Show what is called, and the value or the error; commands are in the table, and their errors in the log. */
  showCall({ call, error, result }) {
    this.job.hidden = !call;
    if (!call) return;
    const value = error ?? result ?? "";
    for (const [node, text] of [[this.call, call], [this.value, value]]) {
      setText(node, oneLine(text));
      node.title = visible(text);
    }
    this.value.hidden = !value;
    this.value.setAttribute("aria-label", error ? "Error" : "Result");
    this.value.classList.toggle("qc-bad", Boolean(error));
  }

  showAttempts({ attempts, selected }) {
    this.attempts = attempts;
    const numbers = [...Array(Math.min(attempts, MAX_ATTEMPTS)).keys()].map((index) => attempts - index);
    this.attempt.replaceChildren(
      el("option", { value: "", text: attempts ? `latest of ${attempts}` : "latest attempt" }),
      ...numbers.map((number) => el("option", { value: String(number), text: `attempt ${number}` })),
    );
    this.attempt.value = selected ? String(selected) : "";
  }

  close() {
    this.model.off("msg:custom", this.onMessage);
    clearInterval(this.opening);
    this.log.close();
  }
}

export default {
  render({ model, el: root }) {
    const pane = new LogPane(model, root);
    return () => pane.close();
  },
};
