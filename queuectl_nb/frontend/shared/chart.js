// Throughput as bars: attempts that ended, by slice of time, the successful ones below the others.

import { el, setText, svg } from "./dom.js";
import { clock, count, duration } from "./format.js";

const CHART_WIDTH = 600;
const CHART_HEIGHT = 84;
const CHART_HEADROOM = 18; // where the highest bar's number stands
const FEWEST_SLICES = 24; // a young queue's few bars are not lost in a quarter of an hour

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
    this.most = el("div", { class: "qc-chart-most", "aria-hidden": true });
    this.good = el("span", { class: "qc-key" });
    this.bad = el("span", { class: "qc-key qc-key-bad" });
    this.rate = el("span", { class: "qc-key-rate" });
    this.pair = [];
    root.classList.add("qc-chart");
    root.replaceChildren(
      el("div", { class: "qc-chart-frame" }, this.picture, this.most),
      el("div", { class: "qc-chart-legend" }, this.good, this.bad, this.rate),
    );
  }

  update({ start, slice_s: sliceS, ok, not_ok: notOk }) {
    const totals = ok.map((value, place) => value + notOk[place]);
    const begun = totals.findIndex((value) => value > 0);
    const first = Math.max(0, Math.min(begun < 0 ? totals.length : begun, totals.length - FEWEST_SLICES));
    const shown = totals.length - first;
    const most = Math.max(...totals);
    const wide = CHART_WIDTH / shown;
    const unit = (CHART_HEIGHT - CHART_HEADROOM) / Math.max(1, most);
    this.haveBars(shown);
    for (let place = 0; place < shown; place += 1) {
      const at = first + place;
      this.placeBar(this.pair[place], place * wide, wide, ok[at] * unit, notOk[at] * unit);
      const when = clock(start + at * sliceS);
      setText(this.pair[place].tip, `${when}: ${count(ok[at])} succeeded, ${count(notOk[at])} did not`);
    }
    this.tell(ok, notOk, totals, first, sliceS, most);
  }

  haveBars(wanted) {
    while (this.pair.length < wanted) {
      const tip = svg("title");
      const space = svg("rect", { class: "qc-bar-space", y: 0, height: CHART_HEIGHT });
      const bars = ["qc-bar-ok", "qc-bar-bad"].map((name) => svg("rect", { class: name }));
      const group = svg("g", {}, tip, space, ...bars);
      this.bars.append(group);
      this.pair.push({ group, tip, space, bars });
    }
    while (this.pair.length > wanted) this.pair.pop().group.remove();
  }

  placeBar({ group, space, bars }, left, wide, good, bad) {
    group.setAttribute("transform", `translate(${left} 0)`);
    space.setAttribute("width", wide);
    const heights = [good, bad];
    const tops = [CHART_HEIGHT - good, CHART_HEIGHT - good - bad];
    bars.forEach((bar, which) => {
      bar.setAttribute("x", wide * 0.1);
      bar.setAttribute("width", wide * 0.8);
      bar.setAttribute("y", tops[which]);
      bar.setAttribute("height", heights[which]);
    });
  }

  tell(ok, notOk, totals, first, sliceS, most) {
    const sum = (values) => values.reduce((left, right) => left + right, 0);
    const minute = sum(totals.slice(-Math.max(1, Math.round(60 / sliceS))));
    const span = duration((totals.length - first) * sliceS);
    const texts = [`${count(sum(ok))} succeeded`, `${count(sum(notOk))} did not`, `${count(minute)} in the last minute`];
    setText(this.good, texts[0]);
    setText(this.bad, texts[1]);
    setText(this.rate, texts[2]);
    setText(this.most, most ? `most: ${count(most)} in ${sliceS} s` : "nothing has ended lately");
    setText(this.title, `Attempts that ended in the last ${span}: ${texts.join(", ")}`);
  }
}
