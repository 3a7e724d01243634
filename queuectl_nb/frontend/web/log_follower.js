// Reads the log of one attempt piece by piece, as fast as there is something and now and then while it is written.

import { ask, headersOf } from "./api.js";
import { setText } from "./shared/dom.js";
import { LogView } from "./shared/log.js";
import { size } from "./shared/format.js";

const PACE_MS = 700;
const STREAMS = ["stdout", "stderr"];
const LARGE = 2 * 1024 * 1024; // bytes of a stream from which only the end is fetched, unless all is asked for
const END = 512 * 1024;

/** Keeps the log view of the panel at the attempt that is chosen. */
export class Follower {
  constructor(parts) {
    this.parts = parts;
    this.view = new LogView(parts.log, {
      label: "Log",
      onFollow: (value) => {
        parts.follow.checked = value;
      },
    });
    parts.follow.addEventListener("change", () => {
      this.view.follow = parts.follow.checked;
    });
    parts.streams.addEventListener("change", (event) => this.view.show(event.target.value || null));
    parts.whole.addEventListener("click", () => this.begin(true));
    document.addEventListener("visibilitychange", () => (document.hidden ? this.pause() : this.resume()));
  }

  /** Follow an attempt of a job; undefined where there is none yet. */
  follow(id, attempt) {
    const key = JSON.stringify([id, attempt?.token]);
    if (key === this.key) return;
    this.key = key;
    this.id = id;
    this.attempt = attempt;
    this.begin(false);
  }

  begin(whole) {
    this.pause();
    this.view.reset();
    this.parts.whole.hidden = true;
    this.ends = new Map(STREAMS.map((stream) => [stream, { offset: null, end: false, cut: 0 }]));
    this.wanted = whole;
    this.note();
    if (this.attempt) this.resume();
  }

  leave() {
    this.pause();
    this.key = null;
    this.attempt = undefined;
  }

  pause() {
    clearTimeout(this.again);
    this.asking?.abort();
  }

  resume() {
    if (!this.attempt || document.hidden || this.over) return;
    this.pause();
    this.asking = new AbortController();
    this.read(this.asking.signal);
  }

  get over() {
    return [...this.ends.values()].every(({ end }) => end);
  }

  async read(signal) {
    try {
      const more = await Promise.all(STREAMS.map((stream) => this.piece(stream, signal)));
      if (signal.aborted) return;
      this.note();
      if (this.over) return;
      this.again = setTimeout(() => this.read(signal), more.some(Boolean) ? 0 : PACE_MS);
    } catch (error) {
      if (signal.aborted) return;
      if (error.status === 404) setText(this.parts.note, error.message);
      else this.again = setTimeout(() => this.read(signal), 3 * PACE_MS);
    }
  }

  /** Fetch the next piece of a stream; return whether there was one. */
  async piece(stream, signal) {
    const place = this.ends.get(stream);
    if (place.end) return false;
    const address = `api/jobs/${encodeURIComponent(this.id)}/log`;
    const which = { stream, attempt: this.attempt.number };
    if (place.offset === null) await this.start(place, address, which, signal);
    const { text, offset, end } = await ask(address, { ...which, offset: place.offset }, { signal, keep: false });
    if (signal.aborted) return false;
    place.offset = offset;
    place.end = end;
    if (text) this.view.append(stream, place.skip ? text.slice(text.indexOf("\n") + 1) : text);
    place.skip = false;
    return Boolean(text);
  }

  /** Find out where to begin: a large stream is fetched from near its end. */
  async start(place, address, which, signal) {
    const headers = await headersOf(address, which, { signal });
    const length = Number(headers.get("Log-Size") ?? 0);
    place.cut = !this.wanted && length > LARGE ? length - END : 0;
    place.offset = place.cut;
    place.skip = place.cut > 0; // most likely in the middle of a line
  }

  note() {
    const cut = [...this.ends.values()].reduce((sum, place) => sum + place.cut, 0);
    this.parts.whole.hidden = !cut;
    const empty = this.view.lines.lines.length === 0;
    let text = cut ? `the first ${size(cut)} are not shown` : "";
    if (!this.attempt) text = "nothing was started yet";
    else if (this.over && empty) text = "nothing was written";
    else if (!this.over && empty) text = "nothing so far";
    else if (!text) text = this.over ? "" : "more to come";
    setText(this.parts.note, text);
  }
}
