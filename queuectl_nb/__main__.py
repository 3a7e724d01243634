"""``python -m queuectl_nb`` is the console command."""

from queuectl_nb.faces.cli.main import main

if __name__ == "__main__":
    main(prog_name="queuectl")
