"""Run notebook cells read as JSON lines from stdin, and report the result of each. Started by ``page_runner``."""

from __future__ import annotations

import contextlib
import io
import json
import sys

from IPython.core.interactiveshell import InteractiveShell


def main() -> None:
    """Run the cells in order."""
    results, sys.stdout = sys.stdout, sys.stderr
    sys.path[0] = ""  # as in a kernel: modules of the working directory, not those beside this file
    shell = InteractiveShell.instance(colors="nocolor")
    for line in sys.stdin:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            result = shell.run_cell(json.loads(line))
        results.write(json.dumps({"ok": result.success, "printed": printed.getvalue()}) + "\n")
        results.flush()


if __name__ == "__main__":
    main()
