// Statistics over all attempts: how long jobs wait and run, and what they use.

import { ask } from "./api.js";
import { Pace } from "./pace.js";
import { el } from "./shared/dom.js";
import { count, duration, size } from "./shared/format.js";

const REST_MS = 3000;

function seconds(value) {
  return value === null ? "–" : duration(value);
}

/** The view of the statistics; asks while it is looked at. */
export class Stats {
  constructor(root) {
    this.root = root;
    this.shown = false;
    this.pace = new Pace(() => this.look());
  }

  moved(place) {
    const before = this.shown;
    this.shown = place.view === "stats";
    if (this.shown && !before) this.look();
  }

  changed() {
    if (this.shown) this.pace.changed();
  }

  async look() {
    if (!this.shown) return;
    this.pace.begin();
    this.pace.rest(REST_MS);
    try {
      this.show(await ask("api/stats"));
    } catch {
      // the line at the top tells what is wrong
    }
  }

  show(stats) {
    const groups = {
      Running: [
        ["mean of completed", seconds(stats.avg_duration_s)],
        ["half took at most", seconds(stats.run_s.p50)],
        ["19 of 20 took at most", seconds(stats.run_s.p95)],
      ],
      Waiting: [
        ["half waited at most", seconds(stats.wait_s.p50)],
        ["19 of 20 waited at most", seconds(stats.wait_s.p95)],
      ],
      Attempts: [
        ["in all", count(stats.attempts)],
        ["per job", stats.attempts_per_job === null ? "–" : stats.attempts_per_job.toFixed(2)],
        ["completed a minute", stats.per_minute === null ? "–" : count(Number(stats.per_minute.toPrecision(3)))],
      ],
      Use: [
        ["CPU", seconds(stats.cpu_s)],
        ["peak memory", stats.max_rss_bytes === null ? "–" : size(stats.max_rss_bytes)],
      ],
    };
    this.root.replaceChildren(
      ...Object.entries(groups).map(([title, facts]) =>
        el("section", { class: "qp-stat" }, el("h3", { text: title }), el("dl", {}, ...facts.flatMap(([name, value]) => [el("dt", { text: name }), el("dd", { text: value })]))),
      ),
    );
  }
}
