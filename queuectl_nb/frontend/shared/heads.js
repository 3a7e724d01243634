// The head of a table: its columns' titles, and by which of them the rows are sorted.

import { el, setAttributes, setText } from "./dom.js";

/** The row of heads for `columns` as in table.js; `onSort(field, reverse)` is told what a click asks for. */
export class Heads {
  constructor(columns, onSort) {
    this.onSort = onSort;
    this.sort = { field: null, reverse: false };
    this.cells = columns.map((column, place) => this.cell(column, place));
    this.row = el("div", { class: "qc-thead", role: "row", "aria-rowindex": 1 }, ...this.cells.map(({ node }) => node));
  }

  cell(column, place) {
    const mark = el("span", { class: "qc-sort-mark", "aria-hidden": true });
    const inside =
      column.sort === false
        ? el("span", { text: column.title })
        : el("button", { type: "button", on: { click: () => this.clicked(column.field) } }, column.title, mark);
    const node = el("div", { role: "columnheader", class: `qc-th qc-kind-${column.kind}`, "aria-colindex": place + 1 }, inside);
    return { node, mark, field: column.field };
  }

  clicked(field) {
    // the third click on a head goes back to the order that is given: the last changed first
    const { field: present, reverse } = this.sort;
    if (field !== present) this.onSort(field, false);
    else if (!reverse) this.onSort(field, true);
    else this.onSort(null, false);
  }

  /** Show by which field, if any, the rows are sorted. */
  show(sort) {
    this.sort = sort;
    for (const { node, mark, field } of this.cells) {
      const mine = field === sort.field;
      setAttributes(node, { "aria-sort": mine ? (sort.reverse ? "descending" : "ascending") : null });
      setText(mark, mine ? (sort.reverse ? "▼" : "▲") : "");
    }
  }
}
