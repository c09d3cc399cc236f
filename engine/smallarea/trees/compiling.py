"""Compiled loops that are spread over several modules and must not be used in part from an older cache.

numba stores compiled code beside a module and compiles anew when that module changes, but not when one changes whose
functions it calls. Here every stored function is tied to the sources of all loops together. They stand in the place of
numba's version, which is looked at before anything else: an older cache may name types that are gone, and could then
not even be read.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from smallarea.gmrf import kernels

_TREES = Path(__file__).parent
_NAMES = ("arrays", "kernel", "leaves", "moves", "structure", "sums", "sweep", "together", "trace")
_LOOPS = (
    *(_TREES / f"{name}.py" for name in _NAMES),
    *(file for room in ("unit_level", "area_trees") for file in sorted((_TREES.parent / room).glob("*_kernel.py"))),
)


def _stamp() -> tuple[tuple[str, float, int], ...]:
    """List times and sizes of all sources that hold loops."""
    looked = [(file, file.stat()) for file in (Path(kernels.__file__), *_LOOPS) if file.exists()]
    return tuple((file.name, at.st_mtime, at.st_size) for file, at in looked)


_STAMP = _stamp()


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile as :func:`smallarea.gmrf.kernels.compiled` does, with a cache that knows all sources."""
    made = kernels.compiled(function)
    # numba offers no way to name further sources. Where its inside is another, its own rule stays in force.
    file: Any = getattr(getattr(made, "_cache", None), "_cache_file", None)
    if hasattr(file, "_version"):
        file._version = repr((file._version, _STAMP))
    return made
