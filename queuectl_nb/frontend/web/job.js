// The panel of one job: its fields, its attempts and the log of the selected attempt.

import { addressWithToken, getJson } from "./api.js";
import { LogFollower } from "./log_follower.js";
import { currentLocation, hrefOf, navigate } from "./location.js";
import { el, setText } from "./shared/dom.js";
import { clock, duration, millis, size, visible } from "./shared/format.js";
import { showMetrics } from "./shared/metrics.js";
import { Throttle } from "./throttle.js";

const MIN_INTERVAL_MS = 1000;
const MAX_LISTED = 20; // artifacts

/** Escape control characters except newlines and tabs. */
function visibleLines(text) {
  return text.split("\n").map((line) => line.split("\t").map(visible).join("\t")).join("\n");
}

/** Shows the job that is open. */
export class JobPanel {
  constructor(parts) {
    this.parts = parts;
    this.id = "";
    this.follower = new LogFollower(parts);
    this.throttle = new Throttle(() => this.load());
    parts.close.addEventListener("click", () => this.close());
    parts.root.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !event.defaultPrevented) this.close();
    });
    setInterval(() => this.updateRunTimes(), 1000);
  }

  close() {
    navigate({ job: "", attempt: "" });
    this.parts.onClose();
  }

  onNavigate(location) {
    const changed = location.job !== this.id;
    this.id = location.job;
    this.parts.root.hidden = !location.job;
    if (changed) {
      this.job = null;
      this.parts.body.hidden = true;
      this.parts.metrics.hidden = true;
      this.parts.artifacts.hidden = true;
      this.showTrouble("");
      setText(this.parts.title, visible(location.job));
      this.parts.state.replaceChildren();
      if (!location.job) this.follower.stop();
      else this.load();
    } else if (this.job) this.showAttempts(location);
  }

  queueChanged() {
    if (this.id) this.throttle.notify();
  }

  async load() {
    const id = this.id;
    if (!id) return;
    this.throttle.begin();
    this.throttle.pause(MIN_INTERVAL_MS);
    try {
      const job = await getJson(`api/jobs/${encodeURIComponent(id)}`, { output: "no" });
      if (id !== this.id) return;
      this.showTrouble("");
      if (JSON.stringify(job) !== JSON.stringify(this.job)) this.show(job);
    } catch (error) {
      if (id !== this.id) return;
      if (error.status === 404 || error.status === 400) this.showMissing(error.message);
    }
  }

  showMissing(text) {
    this.showTrouble(this.job ? `This job was removed (${text})` : text);
    this.parts.state.replaceChildren();
    this.parts.body.hidden = !this.job;
    this.follower.pause();
  }

  showTrouble(text) {
    setText(this.parts.trouble, text);
    this.parts.trouble.hidden = !text;
  }

  show(job) {
    this.job = job;
    const { parts } = this;
    parts.body.hidden = false;
    parts.state.replaceChildren(el("span", { class: `qc-state qc-is-${job.state}`, text: job.state }));
    setText(parts.command, visibleLines(job.display));
    parts.command.setAttribute("aria-label", job.kind === "function" ? "Call" : "Command");
    parts.facts.replaceChildren(...this.facts(job).map(([name, value]) => el("div", {}, el("dt", { text: name }), el("dd", {}, value))));
    const extra = [];
    if (job.error) extra.push(el("h3", { text: "Error" }), el("pre", { class: "qp-error", tabindex: 0, "aria-label": "Error", text: visibleLines(job.error) }));
    const result = job.result_repr ?? (job.result === null ? null : JSON.stringify(job.result, null, 1));
    if (result !== null) extra.push(el("h3", { text: "Result" }), el("pre", { tabindex: 0, "aria-label": "Result", text: visibleLines(result) }));
    if (job.state === "dead") {
      extra.push(el("p", { class: "qp-hint qp-remedy" }, "Retry with ", el("code", { text: `queuectl dlq retry ${visible(job.id)}` })));
    }
    const outputs = el("div", {});
    parts.extra.replaceChildren(...extra, outputs);
    if (job.kind === "cell" && job.state !== "processing") this.showOutputs(job.id, outputs).catch(() => {}); // removed meanwhile
    this.showAttempts(currentLocation());
    this.loadMetrics();
    this.loadArtifacts();
  }

  /** Show what a running job reports; called every second. */
  updateLive() {
    if (this.id && this.job?.state === "processing") this.loadMetrics();
  }

  async loadMetrics() {
    await this.loadPart("metrics", (found) => showMetrics(this.parts.metrics, found, this.job?.state === "processing"));
  }

  async loadArtifacts() {
    await this.loadPart("artifacts", (found) => this.showArtifacts(found));
  }

  /** Request a part of the open job and show it, unless another job was opened meanwhile. */
  async loadPart(name, show) {
    const id = this.id;
    try {
      const found = await getJson(`api/jobs/${encodeURIComponent(id)}/${name}`, {}, { cached: false });
      if (id === this.id) show(found);
    } catch {
      if (id === this.id) this.parts[name].hidden = true;
    }
  }

  /** List the artifacts as downloads. */
  showArtifacts({ artifacts, total, attempt, note }) {
    const root = this.parts.artifacts;
    root.hidden = !total && !note;
    const items = artifacts.slice(0, MAX_LISTED).map(({ name, size: bytes }) => {
      const path = name.split("/").map(encodeURIComponent).join("/");
      const href = addressWithToken(`api/jobs/${encodeURIComponent(this.id)}/artifacts/${path}`);
      const link = el("a", { class: "qp-mono", href, download: name.split("/").pop(), text: visible(name) });
      return el("li", {}, link, " ", el("span", { class: "qp-hint", text: size(bytes) }));
    });
    if (total > items.length) items.push(el("li", { class: "qp-hint", text: `and ${total - items.length} more` }));
    root.replaceChildren(
      el("h3", { text: attempt === null ? "Artifacts" : `Artifacts of attempt ${attempt}` }),
      el("ul", { class: "qp-artifacts" }, ...items),
      note ? el("p", { class: "qp-hint", text: visible(note) }) : "",
    );
  }

  /** Show what a cell has displayed, as text and images. */
  async showOutputs(id, root) {
    const { outputs } = await getJson(`api/jobs/${encodeURIComponent(id)}/outputs`, {}, { cached: false });
    if (!outputs.length) return;
    const nodes = outputs.map(({ text, png }) =>
      png ? el("img", { class: "qp-output", src: `data:image/png;base64,${png}`, alt: visible(text ?? "") }) : el("pre", { tabindex: 0, "aria-label": "Output", text: visibleLines(text ?? "") }),
    );
    root.replaceChildren(el("h3", { text: "Outputs" }), ...nodes);
  }

  facts(job) {
    const facts = [
      ...(job.kind === "command" ? [] : [["kind", job.kind]]),
      ["attempts", job.max_retries ? `${job.attempts} of ${job.max_retries}` : String(job.attempts)],
      ["queue", visible(job.queue)],
      ["priority", String(job.priority)],
      ["enqueued", clock(job.created_at)],
    ];
    if (["pending", "failed"].includes(job.state) && millis(job.run_at) > Date.now()) facts.push(["run at", clock(job.run_at)]);
    if (job.worker) facts.push(["worker", visible(job.worker)]);
    if (job.timeout !== null) facts.push(["timeout", job.timeout ? duration(job.timeout) : "none"]);
    if (job.tags.length) facts.push(["tags", job.tags.map(visible).join(", ")]);
    if (job.after.length) facts.push(["after", el("span", {}, ...job.after.flatMap((id, index) => this.dependency(job, id, index)))]);
    facts.push(["directory", visible(job.cwd)]);
    return facts;
  }

  dependency({ after_any: anyEnd = [] }, id, index) {
    return [index ? ", " : "", anyEnd.includes(id) ? "any end of " : "", this.link(id)];
  }

  link(id) {
    return el("a", { class: "qp-mono", href: hrefOf({ ...currentLocation(), job: id, attempt: "" }), text: visible(id) });
  }

  /** Show the attempts, and the log of the selected one (by default the latest). */
  showAttempts(location) {
    const { history } = this.job;
    const selected = history.find(({ number }) => String(number) === location.attempt) ?? history[history.length - 1];
    const focused = this.parts.attempts.contains(document.activeElement) ? document.activeElement.dataset.attempt : null;
    if (!history.length) this.parts.attempts.replaceChildren(el("p", { class: "qp-hint", text: "No attempts yet." }));
    else this.parts.attempts.replaceChildren(this.attemptTable(history, selected));
    if (focused) this.parts.attempts.querySelector(`[data-attempt="${focused}"]`)?.focus();
    setText(this.parts.logTitle, selected ? `Log of attempt ${selected.number}` : "Log");
    this.follower.follow(this.id, selected);
  }

  attemptTable(history, selected) {
    const head = ["#", "Outcome", "Exit", "Started", "Run time", "CPU", "Memory"].map((text) => el("th", { scope: "col", text }));
    const rows = history.map((attempt) => this.attemptRow(attempt, attempt === selected));
    return el("table", {}, el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...rows));
  }

  attemptRow(attempt, selected) {
    const button = el("button", {
      type: "button",
      class: "qp-attempt",
      "data-attempt": attempt.number,
      "aria-label": `Show the log of attempt ${attempt.number}`,
      "aria-pressed": String(selected),
      text: String(attempt.number),
      on: { click: () => navigate({ attempt: String(attempt.number) }, { replace: true }) },
    });
    const cpu = attempt.user_cpu_s === null ? "" : duration(attempt.user_cpu_s + attempt.system_cpu_s);
    const outcome = attempt.outcome ?? "running";
    const cells = [
      el("span", { class: `qp-outcome qc-is-${outcome}`, text: outcome.replace("_", " "), title: attempt.error ? visible(attempt.error) : null }),
      visible(attempt.signal ?? attempt.exit_code ?? ""),
      clock(attempt.started_at),
      el("span", attempt.outcome ? { text: runTime(attempt) } : { text: runTime(attempt), "data-since": attempt.started_at }),
      cpu,
      attempt.max_rss_bytes === null ? "" : size(attempt.max_rss_bytes),
    ];
    return el("tr", { class: selected ? "qp-chosen" : null }, el("td", {}, button), ...cells.map((cell) => el("td", {}, cell)));
  }

  updateRunTimes() {
    for (const node of this.parts.attempts.querySelectorAll("[data-since]")) {
      setText(node, runTime({ started_at: node.dataset.since, finished_at: null }));
    }
  }
}

/** Return the run time of an attempt, up to now if it is still running. */
function runTime({ started_at: start, finished_at: end }) {
  return duration(((millis(end) ?? Date.now()) - millis(start)) / 1000);
}
