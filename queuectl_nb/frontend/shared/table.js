// A table of any number of rows: a few dozen elements show the window in view, the rest stays where the jobs are.

import { showCell } from "./cells.js";
import { el, setAttributes, setText } from "./dom.js";
import { Heads } from "./heads.js";
import { RowSpace } from "./rowspace.js";
import { Selection } from "./selection.js";

const ROW_HEIGHT = 28; // CSS pixels; .qc-row has the same
const ROWS_AROUND = 12;
let tablesMade = 0;

/**
 * A table in `root`, which it fills.
 *
 * `columns`: `{field, title, kind, width, sort}`; `kind` as in cells.js, `width` a CSS grid width, `sort` false where
 * it cannot be sorted by. The owner is told `onWindow({first, count, top})` when other rows come into view (`top`: the
 * reader is at the beginning), `onSort(field, reverse)`, `onSelect(keys, active)` and `onOpen(key)` (Enter or a double
 * click), and answers with `update`.
 *
 * Keyboard, on the table: arrows, Page Up and Down, Home, End; Space chooses, Shift and an arrow extend, Control and A
 * choose all rows at hand, Escape none; Enter opens.
 */
export class VirtualTable {
  constructor(root, { columns, label = "Jobs", multiple = true, onWindow, onSort, onSelect = () => {}, onOpen = () => {} }) {
    tablesMade += 1;
    this.name = `qc-table-${tablesMade}`;
    this.columns = columns;
    this.tell = { onWindow, onSort, onSelect, onOpen };
    this.space = new RowSpace(ROW_HEIGHT);
    this.selection = new Selection(() => this.chosen(), multiple);
    this.rows = new Map(); // by key
    this.order = new Map(); // key by place
    this.nodes = new Map(); // by place
    this.asked = { first: 0, count: 0, top: true };
    this.build(root, label);
  }

  build(root, label) {
    this.root = root;
    this.heads = new Heads(this.columns, this.tell.onSort);
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
    root.style.setProperty("--qc-columns", this.columns.map(({ width }) => width || "1fr").join(" "));
    root.replaceChildren(el("div", { role: "rowgroup", class: "qc-thead-group" }, this.heads.row), this.body, this.empty);
    root.addEventListener("scroll", () => this.scrolled(), { passive: true });
    root.addEventListener("wheel", (event) => this.wheeled(event), { passive: false });
    root.addEventListener("keydown", (event) => this.pressed(event));
    this.body.addEventListener("click", (event) => this.clicked(event));
    this.body.addEventListener("dblclick", (event) => this.at(event, (place) => this.open(place)));
    this.observer = new ResizeObserver(() => this.resized());
    this.observer.observe(root);
  }

  /**
   * Take what the owner knows: `total`, the window's `first` place and its `keys` in order, `rows` as `[key, object]`
   * pairs of those that are new or changed, `sort` as `{field, reverse}`, `top` to go to the beginning, `empty` as the
   * text for no rows. What is left out stays.
   */
  update({ total, first, keys, rows = [], sort, top = false, empty }) {
    if (top) {
      this.space.position = 0;
      this.selection.leave();
    }
    if (sort) this.heads.show(sort);
    if (empty !== undefined) setText(this.empty, empty);
    const changed = new Set(rows.map(([key]) => key));
    for (const [key, row] of rows) this.rows.set(key, row);
    if (keys) {
      this.order = new Map(keys.map((key, place) => [first + place, key]));
      this.forget(keys);
    }
    if (total !== undefined) {
      this.space.resize(total, this.viewHeight());
      setAttributes(this.root, { "aria-rowcount": total + 1 });
      this.body.style.height = `${this.space.height}px`;
      this.empty.hidden = total > 0;
    }
    if (top || total !== undefined) this.placeScroll();
    const fetched = this.selection.follow(this.order);
    this.draw(changed);
    if (fetched) this.tell.onSelect([...this.selection.keys], this.selection.active);
  }

  /** Keep the rows of the window and those chosen: what scrolled away is asked for again. */
  forget(keys) {
    const kept = new Set([...keys, ...this.selection.keys]);
    for (const key of this.rows.keys()) if (!kept.has(key)) this.rows.delete(key);
  }

  viewHeight() {
    return Math.max(0, this.root.clientHeight - this.heads.row.offsetHeight);
  }

  resized() {
    this.space.resize(this.space.total, this.viewHeight());
    this.placeScroll();
    this.draw();
  }

  scrolled() {
    if (Math.abs(this.root.scrollTop - this.placed) > 1) {
      this.space.fromScroll(this.root.scrollTop);
      this.placed = this.root.scrollTop;
      this.draw();
    }
  }

  wheeled(event) {
    if (!this.space.scaled || event.ctrlKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) return;
    const before = this.space.position;
    this.space.moveBy(event.deltaMode === 1 ? event.deltaY * ROW_HEIGHT : event.deltaY);
    if (this.space.position === before) return; // at an end: the page scrolls on
    event.preventDefault();
    this.placeScroll();
    this.draw();
  }

  placeScroll() {
    const top = this.space.toScroll();
    if (Math.abs(this.root.scrollTop - top) > 0.5) this.root.scrollTop = top;
    this.placed = this.root.scrollTop;
  }

  draw(changed = null) {
    const range = this.space.range(ROWS_AROUND);
    this.ask(range);
    for (const [place, node] of this.nodes) {
      if (place >= range.first && place < range.first + range.count) continue;
      node.remove();
      this.nodes.delete(place);
    }
    for (let place = range.first; place < range.first + range.count; place += 1) this.drawRow(place, changed);
    const active = this.selection.place === null ? null : this.nodes.get(this.selection.place);
    setAttributes(this.root, { "aria-activedescendant": active ? active.id : null });
    this.tick();
  }

  ask({ first, count }) {
    const top = this.space.position < 1;
    if (first === this.asked.first && count === this.asked.count && top === this.asked.top) return;
    this.asked = { first, count, top };
    this.tell.onWindow(this.asked);
  }

  drawRow(place, changed) {
    const key = this.order.get(place);
    const row = key === undefined ? undefined : this.rows.get(key);
    let node = this.nodes.get(place);
    if (!node) {
      const cells = this.columns.map((column, at) =>
        el("div", { role: "gridcell", class: `qc-td qc-kind-${column.kind}`, "aria-colindex": at + 1 }),
      );
      node = el("div", { role: "row", class: "qc-row", id: `${this.name}-${place}`, "aria-rowindex": place + 2 }, ...cells);
      node.shown = null; // neither a row nor the want of one
      this.nodes.set(place, node);
      this.body.append(node);
    }
    node.style.transform = `translateY(${this.space.topOf(place)}px)`;
    if (node.shown !== row || (changed && changed.has(key))) {
      this.columns.forEach((column, at) => showCell(node.children[at], column, row));
      node.classList.toggle("qc-changed", Boolean(changed && changed.has(key) && node.key === key));
      node.classList.toggle("qc-loading", row === undefined);
      node.shown = row;
      node.key = key;
    }
    node.classList.toggle("qc-odd", place % 2 === 1);
    node.classList.toggle("qc-active", place === this.selection.place);
    setAttributes(node, { "aria-selected": key !== undefined && this.selection.has(key) });
  }

  /** Durations of what runs go on while nothing is sent. */
  tick() {
    const running = [...this.nodes.values()].some((node) => node.shown && node.shown.state === "processing");
    if (!running || this.ticking) return;
    this.ticking = setTimeout(() => {
      this.ticking = null;
      for (const node of this.nodes.values()) {
        if (!node.shown || node.shown.state !== "processing") continue;
        this.columns.forEach((column, at) => {
          if (column.kind === "duration") showCell(node.children[at], column, node.shown);
        });
      }
      this.tick();
    }, 1000);
  }

  // ---------------------------------------------------------------- choosing

  at(event, act) {
    const node = event.target.closest(".qc-row");
    if (node) act(Number(node.getAttribute("aria-rowindex")) - 2);
  }

  clicked(event) {
    this.at(event, (place) => this.selection.click(place, this.order, event));
  }

  open(place) {
    const key = this.order.get(place);
    if (key !== undefined) this.tell.onOpen(key);
  }

  pressed(event) {
    if (event.target !== this.root || event.altKey) return;
    if (!this.selection.press(event, this.order, this.space)) {
      if (event.key !== "Enter" || this.selection.place === null) return;
      this.open(this.selection.place);
    }
    event.preventDefault();
    event.stopPropagation();
  }

  chosen() {
    if (this.selection.place !== null) {
      this.space.reveal(this.selection.place);
      this.placeScroll();
    }
    this.draw();
    this.tell.onSelect([...this.selection.keys], this.selection.active);
  }

  close() {
    clearTimeout(this.ticking);
    this.observer.disconnect();
  }
}
