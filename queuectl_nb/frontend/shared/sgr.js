// What SGR sequences say, those that end with m: the colours and marks of the text behind them.

const MARKS = { 1: "bold", 2: "dim", 3: "italic", 4: "under", 7: "inverse", 9: "struck" };
const MARK_ENDS = { 22: [1, 2], 23: [3], 24: [4], 27: [7], 29: [9] };

/** Return the colour of the 256-colour palette: a class name for the first 16, else a CSS colour. */
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

/** The colours and marks in force; `value` is null for plain text, and one object for as long as nothing changes. */
export class Style {
  constructor() {
    this.clear();
  }

  clear() {
    this.marks = new Set();
    this.fore = null;
    this.back = null;
    this.value = null;
  }

  /** Follow one SGR sequence: its parameters as they stand between CSI and m. */
  follow(parameters) {
    const numbers = parameters.split(/[;:]/).map((part) => (part === "" ? 0 : Number(part)));
    for (let place = 0; place < numbers.length; place += 1) {
      const number = numbers[place];
      if (number === 38 || number === 48) {
        const kind = numbers[place + 1];
        let colour = null;
        if (kind === 5) colour = paletteColour(numbers[place + 2]);
        else if (kind === 2) {
          // 38:2::r:g:b has an empty colour space, read as 0, before its colours
          const skip = parameters.includes(":") && numbers.length - place >= 6 ? 1 : 0;
          const rgb = numbers.slice(place + 2 + skip, place + 5 + skip);
          if (rgb.length === 3 && rgb.every((each) => each <= 255)) colour = `rgb(${rgb.join(", ")})`;
          place += skip;
        }
        if (number === 38) this.fore = colour;
        else this.back = colour;
        place += kind === 5 ? 2 : kind === 2 ? 4 : 0;
      } else this.followSimple(number);
    }
    this.value = this.make();
  }

  followSimple(number) {
    if (number === 0) this.clear();
    else if (MARKS[number]) this.marks.add(number);
    else if (MARK_ENDS[number]) MARK_ENDS[number].forEach((mark) => this.marks.delete(mark));
    else if (number >= 30 && number <= 37) this.fore = number - 30;
    else if (number >= 90 && number <= 97) this.fore = number - 82;
    else if (number >= 40 && number <= 47) this.back = number - 40;
    else if (number >= 100 && number <= 107) this.back = number - 92;
    else if (number === 39) this.fore = null;
    else if (number === 49) this.back = null;
  }

  make() {
    if (!this.marks.size && this.fore === null && this.back === null) return null;
    const names = [...this.marks].map((mark) => `qc-${MARKS[mark]}`);
    if (typeof this.fore === "number") names.push(`qc-fg${this.fore}`);
    if (typeof this.back === "number") names.push(`qc-bg${this.back}`);
    return {
      names: names.join(" "),
      fore: typeof this.fore === "string" ? this.fore : null,
      back: typeof this.back === "string" ? this.back : null,
    };
  }
}
