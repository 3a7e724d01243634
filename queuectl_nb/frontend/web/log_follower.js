// Reads the log of an attempt piece by piece: as fast as possible while there is data, then by polling until it ends.

import { getHeaders, getJson } from "./api.js";
import { setText } from "./shared/dom.js";
import { LogView } from "./shared/log.js";
import { size } from "./shared/format.js";

const POLL_INTERVAL_MS = 700;
const STREAMS = ["stdout", "stderr"];
const LARGE_LOG_BYTES = 2 * 1024 * 1024; // larger streams are read from near their end, unless the reader asks for all
const TAIL_BYTES = 512 * 1024;

/** Keeps the log view on the selected attempt. */
export class LogFollower {
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
    parts.whole.addEventListener("click", () => this.restart(true));
    document.addEventListener("visibilitychange", () => (document.hidden ? this.pause() : this.resume()));
  }

  /** Follow an attempt of a job; undefined if the job has none yet. */
  follow(id, attempt) {
    const key = JSON.stringify([id, attempt?.token]);
    if (key === this.key) return;
    this.key = key;
    this.id = id;
    this.attempt = attempt;
    this.restart(false);
  }

  restart(whole) {
    this.pause();
    this.view.reset();
    this.parts.whole.hidden = true;
    this.positions = new Map(STREAMS.map((stream) => [stream, { offset: null, end: false, skipped: 0 }]));
    this.whole = whole;
    this.showNote();
    if (this.attempt) this.resume();
  }

  stop() {
    this.pause();
    this.key = null;
    this.attempt = undefined;
  }

  pause() {
    clearTimeout(this.timer);
    this.request?.abort();
  }

  resume() {
    if (!this.attempt || document.hidden || this.finished) return;
    this.pause();
    this.request = new AbortController();
    this.read(this.request.signal);
  }

  get finished() {
    return [...this.positions.values()].every(({ end }) => end);
  }

  async read(signal) {
    try {
      const received = await Promise.all(STREAMS.map((stream) => this.readPiece(stream, signal)));
      if (signal.aborted) return;
      this.showNote();
      if (this.finished) return;
      this.timer = setTimeout(() => this.read(signal), received.some(Boolean) ? 0 : POLL_INTERVAL_MS);
    } catch (error) {
      if (signal.aborted) return;
      if (error.status === 404) setText(this.parts.note, error.message);
      else this.timer = setTimeout(() => this.read(signal), 3 * POLL_INTERVAL_MS);
    }
  }

  /** Fetch the next piece of a stream; return whether it had text. */
  async readPiece(stream, signal) {
    const position = this.positions.get(stream);
    if (position.end) return false;
    const address = `api/jobs/${encodeURIComponent(this.id)}/log`;
    const parameters = { stream, attempt: this.attempt.number };
    if (position.offset === null) await this.findStart(position, address, parameters, signal);
    const { text, offset, end } = await getJson(address, { ...parameters, offset: position.offset }, { signal, cached: false });
    if (signal.aborted) return false;
    position.offset = offset;
    position.end = end;
    if (text) this.view.append(stream, position.partialLine ? text.slice(text.indexOf("\n") + 1) : text);
    position.partialLine = false;
    return Boolean(text);
  }

  async findStart(position, address, parameters, signal) {
    const headers = await getHeaders(address, parameters, { signal });
    const length = Number(headers.get("Log-Size") ?? 0);
    position.skipped = !this.whole && length > LARGE_LOG_BYTES ? length - TAIL_BYTES : 0;
    position.offset = position.skipped;
    position.partialLine = position.skipped > 0; // most likely in the middle of a line
  }

  showNote() {
    const skipped = [...this.positions.values()].reduce((sum, position) => sum + position.skipped, 0);
    this.parts.whole.hidden = !skipped;
    const empty = this.view.lines.lines.length === 0;
    let text = skipped ? `first ${size(skipped)} not shown` : "";
    if (!this.attempt) text = "not started yet";
    else if (this.finished && empty) text = "no output";
    else if (!this.finished && empty) text = "no output yet";
    else if (!text) text = this.finished ? "" : "still running";
    setText(this.parts.note, text);
  }
}
