"""What the exact engine says of the hyperparameters when each cell's likelihood is replaced by a normal one.

On large maps hyperparameters are known to a few per cent while effects are of scale 1, and a sampler that does not know
this takes steps a hundred times too short until it has found out. The collapsed model, with effects and coefficients
integrated out, tells it beforehand: mode and curvature of the hyperparameters take seconds. They are where the chains
start and their first mass matrix, and have no influence on the result.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from smallarea.area_level.build import build_model
from smallarea.area_level.data import StandardisedData
from smallarea.area_level.hmc.coordinates import Coordinate
from smallarea.area_level.hmc.observations import Observations
from smallarea.area_level.mode import find_mode
from smallarea.area_level.parameters import as_arrays, inside, natural_values
from smallarea.area_level.specification import AreaLevelSpecification
from smallarea.area_level.stacked import StackedData
from smallarea.errors import ModelProblem

if TYPE_CHECKING:
    from smallarea.areas import AreaGraph

Vector = NDArray[np.float64]

# Effects that the exact engine has.
COLLAPSED = ("iid", "car", "leroux", "bym2", "icar")
# Sets of hyperparameters that are evaluated at once.
LANES = 8
# Step in normal coordinates for the derivative of a coordinate of the sampler.
STEP = 1e-3
# Coordinates stay this far inside: beyond, their range is all but exhausted.
FURTHEST = 20.0


@dataclass(frozen=True)
class Rough:
    """Mode, shape (d,), and covariance, shape (d, d), of the free hyperparameters in the sampler's coordinates."""

    mode: Vector
    covariance: Vector


def rough_posterior(
    observations: Observations,
    specification: AreaLevelSpecification,
    graph: AreaGraph | None,
    listed: tuple[Coordinate, ...],
) -> Rough | None:
    """Find the hyperparameters' mode and curvature under the normal approximation of the likelihood.

    Parameters
    ----------
    observations : Observations
        The data.
    specification : AreaLevelSpecification
        The model.
    graph : AreaGraph or None
        Neighbours.
    listed : tuple of Coordinate
        The sampler's coordinates; hyperparameters that are not among them are left out.

    Returns
    -------
    Rough or None
        None where the exact engine does not have the model, or finds no mode.
    """
    layout, priors, k = specification.layout, specification.priors, len(specification.responses)
    free = [parameter for parameter in layout if not priors[parameter.name].fixed]
    wanted = {coordinate.parameter.name: coordinate for coordinate in listed if not coordinate.fixed}
    if specification.random_effect not in COLLAPSED or not wanted:
        return None
    order = tuple(specification.responses.index(name) for name in specification.order)
    model = build_model(specification, _as_normal(observations), graph if specification.spatial else None)

    def target(points: Vector) -> Vector:
        out = np.full(len(points), -np.inf)
        for start in range(0, len(points), LANES):
            rows = np.arange(start, min(start + LANES, len(points)))
            values = natural_values(layout, priors, k, points[rows])
            good = inside(layout, values)
            if good.any():
                found = model.log_likelihood(as_arrays(layout, order, k, values[good]))
                out[rows[good]] = np.where(np.isfinite(found), found, -np.inf)
        return out - 0.5 * np.sum(points**2, axis=1)

    try:
        mode, covariance, _ = find_mode(target, len(free))
    except ModelProblem:
        return None
    kept = [at for at, parameter in enumerate(free) if parameter.name in wanted]
    chosen = [wanted[free[at].name] for at in kept]
    centre = np.array([_coordinate(c, mode[at]) for c, at in zip(chosen, kept, strict=True)])
    slope = np.array(
        [
            (_coordinate(c, mode[at] + STEP) - _coordinate(c, mode[at] - STEP)) / (2.0 * STEP)
            for c, at in zip(chosen, kept, strict=True)
        ]
    )
    return Rough(centre, slope[:, None] * covariance[np.ix_(kept, kept)] * slope)


def _coordinate(coordinate: Coordinate, x: float) -> float:
    """Sampler's coordinate of a hyperparameter at a normal coordinate of its prior."""
    value = coordinate.prior.from_normal(x)
    if math.isinf(coordinate.upper):
        found = math.log(max(value, 1e-300)) if coordinate.lower == 0.0 else value
    else:
        width = coordinate.upper - coordinate.lower
        share = min(max((value - coordinate.lower) / width, 1e-12), 1.0 - 1e-12)
        found = math.log(share) - math.log1p(-share)
    return min(max(found, -FURTHEST), FURTHEST) if math.isfinite(coordinate.upper) else found


def _as_normal(observations: Observations) -> StackedData:
    """Direct estimates of the linear predictor in the place of the observations."""
    centre, variance = observations.working
    seen = observations.observed
    responses = tuple(
        StandardisedData(
            np.where(seen[:, k], centre[:, k], np.nan),
            np.where(seen[:, k], variance[:, k], np.nan),
            observations.design[:, k, at],
            seen[:, k],
            0.0,
            1.0,
            observations.x_location[k],
            observations.x_scale[k],
            observations.intercept,
        )
        for k, at in enumerate(observations.terms)
    )
    k = len(responses)
    own = np.einsum("nk,kl->nkl", np.where(seen, variance, 0.0), np.eye(k))
    covariance = observations.covariance if observations.likelihood == "normal" else own
    common = k > 1 and len({at.start for at in observations.terms}) == 1
    return StackedData(responses, covariance, observations.coupled, common)
