"""What a workflow writes down about itself: its times, the versions of what it used; and its progress."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata

from smallarea._version import __version__

Progress = Callable[[float, str], None]

_PACKAGES = ("numpy", "scipy", "pandas", "geopandas", "shapely", "pyogrio", "libpysal", "qdldl", "numba")


@contextmanager
def timed(timings: dict[str, float], stage: str) -> Iterator[None]:
    """Note the seconds of a stage."""
    start = time.perf_counter()
    yield
    timings[stage] = time.perf_counter() - start


def silent(percent: float, text: str) -> None:
    """Progress that nobody asked for."""


def within(tell: Progress, start: float, end: float) -> Progress:
    """Return progress whose 0 to 100 percent is start to end."""
    return lambda percent, text: tell(start + (end - start) * percent / 100.0, text)


def versions() -> dict[str, str]:
    """Return package to version, with smallarea and python."""
    found = {"smallarea": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
