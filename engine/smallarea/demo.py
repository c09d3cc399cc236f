"""The main job on real polygons and real counts, which come with libpysal: nothing is downloaded.

North Carolina, 100 counties, sudden infant deaths and births 1974 to 1978 (Cressie and Read 1985; Cressie and
Chan 1989). Freeman-Tukey's transformation makes of the counts rates whose sampling variance is known from the
births alone, which is what an area-level model asks for.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from smallarea.errors import EngineUnavailable, OutputProblem

if TYPE_CHECKING:
    import geopandas as gpd
    import numpy as np
    import pandas as pd

CRS = "EPSG:4267"  # NAD27, which the file does not say
SHOWN = 8


def run_demo(folder: Path, debug: bool = False) -> int:
    """Write the input and the job, run the job, and print a short table.

    Parameters
    ----------
    folder : pathlib.Path
        Where the files go; created if it is not there. Files of an earlier demo are replaced.
    debug : bool
        Write the tracebacks of errors to standard error.

    Returns
    -------
    int
        Exit code of the job.
    """
    from smallarea.cli.terminal import human_reporter
    from smallarea.io import atomic_path, write_layer
    from smallarea.jobs.description import load_job
    from smallarea.jobs.runner import run_with

    folder = _prepared(folder)
    counties = north_carolina()
    write_layer(counties, folder / "north_carolina.gpkg", "counties")
    job = folder / "job.json"
    with atomic_path(job) as temporary:
        temporary.write_text(json.dumps(demo_job(), indent=2) + "\n", encoding="utf-8")
    exit_code = run_with(human_reporter(), lambda: load_job(job), traces="all" if debug else "none")
    if exit_code == 0:
        click.echo(_table(counties, folder / "estimates.csv"))
        click.echo(_where(folder))
    return exit_code


def demo_job() -> dict[str, object]:
    """Return the demo's job description.

    Returns
    -------
    dict
        Its paths are relative to the folder of the job file.
    """
    return {
        "version": 1,
        "task": "fit",
        "parameters": {
            "areas": "north_carolina.gpkg",
            "id_field": "FIPS",
            "direct": "sids_ft",
            "variance": "sids_ft_var",
            "covariates": ["nonwhite_ft"],
            "random_effect": "car",
            "method": "bayes",
            "output": "estimates.gpkg",
            "report": "report.html",
            "csv": "estimates.csv",
        },
    }


def north_carolina() -> gpd.GeoDataFrame:
    """Read the counties and compute the demo's fields.

    Returns
    -------
    geopandas.GeoDataFrame
        ``FIPS``, ``NAME``, the counts, ``sids_ft`` (transformed rate of sudden infant death per thousand
        births), ``sids_ft_var`` (its sampling variance) and ``nonwhite_ft`` (transformed rate of non-white
        births).

    Raises
    ------
    EngineUnavailable
        If libpysal or its example is not there.
    """
    import geopandas as gpd

    counties = gpd.read_file(_example()).set_crs(CRS)
    births = counties["BIR74"].to_numpy(float)
    counties["sids_ft"] = freeman_tukey(counties["SID74"].to_numpy(float), births)
    counties["sids_ft_var"] = 1000.0 / births
    counties["nonwhite_ft"] = freeman_tukey(counties["NWBIR74"].to_numpy(float), births)
    fields = ["FIPS", "NAME", "BIR74", "SID74", "NWBIR74", "sids_ft", "sids_ft_var", "nonwhite_ft"]
    return counties[[*fields, counties.geometry.name]]


def freeman_tukey(count: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Transform rates per thousand so that their sampling variance is about 1000 / total.

    Parameters
    ----------
    count, total : numpy.ndarray
        Cases, and those at risk.

    Returns
    -------
    numpy.ndarray
        ``sqrt(1000) (sqrt(count / total) + sqrt((count + 1) / total))``.
    """
    from smallarea.survey.scales import freeman_tukey as transformed

    return transformed(count, total, 1000.0)


def _prepared(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputProblem(f"Cannot make the folder {folder}: {error.strerror or error}.") from error
    return folder


def _example() -> Path:
    """Find the shapefile without importing libpysal, which takes longer than the fit."""
    found = importlib.util.find_spec("libpysal")
    if found is None or found.origin is None:
        raise EngineUnavailable("libpysal is not installed. Run: python -m pip install libpysal")
    path = Path(found.origin).parent / "examples" / "sids2" / "sids2.shp"
    if not path.is_file():
        raise EngineUnavailable(f"libpysal has no file {path}. Install it again: pip install -U libpysal")
    return path


def _table(counties: gpd.GeoDataFrame, csv: Path) -> str:
    """Lay out the counties with the fewest births, where a model helps most, and the largest two."""
    import pandas as pd

    estimates = pd.read_csv(csv, dtype={"FIPS": str, "area": str})
    ids = "area" if "area" in estimates else "FIPS"
    joined = counties.drop(columns="geometry").merge(estimates, left_on="FIPS", right_on=ids)
    joined = joined.sort_values("BIR74")
    shown = pd.concat([joined.head(SHOWN - 2), joined.tail(2)])
    head = f"{'county':<12}{'births':>8}{'direct':>9}{'se':>7}{'estimate':>10}{'se':>7}{'CV':>7}"
    lines = ["", "Transformed rates of sudden infant death; the counties with fewest and most births:", head]
    return "\n".join([*lines, *(_line(row) for _, row in shown.iterrows())])


def _line(row: pd.Series) -> str:
    return (
        f"{row['NAME']:<12}{row['BIR74']:>8.0f}{row['direct']:>9.2f}{row['direct_se']:>7.2f}"
        f"{row['estimate']:>10.2f}{row['se']:>7.2f}{row['cv']:>7.1%}"
    )


def _where(folder: Path) -> str:
    return (
        f"\nMap     {folder / 'estimates.gpkg'}   (open it in QGIS: the styles are inside)"
        f"\nReport  {folder / 'report.html'}   (open it in a browser)"
        f"\nJob     {folder / 'job.json'}   (run it again: smallarea run {folder / 'job.json'})"
    )
