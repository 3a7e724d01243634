// Throughput as stacked bars: finished attempts per time slice, succeeded below failed.

import { el, setText, svg } from "./dom.js";
import { clock, count, duration } from "./format.js";

const CHART_WIDTH = 600;
const CHART_HEIGHT = 84;
const CHART_HEADROOM = 18; // room for the label of the highest bar
const MIN_SLICES = 24; // a new queue shows a shorter time than a quarter of an hour

/** A chart that fills `root`; `update` takes the `throughput` of an overview. */
export class ThroughputChart {
  constructor(root) {
    this.svg = svg("svg", {
      viewBox: `0 0 ${CHART_WIDTH} ${CHART_HEIGHT}`,
      preserveAspectRatio: "none",
      role: "img",
      class: "qc-chart-bars",
    });
    this.title = svg("title");
    this.bars = svg("g");
    this.svg.append(this.title, this.bars);
    this.maximum = el("div", { class: "qc-chart-most", "aria-hidden": true });
    this.succeeded = el("span", { class: "qc-key" });
    this.failed = el("span", { class: "qc-key qc-key-bad" });
    this.rate = el("span", { class: "qc-key-rate" });
    this.slots = [];
    root.classList.add("qc-chart");
    root.replaceChildren(
      el("div", { class: "qc-chart-frame" }, this.svg, this.maximum),
      el("div", { class: "qc-chart-legend" }, this.succeeded, this.failed, this.rate),
    );
  }

  update({ start, slice_s: sliceS, ok, not_ok: notOk }) {
    const totals = ok.map((value, index) => value + notOk[index]);
    const firstUsed = totals.findIndex((value) => value > 0);
    const first = Math.max(0, Math.min(firstUsed < 0 ? totals.length : firstUsed, totals.length - MIN_SLICES));
    const shown = totals.length - first;
    const maximum = Math.max(...totals);
    const width = CHART_WIDTH / shown;
    const unit = (CHART_HEIGHT - CHART_HEADROOM) / Math.max(1, maximum);
    this.setBarCount(shown);
    for (let index = 0; index < shown; index += 1) {
      const slice = first + index;
      this.placeBar(this.slots[index], index * width, width, ok[slice] * unit, notOk[slice] * unit);
      const time = clock(start + slice * sliceS);
      setText(this.slots[index].tooltip, `${time}: ${count(ok[slice])} succeeded, ${count(notOk[slice])} failed`);
    }
    this.updateTexts(ok, notOk, totals, first, sliceS, maximum);
  }

  setBarCount(wanted) {
    while (this.slots.length < wanted) {
      const tooltip = svg("title");
      const space = svg("rect", { class: "qc-bar-space", y: 0, height: CHART_HEIGHT });
      const bars = ["qc-bar-ok", "qc-bar-bad"].map((name) => svg("rect", { class: name }));
      const group = svg("g", {}, tooltip, space, ...bars);
      this.bars.append(group);
      this.slots.push({ group, tooltip, space, bars });
    }
    while (this.slots.length > wanted) this.slots.pop().group.remove();
  }

  placeBar({ group, space, bars }, left, width, succeeded, failed) {
    group.setAttribute("transform", `translate(${left} 0)`);
    space.setAttribute("width", width);
    const heights = [succeeded, failed];
    const tops = [CHART_HEIGHT - succeeded, CHART_HEIGHT - succeeded - failed];
    bars.forEach((bar, index) => {
      bar.setAttribute("x", width * 0.1);
      bar.setAttribute("width", width * 0.8);
      bar.setAttribute("y", tops[index]);
      bar.setAttribute("height", heights[index]);
    });
  }

  updateTexts(ok, notOk, totals, first, sliceS, maximum) {
    const sum = (values) => values.reduce((left, right) => left + right, 0);
    const lastMinute = sum(totals.slice(-Math.max(1, Math.round(60 / sliceS))));
    const span = duration((totals.length - first) * sliceS);
    const texts = [`${count(sum(ok))} succeeded`, `${count(sum(notOk))} failed`, `${count(lastMinute)} in the last minute`];
    setText(this.succeeded, texts[0]);
    setText(this.failed, texts[1]);
    setText(this.rate, texts[2]);
    setText(this.maximum, maximum ? `maximum: ${count(maximum)} in ${sliceS} s` : "no attempt finished recently");
    setText(this.title, `Attempts finished in the last ${span}: ${texts.join(", ")}`);
  }
}
