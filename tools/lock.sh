#!/usr/bin/env bash
# Writes requirements.lock anew from pyproject.toml: one exact version of everything for Python 3.11 and later, on every platform,
# with the hashes of all its files. Versions stay as they are where they can; `tools/lock.sh --upgrade` takes the newest. Uses a throw-away environment; nothing of this machine gets into the result.
set -euo pipefail
cd "$(dirname "$0")/.."

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
tools/venv.sh "$scratch/venv"
"$scratch/venv/bin/pip" install -q --disable-pip-version-check "uv>=0.5"

cp requirements.lock "$scratch/lock"
# `fewest`: the newest version that serves all Pythons, not one for each; so a bug report needs no Python version to be repeated.
"$scratch/venv/bin/uv" --no-config pip compile pyproject.toml \
    --all-extras --universal --python-version 3.11 --fork-strategy fewest \
    --generate-hashes --no-header --no-emit-index-url --no-emit-find-links --quiet "$@" -o "$scratch/lock"
{
    echo "# Exact versions for Python 3.11 and later, with hashes. Made by \`make lock\` from pyproject.toml; do not edit."
    cat "$scratch/lock"
} >requirements.lock
if grep -n '://' requirements.lock; then
    echo "tools/lock.sh: requirements.lock names a host (above); it must not" >&2
    exit 1
fi
