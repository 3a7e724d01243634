"""The dashboard's anywidget views: their front end is one text each, made of the shared modules."""

from __future__ import annotations

import anywidget
import traitlets

from queuectl_nb.render.js_bundle import FRONTEND, bundle, style

__all__ = ["ChartPane", "LogPane", "TablePane"]

_NOTEBOOK = FRONTEND / "notebook"


class TablePane(anywidget.AnyWidget):
    """The table of jobs; it also carries the styles of the whole dashboard."""

    _esm = bundle(_NOTEBOOK / "table_pane.js")
    _css = style("palette.css", "theme.css") + (_NOTEBOOK / "dashboard.css").read_text("utf-8")


class LogPane(anywidget.AnyWidget):
    """The log of the chosen job."""

    _esm = bundle(_NOTEBOOK / "log_pane.js")


class ChartPane(anywidget.AnyWidget):
    """Throughput; the value is that of an overview."""

    _esm = bundle(_NOTEBOOK / "chart_pane.js")
    throughput = traitlets.Dict({"start": 0, "slice_s": 10, "ok": [0], "not_ok": [0]}).tag(sync=True)
