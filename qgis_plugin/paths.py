"""Where things are: the plugin's folder, and the folder of the environment that the plugin may make."""

from __future__ import annotations

import os
import sys
from pathlib import Path

PLUGIN_ROOT = Path(__file__).resolve().parent.parent
ENGINE_ROOT = PLUGIN_ROOT / "engine"
RESOURCES = PLUGIN_ROOT / "resources"
ICON = RESOURCES / "icon.svg"
HOMEPAGE = "https://github.com/smallarea/smallarea"


def engine_version() -> str:
    """Return the version of the engine that ships with the plugin, without importing it."""
    text = (ENGINE_ROOT / "smallarea" / "_version.py").read_text(encoding="utf-8")
    return text.partition("__version__ =")[2].strip().strip("\"'")


def data_folder() -> Path:
    """Return the folder for what the plugin keeps on this machine.

    It is outside the plugin folder, which QGIS deletes when the plugin is updated. ``SMALLAREA_HOME`` overrides it.

    Returns
    -------
    pathlib.Path
        May not exist yet.
    """
    chosen = os.environ.get("SMALLAREA_HOME")
    if chosen:
        return Path(chosen).expanduser()
    home = Path.home()
    if os.name == "nt":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "smallarea"
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "smallarea"
    return Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share") / "smallarea"


def environment_pointer() -> Path:
    """Return the file that names the environment that the plugin has made, if it has made one."""
    return data_folder() / "environment.json"


def environment_python(folder: Path) -> Path:
    """Return the interpreter inside a virtual environment."""
    return folder / "Scripts" / "python.exe" if os.name == "nt" else folder / "bin" / "python"
