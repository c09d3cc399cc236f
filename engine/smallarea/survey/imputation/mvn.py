"""Imputation by a Bayesian multivariate normal model, with latent normal scores behind categories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from smallarea.errors import JobProblem, ModelProblem, named
from smallarea.survey.imputation.encoded import EncodedTable
from smallarea.survey.imputation.matching import Match, apply_matches, learn_matches
from smallarea.survey.imputation.method import Progress, Sampler
from smallarea.survey.imputation.normal_em import RIDGE, NormalMode, normal_mode
from smallarea.survey.imputation.normal_gibbs import NormalModel, Parameters, normal_model

Vector = NDArray[np.float64]

# Draws of area means are kept up to so many numbers.
_MOST_KEPT = 30_000_000
_START_BETWEEN = 0.1
# Smallest eigenvalue of a correlation matrix, and the part of a column in its eigenvector, that count as collinear.
_SINGULAR = 1e-9
_PART = 0.05


@dataclass(frozen=True)
class FittedNormal:
    """Posterior draws of the model.

    Attributes
    ----------
    model : NormalModel
        The model and its table.
    draws : tuple of Parameters
        Posterior draws.
    table : ndarray, shape (n, p)
        A completed table with scores behind categories, where `draw` starts.
    sweeps : int
        Turns of gaps and scores in `draw`, where there are categories.
    facts : dict
        For the record.
    """

    model: NormalModel
    draws: Sequence[Parameters]
    table: Vector
    sweeps: int
    facts: dict[str, Any]

    @property
    def record(self) -> dict[str, Any]:
        """See `Fitted`."""
        return dict(self.facts)

    def draw(self, rng: np.random.Generator) -> Vector:
        """See `Fitted`."""
        return self.sampler(rng)(None)

    def sampler(self, rng: np.random.Generator) -> Sampler:
        """See `Fitted`: parameters from the posterior, then cells given them; skewed ones as `matching` says."""
        parameters = self.draws[int(rng.integers(len(self.draws)))]
        matches: tuple[Match, ...] | None = None

        def draw(rows: NDArray[np.int64] | None) -> Vector:
            nonlocal matches
            if matches is None or rows is None:
                whole = self.model.fill(self.table, parameters, rng, self.sweeps)
                matches = learn_matches(self.model.encoded, whole, self.model.expectation(parameters), rng)
                return whole if rows is None else whole[rows]
            model = self.model.rows(rows)
            table = model.fill(self.table[rows], parameters, rng, self.sweeps)
            apply_matches(model.encoded, table, model.expectation(parameters), matches, rng)
            return table

        return draw

    def correlation(self) -> Vector:
        """See `Fitted`: the posterior mean."""
        return self.correlation_draws().mean(axis=0)

    def correlation_draws(self) -> Vector:
        """Return draws of the correlation matrix over all rows, within and between areas, shape (S, p, p)."""
        return np.stack([_correlation(self._total(parameters)) for parameters in self.draws])

    def _total(self, parameters: Parameters) -> Vector:
        if not self.model.has_areas and not len(parameters.slopes):
            return parameters.covariance
        return parameters.covariance + np.cov(self.model.centre(parameters).T, bias=True).reshape(
            parameters.covariance.shape
        )


@dataclass(frozen=True)
class MultivariateNormal:
    """Answers are jointly normal on their working scale, with random effects of areas.

    Priors on that scale: means N(0, 1), standard deviations half-normal(1), correlations LKJ. Coefficients of
    covariates are flat; standard deviations of area effects half-t (see `normal_priors`).

    Attributes
    ----------
    draws : int
        Posterior draws kept.
    warmup : int
        Sweeps before the first.
    thin : int
        Sweeps between kept draws.
    posterior : {'gibbs', 'nuts'}
        Sampler. ``gibbs`` draws missing cells and parameters in turn, from the mode found by EM. ``nuts`` draws
        parameters from the likelihood with missing cells integrated out, by NumPyro. Both have the same posterior;
        ``nuts`` is the check, for small tables of numbers without areas and covariates.
    lkj_shape : float
        Of the LKJ prior; 1 is uniform over correlation matrices, more favours weak correlations.
    sweeps : int
        Turns of gaps and scores for each completed table, where there are categories.
    """

    draws: int = 200
    warmup: int = 100
    thin: int = 1
    posterior: Literal["gibbs", "nuts"] = "gibbs"
    lkj_shape: float = 1.0
    sweeps: int = 10

    def __post_init__(self) -> None:
        if self.posterior not in ("gibbs", "nuts"):
            raise JobProblem(f"No sampler {self.posterior!r}. Choose gibbs or nuts.")
        if min(self.draws, self.thin, self.sweeps) < 1 or self.warmup < 0 or not self.lkj_shape > 0.0:
            raise JobProblem("draws, thin and sweeps must be at least 1, warmup at least 0, lkj_shape above 0.")

    def fit(self, encoded: EncodedTable, *, seed: int, progress: Progress | None = None) -> FittedNormal:
        """See `Imputer`.

        Raises
        ------
        ModelProblem
            If there are too few rows for the number of columns, or a column follows exactly from others.
        JobProblem
            If ``nuts`` is asked for with areas, covariates or categories.
        """
        n, p = encoded.shape
        if n < p + 5:
            raise ModelProblem(
                f"{n} rows are too few for the correlations of {p} columns (one for each category of a nominal "
                "variable but one). Take fewer variables."
            )
        model = normal_model(encoded, shape=self.lkj_shape, scale=1.0)
        if self.posterior == "nuts":
            return self._by_nuts(model, seed, progress)
        return self._by_gibbs(model, np.random.default_rng(seed), progress)

    def _by_gibbs(self, model: NormalModel, rng: np.random.Generator, progress: Progress | None) -> FittedNormal:
        parameters, table, steps = _start(model)
        kept: list[Parameters] = []
        accepted = []
        total = self.warmup + self.draws * self.thin
        every = self.thin * max(1, -(-self.draws * parameters.area_means.size // _MOST_KEPT))
        for sweep in range(total):
            table = model.fill(table, parameters, rng)
            parameters, share = model.draw_parameters(table, parameters, rng)
            table, parameters = model.rescale(table, parameters)
            accepted.append(share)
            if sweep >= self.warmup and (sweep - self.warmup) % every == every - 1:
                kept.append(parameters)
            if progress is not None:
                progress(100.0 * (sweep + 1) / total, "Drawing missing answers and their model")
        return FittedNormal(
            model,
            tuple(kept or [parameters]),
            table,
            self.sweeps,
            {
                **_facts(model),
                "posterior": "gibbs",
                "em_steps": steps,
                "draws": len(kept),
                "accepted": float(np.mean(accepted)),
            },
        )

    def _by_nuts(self, model: NormalModel, seed: int, progress: Progress | None) -> FittedNormal:
        from smallarea.survey.imputation.mvn_nuts import sample_normal

        if model.has_areas or len(model.encoded.context.names) or len(model.encoded.latent):
            raise JobProblem("posterior='nuts' takes numbers only, without areas, covariates, weights. Use gibbs.")
        if progress is not None:
            progress(0.0, "Sampling the posterior with NumPyro")
        means, covariances, diverging = sample_normal(
            model.encoded.values,
            draws=self.draws * self.thin,
            warmup=max(self.warmup, 200),
            shape=self.lkj_shape,
            seed=seed,
        )
        empty = np.zeros_like(covariances[0])
        kept = tuple(
            Parameters(mean, np.empty((0, len(mean))), covariance, mean[None], empty, np.ones(len(mean)))
            for mean, covariance in zip(means[:: self.thin], covariances[:: self.thin], strict=True)
        )
        table = np.where(np.isnan(model.encoded.values), 0.0, model.encoded.values)
        facts = {**_facts(model), "posterior": "nuts", "draws": len(kept), "divergences": diverging}
        return FittedNormal(model, kept, table, self.sweeps, facts)


def _start(model: NormalModel) -> tuple[Parameters, Vector, int]:
    """Start at the mode of the model without areas and covariates."""
    values = model.encoded.values
    mode = normal_mode(values, model.groups)
    _check_independent(model, mode)
    p = values.shape[1]
    areas = max(len(model.encoded.context.areas), 1)
    between = _START_BETWEEN * np.eye(p) if model.has_areas else np.zeros((p, p))
    q = model.encoded.context.covariates.shape[1]
    parameters = Parameters(
        mode.mean, np.zeros((q, p)), mode.covariance, np.tile(mode.mean, (areas, 1)), between, np.ones(p)
    )
    return parameters, np.where(np.isnan(values), mode.mean, values), mode.steps


def _check_independent(model: NormalModel, mode: NormalMode) -> None:
    """Refuse columns that are exact linear combinations of each other; the prior of the mode is taken out first."""
    n = len(model.encoded.values)
    likelihood = mode.covariance + (mode.covariance - np.eye(len(mode.mean))) * RIDGE / n
    spread = np.sqrt(np.diag(likelihood))
    sizes, vectors = np.linalg.eigh(likelihood / np.outer(spread, spread))
    if sizes[0] < _SINGULAR:
        guilty = np.flatnonzero(np.abs(vectors[:, 0]) > _PART)
        raise ModelProblem(
            f"Of {named(model.encoded.columns[k].name for k in guilty)} one follows exactly from the others. "
            "Leave it out, and work it out again after imputation."
        )


def _facts(model: NormalModel) -> dict[str, Any]:
    n, p = model.encoded.shape
    context = model.encoded.context
    return {
        "method": "mvn",
        "rows": n,
        "columns": p,
        "patterns": model.groups.count,
        "areas": len(context.areas),
        "covariates": list(context.names),
    }


def _correlation(covariance: Vector) -> Vector:
    spread = np.sqrt(np.diag(covariance))
    return covariance / np.outer(spread, spread)
