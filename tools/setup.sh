#!/bin/sh
# Builds .venv with the interpreter of this machine and the hash-pinned lock files. Needs Python 3.12 or newer with
# pip, and nothing else: uv is installed inside .venv. `make` calls this only when a lock file changed.
set -eu
cd "$(dirname "$0")/.."

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 12))' >/dev/null 2>&1; }

choose_python() {
    for candidate in ${PYTHON:-} python3 python python3.14 python3.13 python3.12; do
        if new_enough "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    echo "Hexward needs Python 3.12 or newer: install one, or name it with 'make PYTHON=/path/to/python3.13'." >&2
    return 1
}

# A folder left by another machine, or by an interpreter that is gone, cannot be repaired.
if ! new_enough .venv/bin/python || ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    python=$(choose_python)
    echo "Preparing .venv with $("$python" --version); this happens once."
    "$python" -m venv --clear .venv || {
        echo "The venv module of $python does not work; on Debian, install the package python3-venv." >&2
        exit 1
    }
fi

pip() { .venv/bin/python -m pip --disable-pip-version-check --quiet "$@"; }
uv_pip() { .venv/bin/uv pip "$@" --quiet --python .venv/bin/python; }

pip install --require-hashes --requirement requirements/uv.txt
# uv does not read pip's configuration, so where only pip knows the way (a mirror), pip does the same work.
uv_pip install --compile-bytecode --require-hashes --requirement requirements/dev.txt || {
    echo "uv could not install the requirements; trying again with pip." >&2
    pip install --require-hashes --requirement requirements/dev.txt
}
uv_pip install --no-deps --no-build-isolation --editable .
touch .venv/.ready
