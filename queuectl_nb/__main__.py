"""``python -m queuectl_nb`` is the console command."""

from queuectl_nb.faces.cli.main import console

if __name__ == "__main__":
    console()
