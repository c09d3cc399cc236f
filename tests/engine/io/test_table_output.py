"""Tables out: types that survive, names that a GeoPackage can hold, and what cannot be written."""

from __future__ import annotations

import builtins
from pathlib import Path

import numpy as np
import pandas as pd
import pyogrio
import pytest
from smallarea.errors import EngineUnavailable, OutputProblem
from smallarea.io import read_table
from smallarea.io.table_output import check_table_output, write_table

FRAME = pd.DataFrame(
    {
        "area": ["01", "02", None],
        "n": [1, 2, 3],
        "x": [0.1, np.nan, 1e-12],
        "day": pd.to_datetime(["2020-01-01", None, "2021-02-03"]),
    }
)


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".gpkg"])
def test_back_and_forth(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"t{suffix}"
    check_table_output(path)
    assert write_table(FRAME, path, "t") == {}
    back = read_table(path, text_columns=["area"])
    assert back["area"].tolist()[:2] == ["01", "02"]
    assert pd.isna(back["area"].iloc[2])
    np.testing.assert_array_equal(back["n"], FRAME["n"])
    np.testing.assert_array_equal(back["x"], FRAME["x"])


def test_a_geopackage_that_old_versions_read(tmp_path: Path) -> None:
    renamed = write_table(FRAME.rename(columns={"n": "fid", "x": "AREA"}), tmp_path / "t.gpkg", "people")
    assert renamed == {"fid": "fid_", "AREA": "AREA_"}
    assert pyogrio.list_layers(tmp_path / "t.gpkg")[:, 0].tolist() == ["people"]
    assert (tmp_path / "t.gpkg").read_bytes()[60:64] == (10300).to_bytes(4, "big")


def test_what_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OutputProblem, match="must end in"):
        check_table_output("t.xlsx")
    pytest.importorskip("pyarrow")
    with pytest.raises(OutputProblem, match="Ask for CSV"):
        write_table(pd.DataFrame({"x": [1, "a"]}), tmp_path / "t.parquet", "t")


def test_without_pyarrow(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def blocked(name: str, *args: object, **kwargs: object) -> object:
        if name.partition(".")[0] == "pyarrow":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", blocked)
    with pytest.raises(EngineUnavailable, match="pip install pyarrow"):
        check_table_output("t.parquet")
