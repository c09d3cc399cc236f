"""Trying a native reader in another process, because a damaged file can end the process that reads it."""

from __future__ import annotations

import json
import os
import subprocess  # nosec B404 - runs this interpreter only
import sys
from collections.abc import Sequence
from pathlib import Path

from smallarea.errors import TableProblem

# What is wrong with a file that only fails is found out again, with its message, when it is read for good.
_READ = """
import json, sys
import pyreadstat
asked = json.loads(sys.stdin.read())
try:
    getattr(pyreadstat, asked["reader"])(
        asked["name"], usecols=asked["columns"], encoding=asked["encoding"], output_format="dict"
    )
except Exception as error:
    sys.exit(1)
"""
_SECONDS = 60.0
_SECONDS_PER_MIB = 2.0
# Windows says with such codes that a process was ended for a fault.
_WINDOWS_FAULT = 0xC0000000


def check_readable(name: str, reader: str, columns: Sequence[str] | None, encoding: str | None) -> None:
    """Read a file with pyreadstat in a child process and see whether it survives.

    ReadStat, the C library below, leaves its memory for some damaged files (found by overwriting a few bytes of .sav
    files), which no ``except`` can catch.

    Parameters
    ----------
    name : str
        The file.
    reader : {"read_dta", "read_sav"}
        The function of pyreadstat.
    columns : sequence of str or None
        Columns to read; None for all.
    encoding : str or None
        Encoding of the texts.

    Raises
    ------
    TableProblem
        If the child process crashed, or did not come to an end.
    """
    asked = {"name": name, "reader": reader, "columns": columns and list(columns), "encoding": encoding}
    limit = _SECONDS + _SECONDS_PER_MIB * os.path.getsize(name) / 2**20
    try:
        done = subprocess.run(  # noqa: S603  # nosec B603 - this interpreter, arguments as a list
            [sys.executable, "-I", "-c", _READ],
            input=json.dumps(asked).encode(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=limit,
            check=False,
        )
    except OSError:
        return  # no process to spare: the file is read without a trial
    except subprocess.TimeoutExpired as error:
        raise TableProblem(
            f"Reading {Path(name).name} did not end in {limit:.0f} s. It is probably damaged."
        ) from error
    if done.returncode < 0 or done.returncode >= _WINDOWS_FAULT:
        raise TableProblem(
            f"Cannot read {name}: it is damaged in a way that crashes its reader. Copy it again from its source, or "
            "save it again in the program that made it."
        )
