// Which rows of a table are chosen, and which one the keyboard is on; rows are known by their keys, wherever they move.

/** The choice; `changed()` is called after each change of the reader's. */
export class Selection {
  constructor(changed, multiple = true) {
    this.changed = changed;
    this.multiple = multiple; // or one row at a time
    this.keys = new Set();
    this.active = null; // the key of the row the keyboard is on
    this.place = null; // and where it is, null outside the window
    this.anchor = null;
  }

  has(key) {
    return this.keys.has(key);
  }

  /** Forget where the keyboard was: another order is shown. What was chosen stays chosen. */
  leave() {
    this.place = null;
    this.anchor = null;
  }

  /** Find the active row again in a window; return whether one was chosen that had to be fetched first. */
  follow(order) {
    if (this.active === null) {
      if (this.place === null || !order.has(this.place)) return false;
      this.active = order.get(this.place);
      this.keys = new Set([this.active]);
      return true;
    }
    if (this.place !== null && order.get(this.place) === this.active) return false;
    for (const [place, key] of order) {
      if (key !== this.active) continue;
      this.place = place;
      return false;
    }
    if (order.has(this.place)) this.place = null; // it is elsewhere now
    return false;
  }

  click(place, order, { shiftKey, ctrlKey, metaKey }) {
    const key = order.get(place);
    if (key === undefined) return;
    if (!this.multiple) this.keys = new Set([key]);
    else if (shiftKey) this.extend(place, order);
    else if (ctrlKey || metaKey) this.toggle(key);
    else this.keys = new Set([key]);
    this.go(place, key, shiftKey);
  }

  /** Carry out a key press; return whether it was one of ours. */
  press(event, order, space) {
    const page = Math.max(1, Math.floor(space.fits) - 1);
    const from = this.place ?? Math.floor(space.position) - 1;
    const moves = { ArrowDown: from + 1, ArrowUp: this.place === null ? 0 : from - 1, PageDown: from + page,
      PageUp: from - page, Home: 0, End: space.total - 1 }; // prettier-ignore
    if (event.key in moves && space.total > 0) {
      const place = Math.max(0, Math.min(space.total - 1, moves[event.key]));
      if (event.shiftKey && this.multiple) this.extend(place, order);
      else if (order.has(place) && !event.ctrlKey) this.keys = new Set([order.get(place)]);
      this.go(place, order.get(place) ?? null, event.shiftKey);
    } else if (event.key === " " && this.active !== null) {
      this.toggle(this.active);
      this.changed();
    } else if (this.multiple && event.key.toLowerCase() === "a" && (event.ctrlKey || event.metaKey)) {
      this.keys = new Set(order.values());
      this.changed();
    } else if (event.key === "Escape" && this.keys.size) {
      this.keys.clear();
      this.changed();
    } else return false;
    return true;
  }

  go(place, key, keepAnchor) {
    this.place = place;
    this.active = key;
    if (!keepAnchor) this.anchor = place;
    this.changed();
  }

  extend(place, order) {
    const from = this.anchor ?? this.place ?? place;
    this.anchor = from;
    this.keys = new Set();
    for (let each = Math.min(from, place); each <= Math.max(from, place); each += 1) {
      if (order.has(each)) this.keys.add(order.get(each));
    }
  }

  toggle(key) {
    if (!this.keys.delete(key)) this.keys.add(key);
  }
}
