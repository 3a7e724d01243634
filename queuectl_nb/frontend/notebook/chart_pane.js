// The throughput chart of the dashboard.

import { ThroughputChart } from "./chart.js";

export default {
  render({ model, el: root }) {
    const chart = new ThroughputChart(root);
    const show = () => chart.update(model.get("throughput"));
    show();
    model.on("change:throughput", show);
    return () => model.off("change:throughput", show);
  },
};
