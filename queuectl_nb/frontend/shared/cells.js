// Cells of the job table; a row is an object with the fields of the job's JSON.

import { el, setAttributes, setText } from "./dom.js";
import { clock, count, duration, millis, oneLine, visible } from "./format.js";
import { showLiveCell } from "./metrics.js";

const MIN_TITLE_CHARS = 12; // shorter texts always fit, and need no tooltip

/** Text and tooltip of each kind of column. */
const FORMATTERS = {
  text: (value) => [visible(value), null],
  mono: (value) => [visible(value), null],
  command: (value) => [oneLine(value), value.split("\n").map(visible).join("\n")],
  number: (value) => [count(value), null],
  time: (value) => [clock(value), new Date(millis(value) ?? 0).toISOString()],
  state: (value) => [value, null],
  attempts: (value, row) => [row.max_retries ? `${value} of ${row.max_retries}` : String(value), null],
  list: (value) => [value.map(visible).join(", "), null],
  duration: (_value, row) => [runTime(row), null],
};

/** Return the run time of a job's latest attempt. */
function runTime(row) {
  const start = millis(row.started_at);
  if (start === null) return "";
  const running = row.state === "processing";
  const end = running ? Date.now() : millis(row.finished_at);
  return end === null ? "" : duration((end - start) / 1000);
}

/** Return what a finished job has reported, without its progress. */
function finished(row) {
  return row?.values?.length ? { progress: null, metrics: row.metrics, values: row.values } : null;
}

/** Show a row's field in a cell, and return its length in characters; clear it if the row is not loaded yet. */
export function showCell(cell, column, row) {
  if (column.kind === "live") return showLiveCell(cell, row?.state === "processing" ? column.jobs?.[row.id] : finished(row));
  const value = row === undefined ? null : row[column.field];
  if (row === undefined || ((value === null || value === undefined) && column.kind !== "duration")) {
    if (cell.firstChild) cell.replaceChildren();
    setAttributes(cell, { title: null });
    return 0;
  }
  const [text, title] = FORMATTERS[column.kind](value, row);
  if (column.kind === "state") {
    if (cell.textContent !== text) cell.replaceChildren(el("span", { class: `qc-state qc-is-${text}`, text }));
    return text.length + 2; // with the padding of the label
  }
  setText(cell, text);
  setAttributes(cell, { title: title ?? (text.length > MIN_TITLE_CHARS ? text : null) });
  return text.length;
}
