"""How well a model reproduces the items' covariances: chi-squared, CFI, TLI, RMSEA, SRMR, AIC, BIC.

SRMR = sqrt( sum_{i <= j} r_ij^2 / (p (p + 1) / 2) ), r the residuals of the correlations (Hu and Bentler 1999): every
pair of items and every variance counts once in sum and divisor. The other measures are those of Hu and Bentler (1999)
and Steiger (1990), with p + p (p + 1) / 2 moments in the saturated model.

References
----------
Hu, L. and Bentler, P. M. (1999). Cutoff criteria for fit indexes in covariance structure analysis. Structural Equation
Modeling 6, 1-55.
Steiger, J. H. (1990). Structural model evaluation and modification. Multivariate Behavioral Research 25, 173-180.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from smallarea.survey.imputation.fit_quality import srmr_of_residuals
from smallarea.survey.latent.model import LatentModel
from smallarea.survey.latent.patterns import Answers, likelihood
from smallarea.survey.latent.saturated import independent, saturated

Vector = NDArray[np.float64]
_RMSEA_LEVEL = 0.90


@dataclass(frozen=True)
class FitMeasures:
    """Fit of a model.

    Attributes
    ----------
    chi2, df, p_value
        Likelihood ratio test against the saturated model; the p value is NaN without degrees of freedom.
    cfi, tli, rmsea, rmsea_lower, rmsea_upper, srmr, aic, bic, log_likelihood : float
        As usual; the interval of the RMSEA has 90 percent. TLI is NaN without degrees of freedom.
    residuals : ndarray, shape (p, p)
        Residuals of the correlations: observed less implied.
    """

    chi2: float
    df: int
    p_value: float
    cfi: float
    tli: float
    rmsea: float
    rmsea_lower: float
    rmsea_upper: float
    srmr: float
    aic: float
    bic: float
    log_likelihood: float
    residuals: Vector

    @property
    def numbers(self) -> dict[str, float]:
        """The measures by name."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "residuals"}


def fit_measures(model: LatentModel, answers: Answers, theta: Vector) -> FitMeasures:
    """Measure how well a model fits.

    Parameters
    ----------
    model : LatentModel
        The model.
    answers : Answers
        Its items.
    theta : ndarray, shape (q,)
        Estimates.

    Returns
    -------
    FitMeasures
        All of them.
    """
    p, q, n = len(model.observed), len(model.names), answers.n
    implied = model.covariance(theta)[:p, :p]
    _, covariance = saturated(answers)
    value = likelihood(answers, implied).value
    best = likelihood(answers, covariance).value
    chi2, df = max(2.0 * (best - value), 0.0), model.df
    chi2_baseline, df_baseline = max(2.0 * (best - independent(answers)), 0.0), p * (p - 1) // 2
    excess, excess_baseline = max(chi2 - df, 0.0), max(chi2_baseline - df_baseline, chi2 - df, 0.0)
    lower, upper = _rmsea_interval(chi2, df, n)
    residuals = correlation_residuals(covariance, implied)
    return FitMeasures(
        chi2,
        df,
        float(stats.chi2.sf(chi2, df)) if df else float("nan"),
        1.0 - excess / excess_baseline if excess_baseline > 0.0 else 1.0,
        _tli(chi2, df, chi2_baseline, df_baseline),
        float(np.sqrt(excess / (df * n))) if df else 0.0,
        lower,
        upper,
        srmr_of_residuals(residuals),
        -2.0 * value + 2.0 * (q + p),
        -2.0 * value + float(np.log(n)) * (q + p),
        value,
        residuals,
    )


def correlation_residuals(covariance: Vector, implied: Vector) -> Vector:
    """Return (s_ij - sigma_ij) / sqrt(s_ii s_jj), shape (p, p).

    Parameters
    ----------
    covariance, implied : ndarray, shape (p, p)
        Of the data, of the model.
    """
    scale = np.sqrt(np.diag(covariance))
    return (covariance - implied) / np.outer(scale, scale)


def _tli(chi2: float, df: int, chi2_baseline: float, df_baseline: int) -> float:
    if df == 0 or df_baseline == 0 or chi2_baseline <= df_baseline:
        return float("nan")
    ratio = chi2_baseline / df_baseline
    return (ratio - chi2 / df) / (ratio - 1.0)


def _rmsea_interval(chi2: float, df: int, n: int) -> tuple[float, float]:
    """Return the interval by the noncentral chi-squared distribution (Steiger 1990)."""
    if df == 0:
        return 0.0, 0.0
    tail = (1.0 - _RMSEA_LEVEL) / 2.0
    return _noncentrality(chi2, df, n, 1.0 - tail), _noncentrality(chi2, df, n, tail)


def _noncentrality(chi2: float, df: int, n: int, probability: float) -> float:
    def above(value: float) -> float:
        return float(stats.ncx2.cdf(chi2, df, value)) - probability if value > 0.0 else 0.0

    if float(stats.chi2.cdf(chi2, df)) <= probability:
        return 0.0
    top = max(4.0 * chi2, 10.0)
    while above(top) > 0.0:
        top *= 2.0
    found = float(optimize.brentq(above, 1e-9, top))
    return float(np.sqrt(found / (df * n)))
