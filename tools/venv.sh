#!/usr/bin/env bash
# Makes a virtual environment with a Python that netlens can run on:  tools/venv.sh .venv
#
# Takes $PYTHON if set, else the newest of python3.13, 3.12, 3.11 and python3 that starts, is 3.11 or later, and can make an
# environment. Debian and Ubuntu leave venv and ensurepip out of their Python: there root gets the package that holds them.
set -euo pipefail

target=${1:?usage: tools/venv.sh FOLDER}
candidates=(python3.13 python3.12 python3.11 python3)
if [[ -n ${PYTHON:-} ]]; then candidates=("$PYTHON"); fi

# A name on the PATH may be a shim that has no such version behind it, so each one is run, not only looked up.
recent() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }
complete() { "$1" -c 'import ensurepip, venv' >/dev/null 2>&1; }

# An environment that works is kept; one whose Python is gone (an upgrade, a moved folder) is made anew.
if recent "$target/bin/python" && "$target/bin/python" -m pip --version >/dev/null 2>&1; then exit 0; fi

find_complete() {
    local name
    for name in "${candidates[@]}"; do
        if recent "$name" && complete "$name"; then echo "$name"; return; fi
    done
    return 1
}

if ! python=$(find_complete); then
    bare=
    for name in "${candidates[@]}"; do
        if recent "$name"; then bare=$name; break; fi
    done
    if [[ -z $bare ]]; then
        echo "netlens: no Python 3.11 or later among ${candidates[*]}; install one, or name it: make PYTHON=/path/to/python3" >&2
        exit 1
    fi
    package=$("$bare" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
        echo "netlens: $bare cannot make virtual environments yet; installing $package" >&2
        export DEBIAN_FRONTEND=noninteractive
        { apt-get update -q && apt-get install -y -q --no-install-recommends "$package"; } >&2 </dev/null || true
    fi
    if ! python=$(find_complete); then
        echo "netlens: $bare lacks the modules venv and ensurepip; on Debian and Ubuntu: apt-get install $package" >&2
        exit 1
    fi
fi

exec "$python" -m venv --clear "$target"
