"""What a certificate says of one set of hyperparameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from smallarea.errors import PriorProblem
from smallarea.priors.fidelity.measures import CovarianceErrors
from smallarea.priors.fidelity.pairs import Pairs
from smallarea.priors.fidelity.posterior_check import PosteriorCheck

DIGITS = 6
# Areas with at least so many neighbours are one class.
HIGHEST_DEGREE = 10
# Below this a mean correlation is too near 0 to divide by: errors are then taken relative to it.
SMALLEST_CORRELATION = 0.1


@dataclass(frozen=True)
class DegreeClass:
    """Variance ratio of the areas with so many neighbours.

    Attributes
    ----------
    degree : int
        Number of neighbours; of the last class, the smallest.
    areas : int
        How many.
    ratio : float
        Mean ratio of learned to exact variance.
    """

    degree: int
    areas: int
    ratio: float


@dataclass(frozen=True)
class GridPoint:
    """Fidelity at one set of hyperparameters.

    Attributes
    ----------
    value : float or None
        Of rho or the range; None if the prior has none or they are integrated out.
    method : str
        'exact', 'projections' or 'draws': how second moments were compared.
    frobenius, frobenius_se : float
        Relative Frobenius error of the covariance, and its Monte Carlo standard error.
    srmr, srmr_se : float
        Standardised root mean square residual of the correlations.
    variance_mean, variance_low, variance_high : float
        Mean, 5th and 95th percentile over areas of the ratio of learned to exact variance.
    by_degree : tuple of DegreeClass
        The same by number of neighbours.
    neighbour_exact, neighbour_learned, neighbour_rms : float
        Mean correlations of neighbours, and the root mean square difference pair by pair.
    second_exact, second_learned, second_rms : float
        Of neighbours of neighbours; NaN where there are none.
    offset : float
        Mean of the learned prior in typical SDs.
    mmd_p : float
        P-value of the permutation test.
    contrast_p, contrast_distance : float
        Kolmogorov-Smirnov tests of differences between neighbours: p-value, largest distance.
    posterior : PosteriorCheck or None
        None where it was not made.
    """

    value: float | None
    method: str
    frobenius: float
    frobenius_se: float
    srmr: float
    srmr_se: float
    variance_mean: float
    variance_low: float
    variance_high: float
    by_degree: tuple[DegreeClass, ...]
    neighbour_exact: float
    neighbour_learned: float
    neighbour_rms: float
    second_exact: float
    second_learned: float
    second_rms: float
    offset: float
    mmd_p: float
    contrast_p: float
    contrast_distance: float
    posterior: PosteriorCheck | None

    @property
    def neighbour_error(self) -> float:
        """Error of the mean correlation of neighbours, relative to it."""
        return _relative(self.neighbour_learned, self.neighbour_exact)

    @property
    def second_error(self) -> float:
        """Error of the mean correlation of neighbours of neighbours, relative to it."""
        return _relative(self.second_learned, self.second_exact)

    def to_json(self) -> dict[str, Any]:
        """Return JSON types, numbers rounded to six significant digits, null for NaN."""
        content: dict[str, Any] = rounded(asdict(self))
        return content

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> GridPoint:
        """Read what :meth:`to_json` returned.

        Raises
        ------
        PriorProblem
            If it is not that.
        """
        try:
            plain = {f.name: content[f.name] for f in fields(cls)}
            check = plain["posterior"]
            plain["posterior"] = None if check is None else _made(PosteriorCheck, check)
            plain["by_degree"] = tuple(_made(DegreeClass, one) for one in plain["by_degree"])
            for name in (f.name for f in fields(cls) if f.type == "float"):
                plain[name] = _float(plain[name])
            plain["value"] = None if plain["value"] is None else float(plain["value"])
            plain["method"] = str(plain["method"])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise PriorProblem(f"The fidelity certificate of a spatial prior is malformed ({error}).") from error
        return cls(**plain)


def _made(kind: Any, content: Mapping[str, Any]) -> Any:
    """Make a small record of numbers and texts, each of its declared type."""
    types: dict[str, Callable[[Any], Any]] = {"int": int, "float": _float, "str": str}
    return kind(**{f.name: types[str(f.type)](content[f.name]) for f in fields(kind)})


def _float(x: Any) -> float:
    """Read a number; null is NaN."""
    return math.nan if x is None else float(x)


def _relative(learned: float, exact: float) -> float:
    return abs(learned - exact) / max(abs(exact), SMALLEST_CORRELATION)


def rounded(value: Any) -> Any:
    """Round every number in nested JSON types to six significant digits; null for NaN."""
    if isinstance(value, dict):
        return {name: rounded(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(one) for one in value]
    if isinstance(value, float):
        return float(f"{value:.{DIGITS - 1}e}") if math.isfinite(value) else None
    return value


def make_point(
    value: float | None,
    errors: CovarianceErrors,
    pairs: Pairs,
    tests: tuple[float, float, float],
    posterior: PosteriorCheck | None,
) -> GridPoint:
    """Summarise what was measured.

    Parameters
    ----------
    value : float or None
        The hyperparameter.
    errors : CovarianceErrors
        Second moments.
    pairs : Pairs
        Where they were compared.
    tests : tuple of float
        P-value of the permutation test, p-value and distance of the contrasts.
    posterior : PosteriorCheck or None
        The posterior check.
    """
    ratio = errors.variance_ratio
    exact, exact_second = errors.exact.correlations(pairs)
    learned, learned_second = errors.learned.correlations(pairs)
    low, high = np.quantile(ratio, [0.05, 0.95])
    return GridPoint(
        value=value,
        method=errors.method,
        frobenius=errors.frobenius.value,
        frobenius_se=errors.frobenius.se,
        srmr=errors.srmr.value,
        srmr_se=errors.srmr.se,
        variance_mean=float(ratio.mean()),
        variance_low=float(low),
        variance_high=float(high),
        by_degree=_by_degree(ratio, pairs),
        neighbour_exact=_mean(exact),
        neighbour_learned=_mean(learned),
        neighbour_rms=math.sqrt(_mean((learned - exact) ** 2)),
        second_exact=_mean(exact_second),
        second_learned=_mean(learned_second),
        second_rms=math.sqrt(_mean((learned_second - exact_second) ** 2)),
        offset=errors.offset,
        mmd_p=tests[0],
        contrast_p=tests[1],
        contrast_distance=tests[2],
        posterior=posterior,
    )


def _mean(x: np.ndarray) -> float:
    return float(x.mean()) if x.size else math.nan


def _by_degree(ratio: np.ndarray, pairs: Pairs) -> tuple[DegreeClass, ...]:
    classes = np.minimum(pairs.degrees, HIGHEST_DEGREE)
    return tuple(
        DegreeClass(int(degree), int(np.count_nonzero(classes == degree)), float(ratio[classes == degree].mean()))
        for degree in np.unique(classes)
    )
