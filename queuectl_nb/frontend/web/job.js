// One job: its facts, its attempts, and what the chosen one wrote, followed while it writes.

import { ask } from "./api.js";
import { Follower } from "./log_follower.js";
import { Pace } from "./pace.js";
import { addressOf, go, here } from "./location.js";
import { el, setText } from "./shared/dom.js";
import { clock, duration, millis, size, visible } from "./shared/format.js";

const REST_MS = 1000;

/** Return text in which nothing is hidden but newlines and tabs, which keep their meaning. */
function lines(text) {
  return text.split("\n").map((line) => line.split("\t").map(visible).join("\t")).join("\n");
}

/** The panel of the job that is open. */
export class JobPanel {
  constructor(parts) {
    this.parts = parts;
    this.id = "";
    this.follower = new Follower(parts);
    this.pace = new Pace(() => this.look());
    parts.close.addEventListener("click", () => this.close());
    parts.root.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !event.defaultPrevented) this.close();
    });
    setInterval(() => this.tick(), 1000);
  }

  close() {
    go({ job: "", attempt: "" });
    this.parts.onClose();
  }

  moved(place) {
    const other = place.job !== this.id;
    this.id = place.job;
    this.parts.root.hidden = !place.job;
    if (other) {
      this.job = null;
      this.parts.body.hidden = true;
      this.say("");
      setText(this.parts.title, visible(place.job));
      this.parts.state.replaceChildren();
      if (!place.job) this.follower.leave();
      else this.look();
    } else if (this.job) this.chooseAttempt(place);
  }

  changed() {
    if (this.id) this.pace.changed();
  }

  async look() {
    const id = this.id;
    if (!id) return;
    this.pace.begin();
    this.pace.rest(REST_MS);
    try {
      const job = await ask(`api/jobs/${encodeURIComponent(id)}`, { output: "no" });
      if (id !== this.id) return;
      this.say("");
      if (JSON.stringify(job) !== JSON.stringify(this.job)) this.show(job);
    } catch (error) {
      if (id !== this.id) return;
      if (error.status === 404 || error.status === 400) this.gone(error.message);
    }
  }

  gone(text) {
    this.say(this.job ? `This job was removed (${text})` : text);
    this.parts.state.replaceChildren();
    this.parts.body.hidden = !this.job;
    this.follower.pause();
  }

  say(text) {
    setText(this.parts.trouble, text);
    this.parts.trouble.hidden = !text;
  }

  show(job) {
    this.job = job;
    const { parts } = this;
    parts.body.hidden = false;
    parts.state.replaceChildren(el("span", { class: `qc-state qc-is-${job.state}`, text: job.state }));
    setText(parts.command, lines(job.command));
    parts.facts.replaceChildren(...this.facts(job).map(([name, value]) => el("div", {}, el("dt", { text: name }), el("dd", {}, value))));
    const extra = [];
    if (job.error) extra.push(el("h3", { text: "Error" }), el("pre", { class: "qp-error", tabindex: 0, "aria-label": "Error", text: lines(job.error) }));
    if (job.result !== null) {
      extra.push(el("h3", { text: "Result" }), el("pre", { tabindex: 0, "aria-label": "Result", text: lines(JSON.stringify(job.result, null, 1)) }));
    }
    if (job.state === "dead") {
      extra.push(el("p", { class: "qp-hint qp-remedy" }, "A fresh start: ", el("code", { text: `queuectl dlq retry ${visible(job.id)}` })));
    }
    parts.extra.replaceChildren(...extra);
    this.chooseAttempt(here());
  }

  facts(job) {
    const facts = [
      ["attempts", job.max_retries ? `${job.attempts} of ${job.max_retries}` : String(job.attempts)],
      ["queue", visible(job.queue)],
      ["priority", String(job.priority)],
      ["enqueued", clock(job.created_at)],
    ];
    if (["pending", "failed"].includes(job.state) && millis(job.run_at) > Date.now()) facts.push(["due", clock(job.run_at)]);
    if (job.worker) facts.push(["worker", visible(job.worker)]);
    if (job.timeout !== null) facts.push(["timeout", job.timeout ? duration(job.timeout) : "none"]);
    if (job.tags.length) facts.push(["tags", job.tags.map(visible).join(", ")]);
    if (job.after.length) facts.push(["after", el("span", {}, ...job.after.flatMap((id, place) => [place ? ", " : "", this.link(id)]))]);
    facts.push(["directory", visible(job.cwd)]);
    return facts;
  }

  link(id) {
    return el("a", { class: "qp-mono", href: addressOf({ ...here(), job: id, attempt: "" }), text: visible(id) });
  }

  /** Show the attempts, and the log of the one that the address names, or of the newest. */
  chooseAttempt(place) {
    const { history } = this.job;
    const wanted = history.find(({ number }) => String(number) === place.attempt) ?? history[history.length - 1];
    const focused = this.parts.attempts.contains(document.activeElement) ? document.activeElement.dataset.attempt : null;
    if (!history.length) this.parts.attempts.replaceChildren(el("p", { class: "qp-hint", text: "None yet." }));
    else this.parts.attempts.replaceChildren(this.table(history, wanted));
    if (focused) this.parts.attempts.querySelector(`[data-attempt="${focused}"]`)?.focus();
    setText(this.parts.logTitle, wanted ? `Log of attempt ${wanted.number}` : "Log");
    this.follower.follow(this.id, wanted);
  }

  table(history, wanted) {
    const head = ["#", "Outcome", "Exit", "Started", "Ran", "CPU", "Memory"].map((text) => el("th", { scope: "col", text }));
    const rows = history.map((attempt) => this.row(attempt, attempt === wanted));
    return el("table", {}, el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...rows));
  }

  row(attempt, chosen) {
    const button = el("button", {
      type: "button",
      class: "qp-attempt",
      "data-attempt": attempt.number,
      "aria-label": `Show the log of attempt ${attempt.number}`,
      "aria-pressed": String(chosen),
      text: String(attempt.number),
      on: { click: () => go({ attempt: String(attempt.number) }, { replace: true }) },
    });
    const cpu = attempt.user_cpu_s === null ? "" : duration(attempt.user_cpu_s + attempt.system_cpu_s);
    const outcome = attempt.outcome ?? "running";
    const cells = [
      el("span", { class: `qp-outcome qp-outcome-${outcome}`, text: outcome.replace("_", " "), title: attempt.error ? visible(attempt.error) : null }),
      visible(attempt.signal ?? attempt.exit_code ?? ""),
      clock(attempt.started_at),
      el("span", attempt.outcome ? { text: ran(attempt) } : { text: ran(attempt), "data-since": attempt.started_at }),
      cpu,
      attempt.max_rss_bytes === null ? "" : size(attempt.max_rss_bytes),
    ];
    return el("tr", { class: chosen ? "qp-chosen" : null }, el("td", {}, button), ...cells.map((cell) => el("td", {}, cell)));
  }

  tick() {
    for (const node of this.parts.attempts.querySelectorAll("[data-since]")) {
      setText(node, ran({ started_at: node.dataset.since, finished_at: null }));
    }
  }
}

/** Return how long an attempt ran, or has been running. */
function ran({ started_at: start, finished_at: end }) {
  return duration(((millis(end) ?? Date.now()) - millis(start)) / 1000);
}
