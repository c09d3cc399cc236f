"""Variances of linearised estimates for all areas at once, by summing over what each area holds.

An estimate with influence values z_i (its weighted linearised variable) has, at each stage of sampling, the variance

    V = sum_h m_h f_h n_h / (n_h - 1) sum_c (z_c - zbar_h)(z_c - zbar_h)',    zbar_h = sum_c z_c / n_h,

with strata h, sampling units c and their totals z_c, f_h = 1 - n_h / N_h, and m_h the product of the sampling fractions
of the stages before (Särndal, Swensson and Wretman 1992, sec. 4.3; Lumley 2010, ch. 2). The units of a stratum without
respondents in the area have z_c = 0 and together add their number times zbar_h zbar_h'. So an area costs what it holds,
not what the survey holds, and V is a sum of squares: never negative, whatever the rounding.

Calibrated weights. The influence values of a calibrated estimate are residuals of a regression on the calibration
variables x, z - w g x'b with b = (X' W X)^{-1} X' (z / g) (Deville and Särndal 1992). They are not zero outside the
area. With the totals U_c of w g x over units, the sum of squares about the stratum means is

    z'Qz - 2 b' (QU)'z + b' (U'QU) b,

in which only the first two terms depend on the area's rows, and U'QU is computed once.

References
----------
Deville, J.-C. and Särndal, C.-E. (1992). Calibration estimators in survey sampling. JASA 87, 376-382.
Lumley, T. (2010). Complex Surveys: A Guide to Analysis Using R. Wiley.
Särndal, C.-E., Swensson, B. and Wretman, J. (1992). Model Assisted Survey Sampling. Springer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from smallarea.errors import VarianceProblem, named
from smallarea.survey.design import Codes, Stage, SurveyDesign, Vector

if TYPE_CHECKING:
    from smallarea.survey.calibration import Calibration


@dataclass(frozen=True)
class _Terms:
    """What the strata of a stage contribute.

    Attributes
    ----------
    factor : ndarray, shape (H,)
        Multiplier of the sum of squares.
    centred : ndarray, shape (H,)
        1 where the sum of squares is about the stratum's mean, 0 where it is about zero.
    """

    factor: Vector
    centred: Vector


def domain_covariances(influence: Vector, domain: Codes, n_domains: int, design: SurveyDesign) -> Vector:
    """Return the covariance matrix of several linearised estimates in every domain.

    Parameters
    ----------
    influence : ndarray, shape (n, K)
        Weighted linearised variables: the estimate's error is their sum over the rows of a domain.
    domain : ndarray of int, shape (n,)
        Domain of each row, -1 for none.
    n_domains : int
        D.
    design : SurveyDesign
        Of all rows.

    Returns
    -------
    ndarray, shape (D, K, K)
        Symmetric and positive semidefinite.

    Raises
    ------
    VarianceProblem
        If a stratum has a single sampling unit and the design's policy is to fail, or no other stratum to take the
        average of.
    """
    inside = np.flatnonzero((domain >= 0) & (design.weights > 0.0))
    z, area = influence[inside], domain[inside]
    projection = None if design.calibration is None else _projection(design.calibration, influence, domain, n_domains)
    result = np.zeros((n_domains, influence.shape[1], influence.shape[1]))
    corrections = np.zeros_like(result)
    sampled = np.ones(1)  # product of the sampling fractions of the stages before, by unit of the last one
    for stage in design.stages:
        reached = sampled[stage.parent]
        terms = _terms(stage, design, reached)
        result += _stage_covariances(z, area, stage.unit[inside], n_domains, stage, terms)
        if projection is not None:
            corrections += projection.correction(z, area, inside, stage, terms)
        sampled = (reached * stage.size / stage.population)[stage.stratum]
        if not (sampled > 0.0).any():
            break
    return result if projection is None else _without_rounding(result + corrections, result)


def _terms(stage: Stage, design: SurveyDesign, reached: Vector) -> _Terms:
    """Return multipliers by stratum, with the policy on lonely sampling units."""
    n = stage.size.astype(np.float64)
    factor = reached * stage.unsampled * np.where(n > 1.0, n / np.maximum(n - 1.0, 1.0), 1.0)
    centred = np.ones(len(n))
    lonely = stage.lonely & (reached > 0.0)
    if not lonely.any():
        return _Terms(factor, centred)
    if design.lonely_psu == "fail":
        at = np.flatnonzero(lonely)
        raise VarianceProblem(
            f"{len(at)} strata have a single sampling unit: {named([stage.labels[i] for i in at.tolist()])}. No "
            "variance within them can be estimated. Merge strata that are alike, or choose what they contribute with "
            "lonely_psu: adjust (deviation from the grand mean), average (of the other strata) or certainty (nothing)."
        )
    if design.lonely_psu == "adjust":
        centred[lonely] = 0.0
    elif design.lonely_psu == "average":
        factor = np.where(lonely, 0.0, factor) * _average_of_the_rest(stage, lonely)
    return _Terms(factor, centred)


def _average_of_the_rest(stage: Stage, lonely: NDArray[np.bool_]) -> Vector:
    """Return strata in all over strata with several units, within each unit of the stage before, by stratum."""
    total = np.bincount(stage.parent)
    good = np.bincount(stage.parent, weights=~lonely)
    alone = np.flatnonzero((good == 0) & (total > 0))
    if len(alone):
        raise VarianceProblem(
            "All strata have a single sampling unit, so there is no average of others to take. Use lonely_psu "
            "'adjust', or describe the design without these strata."
        )
    return (total / np.maximum(good, 1.0))[stage.parent]


def _stage_covariances(z: Vector, area: Codes, unit: Codes, n_domains: int, stage: Stage, terms: _Terms) -> Vector:
    """Return one stage's share of the covariances from the rows inside domains, shape (D, K, K)."""
    k = z.shape[1]
    result = np.zeros((n_domains, k, k))
    if len(z) == 0:
        return result
    cell_area, cell_unit, totals, _ = _grouped(area, unit, z, len(stage.stratum))
    group_area, stratum, sums, group = _grouped(cell_area, stage.stratum[cell_unit], totals, len(stage.size))
    mean = sums * (terms.centred[stratum] / stage.size[stratum])[:, None]
    deviation = totals - mean[group]
    absent = stage.size[stratum] - np.bincount(group, minlength=len(stratum))
    at_cells, at_groups = terms.factor[stratum][group], terms.factor[stratum] * absent
    for a in range(k):
        for b in range(a + 1):
            here = np.bincount(cell_area, at_cells * deviation[:, a] * deviation[:, b], n_domains)
            elsewhere = np.bincount(group_area, at_groups * mean[:, a] * mean[:, b], n_domains)
            result[:, a, b] = result[:, b, a] = here + elsewhere
    return result


def _grouped(outer: Codes, inner: Codes, values: Vector, n_inner: int) -> tuple[Codes, Codes, Vector, Codes]:
    """Sum rows of the same pair of codes; return the codes of the pairs, in order, their sums, and each row's pair."""
    key = outer * np.int64(n_inner) + inner
    order = np.argsort(key, kind="stable")
    ordered = key[order]
    new = np.r_[True, ordered[1:] != ordered[:-1]]
    first = np.flatnonzero(new)
    pairs = ordered[first]
    pair_of_row = np.empty(len(key), dtype=np.int64)
    pair_of_row[order] = np.cumsum(new) - 1
    return pairs // n_inner, pairs % n_inner, np.add.reduceat(values[order], first, axis=0), pair_of_row


@dataclass(frozen=True)
class _Projection:
    """The regression of influence values on the calibration variables.

    Attributes
    ----------
    slopes : ndarray, shape (D, p, K)
        Coefficients b of every domain.
    weighted : ndarray, shape (n, p)
        Calibrated weight times calibration variables.
    """

    slopes: Vector
    weighted: Vector

    def correction(self, z: Vector, area: Codes, inside: Codes, stage: Stage, terms: _Terms) -> Vector:
        """Return what the regression changes in one stage's share, shape (D, K, K)."""
        p = self.weighted.shape[1]
        totals = _summed(stage.unit, self.weighted, len(stage.stratum))
        sums = _summed(stage.stratum, totals, len(stage.size))
        mean = (terms.centred / stage.size)[:, None] * sums
        spread = terms.factor[stage.stratum, None] * (totals - mean[stage.stratum])  # QU
        inner = totals.T @ spread  # U'QU
        at_rows = spread[stage.unit[inside]]
        cross = np.zeros((len(self.slopes), p, z.shape[1]))
        for a in range(z.shape[1]):
            cross[:, :, a] = _summed(area, at_rows * z[:, a, None], len(self.slopes))
        mixed = np.einsum("dpa,dpb->dab", self.slopes, cross)
        return np.einsum("dpa,pq,dqb->dab", self.slopes, inner, self.slopes) - mixed - mixed.transpose(0, 2, 1)


def _projection(calibration: Calibration, influence: Vector, domain: Codes, n_domains: int) -> _Projection:
    x = np.asarray(calibration.matrix, dtype=np.float64)
    base = np.asarray(calibration.base_weights, dtype=np.float64)
    calibrated = np.asarray(calibration.calibrated_weights, dtype=np.float64)
    gain = np.divide(calibrated, base, out=np.ones_like(base), where=(base > 0.0) & (calibrated > 0.0))
    gram = x.T @ (base[:, None] * x)
    inside = np.flatnonzero(domain >= 0)
    slopes = np.zeros((n_domains, x.shape[1], influence.shape[1]))
    # Dummy variables of several margins are collinear, and any solution has the same fitted values.
    solve = np.linalg.pinv(gram, rcond=1e-12, hermitian=True)
    for a in range(influence.shape[1]):
        rows = x[inside] * (influence[inside, a] / gain[inside])[:, None]
        slopes[:, :, a] = _summed(domain[inside], rows, n_domains) @ solve
    return _Projection(slopes, calibrated[:, None] * x)


def _summed(code: Codes, values: Vector, size: int) -> Vector:
    """Sum the rows of each code, shape (size, columns)."""
    return np.stack([np.bincount(code, weights=column, minlength=size) for column in values.T], axis=1)


def _without_rounding(covariances: Vector, uncalibrated: Vector) -> Vector:
    """Set to zero what rounding left of variances that calibration has taken away, rows and columns with them."""
    zero = np.einsum("dkk->dk", covariances) <= 1e-12 * np.einsum("dkk->dk", uncalibrated)
    return np.where(zero[:, :, None] | zero[:, None, :], 0.0, covariances)
