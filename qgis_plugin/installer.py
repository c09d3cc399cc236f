"""The environment that the plugin makes on request: what it is made from, and why making it failed.

Nothing here runs when the plugin is loaded; the settings page calls it when the user presses the button.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from .environment import scrubbed
from .paths import PLUGIN_ROOT, engine_version, environment_pointer

_CHECK = "import sys, venv, ensurepip; print(*sys.version_info[:2])"
_OLDEST = (3, 11)
_REMEDIES = (
    (("proxy", "407"), "The proxy refused the connection. Set HTTPS_PROXY for QGIS, or ask your administrator."),
    (
        ("certificate_verify_failed", "sslerror", "ssl: "),
        "The connection could not be verified, often because a proxy inspects it. Ask your administrator for pip's "
        "'cert' setting.",
    ),
    (
        ("could not find a version", "no matching distribution"),
        "A package is not available for this Python. Python 3.11, 3.12 and 3.13 are the safest choice.",
    ),
    (
        ("name or service not known", "temporary failure in name resolution", "newconnectionerror", "timed out"),
        "The package index cannot be reached: is this computer online?",
    ),
    (("no space left", "errno 28"), "The disk is full: the environment takes about 0.7 GB."),
    (
        ("permission denied", "winerror 5", "errno 13"),
        "Files could not be written; an antivirus program may lock them.",
    ),
)


def base_interpreter(extra: Iterable[str] = ()) -> Path | None:
    """Return a Python that can make environments for the engine.

    ``sys.executable`` is no candidate: inside QGIS it is QGIS, or whichever Python comes first in the path.

    Parameters
    ----------
    extra : iterable of str
        Candidates to try first.

    Returns
    -------
    pathlib.Path or None
        The first one that answers, is new enough, and has ``venv`` and ``ensurepip``.
    """
    return next((python for python in _candidates(extra) if _can_make_environments(python)), None)


def install_arguments() -> list[str]:
    """Return the arguments with which the base interpreter makes the environment."""
    script = str(PLUGIN_ROOT / "qgis_plugin" / "make_environment.py")
    return ["-I", "-u", "-X", "utf8", script, str(environment_pointer()), str(PLUGIN_ROOT), engine_version()]


def explain(output: str) -> str:
    """Return what to do about a failed installation.

    Parameters
    ----------
    output : str
        What it printed.

    Returns
    -------
    str
        A remedy if the failure is a known one, else where to look.
    """
    lowered = output.lower()
    for signs, remedy in _REMEDIES:
        if any(sign in lowered for sign in signs):
            return remedy
    return "The last lines say why. A Python of your own with the packages installed works as well."


def _candidates(extra: Iterable[str]) -> list[Path]:
    names = ("python3.13", "python3.12", "python3.11", "python3.14", "python3", "python")
    prefix = Path(sys.base_prefix)
    own = (prefix / "python.exe",) if os.name == "nt" else (prefix / "bin" / "python3",)
    found = [*(Path(text) for text in extra if text), *own]
    found += [Path(path) for path in map(shutil.which, names) if path]
    return [python for python in dict.fromkeys(found) if python.is_file()]


def _can_make_environments(python: Path) -> bool:
    try:
        done = subprocess.run(  # noqa: S603  # nosec B603 - an interpreter from the path, arguments as a list
            [str(python), "-I", "-c", _CHECK],
            env=scrubbed(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=15,
            text=True,
            errors="replace",
            check=False,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0) if sys.platform == "win32" else 0,
        )
        version = tuple(int(part) for part in done.stdout.split())
    except (OSError, ValueError, subprocess.SubprocessError):
        return False
    return done.returncode == 0 and version >= _OLDEST
