// Where a million rows lie in a space that a browser can scroll: pure arithmetic, no elements.

const TALLEST = 8000000; // CSS pixels; browsers lose precision, or refuse, well above

/**
 * The mapping between scroll positions and rows. While all rows fit, a row has its place; beyond that the scroll bar
 * is a proportion, and `position` (in rows, with fractions) is the truth.
 */
export class RowSpace {
  constructor(rowHeight) {
    this.rowHeight = rowHeight;
    this.total = 0;
    this.view = 0;
    this.position = 0;
  }

  /** Set how many rows there are and how high the window is, in pixels. */
  resize(total, view) {
    this.total = total;
    this.view = view;
    this.position = Math.min(this.position, this.last);
  }

  get height() {
    return Math.min(this.total * this.rowHeight, TALLEST);
  }

  get scaled() {
    return this.total * this.rowHeight > TALLEST;
  }

  /** Rows that fit into the window, with fractions. */
  get fits() {
    return this.view / this.rowHeight;
  }

  /** The position at which the last row is at the bottom. */
  get last() {
    return Math.max(0, this.total - this.fits);
  }

  /** Take a scroll position of the browser. */
  fromScroll(top) {
    const room = this.height - this.view;
    if (!this.scaled) this.position = top / this.rowHeight;
    else this.position = room > 0 ? (top / room) * this.last : 0;
    this.position = Math.max(0, Math.min(this.position, this.last));
    return this.position;
  }

  /** Return the scroll position that belongs to the present one. */
  toScroll() {
    if (!this.scaled) return this.position * this.rowHeight;
    return this.last > 0 ? (this.position / this.last) * (this.height - this.view) : 0;
  }

  /** Move by pixels, as a wheel does. */
  moveBy(pixels) {
    this.position = Math.max(0, Math.min(this.last, this.position + pixels / this.rowHeight));
  }

  /** Move as little as brings a row wholly into view. */
  reveal(row) {
    if (row < this.position) this.position = row;
    else if (row + 1 > this.position + this.fits) this.position = row + 1 - this.fits;
    this.position = Math.max(0, Math.min(this.position, this.last));
  }

  /** Where a row lies, in pixels from the top of the scrolled space, when the browser is at `toScroll()`. */
  topOf(row) {
    return this.toScroll() + (row - this.position) * this.rowHeight;
  }

  /** The rows to have at hand: those in view and `around` on either side. */
  range(around) {
    const first = Math.max(0, Math.floor(this.position) - around);
    const end = Math.min(this.total, Math.ceil(this.position + this.fits) + around);
    return { first, count: Math.max(0, end - first) };
  }
}
