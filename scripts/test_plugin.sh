#!/bin/sh
# Run the plugin's tests on QGIS without a display. They fail, and are not skipped, if QGIS cannot be used.
# usage: test_plugin.sh QGIS_PYTHON ENGINE_PYTHON [PYTEST ARGUMENTS]
set -eu

qgis_python=$1
engine_python=$2
shift 2

runtime=$(mktemp -d)
chmod 700 "$runtime"
trap 'rm -rf "$runtime"' EXIT

export QT_QPA_PLATFORM=offscreen
export XDG_RUNTIME_DIR="$runtime"
export SMALLAREA_PYTHON="$PWD/$engine_python"
export SMALLAREA_REQUIRE_QGIS=1

"$qgis_python" -c 'from qgis.core import Qgis; print("QGIS", Qgis.QGIS_VERSION)'
"$qgis_python" -m pytest tests/plugin "$@"
