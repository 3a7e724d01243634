// A log to look at while it is written: only the lines in view are elements, and the end stays in view while followed.

import { LogLines, showLine } from "./ansi.js";
import { el, setText } from "./dom.js";
import { count } from "./format.js";

const LINE_HEIGHT = 18; // CSS pixels; .qc-line has the same
const LINES_AROUND = 20;

/**
 * A view of one log in `root`, which it fills.
 *
 * `append(stream, text)` adds what was written, `reset(note)` begins anew, `show(stream)` leaves one stream or, with
 * null, both; `follow` (settable) keeps the end in view, and `onFollow(value)` tells when the reader's scrolling
 * changed it.
 */
export class LogView {
  constructor(root, { label = "Log", onFollow = () => {} } = {}) {
    this.lines = new LogLines();
    this.onFollow = onFollow;
    this.only = null;
    this.pinned = true;
    this.note = "";
    this.rows = new Map();
    this.body = el("div", { class: "qc-log-body" });
    this.empty = el("div", { class: "qc-log-note" });
    this.root = root;
    root.classList.add("qc-log");
    root.setAttribute("tabindex", "0");
    root.setAttribute("role", "region");
    root.setAttribute("aria-label", label);
    root.setAttribute("data-lm-suppress-shortcuts", "true");
    root.replaceChildren(this.empty, this.body);
    root.addEventListener("scroll", () => this.scrolled(), { passive: true });
    this.observer = new ResizeObserver(() => this.plan());
    this.observer.observe(root);
    this.draw();
  }

  reset(note = "") {
    this.lines.clear();
    this.note = note;
    this.rows.forEach(({ node }) => node.remove());
    this.rows.clear();
    this.follow = true;
  }

  /** Say something above the lines: what is not shown, or that nothing was written. */
  say(note) {
    this.note = note;
    this.plan();
  }

  append(stream, text) {
    this.lines.feed(stream, text);
    this.plan();
  }

  show(stream) {
    this.only = stream;
    this.plan();
  }

  get follow() {
    return this.pinned;
  }

  set follow(value) {
    this.pinned = value;
    this.plan();
  }

  get shown() {
    return this.only === null ? this.lines.lines : this.lines.lines.filter((line) => line.stream === this.only);
  }

  scrolled() {
    const below = this.root.scrollHeight - this.root.scrollTop - this.root.clientHeight;
    const pinned = below < LINE_HEIGHT;
    // what we scrolled ourselves ends at the end; only the reader can leave it
    if (pinned !== this.pinned && (pinned || this.root.scrollTop < this.lastTop)) {
      this.pinned = pinned;
      this.onFollow(pinned);
    }
    this.lastTop = this.root.scrollTop;
    this.plan();
  }

  plan() {
    if (this.planned) return;
    this.planned = true;
    requestAnimationFrame(() => {
      this.planned = false;
      this.draw();
    });
  }

  draw() {
    const lines = this.shown;
    const dropped = this.lines.dropped ? `${count(this.lines.dropped)} earlier lines are not shown` : "";
    setText(this.empty, [this.note, dropped].filter(Boolean).join(" · "));
    this.empty.hidden = !this.empty.textContent;
    this.body.style.height = `${lines.length * LINE_HEIGHT}px`;
    if (this.pinned) this.root.scrollTop = this.root.scrollHeight;
    this.lastTop = this.root.scrollTop;
    const top = this.root.scrollTop - this.body.offsetTop;
    const first = Math.max(0, Math.floor(top / LINE_HEIGHT) - LINES_AROUND);
    const last = Math.min(lines.length, Math.ceil((top + this.root.clientHeight) / LINE_HEIGHT) + LINES_AROUND);
    const wanted = new Set(lines.slice(first, last));
    for (const [line, { node }] of this.rows) {
      if (wanted.has(line)) continue;
      node.remove();
      this.rows.delete(line);
    }
    for (let place = first; place < last; place += 1) this.drawLine(lines[place], place);
  }

  drawLine(line, place) {
    let row = this.rows.get(line);
    if (!row) {
      row = { node: el("div", { class: `qc-line qc-from-${line.stream}` }), version: -1 };
      this.rows.set(line, row);
      this.body.append(row.node);
    }
    row.node.style.transform = `translateY(${place * LINE_HEIGHT}px)`;
    if (row.version !== line.version) {
      showLine(row.node, line);
      row.version = line.version;
    }
  }

  close() {
    this.observer.disconnect();
  }
}
