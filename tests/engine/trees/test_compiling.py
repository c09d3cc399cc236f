"""Compiled code that an older version stored must not be read."""

import importlib.util
import pickle
import sys

import numpy as np
from smallarea.trees import compiling

SOURCE = """
from smallarea.trees.compiling import compiled

@compiled
def twice(x):
    return 2.0 * x
"""


def load(path):
    spec = importlib.util.spec_from_file_location("stored_loops", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["stored_loops"] = module
    spec.loader.exec_module(module)
    return module


def test_an_index_with_types_that_are_gone_is_passed_over(tmp_path, monkeypatch):
    file = tmp_path / "stored_loops.py"
    file.write_text(SOURCE)
    assert load(file).twice(np.float64(1.5)) == 3.0
    index, *_ = tmp_path.rglob("*.nbi")
    with index.open("rb") as f:
        version = pickle.load(f)  # noqa: S301
    # What follows names a class that no module has.
    index.write_bytes(pickle.dumps(version, protocol=4) + b"\x80\x04\x8c\x08nowhere_\x8c\x04gone\x93.")
    monkeypatch.setattr(compiling, "_STAMP", (("other.py", 0.0, 0),))
    module = load(file)
    assert module.twice(np.float64(2.5)) == 5.0
    assert module.twice.stats.cache_hits == {}


def test_stored_code_is_read_again(tmp_path):
    file = tmp_path / "stored_loops.py"
    file.write_text(SOURCE)
    load(file).twice(np.float64(1.5))
    again = load(file).twice
    again(np.float64(1.5))
    assert sum(again.stats.cache_hits.values()) == 1
