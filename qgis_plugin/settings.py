"""The plugin's settings in the user's QGIS profile."""

from __future__ import annotations

from qgis.core import QgsSettings

_PYTHON = "smallarea/python"


def python_path() -> str:
    """Return the interpreter that the user named, empty if none."""
    return str(QgsSettings().value(_PYTHON, "") or "").strip()


def set_python_path(path: str) -> None:
    """Remember the interpreter; an empty path forgets it."""
    if path.strip():
        QgsSettings().setValue(_PYTHON, path.strip())
    else:
        QgsSettings().remove(_PYTHON)
