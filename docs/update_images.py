"""Copy screenshots of the browser tests to ``docs/images``, compressed: ``python -m docs.update_images``.

The tests save them in ``$QUEUECTL_ARTIFACTS`` or ``artifacts/`` under the same names:
``pytest tests/browser -m pictures && python -m docs.update_images``.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from PIL import Image, ImageChops, ImageStat

__all__ = ["FOLDER", "difference_of", "screenshot_path"]

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs/images"
COMPARED_SIZE = (64, 64)
COLOURS = 256


def screenshot_path(name: str) -> Path:
    """Return the path where a browser test saves a screenshot."""
    return Path(os.environ.get("QUEUECTL_ARTIFACTS") or ROOT / "artifacts") / name


def difference_of(one: Path, other: Path) -> float:
    """Return the mean difference of two downscaled images: 0 if equal, 255 for black and white."""
    images = [Image.open(path).convert("L").resize(COMPARED_SIZE) for path in (one, other)]
    return float(ImageStat.Stat(ImageChops.difference(*images)).mean[0])


def main() -> int:
    """Copy all new screenshots and list them."""
    names = [path for path in sorted(FOLDER.glob("*.png")) if screenshot_path(path.name).exists()]
    for path in names:
        image = Image.open(screenshot_path(path.name)).convert("RGB")
        image.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
        sys.stdout.write(f"{path.relative_to(ROOT)} updated\n")
    return 0 if names else 1


if __name__ == "__main__":
    sys.exit(main())
