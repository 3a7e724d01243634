// What a job wrote, as lines of styled pieces: SGR colours, progress bars that return to their line's beginning.
// Every other escape is dropped, and nothing becomes markup.

import { el } from "./dom.js";
import { Style } from "./sgr.js";

const LONGEST_ESCAPE = 4096; // characters of an unfinished sequence that are held back for its end
const LONGEST_LINE = 20000; // characters of a line that are kept
const ESCAPES = new RegExp(
  [
    "\\u001b\\[([0-9;:]*)m", // 1: colours
    "(?:\\u001b\\[|\\u009b)([0-?]*)[ -/]*([@-~])", // 2, 3: other control sequences
    "(?:\\u001b[P\\]X^_]|[\\u0090\\u009d\\u0098\\u009e\\u009f])[^\\u0007\\u001b\\u009c]*(?:\\u0007|\\u001b\\\\|\\u009c)",
    "\\u001b[ -/]*[0-Z\\\\^-~]", // two-character escapes
    "([\\n\\r\\b])", // 4: what moves
    "[\\u0000-\\u0007\\u000b-\\u001f\\u007f-\\u009f\\u061c\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069]",
  ].join("|"),
  "g",
);
const UNFINISHED = new RegExp(
  "(?:\\u001b|(?:\\u001b\\[|\\u009b)[0-?]*[ -/]*|\\u001b[ -/]+" +
    "|(?:\\u001b[P\\]X^_]|[\\u0090\\u009d\\u0098\\u009e\\u009f])[^\\u0007\\u001b\\u009c]*\\u001b?)$",
);

/** A line: pieces of text with their style, the cursor's column, and which stream wrote it. */
class Line {
  constructor(stream) {
    this.stream = stream;
    this.pieces = [];
    this.length = 0;
    this.column = 0;
    this.cut = 0;
    this.version = 0;
  }

  write(text, style) {
    this.version += 1;
    const room = LONGEST_LINE - this.column;
    if (text.length > room) {
      this.cut += text.length - Math.max(0, room);
      text = text.slice(0, Math.max(0, room));
      if (!text) return;
    }
    if (this.column === this.length) this.add(text, style);
    else {
      const before = this.part(0, this.column);
      const after = this.part(this.column + text.length, this.length);
      this.pieces = before;
      this.length = this.column;
      this.add(text, style);
      for (const [each, its] of after) this.add(each, its);
    }
    this.column += text.length;
  }

  add(text, style) {
    const last = this.pieces[this.pieces.length - 1];
    if (last && last[1] === style) last[0] += text;
    else this.pieces.push([text, style]);
    this.length += text.length;
  }

  part(from, to) {
    const found = [];
    let place = 0;
    for (const [text, style] of this.pieces) {
      const piece = text.slice(Math.max(0, from - place), Math.max(0, to - place));
      if (piece) found.push([piece, style]);
      place += text.length;
    }
    return found;
  }

  /** Erase from the cursor to the end (0), from the beginning to the cursor (1), or all (2), as progress bars do. */
  erase(how) {
    this.version += 1;
    this.cut = 0;
    if (how === 0) this.pieces = this.part(0, this.column);
    else if (how === 2) this.pieces = [];
    else if (how === 1) this.pieces = [[" ".repeat(this.column), null], ...this.part(this.column, this.length)];
    this.length = this.pieces.reduce((sum, [text]) => sum + text.length, 0);
    if (this.column > this.length) this.add(" ".repeat(this.column - this.length), null);
  }

  get text() {
    return this.pieces.map(([text]) => text).join("");
  }
}

/** One stream's reader: its escape sequences may be cut anywhere between two pieces. */
class StreamReader {
  constructor(lines, name) {
    this.lines = lines;
    this.name = name;
    this.held = "";
    this.style = new Style();
    this.line = null;
  }

  feed(piece) {
    let text = this.held + piece;
    this.held = "";
    const unfinished = UNFINISHED.exec(text.slice(-LONGEST_ESCAPE));
    if (unfinished) {
      this.held = unfinished[0];
      text = text.slice(0, text.length - this.held.length);
    }
    let end = 0;
    for (const found of text.matchAll(ESCAPES)) {
      if (found.index > end) this.write(text.slice(end, found.index));
      end = found.index + found[0].length;
      if (found[1] !== undefined) this.style.follow(found[1]);
      else if (found[3] === "K") this.current().erase(Number(found[2] || 0));
      else if (found[4]) this.move(found[4]);
    }
    if (end < text.length) this.write(text.slice(end));
  }

  current() {
    if (this.line === null) this.line = this.lines.open(this.name);
    return this.line;
  }

  write(text) {
    this.current().write(text, this.style.value);
  }

  move(character) {
    const line = this.current();
    if (character === "\n") this.line = null;
    else if (character === "\r") line.column = 0;
    else line.column = Math.max(0, line.column - 1);
  }
}

/** All lines of a log; of a long one the last `limit`, with the number of those that were dropped. */
export class LogLines {
  constructor(limit = 100000) {
    this.limit = limit;
    this.clear();
  }

  clear() {
    this.lines = [];
    this.dropped = 0;
    this.readers = new Map();
  }

  /** Take a piece of a stream's text. */
  feed(stream, text) {
    if (!this.readers.has(stream)) this.readers.set(stream, new StreamReader(this, stream));
    this.readers.get(stream).feed(text);
    if (this.lines.length > this.limit * 1.1) {
      const over = this.lines.length - this.limit;
      this.lines.splice(0, over);
      this.dropped += over;
    }
  }

  open(stream) {
    const line = new Line(stream);
    this.lines.push(line);
    return line;
  }
}

/** Show a line in an element, as text in spans. */
export function showLine(node, line) {
  const spans = line.pieces.map(([text, style]) => {
    if (style === null) return document.createTextNode(text);
    const span = el("span", { class: style.names, text });
    if (style.fore) span.style.color = style.fore;
    if (style.back) span.style.backgroundColor = style.back;
    return span;
  });
  if (line.cut) spans.push(el("span", { class: "qc-note", text: ` … ${line.cut} more characters` }));
  node.replaceChildren(...spans);
}
