"""Takes the screenshots that the browser tests made into ``docs/images``, as small files: ``python -m docs.images``.

The tests leave them in ``$QUEUECTL_ARTIFACTS``, or ``artifacts/``, under the names that they have in ``docs/images``:
``pytest tests/browser -m pictures && python -m docs.images``.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from PIL import Image, ImageChops, ImageStat

__all__ = ["FOLDER", "differ", "fresh"]

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs/images"
COARSE = (64, 64)
COLOURS = 256


def fresh(name: str) -> Path:
    """Return where a browser test leaves the picture of this name."""
    return Path(os.environ.get("QUEUECTL_ARTIFACTS") or ROOT / "artifacts") / name


def differ(one: Path, other: Path) -> float:
    """Return how far two pictures are from each other, seen from afar: 0 for the same, 255 for black and white."""
    seen = [Image.open(path).convert("L").resize(COARSE) for path in (one, other)]
    return float(ImageStat.Stat(ImageChops.difference(*seen)).mean[0])


def main() -> int:
    """Take every picture that is there; say which."""
    taken = [path for path in sorted(FOLDER.glob("*.png")) if fresh(path.name).exists()]
    for path in taken:
        picture = Image.open(fresh(path.name)).convert("RGB")
        picture.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
        sys.stdout.write(f"{path.relative_to(ROOT)} taken\n")
    return 0 if taken else 1


if __name__ == "__main__":
    sys.exit(main())
