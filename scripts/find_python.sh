#!/usr/bin/env bash
# Prints the path of a Python that headrace runs on: 3.11 or 3.12, able to make a virtual
# environment. $PYTHON is taken if set, and no other is tried then. A name on the PATH proves
# nothing (pyenv leaves one for every version it knows), so each candidate is asked.
set -euo pipefail

probe='import sys, venv, ensurepip
sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))'

candidates=(python3.12 python3.11 python3)
[ -z "${PYTHON:-}" ] || candidates=("$PYTHON")
for candidate in "${candidates[@]}"; do
    if "$candidate" -c "$probe" >/dev/null 2>&1; then
        exec "$candidate" -c 'import sys; print(sys.executable)'
    fi
done
{
    echo "headrace needs Python 3.11 or 3.12 with the venv module; none of these is one: ${candidates[*]}"
    echo "On Debian and Ubuntu: apt-get install python3 python3-venv python3-dev"
    echo "If it lies elsewhere: make setup PYTHON=/path/to/python3.12"
} >&2
exit 1
