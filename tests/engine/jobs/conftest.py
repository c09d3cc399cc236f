"""An engine process whose task is a few lines of the test's own."""

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

DRIVER = """
import sys, time, os
import smallarea.workflows
from smallarea.errors import *
class Result:
    summary = {{"n_areas": 3}}
    warnings = ("one warning",)
def task(progress, **parameters):
{body}
smallarea.workflows.task_function = lambda name: task
from smallarea.cli import main
main()
"""


class Engine:
    """Start ``smallarea run job.json`` with a task of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def command(self, body: str, parameters: dict | None = None, *options: str) -> list[str]:
        job = self.folder / "job.json"
        given = {"areas": "areas.gpkg", **(parameters or {})}
        job.write_text(json.dumps({"version": 1, "task": "build_adjacency", "parameters": given}))
        code = DRIVER.format(body=textwrap.indent(textwrap.dedent(body), "    "))
        return [sys.executable, "-I", "-X", "utf8", "-c", code, "run", str(job), *options]

    def start(self, body: str, parameters: dict | None = None, *options: str) -> subprocess.Popen:
        return subprocess.Popen(
            self.command(body, parameters, *options),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    def run(self, body: str, parameters: dict | None = None, *options: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            self.command(body, parameters, *options),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=60,
            check=False,
        )


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return Engine(tmp_path)


@pytest.fixture
def events() -> Callable[[str], list[dict]]:
    """Parse JSON lines; a line that is not JSON fails the test."""

    def parse(text: str) -> list[dict]:
        return [json.loads(line) for line in text.splitlines()]

    return parse


@pytest.fixture
def is_running() -> Callable[[int], bool]:
    def check(pid: int) -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        # A process that ended and was not collected by its parent still has a number.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"

    return check
