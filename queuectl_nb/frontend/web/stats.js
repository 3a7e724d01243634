// Statistics over all attempts.

import { getJson } from "./api.js";
import { RunTimeChart, ThroughputChart } from "./shared/chart.js";
import { el } from "./shared/dom.js";
import { count, duration, size } from "./shared/format.js";
import { Throttle } from "./throttle.js";

const MIN_INTERVAL_MS = 3000;

const valueOr = (value, format) => (value === null ? "–" : format(value));

/** The statistics view; loads only while it is visible. */
export class Stats {
  constructor(parts) {
    this.parts = parts;
    this.charts = { throughput: new ThroughputChart(parts.throughput), run_time: new RunTimeChart(parts.run_time) };
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
      this.show(...(await Promise.all([getJson("api/stats"), getJson("api/charts")])));
    } catch {
      // the message at the top of the page shows the error
    }
  }

  show(stats, charts) {
    const groups = {
      "Run time": [
        ["Median", valueOr(stats.run_s.p50, duration)],
        ["95th percentile", valueOr(stats.run_s.p95, duration)],
        ["Mean of successful attempts", valueOr(stats.avg_duration_s, duration)],
      ],
      "Wait time": [
        ["Median", valueOr(stats.wait_s.p50, duration)],
        ["95th percentile", valueOr(stats.wait_s.p95, duration)],
      ],
      Attempts: [
        ["Total", count(stats.attempts)],
        ["Mean per job", valueOr(stats.attempts_per_job, (value) => value.toFixed(2))],
        ["Completed per minute", valueOr(stats.per_minute, (value) => count(Number(value.toPrecision(3))))],
      ],
      Resources: [
        ["CPU time", valueOr(stats.cpu_s, duration)],
        ["Peak memory", valueOr(stats.max_rss_bytes, size)],
      ],
    };
    this.parts.numbers.replaceChildren(
      ...Object.entries(groups).map(([title, facts]) =>
        el("section", { class: "qp-card qp-stat" }, el("h2", { text: title }), el("dl", {}, ...facts.flatMap(([name, value]) => [el("dt", { text: name }), el("dd", { text: value })]))),
      ),
    );
    for (const [name, chart] of Object.entries(this.charts)) {
      this.parts[name].closest("section").hidden = !charts[name];
      if (charts[name]) chart.update(charts[name], false);
    }
  }
}
