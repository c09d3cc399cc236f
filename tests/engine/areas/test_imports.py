"""Importing the room is cheap: what is heavy waits until it is needed."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("libpysal", "sklearn", "matplotlib", "openpyxl", "jax", "torch", "arviz")


@pytest.mark.parametrize("room", ["smallarea.areas", "smallarea.io"])
def test_nothing_heavy_is_imported(room: str) -> None:
    code = f"import sys, {room}; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []
