"""Starts the process of a Python job where no fork server does: ``python .../start.py FD``.

It is a file and no module, so that it also runs where the interpreter was replaced by another version, and where this
package is only in the ``sys.path`` of the enqueuer.
"""

from __future__ import annotations

import json
import marshal
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["main", "version_error"]


def main(handle: int) -> None:
    """Run the job whose request is read from the descriptor ``handle``."""
    with os.fdopen(handle, "rb") as file:
        request = marshal.load(file)
    runtime, folder = request["runtime"], os.path.dirname(os.path.abspath(__file__))
    error = version_error(runtime)
    if error is None:
        own = [path for path in sys.path if path != folder]
        for sys.path[:] in own, runtime["sys_path"]:
            try:
                from queuectl_nb.child import process
            except ImportError as reason:
                error = "interpreter {} cannot import queuectl_nb: {}".format(runtime["executable"], reason)
            else:
                process.exit_process(process.run(request, process.prepare(runtime)))
    with open(request["reply"], "a") as reply:
        reply.write(json.dumps({"not_started": error}) + "\n")
    sys.exit(1)


def version_error(runtime: Mapping[str, Any]) -> str | None:
    """Return why this interpreter cannot run what another one has pickled."""
    enqueued, here = runtime["python"], list(sys.version_info[:3])
    if enqueued[:2] == here[:2]:
        return None
    names = [".".join(map(str, version)) for version in (enqueued, here)]
    return "it was enqueued by Python {}, and {} is Python {} now".format(names[0], runtime["executable"], names[1])


if __name__ == "__main__":
    main(int(sys.argv[1]))
