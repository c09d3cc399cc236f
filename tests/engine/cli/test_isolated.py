"""The engine as the plugin starts it: an isolated interpreter, a folder that is not installed, nowhere to write."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import smallarea

START = (
    "import runpy, sys; sys.path.insert(0, sys.argv.pop(1)); "
    "runpy.run_module('smallarea', run_name='__main__', alter_sys=True)"
)


@pytest.fixture
def engine(tmp_path) -> Path:
    """A copy of the engine in whose folder of compiled loops nothing can be cached."""
    home = tmp_path / "engine"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(next(iter(smallarea.__path__)), home / "smallarea", ignore=ignored)
    # A file where the cache's folder would be: unlike permissions, it also stops root.
    (home / "smallarea" / "gmrf" / "__pycache__").touch()
    return home


@pytest.mark.parametrize("home", ["nowhere", "missing"])
def test_a_spatial_fit_needs_no_place_for_compiled_code(engine, squares, tmp_path, home):
    job = {"areas": str(squares), "direct": ["rate", "rent"], "variance": ["rate_var", "rent_var"], "csv": "e.csv",
           "solver": "compiled", "draws": 200, "min_ess": 200}  # fmt: skip
    (tmp_path / "job.json").write_text(json.dumps({"version": 1, "task": "fit", "parameters": job}))
    environment = {k: v for k, v in os.environ.items() if k not in ("HOME", "XDG_CACHE_HOME", "NUMBA_CACHE_DIR")}
    if home == "nowhere":
        blocked = tmp_path / "file"
        blocked.touch()
        environment |= {"HOME": str(blocked / "home"), "XDG_CACHE_HOME": str(blocked / "cache")}
    else:
        environment["XDG_CACHE_HOME"] = str(tmp_path / "cache")
    command = [sys.executable, "-I", "-c", START, str(engine), "run", str(tmp_path / "job.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["type"] == "result"
    assert len(pd.read_csv(tmp_path / "e.csv")) == 26
    assert "Traceback" not in done.stderr


def test_without_a_cache_loops_are_compiled_in_each_process(monkeypatch):
    import numba
    from smallarea.gmrf import kernels

    asked = []

    def njit(**options):
        asked.append(options)
        if options.get("cache"):
            raise RuntimeError("cannot cache function 'f': no locator available")
        return lambda function: function

    monkeypatch.setattr(numba, "njit", njit)

    def function():
        return 7

    assert kernels.compiled(function)() == 7
    assert [options.pop("cache", False) for options in asked] == [True, False]
    assert asked[0] == asked[1]
    assert asked[0]["nogil"]
