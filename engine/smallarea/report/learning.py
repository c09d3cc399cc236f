"""What the data say about a hyperparameter: its prior against its posterior."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from smallarea.errors import SmallareaError
from smallarea.report.parameters import ParameterName, split_name
from smallarea.report.words import responses_of

if TYPE_CHECKING:
    from smallarea.area_level import Prior
    from smallarea.results.fit_result import FitResult

FloatArray = npt.NDArray[np.float64]

# A normal posterior that overlaps a normal prior by this much has more than half of its standard deviation.
LITTLE_LEARNED = 0.7
ENDS = 6.0  # of the grid in normal coordinates
STEPS = 1201
SHOWN = 2.5  # normal coordinates within which densities are drawn: beyond them the smoothing shows more than the data


@dataclass(frozen=True)
class Learning:
    """Prior and posterior of one hyperparameter.

    Attributes
    ----------
    name : ParameterName
        Which one.
    overlap : float
        Overlap coefficient, the integral of the lower of both densities: 0 if the data rule out what the prior
        believed, 1 if they say nothing (Garrett and Zeger 2000).
    x, prior, posterior : numpy.ndarray
        Densities over the values of the hyperparameter.
    """

    name: ParameterName
    overlap: float
    x: FloatArray
    prior: FloatArray
    posterior: FloatArray


def learn(result: FitResult) -> list[Learning]:
    """Compare prior and posterior of every rho and correlation of a Bayesian fit.

    Parameters
    ----------
    result : FitResult
        The fit.

    Returns
    -------
    list of Learning
        Empty without draws; a fixed hyperparameter is left out.
    """
    if result.posterior is None:
        return []
    responses = responses_of(result.model)
    found = []
    for name, text in zip(result.hyperparameters["name"], result.hyperparameters["prior"], strict=True):
        parts = split_name(str(name), responses)
        draws = result.posterior.hyperparameters.get(str(name))
        prior = _marginal_prior(parts, str(text), len(responses))
        if draws is not None and prior is not None and not prior.fixed and np.ptp(draws) > 0.0:
            found.append(_compare(parts, np.asarray(draws, dtype=np.float64), prior))
    return found


def _marginal_prior(name: ParameterName, text: str, responses: int) -> Prior | None:
    """Prior of one hyperparameter by itself; None for those that have a unit, or that cannot be read."""
    from smallarea.area_level.priors import LKJ, parse_prior

    if name.kind not in ("rho", "correlation"):
        return None
    try:
        prior = parse_prior(name.kind, text)
    except SmallareaError:
        return None
    # A single correlation of an LKJ matrix is distributed as the partial correlation given no other response.
    return prior.partial(0, responses) if isinstance(prior, LKJ) else prior


def _compare(name: ParameterName, draws: FloatArray, prior: Prior) -> Learning:
    """Smooth the posterior in the coordinate in which the prior is N(0, 1).

    There no boundary cuts a density off, and the overlap is the same, as it does not depend on the coordinate.
    """
    from scipy import stats
    from scipy.ndimage import gaussian_filter1d

    z = np.linspace(-ENDS, ENDS, STEPS)
    x = np.array([prior.from_normal(float(value)) for value in z])
    step = z[1] - z[0]
    where = np.interp(draws, x, z)
    spread = min(float(np.std(where)), float(np.subtract(*np.percentile(where, [75, 25])) / 1.34)) or step
    width = 1.06 * spread * np.unique(draws).size ** -0.2
    edges = np.concatenate([z - 0.5 * step, [z[-1] + 0.5 * step]])
    counts = np.histogram(where, edges)[0] / (len(draws) * step)
    posterior = gaussian_filter1d(counts, width / step, mode="constant")
    normal = stats.norm.pdf(z)
    shown = np.abs(z) <= SHOWN
    slope = np.gradient(x, z)[shown]
    return Learning(
        name,
        float(np.minimum(posterior, normal).sum() * step),
        x[shown],
        normal[shown] / slope,
        posterior[shown] / slope,
    )
