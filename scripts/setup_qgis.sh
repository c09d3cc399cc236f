#!/bin/sh
# Install QGIS where it is missing, and make an environment for the plugin's tests on QGIS's own Python.
# usage: setup_qgis.sh FOLDER
set -eu

folder=$1
here=$(dirname "$0")
. "$here/setup_system.sh"

python=${QGIS_PYTHON:-/usr/bin/python3}

complete() {
    "$python" -c 'import qgis.core, qtpy, venv, ensurepip' >/dev/null 2>&1 &&
        { command -v qgis_process.bin || command -v qgis_process; } >/dev/null 2>&1
}

if ! complete; then
    install_packages qgis python3-qgis python3-qtpy xvfb xauth python3-venv
fi
if ! complete; then
    echo "QGIS was not found by $python. Set QGIS_PYTHON to the Python that QGIS uses; it also needs qtpy." >&2
    exit 1
fi

if ! "$folder/bin/python" -c 'import qgis.core, pytest, pytest_qgis' >/dev/null 2>&1; then
    rm -rf "$folder"
    "$python" -m venv --system-site-packages "$folder"
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check pytest pytest-qgis
fi
