#!/bin/sh
# Makes a virtual environment with pinned packages and this package in it, or finds that it is there already.
#
#   scripts/setup.sh DIR LIST...      DIR: .venv or .venv-3.1; LIST: a file of requirements/ without its .txt
#
# PYTHON chooses the interpreter; else the first of Python 3.11 to 3.13 that is found. What was installed is remembered by
# a hash of the lists, so that the second time costs nothing. Everything it makes is inside DIR (and uv's cache).
set -eu
cd "$(dirname "$0")/.."
venv=$1; shift

fail() { printf 'setup: %s\n' "$@" >&2; exit 1; }

fits() { # is this command a Python 3.11 to 3.13?
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        fits "$PYTHON" || fail "PYTHON=$PYTHON is no Python 3.11, 3.12 or 3.13 (or cannot be run). Name one that is, or leave PYTHON out."
        return
    fi
    for PYTHON in python3 python3.12 python3.13 python3.11; do
        if fits "$PYTHON"; then return; fi
    done
    fail "no Python 3.11, 3.12 or 3.13 was found on PATH." \
        "Install one (on Debian and Ubuntu: apt install python3 python3-venv), or name it: make demo PYTHON=/path/to/python3.12"
}

make_venv() {
    find_python
    "$PYTHON" -c 'import venv, ensurepip' >/dev/null 2>&1 || fail \
        "$PYTHON cannot make virtual environments: its venv module is missing." \
        "On Debian and Ubuntu: apt install python3-venv. Or name another Python: make demo PYTHON=/path/to/python3.12"
    echo "setup: making $venv with $("$PYTHON" --version)"
    rm -rf "$venv"
    "$PYTHON" -m venv "$venv" || fail "$PYTHON could not make $venv (see above)."
    echo "$PWD" >"$venv/.made-in" # its programs name this folder: a moved one does not work
}

version() { "$1" -c 'import sys; print(sys.version_info[:2])' 2>/dev/null; }

fits_still() { # is the environment there, in this folder, and of the Python that was asked for?
    [ -n "$(version "$venv/bin/python")" ] || return 1
    [ ! -f "$venv/.made-in" ] || [ "$(cat "$venv/.made-in")" = "$PWD" ] || return 1
    [ -z "${PYTHON:-}" ] || [ "$(version "$PYTHON")" = "$(version "$venv/bin/python")" ]
}

bootstrap_uv() { # pip installs uv; uv installs all else, some twenty times faster
    pin=$(grep '^uv==' requirements/build.txt)
    "$venv/bin/python" -m pip --version >/dev/null 2>&1 || "$venv/bin/python" -m ensurepip >/dev/null
    words=$("$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps "$pin" 2>&1) || fail "$words" \
        "uv could not be installed from the package index (see above). Is there a network, or a pip configuration for your index?"
}

install() { # every package at its pin, nothing resolved
    export VIRTUAL_ENV="$PWD/$venv"
    lists=; for list in "$@"; do lists="$lists -r requirements/$list.txt"; done
    # shellcheck disable=SC2086 # the lists are words
    "$venv/bin/uv" pip install --quiet --no-deps $lists ||
        fail "the pinned packages could not be installed (see above). Run the same command again once the cause is gone."
    "$venv/bin/uv" pip install --quiet --no-deps --no-build-isolation --editable . ||
        fail "this package itself could not be installed (see above)."
}

set -- build "$@"
stamps="$venv/.installed"
want=$(cat pyproject.toml scripts/setup.sh $(printf 'requirements/%s.txt ' "$@") | sha256sum | cut -c1-16)
here="$*"
fits_still || make_venv
if [ -f "$stamps" ] && grep -qxF "$want $here" "$stamps"; then exit 0; fi

start=$(date +%s)
[ -x "$venv/bin/uv" ] || bootstrap_uv
install "$@"
# A superset that was installed earlier stays installed: its pins are the same files.
{ [ -f "$stamps" ] && grep -vF " $here" "$stamps" || true; echo "$want $here"; } >"$stamps.new"
mv "$stamps.new" "$stamps"
echo "setup: $venv is ready ($*; $(($(date +%s) - start)) s)"
