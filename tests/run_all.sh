#!/usr/bin/env bash
# Installs what the tests need into a virtual environment of their own, then checks and tests everything.
# Needs Python 3.11 or newer with pip and venv. Words after it go to pytest: bash tests/run_all.sh --soak
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
venv=${QUEUECTL_TEST_VENV:-.venv-test}
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable '.[test]'

# jobs and consoles of the tests find the tools of this environment first, and nothing of the caller's queue
export PATH="$PWD/$venv/bin:$PATH"
unset QUEUECTL_DB

ruff check .
ruff format --check .
mypy
lint-imports
python -m docs.generate --check
exec python -m pytest "$@"
