// Why jobs failed, in the dashboard: a click filters the table, Retry runs a group again.

import { ErrorGroups } from "./errors.js";

export default {
  render({ model, el: root }) {
    const groups = new ErrorGroups(root, {
      onSelect: (key) => model.send({ kind: "select", key }),
      onRetry: (key) => model.send({ kind: "retry", key }),
    });
    const show = () => groups.update(model.get("groups"));
    show();
    model.on("change:groups", show);
    return () => model.off("change:groups", show);
  },
};
