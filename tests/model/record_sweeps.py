"""Records the run times of sweeps, for the tests of the estimated time left: ``python -m tests.model.record_sweeps``.

Three sweeps are run by the queue itself with two workers: fits of scikit-learn models (it has to be installed) with
parameters drawn at random, fits of a grid in its order, and commands that compress and hash files of different sizes.
``recorded_sweeps.json`` gets, in the order of the jobs, what each ran, as the estimate groups jobs, the numbers in its
command or call, and its seconds.
"""

from __future__ import annotations

import json
import random
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from queuectl_nb import Queue
from queuectl_nb.model.workload import find_numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from queuectl_nb.client.batch import Batch

RECORDED = Path(__file__).with_name("recorded_sweeps.json")
WORKERS = 2
FITS, FILES = 240, 60
MODELS = ("forest", "extra", "boosting", "svm", "logistic")
COMMANDS = ("xz -9 -c {} | wc -c", "bzip2 -c {} | wc -c", "gzip -9 -c {} | wc -c", "sha256sum {}")


def fit(model: str, size: int = 50, depth: int = 0, strength: float = 1.0, rows: int = 600, seed: int = 0) -> float:
    """Return the mean accuracy of a model in three-fold cross-validation."""
    from sklearn.datasets import make_classification
    from sklearn.ensemble import ExtraTreesClassifier, GradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_score
    from sklearn.svm import SVC

    features, labels = make_classification(rows, 20, n_informative=8, flip_y=0.1, random_state=seed)
    estimator = {
        "forest": lambda: RandomForestClassifier(size, max_depth=depth or None, random_state=seed),
        "extra": lambda: ExtraTreesClassifier(size, max_depth=depth or None, random_state=seed),
        "boosting": lambda: GradientBoostingClassifier(n_estimators=size, max_depth=min(depth or 4, 4)),
        "svm": lambda: SVC(C=strength),
        "logistic": lambda: LogisticRegression(C=strength, max_iter=2000),
    }[model]()
    return float(cross_val_score(estimator, features, labels, cv=3).mean())


def draw_fits() -> pd.DataFrame:
    """Return the parameters of a random search."""
    rng = random.Random(20)
    return pd.DataFrame(
        {
            "model": rng.choice(MODELS),
            "size": round(20 * 10 ** rng.random()),
            "depth": rng.choice([2, 4, 8, 16, 0]),
            "strength": 10 ** rng.uniform(-2, 2),
            "rows": rng.choice([250, 500, 1000, 2000]),
            "seed": number,
        }
        for number in range(FITS)
    )


def write_files(folder: Path) -> list[Path]:
    """Write files of words, whose sizes differ as those of data sets do: a few are much larger than most."""
    rng = random.Random(21)
    words = [f"{rng.getrandbits(24):x}" for _ in range(20_000)]
    paths = []
    for number in range(FILES):
        path = folder / f"part-{number}.txt"
        block = " ".join(rng.choices(words, k=100_000))
        size = int(400_000 * rng.lognormvariate(0, 0.9))
        path.write_text((block * (size // len(block) + 1))[:size], "utf-8")
        paths.append(path)
    return paths


def record(queue: Queue, batch: Batch, works: Sequence[str]) -> list[list[Any]]:
    """Return what each job ran, its numbers and its seconds, in the order in which the jobs started."""
    batch.wait()
    found = queue.results(batch)
    assert (found["state"] == "completed").all(), found
    seconds = found["ran"].dt.total_seconds().round(3)
    return [[work, find_numbers(job.command), each] for work, job, each in zip(works, batch, seconds, strict=True)]


def main() -> None:
    """Run the sweeps."""
    with tempfile.TemporaryDirectory() as folder:
        queue = Queue(Path(folder) / "queue.db")
        task = queue.task(fit)
        grid = queue.grid(model=["forest", "extra"], size=[20, 40, 80, 160], depth=[2, 4, 8, 16, 0], seed=range(6))
        paths = write_files(Path(folder))
        commands = [{"command": command.format(path)} for path in paths for command in COMMANDS]
        programs = [command.partition(" ")[0] for command in COMMANDS] * len(paths)
        with queue.start_workers(WORKERS):
            sweeps = {
                "random search": record(queue, task.map(draw_fits()), ["fit"] * FITS),
                "grid": record(queue, task.map(grid), ["fit"] * len(grid)),
                "files": record(queue, queue.enqueue_many(commands), programs),
            }
        queue.close()
    lines = (f"{json.dumps(name)}: {json.dumps(runs)}" for name, runs in sweeps.items())
    RECORDED.write_text("{" + ",\n".join(lines) + "}\n", "utf-8")


if __name__ == "__main__":
    main()
