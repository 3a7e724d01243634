// Stacked bar charts of attempts: finished attempts over time, and run times.

import { el, setAttributes, setText, svg } from "./dom.js";
import { clock, count, duration } from "./format.js";

const WIDTH = 600; // of the drawing; it is stretched to the size of its frame
const HEIGHT = 84;
const LABEL_HEIGHT_PX = 17; // of the label above the highest bar
const MIN_SLICES = 24; // a new queue shows a shorter time than a quarter of an hour
const MAX_TICKS = 6;
const DAY = 86400;
const TIME_STEPS = [5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, DAY, 2 * DAY, 7 * DAY, 30 * DAY, 90 * DAY];
const YEAR = 365 * DAY;
const OUTCOMES = { succeeded: "succeeded", failed: "failed", stopped: "cancelled or returned" };

/** Create a bar; most bars stay as they are when the chart is drawn again. */
function createBar(names) {
  const parts = names.map((name) => svg("rect", { class: `qc-bar-${name}` }));
  return svg("g", {}, svg("title"), svg("rect", { class: "qc-bar-space", y: 0, height: HEIGHT }), ...parts);
}

/** A chart that fills `root`. */
class BarChart {
  constructor(root) {
    this.title = svg("title");
    this.grid = svg("g");
    this.bars = svg("g");
    const drawing = { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", class: "qc-chart-bars" };
    this.maximum = el("div", { class: "qc-chart-most", "aria-hidden": true });
    this.frame = el("div", { class: "qc-chart-frame" }, svg("svg", drawing, this.title, this.grid, this.bars), this.maximum);
    this.axis = el("div", { class: "qc-chart-axis", "aria-hidden": true });
    this.keys = Object.fromEntries(Object.keys(OUTCOMES).map((name) => [name, el("span", { class: `qc-key qc-key-${name}` })]));
    this.note = el("span", { class: "qc-key-note" });
    root.classList.add("qc-chart");
    root.replaceChildren(
      this.frame,
      this.axis,
      el("div", { class: "qc-chart-legend" }, ...Object.values(this.keys), this.note),
    );
  }

  /**
   * Draw `series`, one array of counts for each outcome. `titles` are the names of the bars, `ticks` the labels of the
   * axis as `[position from 0 to 1, text]`, `top(maximum)` the label of the highest bar.
   */
  draw(series, { titles, ticks, top, note, caption }) {
    const names = Object.keys(OUTCOMES).filter((name) => series[name]);
    const sums = titles.map((_, index) => names.reduce((sum, name) => sum + series[name][index], 0));
    const maximum = Math.max(...sums);
    const headroom = (HEIGHT * LABEL_HEIGHT_PX) / Math.max(HEIGHT, this.frame.clientHeight);
    const unit = (HEIGHT - headroom) / Math.max(1, maximum);
    const width = WIDTH / titles.length;
    const describe = (numbers) => names.filter((name) => numbers[name] || name !== "stopped").map((name) => `${count(numbers[name])} ${OUTCOMES[name]}`);
    if (this.bars.children.length !== titles.length) this.bars.replaceChildren(...titles.map(() => createBar(names)));
    titles.forEach((title, index) => {
      const bar = this.bars.children[index];
      const [tooltip, space, ...parts] = bar.children;
      setAttributes(bar, { transform: `translate(${index * width} 0)` });
      setAttributes(space, { width });
      let above = HEIGHT;
      parts.forEach((part, position) => {
        const height = series[names[position]][index] * unit;
        above -= height;
        setAttributes(part, { x: width * 0.1, y: above, width: width * 0.8, height });
      });
      const numbers = Object.fromEntries(names.map((name) => [name, series[name][index]]));
      setText(tooltip, `${title}: ${describe(numbers).join(", ")}`);
    });
    const line = (x1, y1, x2, y2) => svg("line", { class: "qc-grid", x1, y1, x2, y2 });
    const lines = ticks.map(([at]) => line(at * WIDTH, 0, at * WIDTH, HEIGHT));
    this.grid.replaceChildren(...lines, ...(maximum ? [line(0, headroom, WIDTH, headroom)] : []));
    this.axis.replaceChildren(...ticks.map(([at, text]) => el("span", { text, style: { left: `${at * 100}%` } })));
    const totals = Object.fromEntries(names.map((name) => [name, series[name].reduce((left, right) => left + right, 0)]));
    for (const [name, key] of Object.entries(this.keys)) {
      key.hidden = !(totals[name] || (name in totals && name !== "stopped"));
      setText(key, key.hidden ? "" : `${count(totals[name])} ${OUTCOMES[name]}`);
    }
    setText(this.note, note);
    setText(this.maximum, maximum ? top(count(maximum)) : "no attempt finished");
    setText(this.title, [caption, [...describe(totals), note].filter(Boolean).join(", ")].join(": "));
  }
}

/** Finished attempts over time; `update` takes the `throughput` of an overview (`recent`) or of `api/charts`. */
export class ThroughputChart extends BarChart {
  update({ start, slice_s: sliceS, ...series }, recent = true) {
    const totals = series.succeeded.map((_, index) => series.succeeded[index] + series.failed[index] + series.stopped[index]);
    const firstUsed = totals.findIndex((value) => value > 0);
    const first = Math.max(0, Math.min(firstUsed < 0 ? totals.length : firstUsed, totals.length - MIN_SLICES));
    const from = start + first * sliceS;
    const to = start + totals.length * sliceS;
    const minute = totals.slice(-Math.max(1, Math.round(60 / sliceS))).reduce((left, right) => left + right, 0);
    this.draw(Object.fromEntries(Object.entries(series).map(([name, values]) => [name, values.slice(first)])), {
      titles: totals.slice(first).map((_, index) => clock(from + index * sliceS)),
      ticks: timeTicks(from, to),
      top: (maximum) => `maximum: ${maximum} in ${duration(sliceS).replace(/\.0+(?= )| 00 \w$/, "")}`,
      note: recent ? `${count(minute)} in the last minute` : "",
      caption: `Attempts finished from ${clock(from)} to ${clock(to)}`,
    });
  }
}

/** Run times of attempts; `update` takes the `run_time` of `api/charts`. */
export class RunTimeChart extends BarChart {
  update({ edges, ticks, ...series }) {
    this.draw(series, {
      titles: series.succeeded.map((_, index) => `${duration(edges[index])} to ${duration(edges[index + 1])}`),
      ticks: ticks.map(({ position, label }) => [position, label]),
      top: (maximum) => `maximum: ${maximum}`,
      note: "",
      caption: "Attempts by run time",
    });
  }
}

/** Return ticks at round local times between two times in epoch seconds. */
export function timeTicks(from, to) {
  const step = TIME_STEPS.find((each) => (to - from) / each <= MAX_TICKS) ?? Math.ceil((to - from) / MAX_TICKS / YEAR) * YEAR;
  const offset = new Date(from * 1000).getTimezoneOffset() * 60;
  const ticks = [];
  for (let at = Math.ceil((from - offset) / step) * step + offset; at < to; at += step) {
    const position = (at - from) / (to - from);
    if (position > 0.03 && position < 0.97) ticks.push([position, tickLabel(new Date(at * 1000), step)]);
  }
  return ticks;
}

function tickLabel(date, step) {
  const midnight = date.getHours() === 0 && date.getMinutes() === 0 && date.getSeconds() === 0;
  if (step >= DAY || midnight) return date.toLocaleDateString("en-GB", { day: "numeric", month: "short" });
  return date.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit", ...(step < 60 ? { second: "2-digit" } : {}) });
}
