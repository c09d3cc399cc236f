"""Fits made up from a known truth, so that the report has something to say without fitting anything."""

from collections.abc import Callable
from dataclasses import replace

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from smallarea.areas import AreaGraph, Areas
from smallarea.results import FitResult
from smallarea.results.reliability import classify, coefficient_of_variation, load_preset


def grid(rows: int, columns: int, crs: str | None = "EPSG:32617", size: float = 1000.0) -> gpd.GeoDataFrame:
    """Squares, row by row from the south."""
    x, y = np.meshgrid(np.arange(columns) * size, np.arange(rows) * size)
    boxes = shapely.box(x.ravel(), y.ravel(), x.ravel() + size, y.ravel() + size)
    return gpd.GeoDataFrame({"code": [f"A{i:04d}" for i in range(rows * columns)]}, geometry=boxes, crs=crs)


def grid_edges(rows: int, columns: int) -> np.ndarray:
    """Rook neighbours of a grid."""
    number = np.arange(rows * columns).reshape(rows, columns)
    across = np.column_stack([number[:, :-1].ravel(), number[:, 1:].ravel()])
    up = np.column_stack([number[:-1].ravel(), number[1:].ravel()])
    return np.vstack([across, up])


@pytest.fixture
def make_result() -> Callable[..., FitResult]:
    """Make a fit on a grid; keyword arguments replace parts of it."""

    def make(
        rows: int = 6,
        columns: int = 6,
        *,
        frame: gpd.GeoDataFrame | None = None,
        unsampled: tuple[int, ...] = (3, 20),
        preset: str = "statcan",
        centre: float = 50.0,
        response: str = "income",
        seed: int = 3,
        **parts: object,
    ) -> FitResult:
        frame = grid(rows, columns) if frame is None else frame
        n = len(frame)
        rng = np.random.default_rng(seed)
        covariate = rng.normal(size=n)
        truth = centre + 6.0 * covariate + 4.0 * rng.normal(size=n)
        se = rng.uniform(2.0, 12.0, size=n)
        direct = truth + se * rng.normal(size=n)
        missing = np.zeros(n, dtype=bool)
        missing[list(unsampled)] = True
        direct[missing] = se_direct = np.nan
        se_direct = np.where(missing, np.nan, se)
        synthetic = centre + 6.0 * covariate
        gamma = np.where(missing, np.nan, 16.0 / (16.0 + se**2))
        estimate = np.where(missing, synthetic, gamma * direct + (1.0 - gamma) * synthetic)
        error = np.where(missing, 4.0, np.sqrt(np.nan_to_num(gamma)) * se)
        ids = tuple(frame["code"])
        estimates = pd.DataFrame(
            {
                "area": ids,
                "response": response,
                "direct": direct,
                "direct_se": se_direct,
                "estimate": estimate,
                "se": error,
                "cv": coefficient_of_variation(estimate, error),
                "lower": estimate - 1.96 * error,
                "upper": estimate + 1.96 * error,
                "shrinkage": gamma,
                "sampled": ~missing,
                "note": np.where(missing, "not in the sample", ""),
            }
        )
        rule = load_preset(preset)
        estimates.insert(11, "flag", classify(estimates, rule))
        parameters = {"direct": response, "variance": "v", "covariates": ["poverty"], "seed": 7, "layer": None}
        result = FitResult(
            estimates=estimates,
            area_diagnostics=pd.DataFrame(
                {
                    "area": ids,
                    "synthetic": synthetic,
                    "random_effect": estimate - synthetic,
                    "std_residual": (direct - synthetic) / np.sqrt(16.0 + se**2),
                }
            ),
            coefficients=pd.DataFrame(
                {
                    "term": ["intercept", "poverty"],
                    "estimate": [centre, 6.0],
                    "se": [1.2, 0.9],
                    "lower": [centre - 2.4, 4.2],
                    "upper": [centre + 2.4, 7.8],
                }
            ),
            hyperparameters=pd.DataFrame(
                {
                    "name": ["sd_phi", "rho", "sd_delta"],
                    "description": ["SD of the spatial effect", "spatial dependence", "SD of the independent effect"],
                    "estimate": [3.1, 0.9, 2.2],
                    "se": [0.6, 0.05, 0.7],
                    "lower": [2.0, 0.75, 0.6],
                    "upper": [4.4, 0.98, 3.5],
                    "ess": [1800.0, 1500.0, 1200.0],
                    "prior": ["HalfNormal(1)", "Uniform(0, 1)", "HalfNormal(1)"],
                }
            ),
            fit_statistics={"log_marginal_likelihood": -101.25},
            diagnostics={"ess_min": 1200.0, "pareto_k": 0.2},
            model={
                "formula": "income ~ poverty + car + iid",
                "method": "bayes",
                "random_effect": "car",
                "iid_part": True,
                "direct": response,
                "variance": "v",
                "covariates": ["poverty"],
                "level": 0.95,
                "n_areas": n,
                "n_sampled": int((~missing).sum()),
            },
            warnings=(),
            dropped=pd.DataFrame({"what": ["table row"] * 2, "id": ["X1", "X2"], "reason": ["not on the map"] * 2}),
            graph=AreaGraph.from_edges(ids, grid_edges(rows, columns), {"contiguity": "rook", "links_added": []})
            if rows * columns == n
            else None,
            areas=Areas(ids, frame, "code", "areas.gpkg", ("Area 'A0001': ring closed.",)),
            posterior=None,
            reliability=rule.as_mapping(),
            call=parameters,
            timings={"read": 0.4, "fit": 1.6},
            versions={"smallarea": "0.1.0", "python": "3.11.2"},
        )
        return replace(result, **parts) if parts else result

    return make
