// Maps scroll positions to rows, for more rows than a browser can scroll: pure arithmetic, no elements.

const MAX_HEIGHT = 8000000; // CSS pixels; browsers lose precision well above

/**
 * While all rows fit, each has a fixed offset. Beyond that the scroll bar is only proportional, and `position` (the first
 * row in view, with a fraction) decides.
 */
export class VirtualScroll {
  constructor(rowHeight) {
    this.rowHeight = rowHeight;
    this.total = 0;
    this.viewHeight = 0;
    this.position = 0;
  }

  /** Set the number of rows and the height of the view in pixels. */
  resize(total, viewHeight) {
    this.total = total;
    this.viewHeight = viewHeight;
    this.position = Math.min(this.position, this.maxPosition);
  }

  get height() {
    return Math.min(this.total * this.rowHeight, MAX_HEIGHT);
  }

  get scaled() {
    return this.total * this.rowHeight > MAX_HEIGHT;
  }

  /** Rows that fit into the view, with a fraction. */
  get visibleRows() {
    return this.viewHeight / this.rowHeight;
  }

  /** The position at which the last row is at the bottom. */
  get maxPosition() {
    return Math.max(0, this.total - this.visibleRows);
  }

  /** Set the position from the scroll offset of the browser. */
  fromScroll(top) {
    const range = this.height - this.viewHeight;
    if (!this.scaled) this.position = top / this.rowHeight;
    else this.position = range > 0 ? (top / range) * this.maxPosition : 0;
    this.position = Math.max(0, Math.min(this.position, this.maxPosition));
    return this.position;
  }

  /** Return the scroll offset for the position. */
  toScroll() {
    if (!this.scaled) return this.position * this.rowHeight;
    return this.maxPosition > 0 ? (this.position / this.maxPosition) * (this.height - this.viewHeight) : 0;
  }

  /** Move by pixels. */
  moveBy(pixels) {
    this.position = Math.max(0, Math.min(this.maxPosition, this.position + pixels / this.rowHeight));
  }

  /** Scroll a row into view, by as little as possible. */
  reveal(row) {
    if (row < this.position) this.position = row;
    else if (row + 1 > this.position + this.visibleRows) this.position = row + 1 - this.visibleRows;
    this.position = Math.max(0, Math.min(this.position, this.maxPosition));
  }

  /** Return the offset of a row in pixels, while the browser is scrolled to `toScroll()`. */
  topOf(row) {
    return this.toScroll() + (row - this.position) * this.rowHeight;
  }

  /** Return the rows to render: those in view and `overscan` on either side. */
  range(overscan) {
    const first = Math.max(0, Math.floor(this.position) - overscan);
    const end = Math.min(this.total, Math.ceil(this.position + this.visibleRows) + overscan);
    return { first, count: Math.max(0, end - first) };
  }
}
