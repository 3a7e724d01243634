"""The built distributions: what they contain, that an index accepts them, and that their types reach the user."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

import queuectl_nb

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "tests/typing_script.py"
VERSION = queuectl_nb.__version__
DIST_INFO = f"queuectl_nb-{VERSION}.dist-info"
DATA = f"queuectl_nb-{VERSION}.data/data"

pytestmark = pytest.mark.timeout(900)


def run(*arguments: str | Path, cwd: Path | None = None) -> str:
    """Run a module with our interpreter, check that it succeeds, and return its output."""
    command = [sys.executable, "-m", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, cwd=cwd)
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build sdist and wheel from a copy of the repository; return their folder."""
    folder = tmp_path_factory.mktemp("build")
    ignored = shutil.ignore_patterns(".*", "__pycache__", "_build", "artifacts", "dist")
    source = shutil.copytree(ROOT, folder / "source", ignore=ignored)
    run("build", "--no-isolation", "--outdir", folder / "dist", source)
    return folder / "dist"


@pytest.fixture(scope="module")
def wheel(distributions: Path) -> Path:
    """Return the wheel."""
    (found,) = distributions.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def user_python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel into a fresh environment that finds its dependencies in ours; return its interpreter."""
    folder = tmp_path_factory.mktemp("user") / "venv"
    venv.create(folder, with_pip=False)
    (packages,) = folder.glob("lib/python*/site-packages")
    run("pip", "install", "--quiet", "--no-index", "--no-deps", "--target", packages, wheel)
    # a folder named in a .pth file is searched, but its own .pth files are not: the editable install stays hidden
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", "utf-8")
    return folder / "bin/python"


def test_an_index_accepts_the_distributions(distributions: Path) -> None:
    """``twine check --strict`` has no complaint about the metadata."""
    files = sorted(distributions.iterdir())
    assert [path.name for path in files] == [f"queuectl_nb-{VERSION}-py3-none-any.whl", f"queuectl_nb-{VERSION}.tar.gz"]
    run("twine", "check", "--strict", *files)


def test_the_wheel_has_the_whole_package_and_nothing_else(wheel: Path) -> None:
    """Every file of the package is in it, with licence, man page and Jupyter files; no tests, docs or caches are."""
    names = set(zipfile.ZipFile(wheel).namelist())
    package = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "queuectl_nb").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    lab = "queuectl_nb/frontend/labextension/"
    assert package <= names
    extra = names - package
    assert extra == {
        *(f"{DIST_INFO}/{name}" for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")),
        *(f"{DATA}/etc/jupyter/{path}" for path in relative_files(ROOT / "jupyter-config")),
        *(f"{DATA}/share/jupyter/labextensions/queuectl-nb/{path}" for path in relative_files(ROOT / lab)),
        f"{DATA}/share/man/man1/queuectl.1",
    }
    assert "queuectl_nb/py.typed" in names


def relative_files(folder: Path) -> list[str]:
    """Return the paths of all files below a folder."""
    return [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]


def test_the_sdist_can_be_built_and_tested_from(distributions: Path) -> None:
    """The sdist has tests, docs, notebooks and benchmarks beside the package."""
    with tarfile.open(distributions / f"queuectl_nb-{VERSION}.tar.gz") as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for name in ("LICENSE", "SECURITY.md", "tests/run_all.sh", "docs/conf.py", "notebooks/01-quickstart.ipynb"):
        assert name in names, name


def test_the_installed_wheel_runs(user_python: Path, tmp_path: Path) -> None:
    """The wheel, not the checkout, is imported, and its command works."""
    code = "import queuectl_nb; print(queuectl_nb.__file__)"
    done = subprocess.run([user_python, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert Path(done.stdout.strip()).is_relative_to(user_python.parents[1])
    command: list[str | Path] = [user_python, "-m", "queuectl_nb", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert VERSION in done.stdout


def test_a_users_script_passes_mypy(user_python: Path, tmp_path: Path) -> None:
    """``mypy --strict`` finds the types of the installed package."""
    script = shutil.copy(SCRIPT, tmp_path)
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--config-file=",
        f"--cache-dir={tmp_path}/cache",
    ]
    command += ["--python-executable", user_python, script]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_users_script_passes_pyright(user_python: Path, tmp_path: Path) -> None:
    """Pyright finds the types of the installed package, in strict mode."""
    shutil.copy(SCRIPT, tmp_path)
    settings = {"include": [SCRIPT.name], "typeCheckingMode": "strict", "pythonVersion": "3.11"}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings), "utf-8")
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "basedpyright",
        "--pythonpath",
        user_python,
        "--project",
        tmp_path,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
