"""Find the interpreter that runs the engine, and find out whether it can.

The first that is named wins, working or not: falling back silently to another interpreter would hide a mistake.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from .environment import scrubbed
from .paths import ENGINE_ROOT, PLUGIN_ROOT, environment_pointer, environment_python

VARIABLE = "SMALLAREA_PYTHON"
PAGE = "Settings > Options > Small area estimation"
PROBE_SECONDS = 120
_PROBES: dict[tuple[str, float], Probe] = {}


class EngineMissing(Exception):
    """There is no usable interpreter; the message says what to do."""


class NothingNamed(EngineMissing):
    """Nobody has named an interpreter yet: a new installation."""


@dataclass(frozen=True)
class Interpreter:
    """An interpreter and who named it."""

    path: Path
    origin: str


@dataclass(frozen=True)
class Probe:
    """What an interpreter said about itself.

    Attributes
    ----------
    ok : bool
        Whether the engine can run on it.
    python : str
        Its version, empty if it did not start.
    packages : dict
        Package to version.
    problems : tuple of str
        One sentence each.
    """

    ok: bool
    python: str = ""
    packages: dict[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


def find(setting: str) -> Interpreter:
    """Return the interpreter to use.

    Parameters
    ----------
    setting : str
        The path in the plugin's settings, empty if none.

    Returns
    -------
    Interpreter
        Existing, but not tried.

    Raises
    ------
    EngineMissing
        If none is named, or the one named does not exist.
    """
    for path, origin in _named(setting):
        if path:
            return _existing(path, origin)
    made = managed_python()
    if made is not None:
        return Interpreter(made, "the plugin, which made it")
    raise NothingNamed(
        f"The engine has no Python yet. Open {PAGE} and either name a Python 3.11 or newer that has the packages, or "
        f"let the plugin make an environment. For qgis_process the environment variable {VARIABLE} works too."
    )


def managed_python() -> Path | None:
    """Return the interpreter of the environment that the plugin made, if there is one."""
    try:
        found = json.loads(environment_pointer().read_text(encoding="utf-8"))
        python = Path(found["python"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return python if python.is_file() else None


def engine_command(python: Path, *arguments: str) -> list[str]:
    """Return the command that runs the plugin's own engine on an interpreter.

    Parameters
    ----------
    python : pathlib.Path
        The interpreter.
    *arguments : str
        What follows ``smallarea`` on a command line.

    Returns
    -------
    list of str
    """
    script = str(PLUGIN_ROOT / "qgis_plugin" / "bootstrap.py")
    return [str(python), "-I", "-u", "-X", "utf8", script, str(ENGINE_ROOT), *arguments]


def probe_command(python: Path) -> list[str]:
    """Return the command that asks an interpreter what it has."""
    script = str(PLUGIN_ROOT / "qgis_plugin" / "probe.py")
    return [str(python), "-I", "-X", "utf8", script, str(ENGINE_ROOT)]


def probe(python: Path) -> Probe:
    """Run an interpreter and report what it can do; the answer is kept as long as the file is the same.

    Parameters
    ----------
    python : pathlib.Path
        The interpreter.

    Returns
    -------
    Probe
    """
    try:
        key = (str(python), python.stat().st_mtime)
    except OSError as error:
        return Probe(False, problems=(f"There is no interpreter at {python}: {error.strerror}.",))
    if key not in _PROBES or not _PROBES[key].ok:
        _PROBES[key] = _ask(python)
    return _PROBES[key]


def read_probe(output: str, errors: str, exit_code: int, python: Path) -> Probe:
    """Turn what the probe printed into a Probe.

    Parameters
    ----------
    output, errors : str
        Standard output and standard error.
    exit_code : int
        What it exited with.
    python : pathlib.Path
        The interpreter, for messages.

    Returns
    -------
    Probe
    """
    lines = [line for line in output.splitlines() if line.startswith("{")]
    try:
        found = json.loads(lines[-1])
    except (IndexError, ValueError):
        last = (errors.strip() or output.strip()).splitlines()[-3:]
        said = f" It said: {' / '.join(last)}" if last else ""
        return Probe(False, problems=(f"{python} does not work as a Python interpreter (exit {exit_code}).{said}",))
    if tuple(int(part) for part in found["python"].split(".")[:2]) < (3, 11):
        old = f"{python} is Python {found['python']}; the engine needs 3.11 or newer."
        return Probe(False, found["python"], problems=(old,))
    problems = tuple(_package_problems(found["errors"], python))
    return Probe(not problems, found["python"], found["packages"], problems)


def _named(setting: str) -> list[tuple[str, str]]:
    return [
        (os.environ.get(VARIABLE, ""), f"the environment variable {VARIABLE}"),
        (setting, "the settings of the plugin"),
    ]


def _existing(path: str, origin: str) -> Interpreter:
    python = Path(path).expanduser()
    if python.is_dir() and environment_python(python).is_file():
        python = environment_python(python)
    if not python.is_file():
        raise EngineMissing(
            f"{origin[:1].upper()}{origin[1:]} names {path}, and there is no such file. Correct it in {PAGE}"
            f"{', or unset the variable' if VARIABLE in origin else ''}."
        )
    return Interpreter(python, origin)


def _ask(python: Path) -> Probe:
    try:
        done = subprocess.run(  # noqa: S603  # nosec B603 - the user's own interpreter, arguments as a list
            probe_command(python),
            env=scrubbed(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PROBE_SECONDS,
            text=True,
            encoding="utf-8",
            errors="replace",
            check=False,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0) if sys.platform == "win32" else 0,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return Probe(False, problems=(f"{python} cannot be run: {error}.",))
    return read_probe(done.stdout, done.stderr, done.returncode, python)


def _package_problems(errors: dict[str, str], python: Path) -> list[str]:
    """Say which packages are missing, in one sentence with the command that mends it, and which are broken."""
    missing = [name for name, text in errors.items() if text.startswith("ModuleNotFoundError") and f"'{name}'" in text]
    broken = [f"{name} does not load ({text})." for name, text in errors.items() if name not in missing]
    if not missing:
        return broken
    command = f'"{python}" -m pip install {" ".join(missing)}'
    return [f"Missing in {python}: {', '.join(missing)}. Run: {command}", *broken]
