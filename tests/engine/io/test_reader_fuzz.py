"""Whatever a file holds, a reader gives a table or one of our errors: cut off, overwritten or random."""

from __future__ import annotations

import contextlib
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from shapely import Point
from smallarea.errors import SmallareaError
from smallarea.io import read_survey, write_layer

N = 60
FRAME = pd.DataFrame({"area": [f"Ä{i % 7}" for i in range(N)], "code": np.arange(N) % 5, "w": np.linspace(0.1, 9.0, N)})


def make(path: Path) -> Path:
    kind = path.suffix
    if kind == ".csv":
        FRAME.to_csv(path, index=False)
    elif kind == ".xlsx":
        FRAME.to_excel(path, index=False)
    elif kind == ".parquet":
        pytest.importorskip("pyarrow")
        FRAME.to_parquet(path)
    elif kind == ".gpkg":
        write_layer(gpd.GeoDataFrame(FRAME, geometry=[Point(i, 0) for i in range(N)]), path, "t")
    else:
        pyreadstat = pytest.importorskip("pyreadstat")
        labels = {"code": {i: f"label {i}" for i in range(5)}}
        if kind == ".dta":
            pyreadstat.write_dta(FRAME, str(path), variable_value_labels=labels)
        else:
            pyreadstat.write_sav(FRAME, str(path), variable_value_labels=labels, compress=kind == ".zsav")
    return path


def outcome(path: Path) -> str:
    """Read in every way; only our own errors may come out, and what is read can be summarised."""
    try:
        table = read_survey(path)
    except SmallareaError:
        return "refused"
    assert len(table.frame) > 0
    assert len(table.summary) == len(table.frame.columns)
    assert table.n_repeated < len(table.frame)
    return "read"


KINDS = [".csv", ".xlsx", ".parquet", ".dta", ".sav", ".zsav"]


@pytest.mark.parametrize("kind", [*KINDS, ".gpkg"])
def test_random_bytes(tmp_path: Path, kind: str) -> None:
    rng = np.random.default_rng(3)
    for size in (1, 7, 64, 1000, 5000):
        path = tmp_path / f"t{size}{kind}"
        path.write_bytes(rng.bytes(size))
        outcome(path)


@pytest.mark.parametrize("kind", KINDS)
def test_cut_off(tmp_path: Path, kind: str) -> None:
    whole = make(tmp_path / f"t{kind}").read_bytes()
    rng = np.random.default_rng(4)
    results = []
    for end in sorted({0, 1, len(whole) - 1, *rng.integers(0, len(whole), 12).tolist()}):
        path = tmp_path / f"c{end}{kind}"
        path.write_bytes(whole[:end])
        results.append(outcome(path))
    # A text file may end anywhere; the others know their length.
    assert kind == ".csv" or "read" not in results[: len(results) // 2]


@pytest.mark.parametrize("kind", [*KINDS, ".gpkg"])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of GDAL
def test_overwritten(tmp_path: Path, kind: str) -> None:
    whole = np.frombuffer(make(tmp_path / f"t{kind}").read_bytes(), dtype=np.uint8)
    rng = np.random.default_rng(5)
    for trial in range(15):
        broken = whole.copy()
        places = rng.integers(0, len(broken), 1 + trial)
        broken[places] = rng.integers(0, 256, len(places))
        path = tmp_path / f"b{trial}{kind}"
        path.write_bytes(broken.tobytes())
        outcome(path)


@pytest.mark.parametrize("alphabet", ['a1,;"\n', '0.,;- \t\n"', "aÄ\u2028\x0b\r\n,'\"", "1,\n", "1٣,²\n"])
def test_random_texts(tmp_path: Path, alphabet: str) -> None:
    rng = np.random.default_rng(6)
    path = tmp_path / "t.csv"
    for _ in range(60):
        text = "".join(rng.choice(list(alphabet), int(rng.integers(1, 60))))
        path.write_bytes(text.encode("utf-8"))
        outcome(path)
        for settings in ({"decimal": "comma"}, {"thousands": "point"}, {"encoding": "utf-16"}):
            with contextlib.suppress(SmallareaError):
                read_survey(path, **settings)
