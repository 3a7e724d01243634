#!/usr/bin/env bash
# Installs what the tests need into a virtual environment of their own, then checks and tests everything.
# Needs Python 3.11 or newer with pip and venv. Words after it go to pytest: bash tests/run_all.sh --soak
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
venv=${QUEUECTL_TEST_VENV:-.venv-test}
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable '.[docs,test]'

# the browser tests drive Debian's Chromium: taken from the system, installed where that may be done, else left out
if ! command -v chromium chromium-browser google-chrome >/dev/null && [ -z "${QUEUECTL_CHROMIUM:-}" ] &&
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing chromium for the browser tests ..." >&2
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        chromium fonts-dejavu-core fonts-liberation; } >/dev/null 2>&1 || echo "chromium could not be installed" >&2
fi

# jobs and consoles of the tests find the tools of this environment first, and nothing of the caller's queue
export PATH="$PWD/$venv/bin:$PATH"
unset QUEUECTL_DB

# As root, tests run where /etc and the home directory are read-only (tests/test_read_only.py checks it): a test that
# writes outside its temporary folder fails instead of damaging the machine.
pytest() {
    if [ "$(id -u)" = 0 ] && unshare --mount true 2>/dev/null; then
        QUEUECTL_TEST_READ_ONLY="/etc:$HOME" unshare --mount --propagation private bash -c '
            set -e
            mount --bind "$PWD" "$PWD"  # stays writable where the checkout lies below the home directory
            for place in /etc "$HOME"; do
                mount --bind "$place" "$place"
                mount -o remount,bind,ro "$place"
            done
            cd "$PWD"
            exec python -m pytest "$@"' bash "$@"
    else
        python -m pytest "$@"
    fi
}

ruff check .
ruff format --check .
mypy
lint-imports
python -m docs.generate --check
if [ $# -gt 0 ]; then
    pytest "$@"
    exit
fi

# everything: what waits for browsers and for the site's build beside the rest, which leaves a core free half the time
beside=$(mktemp)
pytest -p no:cacheprovider tests/browser tests/docs >"$beside" 2>&1 &
side=$!
trap 'kill "$side" 2>/dev/null || true; rm -f "$beside"' EXIT
failed=0
pytest --ignore tests/browser --ignore tests/docs || failed=$?
wait "$side" || failed=$?
cat "$beside"
exit "$failed"
