// The list of jobs: filtered by states, queue, tag, reason of failure and text, one page at a time, kept up to date.

import { getJson } from "./api.js";
import { currentLocation, navigate } from "./location.js";
import { setText } from "./shared/dom.js";
import { ErrorGroups } from "./shared/errors.js";
import { VirtualTable } from "./shared/table.js";
import { count } from "./shared/format.js";
import { Throttle } from "./throttle.js";

const TYPING_DELAY_MS = 250;
const SEARCHING_NOTE_DELAY_MS = 400;
const OPEN_DELAY_MS = 80;
const MIN_INTERVAL_MS = 1000; // between two requests while the list keeps changing
const INTERVAL_FACTOR = 5; // at least this many times the duration of a request: searching a million jobs is expensive
const MAX_GROUPS = 50; // reasons of failures
const NARROW_PX = 560; // in narrower lists a selected job gets the focus

const COLUMNS = [
  { field: "state", title: "State", kind: "state" },
  { field: "id", title: "ID", kind: "mono" },
  { field: "display", title: "Command", kind: "command", width: "minmax(0, 1fr)" },
  { field: "error", title: "Error", kind: "text", width: "minmax(0, 1fr)" },
  { field: "queue", title: "Queue", kind: "text", drop: 1 },
  { field: "attempts", title: "Attempts", kind: "attempts", drop: 2 },
  { field: "live", title: "Progress", kind: "live", drop: 4 },
  { field: "ran", title: "Run time", kind: "duration", drop: 5 },
  { field: "updated_at", title: "Updated", kind: "time", drop: 3 },
].map((column) => ({ ...column, sort: false }));
const OMITTED = { jobs: ["error"], dead: ["state", "ran", "live"] };
const EMPTY_TEXTS = new Map([
  ["", "No jobs yet."],
  ["dead", "The dead letter queue is empty."],
]);

/** The list with its filters and pager; opening a job changes the location. */
export class JobList {
  constructor(parts) {
    this.parts = parts;
    this.shownRows = new Map(); // id -> JSON of the row as shown
    this.filters = null;
    this.next = null;
    this.throttle = new Throttle(() => this.load());
    this.failures = null; // number of failed and dead jobs, once known
    this.groups = new ErrorGroups(parts.errors, { onSelect: (error) => navigate({ error, state: "", after: "" }) });
    this.errorThrottle = new Throttle(() => this.loadErrors());
    for (const input of [parts.search, parts.queue, parts.tag]) input.addEventListener("input", () => this.onInput());
    parts.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.applyFilters();
    });
    parts.older.addEventListener("click", () => this.next && navigate({ after: this.next }));
    parts.newest.addEventListener("click", () => navigate({ after: "" }));
    this.table = new VirtualTable(parts.table, {
      columns: COLUMNS,
      label: "Jobs, last updated first; press Enter to open one",
      multiple: false,
      onWindow: () => {},
      onSort: () => {},
      onSelect: (_, active) => this.onSelect(active),
      onOpen: (id) => this.open(id, true),
    });
  }

  /** Open the selected job after a short delay, so that moving through the rows opens only the last one. */
  onSelect(id) {
    clearTimeout(this.openTimer);
    if (id !== null) this.openTimer = setTimeout(() => this.open(id, this.table.root.clientWidth < NARROW_PX), OPEN_DELAY_MS);
  }

  open(id, focus = false) {
    clearTimeout(this.openTimer);
    navigate({ job: id, attempt: "" }, { replace: Boolean(currentLocation().job) });
    if (focus) this.parts.onOpen();
  }

  onInput() {
    clearTimeout(this.inputTimer);
    this.inputTimer = setTimeout(() => this.applyFilters(), TYPING_DELAY_MS);
  }

  applyFilters() {
    clearTimeout(this.inputTimer);
    navigate({ q: this.parts.search.value, queue: this.parts.queue.value.trim(), tag: this.parts.tag.value.trim(), after: "" }, { replace: true });
  }

  onNavigate(location) {
    const filters = JSON.stringify([location.state, location.queue, location.tag, location.error, location.q, location.after]);
    if (filters === this.filters) return;
    this.filters = filters;
    for (const [input, value] of [[this.parts.search, location.q], [this.parts.queue, location.queue], [this.parts.tag, location.tag]]) {
      if (document.activeElement !== input) input.value = value;
    }
    setText(this.parts.title, location.state === "dead" ? "Dead letter queue" : location.state ? `Jobs: ${location.state.replaceAll(",", ", ")}` : "Jobs");
    this.table.omit(OMITTED[location.state === "dead" ? "dead" : "jobs"]);
    this.load(true);
    this.loadErrors();
  }

  queueChanged() {
    this.throttle.notify();
    this.errorThrottle.notify();
  }

  /** Show why jobs failed, of those in the queue, with the tag and the text; "selected" is the reason that the list shows. */
  async loadErrors() {
    const { queue, tag, q, error: selected } = currentLocation();
    this.errorThrottle.begin();
    const start = performance.now();
    let found = { errors: [], more: false };
    try {
      if (this.failures) found = await getJson("api/errors", { queue, tag, q, limit: MAX_GROUPS });
    } catch {
      // the request of the list says what is wrong
    }
    if (selected === currentLocation().error) this.groups.update({ ...found, selected });
    this.errorThrottle.pause(Math.max(MIN_INTERVAL_MS, (performance.now() - start) * 2 * INTERVAL_FACTOR));
  }

  /** Show what running jobs report; called every second while there are any. */
  async updateLive() {
    try {
      this.table.showLive((await getJson("api/running", {}, { cached: false })).jobs);
    } catch {
      // the event stream says what is wrong
    }
  }

  async load(filtersChanged = false) {
    this.throttle.begin();
    this.request?.abort();
    const request = new AbortController();
    this.request = request;
    const start = performance.now();
    const noteTimer = filtersChanged ? setTimeout(() => this.showNote("Searching…"), SEARCHING_NOTE_DELAY_MS) : null;
    const { state, queue, tag, error: reason, q, after } = currentLocation();
    try {
      const page = await getJson("api/jobs", { state: state.split(","), queue, tag, error: reason, q, after, short: "yes" }, { signal: request.signal });
      if (request.signal.aborted) return;
      this.showNote("");
      this.show(page, filtersChanged);
    } catch (error) {
      if (request.signal.aborted) return;
      this.showNote(error.status === 400 ? error.message : "", true);
      if (error.status === 400) this.show({ jobs: [], next: null }, true);
    } finally {
      clearTimeout(noteTimer);
    }
    this.throttle.pause(Math.max(MIN_INTERVAL_MS, (performance.now() - start) * INTERVAL_FACTOR));
  }

  show(page, filtersChanged) {
    this.shown = page;
    this.next = page.next;
    const location = currentLocation();
    const texts = new Map(page.jobs.map((job) => [job.id, JSON.stringify(job)]));
    const rows = page.jobs.filter((job) => this.shownRows.get(job.id) !== texts.get(job.id)).map((job) => [job.id, job]);
    this.shownRows = texts;
    const filtered = location.queue || location.tag || location.error || location.q;
    this.table.update({
      total: page.jobs.length,
      first: 0,
      keys: page.jobs.map((job) => job.id),
      rows,
      top: filtersChanged,
      empty: filtered ? "No job matches the filter." : (EMPTY_TEXTS.get(location.state) ?? `No ${location.state.replaceAll(",", " or ")} jobs.`),
    });
    this.table.root.style.setProperty("--qp-rows", Math.max(3, page.jobs.length));
    this.parts.newest.disabled = !location.after;
    this.parts.older.disabled = !page.next;
    this.parts.pager.hidden = !location.after && !page.next;
    const end = page.next ? "" : ", last page";
    setText(this.parts.pageNote, page.jobs.length && (location.after || page.next) ? `${count(page.jobs.length)} jobs${location.after ? end : ", newest first"}` : "");
    this.markOpen(location.job);
  }

  /** Highlight the row of the open job. */
  markOpen(id) {
    const index = this.shown?.jobs.findIndex((job) => job.id === id) ?? -1;
    const selection = this.table.selection;
    if (selection.active === (id || null) && selection.keys.has(id) === Boolean(id)) return;
    selection.keys = new Set(id ? [id] : []);
    selection.active = id || null;
    selection.index = index < 0 ? null : index;
    this.table.draw();
  }

  showNote(text, bad = false) {
    setText(this.parts.note, text);
    this.parts.note.classList.toggle("qp-bad", bad);
  }

  focus() {
    this.table.root.focus();
  }
}
