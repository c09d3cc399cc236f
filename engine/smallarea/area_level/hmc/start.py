"""Where chains start: near where a normal approximation of the likelihood puts the posterior."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smallarea.area_level.hmc.coordinates import Coordinate
from smallarea.area_level.hmc.model import HmcModel
from smallarea.area_level.hmc.observations import Observations
from smallarea.area_level.hmc.rough import Rough

Vector = NDArray[np.float64]

# Of the variation between areas that sampling does not explain, the part that the start gives to each effect.
EFFECT_SHARE = 0.5
START_RHO = 0.9
START_RANGE = 0.2
# Spread of the chains' starts in coordinates of the hyperparameters.
SPREAD = 0.3
# Of the rough posterior's standard deviations, so that chains start further apart than they end.
ROUGH_SPREAD = 2.0
# Of coordinates that are about N(0, 1).
FIELD_SPREAD = 0.5


@dataclass(frozen=True)
class Guess:
    """Crude hyperparameters of each response, shape (K,), and weights of the cells around X beta, shape (N, K)."""

    sd_phi: Vector
    sd_delta: Vector
    weights: Vector


def first_guess(observations: Observations, mean_degree: float, *, spatial: bool, iid_part: bool) -> Guess:
    """Moments of the residuals of an ordinary regression of the cells' centres.

    Parameters
    ----------
    observations : Observations
        The data.
    mean_degree : float
        Mean number of neighbours: a CAR effect has about ``sd_phi^2 / degree`` as variance.
    spatial, iid_part : bool
        Which effects there are.

    Returns
    -------
    Guess
        The guess.
    """
    centre, variance = observations.working
    seen = observations.observed
    weights = np.where(seen, 1.0, 0.0)
    x = observations.design
    beta = np.linalg.lstsq((x * seen[:, :, None]).reshape(-1, x.shape[2]), (centre * seen).ravel(), rcond=None)[0]
    residual = np.where(seen, centre - x @ beta, 0.0)
    count = np.maximum(seen.sum(axis=0), 1)
    total = (residual**2).sum(axis=0) / count
    sampling = np.where(seen, variance, 0.0).sum(axis=0) / count
    between = np.maximum(total - sampling, 0.1 * total)
    share = EFFECT_SHARE if spatial and iid_part else 1.0
    weights = np.where(seen, 1.0 / (variance + between), 0.0)
    return Guess(np.sqrt(share * between * mean_degree), np.sqrt(share * between), weights)


def starts(
    model: HmcModel, guess: Guess, rough: Rough | None, chains: int, rng: np.random.Generator
) -> dict[str, Vector]:
    """Draw a starting point for each chain.

    Parameters
    ----------
    model : HmcModel
        The model.
    guess : Guess
        Crude hyperparameters, taken where there are no better ones.
    rough : Rough or None
        Mode and covariance of the hyperparameters.
    chains : int
        How many.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    dict
        Unknowns by name, each with a leading axis of chains.
    """
    free = [coordinate for coordinate in model.listed if not coordinate.fixed]
    middle = np.array([coordinate.start(_wanted(coordinate, guess)) for coordinate in free])
    root: Vector = SPREAD * np.eye(len(free))
    if rough is not None:
        middle, root = rough.mode, np.asarray(ROUGH_SPREAD * np.linalg.cholesky(rough.covariance))
    out: dict[str, Any] = {}
    for name, shape in model.shapes.items():
        noise = rng.standard_normal((chains, *shape))
        if name == "hyper":
            out[name] = middle + noise @ root.T
        else:
            out[name] = FIELD_SPREAD * noise
    return out


def _wanted(coordinate: Coordinate, guess: Guess) -> float:
    kind, responses = coordinate.parameter.kind, coordinate.parameter.responses
    if kind in ("sd_phi", "sd_delta"):
        values = getattr(guess, kind)
        return float(np.mean(values[list(responses)] if responses else values))
    return {"rho": START_RHO, "range": START_RANGE, "rho_time": 0.5}.get(kind, 0.0)
