"""Which engine this is, what it found on this machine, and what is missing."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from smallarea._version import __version__

_REQUIREMENT = re.compile(r"^([A-Za-z0-9._-]+)\s*(?:\[[^]]*\])?\s*([^;]*)(?:;(.*))?$")
_EXTRA = re.compile(r"""extra\s*==\s*["']([^"']+)["']""")
_USER_EXTRAS = ("posterior", "survey", "hmc", "learned")


@dataclass(frozen=True)
class EngineStatus:
    """What `status` found.

    Attributes
    ----------
    engine : str
        Version of smallarea.
    python, executable, platform : str
        The interpreter and the machine.
    packages : dict
        Package to version; None if it is not installed.
    extras : dict
        Optional part to whether it is installed.
    cores : int
        Processors that this process may use.
    memory_gib : float or None
        Memory of the machine; None where the system does not say.
    problems : tuple of str
        What is missing, each with its remedy.
    """

    engine: str
    python: str
    executable: str
    platform: str
    packages: dict[str, str | None]
    extras: dict[str, bool]
    cores: int
    memory_gib: float | None
    problems: tuple[str, ...]

    @property
    def summary(self) -> dict[str, Any]:
        """What the result event holds."""
        return {
            "engine": self.engine,
            "python": self.python,
            "executable": self.executable,
            "platform": self.platform,
            "cores": self.cores,
            "memory_gib": self.memory_gib,
            "packages": self.packages,
            "extras": self.extras,
            "problems": list(self.problems),
        }

    @property
    def warnings(self) -> tuple[str, ...]:
        """The problems, as the runner reports them."""
        return self.problems


def status(*, progress: Callable[[float, str], None] | None = None) -> EngineStatus:
    """Say which engine this is, what it found, and what is missing.

    Only the packages' metadata are read; nothing heavy is imported.

    Parameters
    ----------
    progress : callable, optional
        ``progress(percent, text)``.

    Returns
    -------
    EngineStatus
        Versions, optional parts, the machine, and the problems with their remedies.
    """
    if progress is not None:
        progress(10.0, "Looking at the installed packages")
    needed, optional = _requirements()
    packages = {name: _version(name) for name in (*needed, *sorted(_flat(optional)))}
    extras = {extra: all(packages[name] for name in names) for extra, names in optional.items()}
    return EngineStatus(
        engine=__version__,
        python=platform.python_version(),
        executable=sys.executable or "",
        platform=platform.platform(),
        packages=packages,
        extras=extras,
        cores=_cores(),
        memory_gib=_memory_gib(),
        problems=tuple(_package_problems(needed, packages)),
    )


def _requirements() -> tuple[dict[str, str], dict[str, list[str]]]:
    """Return the needed packages with their version limits, and the names by optional part."""
    try:
        lines = metadata.requires("smallarea") or []
    except metadata.PackageNotFoundError:
        lines = list(_FALLBACK)
    needed: dict[str, str] = {}
    optional: dict[str, list[str]] = {name: [] for name in _USER_EXTRAS}
    for line in lines:
        match = _REQUIREMENT.match(line)
        if match is None:
            continue
        name, limits, marker = match.group(1), match.group(2).strip(), match.group(3) or ""
        extra = _EXTRA.search(marker)
        if extra is None:
            needed[name] = limits
        elif extra.group(1) in optional:
            optional[extra.group(1)].append(name)
    return needed, optional


def _flat(optional: dict[str, list[str]]) -> set[str]:
    return {name for names in optional.values() for name in names}


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _package_problems(needed: dict[str, str], packages: dict[str, str | None]) -> list[str]:
    problems = []
    for name, limits in needed.items():
        version = packages[name]
        if version is None:
            problems.append(f"{name} is not installed. Run: {_pip(name + limits)}")
        elif _too_old(version, limits):
            problems.append(f"{name} {version} is too old ({limits} is needed). Run: {_pip(name + limits)}")
    return problems


def _pip(requirement: str) -> str:
    return f'"{sys.executable}" -m pip install "{requirement}"'


def _too_old(version: str, limits: str) -> bool:
    match = re.search(r">=\s*([0-9.]+)", limits)
    return match is not None and _numbers(version) < _numbers(match.group(1))


def _numbers(version: str) -> list[int]:
    release = re.match(r"[0-9.]*", version)
    return [int(part) for part in (release.group() if release else "").split(".") if part]


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory_gib() -> float | None:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
    return round(total / 2**30, 1)


# For an engine that runs from its folder without having been installed (the QGIS plugin): the names alone.
_FALLBACK = (
    "numpy",
    "scipy",
    "pandas",
    "geopandas",
    "shapely",
    "pyogrio",
    "pyproj",
    "libpysal",
    "qdldl",
    "numba",
    "threadpoolctl",
    "pydantic",
    "click",
    "rich",
    "jinja2",
    "matplotlib",
    "openpyxl",
    "pillow",
    'arviz; extra == "posterior"',
    'h5netcdf; extra == "posterior"',
    'jax; extra == "hmc"',
    'numpyro; extra == "hmc"',
    'safetensors; extra == "hmc"',
    'torch; extra == "learned"',
)
