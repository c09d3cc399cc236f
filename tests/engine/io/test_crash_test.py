"""A reader that ends its process, or never ends, is an error that says so."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import smallarea.io.crash_test
from smallarea.errors import TableProblem
from smallarea.io.crash_test import check_readable


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "t.sav").write_bytes(b"x")
    return str(tmp_path / "t.sav")


def test_a_crash(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smallarea.io.crash_test, "_READ", "import os; os.abort()")
    with pytest.raises(TableProblem, match="damaged in a way that crashes its reader"):
        check_readable(file, "read_sav", None, None)


def test_no_end(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smallarea.io.crash_test, "_READ", "import time; time.sleep(60)")
    monkeypatch.setattr(smallarea.io.crash_test, "_SECONDS", 0.3)
    with pytest.raises(TableProblem, match="did not end"):
        check_readable(file, "read_sav", None, None)


def test_what_only_fails_is_left_to_the_reading(file: str) -> None:
    pytest.importorskip("pyreadstat")
    check_readable(file, "read_sav", ["a"], "latin-1")


def test_no_process_to_spare(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/python")
    check_readable(file, "read_sav", None, None)
