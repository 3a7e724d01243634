// Selected rows of a table and the active row of the keyboard. Rows are identified by key, because they move.

/** A selection; `onChange()` is called after each change by the user. */
export class Selection {
  constructor(onChange, multiple = true) {
    this.onChange = onChange;
    this.multiple = multiple; // false: one row at a time
    this.keys = new Set();
    this.active = null; // key of the active row
    this.index = null; // its index, null outside the window
    this.anchor = null;
  }

  has(key) {
    return this.keys.has(key);
  }

  /** Forget the active row, for another order; keep the selection. */
  resetActive() {
    this.index = null;
    this.anchor = null;
  }

  /** Find the active row in a new window; return whether this selected a row that had to be loaded first. */
  relocate(order) {
    if (this.active === null) {
      if (this.index === null || !order.has(this.index)) return false;
      this.active = order.get(this.index);
      this.keys = new Set([this.active]);
      return true;
    }
    if (this.index !== null && order.get(this.index) === this.active) return false;
    for (const [index, key] of order) {
      if (key !== this.active) continue;
      this.index = index;
      return false;
    }
    if (order.has(this.index)) this.index = null; // it has moved
    return false;
  }

  click(index, order, { shiftKey, ctrlKey, metaKey }) {
    const key = order.get(index);
    if (key === undefined) return;
    if (!this.multiple) this.keys = new Set([key]);
    else if (shiftKey) this.extend(index, order);
    else if (ctrlKey || metaKey) this.toggle(key);
    else this.keys = new Set([key]);
    this.activate(index, key, shiftKey);
  }

  /** Handle a key press; return whether it was a known key. */
  onKey(event, order, scroll) {
    const page = Math.max(1, Math.floor(scroll.visibleRows) - 1);
    const from = this.index ?? Math.floor(scroll.position) - 1;
    const moves = { ArrowDown: from + 1, ArrowUp: this.index === null ? 0 : from - 1, PageDown: from + page,
      PageUp: from - page, Home: 0, End: scroll.total - 1 }; // prettier-ignore
    if (event.key in moves && scroll.total > 0) {
      const index = Math.max(0, Math.min(scroll.total - 1, moves[event.key]));
      if (event.shiftKey && this.multiple) this.extend(index, order);
      else if (order.has(index) && !event.ctrlKey) this.keys = new Set([order.get(index)]);
      this.activate(index, order.get(index) ?? null, event.shiftKey);
    } else if (event.key === " " && this.active !== null) {
      this.toggle(this.active);
      this.onChange();
    } else if (this.multiple && event.key.toLowerCase() === "a" && (event.ctrlKey || event.metaKey)) {
      this.keys = new Set(order.values());
      this.onChange();
    } else if (event.key === "Escape" && this.keys.size) {
      this.keys.clear();
      this.onChange();
    } else return false;
    return true;
  }

  activate(index, key, keepAnchor) {
    this.index = index;
    this.active = key;
    if (!keepAnchor) this.anchor = index;
    this.onChange();
  }

  extend(index, order) {
    const from = this.anchor ?? this.index ?? index;
    this.anchor = from;
    this.keys = new Set();
    for (let each = Math.min(from, index); each <= Math.max(from, index); each += 1) {
      if (order.has(each)) this.keys.add(order.get(each));
    }
  }

  toggle(key) {
    if (!this.keys.delete(key)) this.keys.add(key);
  }
}
