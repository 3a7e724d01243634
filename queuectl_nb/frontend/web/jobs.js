// The list of jobs: a page at a time, by state, queue and text, kept up to date while it is looked at.

import { ask } from "./api.js";
import { Pace } from "./pace.js";
import { go, here } from "./location.js";
import { setText } from "./shared/dom.js";
import { VirtualTable } from "./shared/table.js";
import { count } from "./shared/format.js";

const TYPING_MS = 250;
const PATIENCE_MS = 400; // without an answer by then, the reader is told what takes so long
const CHOOSING_MS = 80;
const REST_MS = 1000; // between two looks at a list that changes all the time
const REST_SHARE = 5; // and so many times what a look took: a search through a million jobs is not done without pause
const NARROW = 560; // CSS pixels of the table below which only the most telling columns fit
const MIDDLE = 900;

const STATE = { field: "state", title: "State", kind: "state", width: "104px", sort: false };
const ID = { field: "id", title: "ID", kind: "mono", width: "minmax(110px, 1fr)", sort: false };
const COMMAND = { field: "command", title: "Command", kind: "mono", width: "minmax(120px, 2.5fr)", sort: false };
const ERROR = { field: "error", title: "Error", kind: "text", width: "minmax(110px, 2fr)", sort: false };
const QUEUE = { field: "queue", title: "Queue", kind: "text", width: "96px", sort: false };
const ATTEMPTS = { field: "attempts", title: "Attempts", kind: "attempts", width: "80px", sort: false };
const RAN = { field: "ran", title: "Ran", kind: "duration", width: "84px", sort: false };
const UPDATED = { field: "updated_at", title: "Updated", kind: "time", width: "minmax(78px, 124px)", sort: false };
const COLUMNS = {
  jobs: { wide: [STATE, ID, COMMAND, QUEUE, ATTEMPTS, RAN, UPDATED], middle: [STATE, ID, COMMAND, RAN, UPDATED], narrow: [STATE, ID, UPDATED] },
  dead: { wide: [ID, COMMAND, ERROR, QUEUE, ATTEMPTS, UPDATED], middle: [ID, COMMAND, ERROR, UPDATED], narrow: [ID, ERROR, UPDATED] },
};
const EMPTY = new Map([
  ["", "No jobs yet."],
  ["dead", "The dead letter queue is empty."],
]);

/** The list with its filters and pager; opening a job is a change of place. */
export class JobList {
  constructor(parts) {
    this.parts = parts;
    this.texts = new Map(); // by id: the row as it is shown
    this.filters = null;
    this.next = null;
    this.pace = new Pace(() => this.look());
    for (const input of [parts.search, parts.queue]) input.addEventListener("input", () => this.typed());
    parts.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.filter();
    });
    parts.older.addEventListener("click", () => this.next && go({ after: this.next }));
    parts.newest.addEventListener("click", () => go({ after: "" }));
    new ResizeObserver(() => this.build()).observe(parts.table.parentElement);
    this.build();
  }

  build() {
    const room = this.parts.table.parentElement.clientWidth;
    this.narrow = room < NARROW;
    const columns = COLUMNS[here().state === "dead" ? "dead" : "jobs"][this.narrow ? "narrow" : room < MIDDLE ? "middle" : "wide"];
    if (columns === this.columns) return;
    this.columns = columns;
    this.table?.close();
    const before = this.parts.table;
    const focused = document.activeElement === before;
    const { position } = this.table?.space ?? { position: 0 };
    const root = before.cloneNode(false); // without what the former table listened to
    before.replaceWith(root);
    this.parts.table = root;
    this.texts.clear();
    this.table = new VirtualTable(root, {
      columns,
      label: "Jobs, last updated first; Enter opens one",
      multiple: false,
      onWindow: () => {},
      onSort: () => {},
      onSelect: (_, active) => this.chosen(active),
      onOpen: (id) => this.open(id, true),
    });
    if (this.shown) this.show(this.shown, false);
    this.table.space.position = Math.min(position, this.table.space.last);
    this.table.placeScroll();
    if (focused) root.focus({ preventScroll: true });
  }

  /** Open what the pointer or the keyboard came to; whoever runs through the rows opens the last. */
  chosen(id) {
    clearTimeout(this.opening);
    if (id !== null) this.opening = setTimeout(() => this.open(id, this.narrow), CHOOSING_MS);
  }

  open(id, toIt = false) {
    clearTimeout(this.opening);
    go({ job: id, attempt: "" }, { replace: Boolean(here().job) });
    if (toIt) this.parts.onOpen();
  }

  typed() {
    clearTimeout(this.typing);
    this.typing = setTimeout(() => this.filter(), TYPING_MS);
  }

  filter() {
    clearTimeout(this.typing);
    go({ q: this.parts.search.value, queue: this.parts.queue.value.trim(), after: "" }, { replace: true });
  }

  /** Show the list of a place. */
  moved(place) {
    const filters = JSON.stringify([place.state, place.queue, place.q, place.after]);
    if (filters === this.filters) return;
    this.filters = filters;
    for (const [input, value] of [[this.parts.search, place.q], [this.parts.queue, place.queue]]) {
      if (document.activeElement !== input) input.value = value;
    }
    setText(this.parts.title, place.state === "dead" ? "Dead letters" : place.state ? `Jobs: ${place.state}` : "Jobs");
    this.build();
    this.look(true);
  }

  /** Something was written: look again, soon. */
  changed() {
    this.pace.changed();
  }

  async look(anew = false) {
    this.pace.begin();
    this.asking?.abort();
    const asking = new AbortController();
    this.asking = asking;
    const began = performance.now();
    const patience = anew ? setTimeout(() => this.say("Looking through all jobs…"), PATIENCE_MS) : null;
    const { state, queue, q, after } = here();
    try {
      const page = await ask("api/jobs", { state, queue, q, after }, { signal: asking.signal });
      if (asking.signal.aborted) return;
      this.say("");
      this.show(page, anew);
    } catch (error) {
      if (asking.signal.aborted) return;
      this.say(error.status === 400 ? error.message : "", true);
      if (error.status === 400) this.show({ jobs: [], next: null }, true);
    } finally {
      clearTimeout(patience);
    }
    this.pace.rest(Math.max(REST_MS, (performance.now() - began) * REST_SHARE));
  }

  show(page, anew) {
    this.shown = page;
    this.next = page.next;
    const place = here();
    const texts = new Map(page.jobs.map((job) => [job.id, JSON.stringify(job)]));
    const rows = page.jobs.filter((job) => this.texts.get(job.id) !== texts.get(job.id)).map((job) => [job.id, job]);
    this.texts = texts;
    const filtered = place.queue || place.q;
    this.table.update({
      total: page.jobs.length,
      first: 0,
      keys: page.jobs.map((job) => job.id),
      rows,
      top: anew,
      empty: filtered ? "No job is like that." : (EMPTY.get(place.state) ?? `No job is ${place.state}.`),
    });
    this.table.root.style.setProperty("--qp-rows", Math.max(3, page.jobs.length));
    this.parts.newest.disabled = !place.after;
    this.parts.older.disabled = !page.next;
    this.parts.pager.hidden = !place.after && !page.next;
    const end = page.next ? "" : ", to the last";
    setText(this.parts.pageNote, page.jobs.length && (place.after || page.next) ? `${count(page.jobs.length)} jobs${place.after ? end : ", the newest"}` : "");
    this.mark(place.job);
  }

  /** Mark the job that is open, where it is on the page. */
  mark(id) {
    const place = this.shown?.jobs.findIndex((job) => job.id === id) ?? -1;
    const selection = this.table.selection;
    if (selection.active === (id || null) && selection.keys.has(id) === Boolean(id)) return;
    selection.keys = new Set(id ? [id] : []);
    selection.active = id || null;
    selection.place = place < 0 ? null : place;
    this.table.draw();
  }

  say(text, bad = false) {
    setText(this.parts.note, text);
    this.parts.note.classList.toggle("qp-bad", bad);
  }

  focus() {
    this.table.root.focus();
  }
}
