#!/bin/sh
# Make a virtual environment and install the engine into it, editable.
# usage: setup_venv.sh FOLDER REQUIREMENT      for example: setup_venv.sh .venv ".[test,check]"
# PYTHON may name the interpreter to build it from; otherwise the first that is new enough is taken.
set -eu

folder=$1
requirement=$2
here=$(dirname "$0")
. "$here/setup_system.sh"

suits() {
    "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
    for candidate in ${PYTHON:-} python3 /usr/bin/python3 python3.13 python3.12 python3.11 python3.14; do
        if suits "$candidate"; then
            echo "$candidate"
            return 0
        fi
    done
    return 1
}

if ! "$folder/bin/python" -c 'import pip' >/dev/null 2>&1; then
    if ! python=$(find_python); then
        install_packages python3 python3-venv
        if ! python=$(find_python); then
            echo "smallarea needs Python 3.11 or newer with the modules venv and ensurepip." >&2
            echo "Set PYTHON to one, for example: make demo PYTHON=/opt/python3.12/bin/python3" >&2
            exit 1
        fi
    fi
    echo "Making $folder with $python ($("$python" -V))"
    rm -rf "$folder"
    "$python" -m venv "$folder"
fi

echo "Installing smallarea ($requirement) into $folder"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check -e "$requirement"
