"""Generate files; run from the top of the repository. ``--check`` writes nothing and exits 1 if a file is outdated."""

from __future__ import annotations

import argparse
import sys

from docs.generate.pages import ROOT, expected


def main() -> int:
    """Write outdated files, or list them with ``--check``."""
    parser = argparse.ArgumentParser(prog="docs.generate", description="Generate the reference from the code.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file is outdated")
    check = parser.parse_args().check
    wanted = expected()
    outdated = [path for path, text in wanted.items() if not path.exists() or path.read_text("utf-8") != text]
    for path in outdated:
        name = path.relative_to(ROOT)
        sys.stdout.write(f"{name} {'is outdated: run python -m docs.generate' if check else 'written'}\n")
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted[path], "utf-8")
    return int(check and bool(outdated))


if __name__ == "__main__":
    sys.exit(main())
