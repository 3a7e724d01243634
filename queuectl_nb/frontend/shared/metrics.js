// What jobs report while they run: progress bars and small lines.

import { el, setAttributes, setText, svg } from "./dom.js";
import { visible } from "./format.js";

const LINE_VIEW_WIDTH = 120; // of the view box
const LINE_VIEW_HEIGHT = 24;
const BAR_CHARS = 17; // the width of a bar with its percentage in a cell of the table
const LINE_CHARS = 9; // of a line

/** Return a number with up to four significant digits; "-" for none. */
function shortNumber(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "-";
  return Number.isInteger(value) && Math.abs(value) < 1e6 ? String(value) : String(Number(value.toPrecision(4)));
}

/** Return a progress bar for a fraction from 0 to 1. */
function progressBar(fraction) {
  const percent = Math.round(fraction * 100);
  const fill = el("span", { class: "qc-progress-fill", style: { width: `${percent}%` } });
  return el(
    "span",
    { class: "qc-progress", role: "progressbar", "aria-label": "progress", "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": percent },
    fill,
  );
}

/** Return a small line through values, scaled to its height; null for fewer than two. */
function smallLine(values) {
  if (values.length < 2) return null;
  const low = Math.min(...values);
  const span = Math.max(...values) - low;
  const points = values.map((value, index) => {
    const share = span > 0 && Number.isFinite(span) ? (value - low) / span : 0.5;
    return `${(1 + ((LINE_VIEW_WIDTH - 2) * index) / (values.length - 1)).toFixed(1)},${(2 + (LINE_VIEW_HEIGHT - 4) * (1 - share)).toFixed(1)}`;
  });
  return svg(
    "svg",
    { class: "qc-small-line", viewBox: `0 0 ${LINE_VIEW_WIDTH} ${LINE_VIEW_HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("polyline", { points: points.join(" ") }),
  );
}

/** Return metrics as text. */
function metricsText(metrics) {
  return Object.entries(metrics ?? {}).map(([name, value]) => `${visible(name)} ${shortNumber(value)}`).join(", ");
}

/** Show what a job reports in a cell of the table: `{progress, metrics, values}`; nothing for null. Returns its width in characters. */
export function showLiveCell(cell, live) {
  const text = JSON.stringify(live ?? null);
  if (cell.dataset.live === text) return 0;
  cell.dataset.live = text;
  const bar = live && live.progress !== null;
  const line = live ? smallLine(live.values) : null;
  const [name, value] = Object.entries(live?.metrics ?? {})[0] ?? [];
  const last = bar || name === undefined ? "" : shortNumber(value);
  cell.replaceChildren(
    ...[...(bar ? [progressBar(live.progress), el("span", { text: `${Math.floor(live.progress * 100)} %` })] : []), line].filter(Boolean),
    ...(last ? [el("span", { text: last })] : []),
  );
  setAttributes(cell, { title: live ? metricsText(live.metrics) || null : null });
  return (bar ? BAR_CHARS : 0) + (line ? LINE_CHARS : 0) + (last ? last.length + 1 : 0);
}

/** Show progress and all metrics of one job in `root`, which is hidden if there are none. */
export function showMetrics(root, { progress, series }, running) {
  root.hidden = !series.length && !(running && progress !== null);
  const text = JSON.stringify([progress, series, running]);
  if (root.dataset.shown === text) return;
  root.dataset.shown = text;
  const bar = running && progress !== null;
  const lasts = Object.fromEntries(series.map(({ name, last }) => [name, last]));
  const isNotebook = "cell" in lasts && "cells" in lasts;
  const lines = isNotebook ? series.filter(({ name }) => name !== "cell" && name !== "cells") : series;
  const rows = lines.map(({ name, last, values }) => {
    const value = el("span", { class: "qc-metric-value" });
    setText(value, shortNumber(last));
    return el("div", { class: "qc-metric" }, el("span", { class: "qc-metric-name", text: visible(name), title: visible(name) }), value, smallLine(values));
  });
  root.replaceChildren(
    ...(bar ? [el("div", { class: "qc-metric-progress" }, progressBar(progress), el("span", { text: `${Math.floor(progress * 100)} %` }))] : []),
    ...(isNotebook ? [el("div", { class: "qc-metric", text: `cell ${lasts.cell} of ${lasts.cells}` })] : []),
    ...rows,
  );
}
