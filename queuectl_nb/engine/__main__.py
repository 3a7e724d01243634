"""Where a pool or worker process begins: ``python -I -S …/engine/__main__.py ROLE CONFIG``.

Isolated and without ``site``: nothing of the user's start-up files runs, and it is up in a third of the time.
The configuration brings the module search path of whoever started it.
"""

import json
import os
import sys


def main() -> int:
    """Run the role that the command line names and return the exit code."""
    role, config = sys.argv[1], json.loads(sys.argv[2])
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    sys.path[:] = list(dict.fromkeys([*sys.path, package, *config["path"]]))
    if role == "guard":  # beside a dask worker, where no queue is
        from queuectl_nb.engine.dask.runner import run_runner

        return run_runner(config)
    from queuectl_nb.engine import bootstrap

    run = {"pool": bootstrap.run_pool, "worker": bootstrap.run_worker, "dispatcher": bootstrap.run_dispatcher}[role]
    return run(config)


if __name__ == "__main__":
    sys.exit(main())
