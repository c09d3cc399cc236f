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
from smallarea.results.posterior import PosteriorDraws
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
        parameters = {"direct": [response], "variance": ["v"], "covariates": ["poverty"], "seed": 7, "layer": None}
        result = FitResult(
            estimates=estimates,
            area_diagnostics=pd.DataFrame(
                {
                    "area": ids,
                    "response": response,
                    "synthetic": synthetic,
                    "random_effect": estimate - synthetic,
                    "std_residual": (direct - synthetic) / np.sqrt(16.0 + se**2),
                }
            ),
            coefficients=pd.DataFrame(
                {
                    "response": response,
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
                "link": "independent",
                "order": [],
                "direct": [response],
                "variance": ["v"],
                "covariance": [],
                "sampling_correlation": None,
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


@pytest.fixture
def make_several(make_result: Callable[..., FitResult]) -> Callable[..., FitResult]:
    """Make a Bayesian fit of several responses, side by side and with joint draws."""

    def make(names: tuple[str, ...] = ("income", "rent"), **parts: object) -> FitResult:
        results = [make_result(response=name, seed=3 + k) for k, name in enumerate(names)]
        first = results[0]
        tables = {
            table: pd.concat([getattr(one, table) for one in results], ignore_index=True)
            for table in ("estimates", "area_diagnostics", "coefficients")
        }
        tables["area_diagnostics"] = tables["area_diagnostics"].assign(
            plain_estimate=tables["estimates"]["estimate"], plain_se=1.25 * tables["estimates"]["se"]
        )
        rng = np.random.default_rng(11)
        n, k, draws = len(first.estimates), len(names), 400
        noise = rng.normal(size=(draws, n, 1)) + rng.normal(size=(draws, n, k))
        centre, spread = (np.column_stack([one.estimates[c] for one in results]) for c in ("estimate", "se"))
        pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
        rows = [(f"sd_phi[{name}]", "SD of the spatial effect", rng.gamma(9.0, 0.3, draws)) for name in names]
        rows += [("rho", "spatial dependence", rng.uniform(size=draws))]
        rows += [(f"correlation[{a},{b}]", "correlation", rng.beta(20.0, 5.0, draws)) for a, b in pairs]
        priors = ["HalfNormal(1)"] * k + ["Uniform(0, 1)"] + ["LKJ(2)"] * len(pairs)
        hyperparameters = pd.DataFrame(
            {
                "name": [name for name, _, _ in rows],
                "description": [text for _, text, _ in rows],
                "estimate": [values.mean() for _, _, values in rows],
                "se": [values.std() for _, _, values in rows],
                "lower": [np.quantile(values, 0.025) for _, _, values in rows],
                "upper": [np.quantile(values, 0.975) for _, _, values in rows],
                "ess": 1500.0,
                "prior": priors,
            }
        )
        posterior = PosteriorDraws(
            tuple(first.estimates["area"]),
            names,
            ("intercept", "poverty"),
            centre + spread * noise / np.sqrt(2.0),
            np.zeros((draws, 2, k)),
            {name: values for name, _, values in rows},
            np.column_stack([one.estimates["direct"] for one in results]),
            np.column_stack([one.estimates["direct_se"] ** 2 for one in results]),
        )
        model = {
            **first.model,
            "link": "separable",
            "direct": list(names),
            "variance": [f"v{number}" for number in range(k)],
        }
        changed = {**tables, "hyperparameters": hyperparameters, "posterior": posterior, "model": model, **parts}
        return replace(first, **changed)  # type: ignore[arg-type]

    return make
