// Parses job output into lines of styled text: SGR colours, and progress bars that overwrite their line.
// All other escape sequences are dropped, and nothing becomes markup.

import { el } from "./dom.js";

const MAX_ESCAPE_CHARS = 4096; // a longer unfinished sequence is shown as text
const MAX_LINE_CHARS = 20000;
const ESCAPES = new RegExp(
  [
    "\\u001b\\[([0-9;:]*)m", // 1: colours
    "(?:\\u001b\\[|\\u009b)([0-?]*)[ -/]*([@-~])", // 2, 3: other control sequences
    "(?:\\u001b[P\\]X^_]|[\\u0090\\u009d\\u0098\\u009e\\u009f])[^\\u0007\\u001b\\u009c]*(?:\\u0007|\\u001b\\\\|\\u009c)",
    "\\u001b[ -/]*[0-Z\\\\^-~]", // two-character escapes
    "([\\n\\r\\b])", // 4: cursor movement
    "[\\u0000-\\u0007\\u000b-\\u001f\\u007f-\\u009f\\u061c\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069]",
  ].join("|"),
  "g",
);
const UNFINISHED = new RegExp(
  "(?:\\u001b|(?:\\u001b\\[|\\u009b)[0-?]*[ -/]*|\\u001b[ -/]+" +
    "|(?:\\u001b[P\\]X^_]|[\\u0090\\u009d\\u0098\\u009e\\u009f])[^\\u0007\\u001b\\u009c]*\\u001b?)$",
);

const ATTRIBUTES = { 1: "bold", 2: "dim", 3: "italic", 4: "under", 7: "inverse", 9: "struck" };
const ATTRIBUTE_RESETS = { 22: [1, 2], 23: [3], 24: [4], 27: [7], 29: [9] };

/** Return a colour of the 256-colour palette: its number for the first 16, which have classes, else a CSS colour. */
function paletteColour(number) {
  if (!(number >= 0 && number <= 255)) return null;
  if (number < 16) return number;
  if (number >= 232) {
    const grey = 8 + (number - 232) * 10;
    return `rgb(${grey}, ${grey}, ${grey})`;
  }
  const step = (value) => (value ? 55 + value * 40 : 0);
  const cube = number - 16;
  return `rgb(${step(Math.floor(cube / 36))}, ${step(Math.floor(cube / 6) % 6)}, ${step(cube % 6)})`;
}

/** Return black or white, whichever has the higher contrast with a background as WCAG 2 defines it. */
function readableOn(background) {
  const [red, green, blue] = background.match(/\d+/g).map((each) => (each / 255) ** 2.2);
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 ? "black" : "white";
}

/** The current colours and attributes; `value` is null for plain text, and the same object until something changes. */
class Style {
  constructor() {
    this.clear();
  }

  clear() {
    this.attributes = new Set();
    this.foreground = null;
    this.background = null;
    this.value = null;
  }

  /** Apply the parameters of one SGR sequence: the text between CSI and m. */
  apply(parameters) {
    const codes = parameters.split(/[;:]/).map((part) => (part === "" ? 0 : Number(part)));
    for (let index = 0; index < codes.length; index += 1) {
      const code = codes[index];
      if (code === 38 || code === 48) {
        const kind = codes[index + 1];
        let colour = null;
        if (kind === 5) colour = paletteColour(codes[index + 2]);
        else if (kind === 2) {
          // 38:2::r:g:b has an empty colour space before the colours
          const skip = parameters.includes(":") && codes.length - index >= 6 ? 1 : 0;
          const rgb = codes.slice(index + 2 + skip, index + 5 + skip);
          if (rgb.length === 3 && rgb.every((each) => each <= 255)) colour = `rgb(${rgb.join(", ")})`;
          index += skip;
        }
        if (code === 38) this.foreground = colour;
        else this.background = colour;
        index += kind === 5 ? 2 : kind === 2 ? 4 : 0;
      } else this.applyCode(code);
    }
    this.value = this.build();
  }

  applyCode(code) {
    if (code === 0) this.clear();
    else if (ATTRIBUTES[code]) this.attributes.add(code);
    else if (ATTRIBUTE_RESETS[code]) ATTRIBUTE_RESETS[code].forEach((attribute) => this.attributes.delete(attribute));
    else if (code >= 30 && code <= 37) this.foreground = code - 30;
    else if (code >= 90 && code <= 97) this.foreground = code - 82;
    else if (code >= 40 && code <= 47) this.background = code - 40;
    else if (code >= 100 && code <= 107) this.background = code - 92;
    else if (code === 39) this.foreground = null;
    else if (code === 49) this.background = null;
  }

  build() {
    if (!this.attributes.size && this.foreground === null && this.background === null) return null;
    const classes = [...this.attributes].map((attribute) => `qc-${ATTRIBUTES[attribute]}`);
    if (typeof this.foreground === "number") classes.push(`qc-fg${this.foreground}`);
    if (typeof this.background === "number") classes.push(`qc-bg${this.background}`);
    const background = typeof this.background === "string" ? this.background : null;
    return {
      classes: classes.join(" "),
      // on a background that is the same in every theme, the text must be so, too
      foreground: typeof this.foreground === "string" ? this.foreground : background && readableOn(background),
      background,
    };
  }
}

/** A line of a stream: pieces of text with their style, and the column of the cursor. */
class Line {
  constructor(stream) {
    this.stream = stream;
    this.pieces = [];
    this.length = 0;
    this.column = 0;
    this.cutChars = 0;
    this.version = 0;
  }

  write(text, style) {
    this.version += 1;
    const available = MAX_LINE_CHARS - this.column;
    if (text.length > available) {
      this.cutChars += text.length - Math.max(0, available);
      text = text.slice(0, Math.max(0, available));
      if (!text) return;
    }
    if (this.column === this.length) this.add(text, style);
    else {
      const before = this.slice(0, this.column);
      const after = this.slice(this.column + text.length, this.length);
      this.pieces = before;
      this.length = this.column;
      this.add(text, style);
      for (const piece of after) this.add(...piece);
    }
    this.column += text.length;
  }

  add(text, style) {
    const last = this.pieces[this.pieces.length - 1];
    if (last && last[1] === style) last[0] += text;
    else this.pieces.push([text, style]);
    this.length += text.length;
  }

  slice(from, to) {
    const found = [];
    let position = 0;
    for (const [text, style] of this.pieces) {
      const piece = text.slice(Math.max(0, from - position), Math.max(0, to - position));
      if (piece) found.push([piece, style]);
      position += text.length;
    }
    return found;
  }

  /** Erase from the cursor to the end (0), from the start to the cursor (1), or everything (2). */
  erase(mode) {
    this.version += 1;
    this.cutChars = 0;
    if (mode === 0) this.pieces = this.slice(0, this.column);
    else if (mode === 2) this.pieces = [];
    else if (mode === 1) this.pieces = [[" ".repeat(this.column), null], ...this.slice(this.column, this.length)];
    this.length = this.pieces.reduce((sum, [text]) => sum + text.length, 0);
    if (this.column > this.length) this.add(" ".repeat(this.column - this.length), null);
  }

  get text() {
    return this.pieces.map(([text]) => text).join("");
  }
}

/** Parses one stream; chunks may end anywhere, even within an escape sequence. */
class StreamParser {
  constructor(lines, name) {
    this.lines = lines;
    this.name = name;
    this.held = "";
    this.style = new Style();
    this.line = null;
  }

  feed(chunk) {
    let text = this.held + chunk;
    this.held = "";
    const unfinished = UNFINISHED.exec(text.slice(-MAX_ESCAPE_CHARS));
    if (unfinished) {
      this.held = unfinished[0];
      text = text.slice(0, text.length - this.held.length);
    }
    let end = 0;
    for (const match of text.matchAll(ESCAPES)) {
      if (match.index > end) this.write(text.slice(end, match.index));
      end = match.index + match[0].length;
      if (match[1] !== undefined) this.style.apply(match[1]);
      else if (match[3] === "K") this.currentLine().erase(Number(match[2] || 0));
      else if (match[4]) this.moveCursor(match[4]);
    }
    if (end < text.length) this.write(text.slice(end));
  }

  currentLine() {
    if (this.line === null) this.line = this.lines.addLine(this.name);
    return this.line;
  }

  write(text) {
    this.currentLine().write(text, this.style.value);
  }

  moveCursor(character) {
    const line = this.currentLine();
    if (character === "\n") this.line = null;
    else if (character === "\r") line.column = 0;
    else line.column = Math.max(0, line.column - 1);
  }
}

/** The lines of a log: the last `limit`, and the number of `dropped` ones. */
export class LogLines {
  constructor(limit = 100000) {
    this.limit = limit;
    this.clear();
  }

  clear() {
    this.lines = [];
    this.dropped = 0;
    this.parsers = new Map();
  }

  /** Add a chunk of a stream. */
  feed(stream, text) {
    if (!this.parsers.has(stream)) this.parsers.set(stream, new StreamParser(this, stream));
    this.parsers.get(stream).feed(text);
    if (this.lines.length > this.limit * 1.1) {
      const excess = this.lines.length - this.limit;
      this.lines.splice(0, excess);
      this.dropped += excess;
    }
  }

  addLine(stream) {
    const line = new Line(stream);
    this.lines.push(line);
    return line;
  }
}

/** Show a line in an element. */
export function showLine(node, line) {
  const spans = line.pieces.map(([text, style]) => {
    if (style === null) return document.createTextNode(text);
    const span = el("span", { class: style.classes, text });
    if (style.foreground) span.style.color = style.foreground;
    if (style.background) span.style.backgroundColor = style.background;
    return span;
  });
  if (line.cutChars) spans.push(el("span", { class: "qc-note", text: ` … ${line.cutChars} more characters` }));
  node.replaceChildren(...spans);
}
