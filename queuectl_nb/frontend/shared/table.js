// A table of any number of rows: only the rows in view are loaded and rendered.

import { showCell } from "./cells.js";
import { el, setAttributes, setText } from "./dom.js";
import { Selection } from "./selection.js";
import { TableHeader } from "./table_header.js";
import { VirtualScroll } from "./virtual_scroll.js";

const ROW_HEIGHT = 28; // CSS pixels; .qc-row has the same
const OVERSCAN_ROWS = 12;
const CHAR_PX = 7.3; // mean width of a character in the widest of the usual fonts
const PADDING_PX = 17;
const MAX_NAME_SHARE = 0.28; // of the width, for ids and queues
const FLEXIBLE_SHARE = 0.5; // of the width, kept for columns of flexible width unless they need less
let tableCount = 0;

/**
 * A table that fills `root`.
 *
 * `columns`: `{field, title, kind, width, drop, sort}`; `kind` as in cells.js; `width` a CSS grid width for columns that take the
 * remaining room, otherwise the column is as wide as its longest text so far; columns with `drop` are hidden, the lowest first,
 * while those that take the remaining room have too little; `sort: false` for columns that cannot be sorted. Callbacks: `onWindow({first, count, top})` when other rows come into view (`top`: the
 * table is scrolled to its start), `onSort(field, reverse)`, `onSelect(keys, active)`, and `onOpen(key)` for Enter or a
 * double click. The owner answers with `update`.
 *
 * Keyboard: arrows, Page Up, Page Down, Home and End move; Space selects, Shift extends, Control-A selects all loaded
 * rows, Escape clears the selection, Enter opens.
 */
export class VirtualTable {
  constructor(root, { columns, label = "Jobs", multiple = true, onWindow, onSort, onSelect = () => {}, onOpen = () => {} }) {
    tableCount += 1;
    this.name = `qc-table-${tableCount}`;
    this.columns = columns;
    this.callbacks = { onWindow, onSort, onSelect, onOpen };
    this.scroll = new VirtualScroll(ROW_HEIGHT);
    this.selection = new Selection(() => this.onSelectionChange(), multiple);
    this.rows = new Map(); // by key
    this.order = new Map(); // key by index
    this.nodes = new Map(); // by key, of rows that are not loaded by index
    this.requested = { first: 0, count: 0, top: true };
    this.lengths = columns.map(({ title, sort }) => title.length + (sort === false ? 1 : 2)); // of the longest texts; with the sort mark
    this.hidden = columns.map(() => false);
    this.dropped = [...columns.keys()].filter((position) => columns[position].drop).sort((left, right) => columns[left].drop - columns[right].drop);
    this.omitted = [];
    this.width = 0;
    this.running = {};
    this.createElements(root, label);
  }

  createElements(root, label) {
    this.root = root;
    this.header = new TableHeader(this.columns, this.callbacks.onSort);
    this.body = el("div", { class: "qc-tbody", role: "rowgroup" });
    this.empty = el("div", { class: "qc-table-empty" });
    root.classList.add("qc-table");
    setAttributes(root, {
      role: "grid",
      tabindex: 0,
      "aria-label": label,
      "aria-multiselectable": this.selection.multiple,
      "aria-colcount": this.columns.length,
      "data-lm-suppress-shortcuts": true,
    });
    root.replaceChildren(el("div", { role: "rowgroup", class: "qc-thead-group" }, this.header.row), this.body, this.empty);
    root.addEventListener("scroll", () => this.onScroll(), { passive: true });
    root.addEventListener("wheel", (event) => this.onWheel(event), { passive: false });
    root.addEventListener("keydown", (event) => this.onKeyDown(event));
    this.body.addEventListener("pointerdown", (event) => this.onPress(event));
    this.body.addEventListener("pointercancel", () => {
      this.pressed = undefined; // it was the start of a scroll
    });
    this.body.addEventListener("click", (event) => this.onClick(event));
    this.body.addEventListener("dblclick", (event) => this.withRow(event, (index) => this.open(index)));
    this.observer = new ResizeObserver(() => this.onResize());
    this.observer.observe(root);
  }

  /**
   * Update the table: `total`, the `first` index and the `keys` of the window, `rows` that are new or changed as
   * `[key, object]` pairs, `sort` as `{field, reverse}`, `top` to scroll to the start, `empty` as the text for no rows.
   * Omitted values stay as they are.
   */
  update({ total, first, keys, rows = [], sort, top = false, empty }) {
    if (top) {
      this.scroll.position = 0;
      this.selection.resetActive();
    }
    if (sort) this.header.show(sort);
    if (empty !== undefined) setText(this.empty, empty);
    for (const [key, row] of rows) this.rows.set(key, row);
    if (keys) {
      this.order = new Map(keys.map((key, index) => [first + index, key]));
      this.dropRows(keys);
    }
    if (total !== undefined) {
      this.scroll.resize(total, this.scroll.viewHeight);
      setAttributes(this.root, { "aria-rowcount": total + 1 });
      this.body.style.height = `${this.scroll.height}px`;
      this.empty.hidden = total > 0;
    }
    if (top || total !== undefined) this.syncScroll(top);
    const selected = this.selection.relocate(this.order);
    this.draw();
    if (selected) this.callbacks.onSelect([...this.selection.keys], this.selection.active);
  }

  /** Drop all rows but those of the window and the selected ones. */
  dropRows(keys) {
    const kept = new Set([...keys, ...this.selection.keys]);
    for (const key of this.rows.keys()) if (!kept.has(key)) this.rows.delete(key);
  }

  /** Show what running jobs report, by id; the column is hidden while no job has reported anything. */
  showLive(jobs) {
    const position = this.columns.findIndex(({ kind }) => kind === "live");
    this.columns[position].jobs = jobs;
    for (const node of this.nodes.values()) this.showCell(node, position, node.shown ?? undefined);
    this.running = jobs;
    this.setWidths();
  }

  /** Omit the columns of these fields. */
  omit(fields) {
    this.omitted = fields;
    this.onResize();
  }

  viewHeight() {
    return Math.max(0, this.root.clientHeight - this.header.row.offsetHeight);
  }

  onResize() {
    this.width = this.root.clientWidth;
    this.setWidths();
    this.scroll.resize(this.scroll.total, this.viewHeight());
    this.syncScroll(true);
    this.draw();
  }

  hideCells(row) {
    this.hidden.forEach((hidden, position) => {
      row.children[position].hidden = hidden;
    });
  }

  /** Hide columns that do not fit, and set the widths of the others. */
  setWidths() {
    const fitted = this.columns.map(({ kind }, position) => {
      const width = Math.ceil(this.lengths[position] * CHAR_PX + PADDING_PX);
      return kind === "mono" || kind === "text" ? Math.min(width, Math.floor(this.width * MAX_NAME_SHARE)) : width;
    });
    const reported = Object.keys(this.running).length > 0 || [...this.rows.values()].some(({ values }) => values?.length);
    const hidden = this.columns.map(({ field, kind }) => this.omitted.includes(field) || (kind === "live" && !reported));
    const sum = (flexible) => fitted.reduce((total, width, position) => total + (hidden[position] || Boolean(this.columns[position].width) !== flexible ? 0 : width), 0);
    const wanted = Math.min(sum(true), this.width * FLEXIBLE_SHARE);
    for (const position of this.dropped) {
      if (this.width - sum(false) >= wanted) break;
      hidden[position] = true;
    }
    if (String(hidden) !== String(this.hidden)) {
      this.hidden = hidden;
      for (const row of [this.header.row, ...this.nodes.values()]) this.hideCells(row);
    }
    const widths = this.columns.map(({ width }, position) => width ?? `${fitted[position]}px`);
    const text = widths.filter((_, position) => !hidden[position]).join(" ");
    if (text !== this.root.style.getPropertyValue("--qc-columns")) this.root.style.setProperty("--qc-columns", text);
  }

  onScroll() {
    if (Math.abs(this.root.scrollTop - this.syncedTop) > 1) {
      this.scroll.fromScroll(this.root.scrollTop);
      this.syncedTop = this.root.scrollTop;
      this.draw();
    }
  }

  onWheel(event) {
    if (!this.scroll.scaled || event.ctrlKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) return;
    const before = this.scroll.position;
    this.scroll.moveBy(event.deltaMode === 1 ? event.deltaY * ROW_HEIGHT : event.deltaY);
    if (this.scroll.position === before) return; // at the end: let the page scroll
    event.preventDefault();
    this.syncScroll();
    this.draw();
  }

  /** Scroll the element to the position. To read its offset costs a layout, so only if it has to move, or with `always`. */
  syncScroll(always = false) {
    const top = this.scroll.toScroll();
    if (!always && Math.abs(this.syncedTop - top) <= 0.5) return;
    if (Math.abs(this.root.scrollTop - top) > 0.5) this.root.scrollTop = top;
    this.syncedTop = this.root.scrollTop;
  }

  draw() {
    const range = this.scroll.range(OVERSCAN_ROWS);
    this.request(range);
    const end = range.first + range.count;
    const ids = new Map(); // of the nodes to show, by index
    for (let index = range.first; index < end; index += 1) ids.set(index, this.order.get(index) ?? `index ${index}`);
    const shown = new Set(ids.values());
    const spare = [...this.nodes].filter(([id]) => !shown.has(id));
    for (const [id] of spare) this.nodes.delete(id);
    for (const [index, id] of ids) {
      if (!this.nodes.has(id)) this.nodes.set(id, spare.length ? spare.pop()[1] : this.createRow());
      this.drawRow(index, this.nodes.get(id));
    }
    for (const [, node] of spare) node.remove();
    this.setWidths();
    const active = this.nodes.get(ids.get(this.selection.index));
    setAttributes(this.root, { "aria-activedescendant": active ? active.id : null });
    this.tick();
  }

  request({ first, count }) {
    const top = this.scroll.position < 1;
    if (first === this.requested.first && count === this.requested.count && top === this.requested.top) return;
    this.requested = { first, count, top };
    this.callbacks.onWindow(this.requested);
  }

  createRow() {
    const cells = this.columns.map((column, position) =>
      el("div", { role: "gridcell", class: `qc-td qc-kind-${column.kind}`, "aria-colindex": position + 1 }),
    );
    this.rowCount = (this.rowCount ?? 0) + 1;
    const node = el("div", { role: "row", class: "qc-row", id: `${this.name}-${this.rowCount}` }, ...cells);
    this.hideCells(node);
    node.shown = null; // differs from a row and from undefined
    this.body.append(node);
    return node;
  }

  showCell(node, position, row) {
    const length = showCell(node.children[position], this.columns[position], row);
    this.lengths[position] = Math.max(this.lengths[position], length);
  }

  /** Show the row of an index in `node`. A row keeps its node when others are added above it, so that only it moves. */
  drawRow(index, node) {
    const key = this.order.get(index);
    const row = key === undefined ? undefined : this.rows.get(key);
    const transform = `translateY(${this.scroll.topOf(index)}px)`;
    if (node.style.transform !== transform) node.style.transform = transform;
    if (node.shown !== row) {
      this.columns.forEach((_, position) => this.showCell(node, position, row));
      node.classList.toggle("qc-loading", row === undefined);
      node.shown = row;
    }
    node.classList.toggle("qc-odd", (this.scroll.total - index) % 2 === 1); // counted from the end, as rows are added at the start
    node.classList.toggle("qc-active", index === this.selection.index);
    setAttributes(node, { "aria-rowindex": index + 2, "aria-selected": key !== undefined && this.selection.has(key) });
  }

  /** Whether the rows are no longer updated: the run times stop, since nobody knows whether the jobs still run. */
  setStale(stale) {
    this.stale = stale;
    this.tick();
  }

  /** Update the run time of running jobs every second. */
  tick() {
    const running = [...this.nodes.values()].some((node) => node.shown && node.shown.state === "processing");
    if (!running || this.ticking || this.stale) return;
    this.ticking = setTimeout(() => {
      this.ticking = null;
      if (this.stale) return;
      for (const node of this.nodes.values()) {
        if (!node.shown || node.shown.state !== "processing") continue;
        this.columns.forEach((column, position) => {
          if (column.kind === "duration") showCell(node.children[position], column, node.shown);
        });
      }
      this.tick();
    }, 1000);
  }

  // ---------------------------------------------------------------- selection

  withRow(event, action) {
    const node = event.target.closest(".qc-row");
    if (node) action(Number(node.getAttribute("aria-rowindex")) - 2);
  }

  onPress(event) {
    this.pressed = undefined;
    this.withRow(event, (index) => {
      this.pressed = this.order.get(index);
    });
  }

  /** Select the row that was pressed, even if it has moved since; that of the event if none was, as by a screen reader. */
  onClick(event) {
    const pressed = [...this.order].find(([, key]) => key === this.pressed);
    this.pressed = undefined;
    if (pressed) this.selection.click(pressed[0], this.order, event);
    else this.withRow(event, (index) => this.selection.click(index, this.order, event));
  }

  open(index) {
    const key = this.order.get(index);
    if (key !== undefined) this.callbacks.onOpen(key);
  }

  onKeyDown(event) {
    if (event.target !== this.root || event.altKey) return;
    if (!this.selection.onKey(event, this.order, this.scroll)) {
      if (event.key !== "Enter" || this.selection.index === null) return;
      this.open(this.selection.index);
    }
    event.preventDefault();
    event.stopPropagation();
  }

  onSelectionChange() {
    if (this.selection.index !== null) {
      this.scroll.reveal(this.selection.index);
      this.syncScroll();
    }
    this.draw();
    this.callbacks.onSelect([...this.selection.keys], this.selection.active);
  }

  close() {
    clearTimeout(this.ticking);
    this.observer.disconnect();
  }
}
