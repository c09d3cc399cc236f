"""BARTSIMP beside its baselines on a simulated survey of a country whose truth is known, by cell and by area.

The truth is nearly linear in the covariates, so a linear model with a field should do as well, and the cross-validation
should say so. Exit code 1 if BARTSIMP errs by more than 0.15 a cell, or intervals cover less than they should.

usage: python benchmarks/bartsimp_known_truth.py OBSERVATIONS.csv CELLS.csv [--sweeps 2000] [--folds 5]

Observations have ``y``, ``cluster``, ``s1``, ``s2``, ``stratum``; cells ``s1``, ``s2``, ``f_true``, ``admin1``,
``admin2``, ``pop_u5``; both the covariates.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from smallarea.gmrf.mesh import build_mesh
from smallarea.unit_level import BartsimpSettings, Clusters, sample_bartsimp
from smallarea.unit_level.cross_validation import score_points, summarise
from smallarea.unit_level.mesh_choice import sizes_for
from smallarea.unit_level.pc_prior import default_prior
from smallarea.unit_level.spde_linear import SpdeSettings, fit_spde
from smallarea.workflows.bartsimp_comparison import compare_with_baselines
from smallarea.workflows.record import silent

Vector = NDArray[np.float64]
COVARIATES = ["pop_density", "night_light", "ndvi", "temp", "precip", "access_city"]
DRAWS = 500
# BARTSIMP's: error of a cell, coverage of cells and of areas.
MOST_RMSE, CELL_COVERAGE, AREA_COVERAGE = 0.15, (0.90, 0.98), 0.90


def draws_of(clusters: Clusters, cells: pd.DataFrame, sweeps: int) -> dict[str, Vector]:
    """Draw the surface at the cells under each model, shape (S, cells)."""
    place, x = cells[["s1", "s2"]].to_numpy(), cells[COVARIATES].to_numpy()
    trees = {"bartsimp": BartsimpSettings(), "bart": BartsimpSettings(field="none")}
    out = {}
    for name, settings in trees.items():
        fit = sample_bartsimp(clusters, settings, warmup=sweeps, draws=sweeps, seed=1)
        out[name] = fit.predict(place, x, draws=DRAWS).total
    mesh = build_mesh(clusters.coordinates, sizes_for(clusters.coordinates, default_prior(clusters.coordinates, 1.0)))
    for name, covariates in (("spde", True), ("spde0", False)):
        linear = fit_spde(clusters, SpdeSettings(draws=DRAWS, covariates=covariates), mesh=mesh, seed=1)
        out[name] = linear.draw(place, x)
    return out


def score(drawn: Vector, cells: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Score cells, and areas as means of each draw weighted by people."""
    truth = cells["f_true"].to_numpy()
    out = {"cells": summarise(score_points(truth, drawn))}
    for level in ("admin1", "admin2"):
        weights = pd.get_dummies(cells[level]).to_numpy(float) * cells["pop_u5"].to_numpy()[:, None]
        weights /= weights.sum(axis=0)
        out[level] = summarise(score_points(truth @ weights, drawn @ weights))
    return out


def main() -> None:
    """Fit, score and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("observations", type=Path)
    parser.add_argument("cells", type=Path)
    parser.add_argument("--sweeps", type=int, default=2000, help="of warm-up, and of sampling")
    parser.add_argument("--folds", type=int, default=5)
    a = parser.parse_args()
    rows, cells = pd.read_csv(a.observations), pd.read_csv(a.cells)
    clusters = Clusters.from_rows(
        rows["y"], rows["cluster"], rows[["s1", "s2"]].to_numpy(), rows[COVARIATES].to_numpy(), names=COVARIATES,
        strata=rows["stratum"],
    )  # fmt: skip
    met = True
    for name, drawn in draws_of(clusters, cells, a.sweeps).items():
        scores = score(drawn, cells)
        parts = (
            f"{level}: RMSE {s['rmse']:.3f}, coverage {s['coverage']:.3f}, interval score {s['interval_score']:.3f}"
            for level, s in scores.items()
        )
        print(f"{name:9s}", "; ".join(parts), flush=True)
        if name == "bartsimp":
            covered = scores["cells"]["coverage"]
            met = scores["cells"]["rmse"] <= MOST_RMSE and CELL_COVERAGE[0] <= covered <= CELL_COVERAGE[1]
            met = met and min(scores[level]["coverage"] for level in ("admin1", "admin2")) >= AREA_COVERAGE
    if a.folds:
        found = compare_with_baselines(
            clusters, BartsimpSettings(), crs="EPSG:32736", folds=a.folds, fold_kind="clusters", chains=2,
            warmup=a.sweeps // 2, draws=a.sweeps // 2, seed=1, level=0.95, progress=silent,
        )  # fmt: skip
        for verdict in (*found.verdicts, *found.notes):
            print(verdict)
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
