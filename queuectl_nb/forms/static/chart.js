// Throughput as bars: attempts that ended, by slice of time, the successful ones below the others.

import { setText, svg } from "./dom.js";
import { clock, count } from "./texts.js";

const CHART_WIDTH = 600;
const CHART_HEIGHT = 72;

/** A chart in `root`, which it fills; `update` takes the `throughput` of an overview. */
export class ThroughputChart {
  constructor(root) {
    this.picture = svg("svg", {
      viewBox: `0 0 ${CHART_WIDTH} ${CHART_HEIGHT}`,
      preserveAspectRatio: "none",
      role: "img",
      class: "qc-chart-bars",
    });
    this.title = svg("title");
    this.bars = svg("g");
    this.picture.append(this.title, this.bars);
    this.legend = document.createElement("div");
    this.legend.className = "qc-chart-legend";
    this.pair = [];
    root.classList.add("qc-chart");
    root.replaceChildren(this.picture, this.legend);
  }

  update({ start, slice_s: sliceS, ok, not_ok: notOk }) {
    const totals = ok.map((value, place) => value + notOk[place]);
    const most = Math.max(1, ...totals);
    const wide = CHART_WIDTH / ok.length;
    const unit = CHART_HEIGHT / most;
    while (this.pair.length < ok.length) {
      const bars = ["qc-bar-ok", "qc-bar-bad"].map((name) => svg("rect", { class: name }));
      const tip = svg("title");
      const group = svg("g", {}, tip, svg("rect", { class: "qc-bar-space", y: 0, height: CHART_HEIGHT }), ...bars);
      this.bars.append(group);
      this.pair.push({ group, bars, tip });
    }
    while (this.pair.length > ok.length) this.pair.pop().group.remove();
    ok.forEach((good, place) => {
      const { group, bars, tip } = this.pair[place];
      const heights = [good * unit, notOk[place] * unit];
      const tops = [CHART_HEIGHT - heights[0], CHART_HEIGHT - heights[0] - heights[1]];
      group.setAttribute("transform", `translate(${place * wide} 0)`);
      group.children[1].setAttribute("width", wide);
      bars.forEach((bar, which) => {
        bar.setAttribute("x", wide * 0.1);
        bar.setAttribute("width", wide * 0.8);
        bar.setAttribute("y", tops[which]);
        bar.setAttribute("height", heights[which]);
      });
      setText(tip, `${clock(start + place * sliceS)}: ${count(good)} succeeded, ${count(notOk[place])} did not`);
    });
    const sum = (values) => values.reduce((left, right) => left + right, 0);
    const minutes = Math.round((ok.length * sliceS) / 60);
    const lastMinute = sum(totals.slice(-Math.max(1, Math.round(60 / sliceS))));
    const text =
      `Last ${minutes} min: ${count(sum(ok))} succeeded, ${count(sum(notOk))} did not · ` +
      `${count(lastMinute)} in the last minute`;
    setText(this.title, `Attempts that ended. ${text}`);
    setText(this.legend, text);
  }
}
