// Statistics over all attempts.

import { getJson } from "./api.js";
import { el } from "./shared/dom.js";
import { count, duration, size } from "./shared/format.js";
import { Throttle } from "./throttle.js";

const MIN_INTERVAL_MS = 3000;

const valueOr = (value, format) => (value === null ? "–" : format(value));

/** The statistics view; loads only while it is visible. */
export class Stats {
  constructor(root) {
    this.root = root;
    this.visible = false;
    this.throttle = new Throttle(() => this.load());
  }

  onNavigate(location) {
    const before = this.visible;
    this.visible = location.view === "stats";
    if (this.visible && !before) this.load();
  }

  queueChanged() {
    if (this.visible) this.throttle.notify();
  }

  async load() {
    if (!this.visible) return;
    this.throttle.begin();
    this.throttle.pause(MIN_INTERVAL_MS);
    try {
      this.show(await getJson("api/stats"));
    } catch {
      // the message at the top of the page shows the error
    }
  }

  show(stats) {
    const groups = {
      "Run time": [
        ["mean (completed)", valueOr(stats.avg_duration_s, duration)],
        ["median", valueOr(stats.run_s.p50, duration)],
        ["95th percentile", valueOr(stats.run_s.p95, duration)],
      ],
      "Wait time": [
        ["median", valueOr(stats.wait_s.p50, duration)],
        ["95th percentile", valueOr(stats.wait_s.p95, duration)],
      ],
      Attempts: [
        ["total", count(stats.attempts)],
        ["per job", valueOr(stats.attempts_per_job, (value) => value.toFixed(2))],
        ["completed per minute, first start to last end", valueOr(stats.per_minute, (value) => count(Number(value.toPrecision(3))))],
      ],
      Resources: [
        ["CPU time", valueOr(stats.cpu_s, duration)],
        ["peak memory", valueOr(stats.max_rss_bytes, size)],
      ],
    };
    this.root.replaceChildren(
      ...Object.entries(groups).map(([title, facts]) =>
        el("section", { class: "qp-stat" }, el("h3", { text: title }), el("dl", {}, ...facts.flatMap(([name, value]) => [el("dt", { text: name }), el("dd", { text: value })]))),
      ),
    );
  }
}
