// The header row of a table: column titles and sort order.

import { el, setAttributes, setText } from "./dom.js";

/** The header for `columns` as in table.js; a click calls `onSort(field, reverse)`. */
export class TableHeader {
  constructor(columns, onSort) {
    this.onSort = onSort;
    this.sort = { field: null, reverse: false };
    this.cells = columns.map((column, index) => this.createCell(column, index));
    this.row = el("div", { class: "qc-thead", role: "row", "aria-rowindex": 1 }, ...this.cells.map(({ node }) => node));
  }

  createCell(column, index) {
    const mark = el("span", { class: "qc-sort-mark", "aria-hidden": true });
    const content =
      column.sort === false
        ? el("span", { text: column.title })
        : el("button", { type: "button", on: { click: () => this.onClick(column.field) } }, column.title, mark);
    const node = el("div", { role: "columnheader", class: `qc-th qc-kind-${column.kind}`, "aria-colindex": index + 1 }, content);
    return { node, mark, field: column.field };
  }

  onClick(field) {
    // ascending, descending, then the default order: last updated first
    const { field: current, reverse } = this.sort;
    if (field !== current) this.onSort(field, false);
    else if (!reverse) this.onSort(field, true);
    else this.onSort(null, false);
  }

  /** Show the sort order. */
  show(sort) {
    this.sort = sort;
    for (const { node, mark, field } of this.cells) {
      const sorted = field === sort.field;
      setAttributes(node, { "aria-sort": sorted ? (sort.reverse ? "descending" : "ascending") : null });
      setText(mark, sorted ? (sort.reverse ? "▼" : "▲") : "");
    }
  }
}
