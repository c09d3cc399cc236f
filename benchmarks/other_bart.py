"""Plain BART by another program, stochtree (`pip install stochtree`), in the place of this one's."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from smallarea.unit_level import BartsimpSettings, Clusters
from smallarea.unit_level.settings import scales

Vector = NDArray[np.float64]
# Forests that stochtree grows before it samples, one after another, if nobody asks for another number.
GROWN = 10


def same_prior(
    clusters: Clusters, settings: BartsimpSettings, outcome: Vector, covariates: Vector, points: Vector, *,
    chains: int, sweeps: int, keep: int, seed: int,
) -> Vector:  # fmt: skip
    """Draw the surface with the prior of ``settings``, no field and no grown start.

    stochtree takes cuts anywhere between the smallest and the largest value in a node instead of on a grid, and knows
    the moves grow and prune only.

    Parameters
    ----------
    clusters : Clusters
        The data, from which the scales of the priors are taken.
    settings : BartsimpSettings
        Prior of trees, leaves and error.
    outcome, covariates : ndarray, shape (N,) and (N, p)
        The same data by observation; covariates must be positive.
    points : ndarray, shape (P, p)
        Where the surface is wanted.
    chains, sweeps, keep, seed : int
        Chains, sweeps of warm-up and of sampling, and draws kept of all chains.

    Returns
    -------
    ndarray, shape (draws, P)
    """
    from stochtree import BARTModel

    scale, trees, every = scales(clusters, settings), settings.trees, max(1, chains * sweeps // keep)
    model = BARTModel()
    model.sample(
        X_train=covariates,
        y_train=outcome - clusters.mean,
        X_test=points,
        num_gfr=0,
        num_burnin=sweeps,
        num_mcmc=sweeps // every,
        general_params={
            "standardize": False,
            "sigma2_init": scale.error_start**2,
            "sigma2_global_shape": settings.error_df / 2.0,
            "sigma2_global_scale": scale.nu_lambda / 2.0,
            "num_chains": chains,
            "keep_every": every,
            "random_seed": seed,
        },
        mean_forest_params={
            "num_trees": trees.trees,
            "alpha": trees.base,
            "beta": trees.power,
            "min_samples_leaf": trees.min_leaf,
            "max_depth": -1,
            "sample_sigma2_leaf": False,
            "sigma2_leaf_init": scale.leaf**2,
        },
    )
    return np.asarray(model.y_hat_test).T + clusters.mean


def as_it_comes(
    outcome: Vector, covariates: Vector, points: Vector, trees: int, *, chains: int, sweeps: int, keep: int, seed: int
) -> Vector:
    """Draw the surface with the priors and the grown start that stochtree's users get.

    Parameters
    ----------
    outcome, covariates : ndarray, shape (N,) and (N, p)
        Observations.
    points : ndarray, shape (P, p)
        Where the surface is wanted.
    trees, chains, sweeps, keep, seed : int
        Trees, chains, sweeps of sampling, draws kept of all chains.

    Returns
    -------
    ndarray, shape (draws, P)
    """
    from stochtree import BARTModel

    every = max(1, chains * sweeps // keep)
    model = BARTModel()
    model.sample(
        X_train=covariates,
        y_train=outcome,
        X_test=points,
        num_gfr=GROWN,
        num_mcmc=sweeps // every,
        general_params={"num_chains": chains, "keep_every": every, "random_seed": seed},
        mean_forest_params={"num_trees": trees},
    )
    return np.asarray(model.y_hat_test).T
