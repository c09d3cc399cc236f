"""Compiled loops of this package, which must not come from a cache older than the loops of the trees that they call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from smallarea.trees.compiling import compiled as tied_to_trees

_OWN = Path(__file__).parent / "effect_kernel.py"


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile as :func:`smallarea.trees.compiling.compiled` does, with a cache that knows this package's loops too."""
    made = tied_to_trees(function)
    # As there: where numba's inside is another, its own rule stays in force.
    file: Any = getattr(getattr(made, "_cache", None), "_cache_file", None)
    if hasattr(file, "_source_stamp") and _OWN.exists():
        at = _OWN.stat()
        file._source_stamp = (file._source_stamp, (_OWN.name, at.st_mtime, at.st_size))
    return made
