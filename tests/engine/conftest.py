"""Public data and results of other programs, which lie beside the project on some machines."""

from collections.abc import Callable
from pathlib import Path

import pytest

PUBLIC = Path(__file__).resolve().parents[2].parent / "shared"


@pytest.fixture
def reference() -> Callable[[str], Path]:
    """Folder of a reference case; the test is skipped where the folders are not there."""

    def find(case: str) -> Path:
        folder = PUBLIC / "reference" / case
        if not folder.is_dir():
            pytest.skip(f"the reference results of {case} are not on this machine")
        return folder

    return find


@pytest.fixture
def shared() -> Callable[[str], Path]:
    """Path of a public data file; the test is skipped where the files are not there."""

    def find(name: str) -> Path:
        path = PUBLIC / "data" / name
        if not path.is_file():
            pytest.skip(f"the public data file {name} is not on this machine")
        return path

    return find
