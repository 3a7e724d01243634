// A log view that can follow a log while it is written; only the lines in view are elements.

import { LogLines, showLine } from "./ansi.js";
import { el, setText } from "./dom.js";
import { count } from "./format.js";

const LINE_HEIGHT = 18; // CSS pixels; .qc-line has the same
const OVERSCAN_LINES = 20;

/**
 * A view of one log that fills `root`.
 *
 * `append(stream, text)` adds output, `reset(note)` clears it, `show(stream)` shows one stream or, with null, both.
 * While `follow` is true the end stays in view; `onFollow(value)` is called when scrolling changed it.
 */
export class LogView {
  constructor(root, { label = "Log", onFollow = () => {} } = {}) {
    this.lines = new LogLines();
    this.onFollow = onFollow;
    this.stream = null;
    this.following = true;
    this.note = "";
    this.rows = new Map();
    this.body = el("div", { class: "qc-log-body" });
    this.noteElement = el("div", { class: "qc-log-note" });
    this.root = root;
    root.classList.add("qc-log");
    root.setAttribute("tabindex", "0");
    root.setAttribute("role", "region");
    root.setAttribute("aria-label", label);
    root.setAttribute("data-lm-suppress-shortcuts", "true");
    root.replaceChildren(this.noteElement, this.body);
    root.addEventListener("scroll", () => this.onScroll(), { passive: true });
    this.observer = new ResizeObserver(() => this.scheduleDraw());
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

  /** Set the text above the lines. */
  setNote(note) {
    this.note = note;
    this.scheduleDraw();
  }

  append(stream, text) {
    this.lines.feed(stream, text);
    this.scheduleDraw();
  }

  show(stream) {
    this.stream = stream;
    this.scheduleDraw();
  }

  get follow() {
    return this.following;
  }

  set follow(value) {
    this.following = value;
    this.scheduleDraw();
  }

  get visibleLines() {
    return this.stream === null ? this.lines.lines : this.lines.lines.filter((line) => line.stream === this.stream);
  }

  onScroll() {
    const below = this.root.scrollHeight - this.root.scrollTop - this.root.clientHeight;
    const atEnd = below < LINE_HEIGHT;
    // scrolling by this class ends at the end; only the user scrolls away from it
    if (atEnd !== this.following && (atEnd || this.root.scrollTop < this.lastTop)) {
      this.following = atEnd;
      this.onFollow(atEnd);
    }
    this.lastTop = this.root.scrollTop;
    this.scheduleDraw();
  }

  scheduleDraw() {
    if (this.drawScheduled) return;
    this.drawScheduled = true;
    requestAnimationFrame(() => {
      this.drawScheduled = false;
      this.draw();
    });
  }

  draw() {
    const lines = this.visibleLines;
    const dropped = this.lines.dropped ? `${count(this.lines.dropped)} earlier lines are not shown` : "";
    setText(this.noteElement, [this.note, dropped].filter(Boolean).join(" · "));
    this.noteElement.hidden = !this.noteElement.textContent;
    this.body.style.height = `${lines.length * LINE_HEIGHT}px`;
    if (this.following) this.root.scrollTop = this.root.scrollHeight;
    this.lastTop = this.root.scrollTop;
    const top = this.root.scrollTop - this.body.offsetTop;
    const first = Math.max(0, Math.floor(top / LINE_HEIGHT) - OVERSCAN_LINES);
    const last = Math.min(lines.length, Math.ceil((top + this.root.clientHeight) / LINE_HEIGHT) + OVERSCAN_LINES);
    const wanted = new Set(lines.slice(first, last));
    for (const [line, { node }] of this.rows) {
      if (wanted.has(line)) continue;
      node.remove();
      this.rows.delete(line);
    }
    for (let index = first; index < last; index += 1) this.drawLine(lines[index], index);
  }

  drawLine(line, index) {
    let row = this.rows.get(line);
    if (!row) {
      row = { node: el("div", { class: `qc-line qc-from-${line.stream}` }), version: -1 };
      this.rows.set(line, row);
      this.body.append(row.node);
    }
    row.node.style.transform = `translateY(${index * LINE_HEIGHT}px)`;
    if (row.version !== line.version) {
      showLine(row.node, line);
      row.version = line.version;
    }
  }

  close() {
    this.observer.disconnect();
  }
}
