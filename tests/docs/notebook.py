"""Runs cells that come as JSON lines on stdin, as a notebook does; says of each how it went. Started by the reader."""

from __future__ import annotations

import contextlib
import io
import json
import sys

from IPython.core.interactiveshell import InteractiveShell


def main() -> None:
    """Run one cell after the other."""
    answers, sys.stdout = sys.stdout, sys.stderr
    shell = InteractiveShell.instance(colors="nocolor")
    for line in sys.stdin:
        page = io.StringIO()
        with contextlib.redirect_stdout(page), contextlib.redirect_stderr(page):
            result = shell.run_cell(json.loads(line))
        answers.write(json.dumps({"ok": result.success, "printed": page.getvalue()}) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
