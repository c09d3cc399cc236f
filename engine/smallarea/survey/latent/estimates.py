"""Estimates of a latent model in one form, whichever method made them: numbers, intervals, and draws of parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from smallarea.errors import ModelProblem
from smallarea.survey.latent.bayes import LatentPosterior
from smallarea.survey.latent.effects import delta_errors, list_effects, quantities
from smallarea.survey.latent.maximum_likelihood import MaximumLikelihood
from smallarea.survey.latent.model import LatentModel
from smallarea.survey.latent.scores import negative_variances

Vector = NDArray[np.float64]
# Draws of parameters that belong to no distribution are thrown away; so many in a row and something is wrong.
_TRIES = 200


@dataclass(frozen=True)
class LatentEstimates:
    """What a method found.

    Attributes
    ----------
    model : LatentModel
        The model.
    theta : ndarray, shape (q,)
        Free parameters: maximum likelihood estimates, or posterior means.
    source : MaximumLikelihood or LatentPosterior
        Where they come from.
    parameters : pandas.DataFrame
        One row an arrow: ``left``, ``operator``, ``right``, ``label``, ``estimate``, ``se``, ``lower``, ``upper``,
        ``p_value`` (maximum likelihood) or ``r_hat`` and ``ess`` (draws), ``standardised``, ``se_standardised``. Fixed
        values have no errors.
    effects : pandas.DataFrame
        One row a direct, indirect or total effect or defined quantity: ``cause``, ``outcome``, ``kind``, ``estimate``,
        ``se``, ``lower``, ``upper``.
    """

    model: LatentModel
    theta: Vector
    source: MaximumLikelihood | LatentPosterior
    parameters: pd.DataFrame
    effects: pd.DataFrame

    def draw(self, rng: np.random.Generator) -> Vector:
        """Draw the parameters once.

        Parameters
        ----------
        rng : numpy.random.Generator
            Source of randomness.

        Returns
        -------
        ndarray, shape (q,)
            From the posterior, or from the normal approximation of the estimates' distribution, restricted to
            parameters with positive variances.

        Raises
        ------
        ModelProblem
            If hardly any draw has positive variances.
        """
        if isinstance(self.source, LatentPosterior):
            flat = self.source.flat
            return np.asarray(flat[rng.integers(len(flat))])
        errors = np.sqrt(np.diag(self.source.covariance))
        values, vectors = np.linalg.eigh(self.source.covariance / np.outer(errors, errors))
        root = errors[:, None] * vectors * np.sqrt(np.maximum(values, 0.0))
        for _ in range(_TRIES):
            theta = self.theta + root @ rng.standard_normal(len(self.theta))
            if _usable(self.model, theta):
                return np.asarray(theta)
        raise ModelProblem(
            "The parameters are too uncertain to draw respondents' factors: nearly all draws have negative variances. "
            "Simplify the model, or use the method bayes."
        )


def _usable(model: LatentModel, theta: Vector) -> bool:
    if negative_variances(model, theta):
        return False
    try:
        return float(np.linalg.eigvalsh(model.covariance(theta))[0]) > 0.0
    except np.linalg.LinAlgError:
        return False


def from_likelihood(found: MaximumLikelihood, level: float) -> LatentEstimates:
    """Make estimates of a maximum of the likelihood.

    Parameters
    ----------
    found : MaximumLikelihood
        The fit.
    level : float
        Coverage of the intervals.

    Returns
    -------
    LatentEstimates
        Intervals are normal; those of effects follow the delta method. Of fits to several tables they are t intervals
        with Rubin's degrees of freedom.
    """
    model, effects = found.model, list_effects(found.model)
    se = np.sqrt(np.diag(found.covariance))
    of_all = quantities(model, found.theta, effects)
    errors = delta_errors(model, found.theta, found.covariance, effects)
    df, df_all = np.full(len(se), np.inf), np.full(len(errors), np.inf)
    if found.within is not None:
        df = _rubin_df(np.sqrt(np.diag(found.within)), se, found.tables)
        df_all = _rubin_df(delta_errors(model, found.theta, found.within, effects), errors, found.tables)
    values, own = _by_arrow(model, found.theta, np.nan), _by_arrow(model, se, np.nan)
    freedom = _by_arrow(model, df, np.inf)
    estimates = np.where(np.isnan(values), [one.fixed for one in model.parameters], values)
    half = own * stats.t.ppf(0.5 + 0.5 * level, freedom)
    with np.errstate(divide="ignore", invalid="ignore"):
        p_value = 2.0 * stats.t.sf(np.abs(estimates / own), freedom)
    m = len(model.parameters)
    columns = {
        "estimate": estimates, "se": own, "lower": estimates - half, "upper": estimates + half,
        "p_value": p_value, "standardised": of_all[:m], "se_standardised": errors[:m],
    }  # fmt: skip
    rest, rest_se = of_all[m:], errors[m:]
    around = rest_se * stats.t.ppf(0.5 + 0.5 * level, df_all[m:])
    spread = {"estimate": rest, "se": rest_se, "lower": rest - around, "upper": rest + around}
    return LatentEstimates(model, found.theta, found, _arrow_table(model, columns), _effect_table(model, spread))


def _rubin_df(within: Vector, total: Vector, tables: int) -> Vector:
    """Return ``(M - 1) / lambda^2`` with lambda the share of the variance between tables (Rubin 1987, 3.1.6)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(total > 0.0, 1.0 - (within / total) ** 2, 0.0)
        return np.asarray((tables - 1.0) / np.maximum(share, 0.0) ** 2)


def from_posterior(found: LatentPosterior, level: float) -> LatentEstimates:
    """Make estimates of draws.

    Parameters
    ----------
    found : LatentPosterior
        The draws.
    level : float
        Coverage of the intervals, with equal tails.

    Returns
    -------
    LatentEstimates
        Posterior means, standard deviations and quantiles.
    """
    model, effects = found.model, list_effects(found.model)
    flat = found.flat
    tails = [0.5 - 0.5 * level, 0.5 + 0.5 * level]
    free = _summaries(flat, tails)
    columns = {name: _by_arrow(model, value, np.nan) for name, value in free.items()}
    fixed = np.array([one.fixed for one in model.parameters])
    columns["estimate"] = np.where(np.isnan(columns["estimate"]), fixed, columns["estimate"])
    columns |= {"r_hat": _by_arrow(model, found.r_hat, np.nan), "ess": _by_arrow(model, found.ess, np.nan)}
    of_all = np.stack([quantities(model, theta, effects) for theta in flat])
    m = len(model.parameters)
    standardised = _summaries(of_all[:, :m], tails)
    columns |= {"standardised": standardised["estimate"], "se_standardised": standardised["se"]}
    return LatentEstimates(
        model, found.theta, found, _arrow_table(model, columns), _effect_table(model, _summaries(of_all[:, m:], tails))
    )


def _summaries(draws: Vector, tails: list[float]) -> dict[str, Vector]:
    lower, upper = np.quantile(draws, tails, axis=0) if draws.shape[1] else np.empty((2, 0))
    return {"estimate": draws.mean(axis=0), "se": draws.std(axis=0, ddof=1), "lower": lower, "upper": upper}


def _by_arrow(model: LatentModel, values: Vector, otherwise: float) -> Vector:
    return np.array([otherwise if one.index < 0 else values[one.index] for one in model.parameters])


def _arrow_table(model: LatentModel, columns: Mapping[str, Vector]) -> pd.DataFrame:
    names = {
        "left": [one.left for one in model.parameters],
        "operator": [one.operator for one in model.parameters],
        "right": [one.right for one in model.parameters],
        "label": [one.label or "" for one in model.parameters],
    }
    return pd.DataFrame({**names, **columns})


def _effect_table(model: LatentModel, columns: Mapping[str, Vector]) -> pd.DataFrame:
    effects = list_effects(model)
    names = {
        "cause": [e.cause for e in effects] + [d.expression.text for d in model.definitions],
        "outcome": [e.outcome for e in effects] + [d.name for d in model.definitions],
        "kind": [str(e.kind) for e in effects] + ["defined"] * len(model.definitions),
    }
    return pd.DataFrame({**names, **columns})
