// The front end's modules for tests, as window.front; each function does one thing in the element #root.

import { LogLines, showLine } from "./ansi.js";
import { ThroughputChart, timeTicks } from "./chart.js";
import { LogView } from "./log.js";
import { showMetrics } from "./metrics.js";
import { VirtualTable } from "./table.js";
import { VirtualScroll } from "./virtual_scroll.js";
import { duration, size, visible } from "./format.js";

const root = () => document.getElementById("root");

window.front = {
  duration,
  timeTicks,
  size,
  visible,

  /** Return the lines of a log as [stream, [[text, classes, colour, background], …]]. */
  lines(pieces) {
    const log = new LogLines();
    for (const [stream, text] of pieces) log.feed(stream, text);
    return log.lines.map((line) => [
      line.stream,
      line.pieces.map(([text, style]) => (style ? [text, style.classes, style.foreground, style.background] : [text])),
    ]);
  },

  /** Return the text that shows the last values of metrics, by name. */
  metricsText(lasts) {
    const series = Object.entries(lasts).map(([name, last]) => ({ name, last, values: [last, last] }));
    showMetrics(root(), { progress: null, series }, false);
    return root().innerText;
  },

  /** Return the kept length of a line of this many characters, and its end as shown. */
  longLine(length) {
    const log = new LogLines();
    log.feed("stdout", "x".repeat(length));
    showLine(root(), log.lines[0]);
    return [log.lines[0].length, root().textContent.slice(-25)];
  },

  /** Return how many of these lines are kept with a limit of 100, and how many were dropped. */
  manyLines(count) {
    const log = new LogLines(100);
    log.feed("stdout", "a\n".repeat(count));
    return [log.lines.length, log.dropped];
  },

  /** Show a log of this many lines; the calls of `onFollow` are recorded in `front.followChanges`. */
  showLog(count) {
    this.followChanges = [];
    this.log = new LogView(root(), { onFollow: (value) => this.followChanges.push(value) });
    this.log.append("stdout", Array.from({ length: count }, (_, number) => `line ${number}\n`).join(""));
  },

  /** Show a table of this many rows, which are sent on request. */
  showTable(total) {
    const columns = [
      { field: "id", title: "ID", kind: "mono" },
      { field: "state", title: "State", kind: "state" },
    ];
    const onWindow = ({ first, count }) =>
      queueMicrotask(() => {
        const keys = Array.from({ length: count }, (_, number) => first + number);
        const rows = keys.map((key) => [key, { id: `job-${key}`, state: "pending" }]);
        this.table.update({ first, keys, rows });
      });
    this.table = new VirtualTable(root(), { columns, onSort: () => {}, onWindow });
    this.table.update({ total });
    onWindow({ first: 0, count: 40 });
  },

  /** Show a table of one job that runs since now. */
  showRunning() {
    const columns = [{ field: "ran", title: "Run time", kind: "duration" }];
    this.table = new VirtualTable(root(), { columns, onSort: () => {}, onWindow: () => {} });
    const row = { state: "processing", started_at: Date.now() / 1000 };
    this.table.update({ total: 1, first: 0, keys: [0], rows: [[0, row]] });
  },

  /** Return the rows of tables of these sizes that cannot be brought into view, or lie outside of the scrolled scroll. */
  misplaced(totals, height) {
    const wrong = [];
    for (const total of totals) {
      const scroll = new VirtualScroll(28);
      scroll.resize(total, height);
      for (const row of [0, 1, Math.floor(total / 3), total - 2, total - 1]) {
        if (row < 0 || row >= total) continue;
        scroll.reveal(row);
        const [top, at, kept] = [scroll.topOf(row), scroll.toScroll(), scroll.position];
        const inside = at <= Math.max(0, scroll.height - height) + 0.01 && top + 28 <= scroll.height + 0.01;
        const seen = top >= at - 0.01 && top + 28 <= at + height + 0.01;
        scroll.fromScroll(at);
        if (!inside || !seen || Math.abs(scroll.position - kept) > 1) wrong.push([total, row, top, at]);
      }
    }
    return wrong;
  },

  /** Show the throughput of 180 slices of 5 seconds, given as [slice, succeeded, failed, stopped]. */
  showChart(slices) {
    const series = Object.fromEntries(["succeeded", "failed", "stopped"].map((name) => [name, Array(180).fill(0)]));
    for (const [place, ...numbers] of slices) Object.values(series).forEach((values, index) => (values[place] = numbers[index] ?? 0));
    this.chart = this.chart || new ThroughputChart(root());
    this.chart.update({ start: 1764000000, slice_s: 5, ...series });
  },
};
