"""``python -m queuectl_nb`` is the console command."""

import sys

from queuectl_nb.faces.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
