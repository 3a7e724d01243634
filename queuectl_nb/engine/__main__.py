"""Entry point of supervisor, worker and runner processes: ``python -I -S …/engine/__main__.py ROLE CONFIG``.

Isolated and without ``site``: the user's start-up files do not run, and the start takes a third of the time. The
configuration carries the module search path of the starter.
"""

import json
import os
import sys


def main() -> int:
    """Run the role given on the command line and return the exit code."""
    role, config = sys.argv[1], sys.argv[2]
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    fields = json.loads(config)
    sys.path[:] = list(dict.fromkeys([*sys.path, package, *(fields.get("import_path") or fields["path"])]))
    if role == "runner":  # on a dask worker's host, where there is no queue
        from queuectl_nb.engine.dask.runner import run_runner

        return run_runner(fields)
    from queuectl_nb.engine import bootstrap
    from queuectl_nb.engine.config import WorkerConfig

    run = bootstrap.run_supervisor if role == "supervisor" else bootstrap.run_worker
    return run(WorkerConfig.from_json(config))


if __name__ == "__main__":
    sys.exit(main())
