// The parts of the page that show an overview: the state tiles and the workers.

import { hrefOf, toggleState } from "./location.js";
import { el, setAttributes, setText } from "./shared/dom.js";
import { clock, count, visible } from "./shared/format.js";

/** The number of jobs by state; each is a link that adds these jobs to the list, or removes them. */
export class Tiles {
  constructor(root) {
    this.root = root;
    this.tiles = new Map();
  }

  update(counts, location) {
    const total = Object.values(counts).reduce((left, right) => left + right, 0);
    for (const [state, number] of [["", total], ...Object.entries(counts)]) {
      const tile = this.tiles.get(state) ?? this.add(state);
      setText(tile.number, count(number));
      tile.link.classList.toggle("qp-none", number === 0);
      tile.number.classList.toggle("qp-long", number >= 100_000);
    }
    this.markCurrent(location);
  }

  add(state) {
    const number = el("span", { class: "qp-number" });
    const name = el("span", { class: `qp-state-name${state ? ` qc-is-${state}` : ""}`, text: state || "all" });
    const link = el("a", { class: "qp-tile" }, number, " ", name);
    this.root.append(el("li", {}, link));
    const tile = { link, number };
    this.tiles.set(state, tile);
    return tile;
  }

  markCurrent(location) {
    for (const [state, { link }] of this.tiles) {
      setAttributes(link, {
        href: hrefOf({ ...location, view: "", state: toggleState(location.state, state), after: "", job: "", attempt: "" }),
        "aria-current": !location.view && location.state.split(",").includes(state) ? "true" : null,
      });
    }
  }
}

/** The workers with their current jobs. */
export class Workers {
  constructor(root) {
    this.root = root;
    this.shown = "";
  }

  update(workers, paused, hints, limits) {
    const shown = JSON.stringify([workers, paused, hints, limits]);
    if (shown === this.shown) return;
    this.shown = shown;
    const parts = hints.map((hint) => this.hint(`Jobs wait: ${hint}`));
    const hinted = hints.join("\n"); // says where jobs wait for a paused queue
    const others = paused.filter((name) => !hinted.includes(name === "*" ? "all queues are paused" : `queue ${name} is paused`));
    if (others.length) {
      const names = others.includes("*") ? "All queues are paused" : `Paused: ${others.join(", ")}`;
      parts.push(this.hint(`${names}; continue with 'queuectl resume'`));
    }
    if (limits.length) {
      const texts = limits.map(({ queue, limit, running }) => `${visible(queue)} ${limit} (${running} running)`);
      parts.push(el("p", { class: "qp-hint", text: `Limits: ${texts.join(", ")}` }));
    }
    if (workers.length) parts.push(el("ul", { class: "qp-worker-list" }, ...workers.map((worker) => this.row(worker))));
    else if (!hints.length) parts.push(el("p", { class: "qp-hint", text: "No workers are running, and no job waits for one." }));
    const focused = this.root.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    this.root.replaceChildren(...parts);
    if (focused) [...this.root.querySelectorAll("a")].find((link) => link.getAttribute("href") === focused)?.focus();
  }

  /** A hint; the command at its end gets a line of its own. */
  hint(text) {
    const [, reason, command] = /^(.*?) '(queuectl .*)'$/s.exec(text) ?? [text, text];
    const code = command && el("code", { text: visible(command) });
    return el("p", { class: "qp-paused" }, visible(reason) + (code ? ":" : ""), code);
  }

  row(worker) {
    const job = worker.job_id
      ? el("a", { class: "qp-mono", href: hrefOf({ job: worker.job_id }), text: visible(worker.job_id) })
      : el("span", { class: "qp-hint", text: "–" });
    return el(
      "li",
      {},
      el("span", { class: "qp-worker-name", text: visible(worker.name), title: `pid ${worker.pid ?? "–"} on ${visible(worker.host)}, since ${clock(worker.started_at)}` }),
      el("span", { class: `qc-state qc-is-${worker.state}`, text: worker.state }),
      el("span", { class: "qp-worker-job" }, job),
      el("span", { class: "qp-hint qp-done", text: `${count(worker.jobs_done)} done` }),
    );
  }
}
