"""The environment variables that the engine and pip get: QGIS's, without what would lead them astray."""

from __future__ import annotations

import os
from collections.abc import Mapping

# Bundled QGIS sets PYTHONHOME, PROJ_* and GDAL_* for its own libraries, and other plugins prepend to PYTHONPATH;
# each of them breaks another interpreter's packages. Isolated mode ignores PYTHON*, but not what native libraries
# read.
UNWANTED = frozenset(
    {
        "LD_LIBRARY_PATH",
        "LD_PRELOAD",
        "PROJ_LIB",
        "PROJ_DATA",
        "GDAL_DATA",
        "GDAL_DRIVER_PATH",
        "GDAL_PLUGINS_PATH",
        "GEOTIFF_CSV",
        "QT_PLUGIN_PATH",
        "QT_API",
        "VIRTUAL_ENV",
        "CONDA_PREFIX",
        "MPLBACKEND",
    }
)
UNWANTED_PREFIXES = ("PYTHON", "DYLD_", "PIP_USER", "PIP_TARGET", "PIP_PREFIX", "__PYVENV")


def scrubbed(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment for a foreign interpreter.

    Parameters
    ----------
    environment : mapping, optional
        What to start from; this process's own if not given.

    Returns
    -------
    dict
        A copy without the variables that belong to QGIS's Python and libraries.
    """
    source = os.environ if environment is None else environment
    return {
        name: value
        for name, value in source.items()
        if name.upper() not in UNWANTED and not name.upper().startswith(UNWANTED_PREFIXES)
    }
