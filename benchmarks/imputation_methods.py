"""Twelve normal variables with missing cells, and the methods that the imputation study compares. Measures nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from smallarea.survey.imputation.fit_quality import as_correlation
from smallarea.survey.imputation.impute import impute_table
from smallarea.survey.imputation.network_settings import NetworkSettings
from smallarea.survey.imputation.network_table import NetworkTable
from smallarea.survey.imputation.networks import MaskAwareNetwork
from smallarea.survey.imputation.reconstruction import reconstruct
from smallarea.survey.imputation.vae_fit import fit_networks
from smallarea.survey.imputation.variables import Variable

NAMES = ("JW1", "JW2", "JW3", "UF1", "UF2", "FOR", "DA1", "DA2", "DA3", "EBA", "ST", "MI")
SPREAD = np.array([0.939, 1.017, 0.937, 0.562, 0.760, 0.524, 0.585, 0.609, 0.731, 0.711, 1.124, 1.001])
LOWER = """.668 .635 .599 .263 .261 .164 .290 .315 .247 .486 .207 .245 .231 .251 .449 -.206 -.182 -.195 -.309 -.266
-.142 -.280 -.241 -.238 -.344 -.305 -.230 .753 -.258 -.244 -.185 -.255 -.255 -.215 .554 .587 .080 .096 .094 -.017 .151
.141 -.074 -.111 .016 .061 .028 -.035 -.058 -.051 -.003 -.040 -.040 -.018 .284 .113 .174 .059 .063 .138 .044 -.119 -.073
-.084 .563 .379"""
DRAWS, SCORED_ROWS = 39, 1_000
# Half of the encoders' proposals are accepted here, so that so short a chain has forgotten its start.
SWEEPS = 20
MODEL = """
justice =~ JW1 + JW2 + JW3
constructive =~ UF1 + UF2 + FOR
dysfunctional =~ DA1 + DA2 + DA3
wellbeing =~ EBA + ST + MI
constructive ~ justice
dysfunctional ~ justice + constructive
wellbeing ~ justice + constructive + dysfunctional
"""


def true_correlation() -> np.ndarray:
    found = np.eye(len(NAMES))
    found[np.tril_indices(len(NAMES), -1)] = [float(word) for word in LOWER.split()]
    return found + np.tril(found, -1).T


TRUTH = true_correlation()


@dataclass(frozen=True)
class Outcome:
    """What a method says of a table: correlations, and draws of the missing cells of some rows."""

    correlation: np.ndarray
    rows: np.ndarray | None = None
    draws: np.ndarray | None = None
    is_distribution: bool = True


class LossDividedByObserved(MaskAwareNetwork):
    """The network of the study, with its fault: a row's reconstruction loss is divided by its number of answers.

    The divergence is not, so that it weighs about ten times as much, and the latent space collapses.
    """

    def reconstruction(self, x, observed, mean, log_variance):
        return super().reconstruction(x, observed, mean, log_variance) / observed.sum(dim=1).clamp(min=1.0)


def simulate(n: int, share: float, seed: int, p: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Complete table and the same with cells missing completely at random."""
    rng = np.random.default_rng([seed, n, round(100 * share)])
    complete = rng.multivariate_normal(np.zeros(len(NAMES)), TRUTH * np.outer(SPREAD, SPREAD), size=n)
    if p > len(NAMES):
        complete = np.column_stack([complete, *(complete + rng.normal(size=complete.shape) for _ in range(2))])[:, :p]
    holes = complete.copy()
    holes.flat[rng.permutation(complete.size)[: round(share * complete.size)]] = np.nan
    return complete, holes


def by_svd(rank: int) -> Callable[[np.ndarray, int], Outcome]:
    def run(holes: np.ndarray, seed: int) -> Outcome:  # noqa: ARG001
        found = reconstruct(holes, rank)
        missing = np.isnan(holes)
        return Outcome(
            np.corrcoef(found.reconstruction.T),
            np.arange(len(holes)),
            found.values[missing][None],
            is_distribution=False,
        )

    return run


def by_network(method: str, network: type | None = None, **settings) -> Callable[[np.ndarray, int], Outcome]:
    """Train as the product does, on standardised columns; with a network of its own for the study's fault."""

    def run(holes: np.ndarray, seed: int) -> Outcome:
        mean, sd = np.nanmean(holes, axis=0), np.nanstd(holes, axis=0)
        table = NetworkTable.of_numbers((holes - mean) / sd)
        chosen = NetworkSettings(sweeps=SWEEPS, **settings)
        own = network(holes.shape[1], chosen) if network is not None else None
        fitted = fit_networks(method, table, chosen, seed=seed, network=own)
        rows = np.flatnonzero(table.missing.any(axis=1))[:SCORED_ROWS]
        if not len(rows):
            return Outcome(fitted.correlation())
        part = replace(fitted, table=table.rows(rows))
        missing = np.isnan(holes[rows])
        generators = np.random.default_rng([seed, 1]).spawn(DRAWS)
        draws = np.array([(mean + sd * part.draw(rng))[missing] for rng in generators])
        return Outcome(fitted.correlation(), rows, draws)

    return run


def by_table(method: str, draws: int = DRAWS) -> Callable[[np.ndarray, int], Outcome]:
    """Impute through the interface of the product."""

    def run(holes: np.ndarray, seed: int) -> Outcome:
        frame = pd.DataFrame(holes, columns=[f"v{k}" for k in range(holes.shape[1])])
        variables = tuple(Variable(name, "continuous") for name in frame.columns)
        found = impute_table(frame, variables, method=method, imputations=draws, seed=seed)
        return Outcome(found.fitted.correlation(), np.arange(len(holes)), found.draws)

    return run


def by_sem(holes: np.ndarray, seed: int) -> Outcome:
    """Full-information maximum likelihood of the four factors; draws are conditional normals at the estimates."""
    from smallarea.survey.latent.maximum_likelihood import maximise
    from smallarea.survey.latent.model import build_model
    from smallarea.survey.latent.patterns import make_answers

    model = build_model(MODEL)
    order = [NAMES.index(name) for name in model.observed]
    found = maximise(model, make_answers(holes[:, order], model.observed))
    covariance, mean = np.empty((12, 12)), np.empty(12)
    mean[order] = found.mean
    covariance[np.ix_(order, order)] = model.covariance(found.theta)[:12, :12]
    rows = np.flatnonzero(np.isnan(holes).any(axis=1))[:SCORED_ROWS]
    if not len(rows):
        return Outcome(as_correlation(covariance))
    draws = conditional_normals(holes[rows], mean, covariance, np.random.default_rng(seed))
    return Outcome(as_correlation(covariance), rows, draws)


def conditional_normals(holes: np.ndarray, mean: np.ndarray, covariance: np.ndarray, rng) -> np.ndarray:
    """Draw missing cells given the others, row by row; shape (draws, cells)."""
    drawn = []
    for row in holes:
        gap = np.isnan(row)
        gain = np.linalg.solve(covariance[np.ix_(~gap, ~gap)], covariance[np.ix_(~gap, gap)]).T
        rest = covariance[np.ix_(gap, gap)] - gain @ covariance[np.ix_(~gap, gap)]
        centre = mean[gap] + gain @ (row - mean)[~gap]
        drawn.append(centre + rng.standard_normal((DRAWS, gap.sum())) @ np.linalg.cholesky(rest).T)
    return np.concatenate(drawn, axis=1)


METHODS: dict[str, Callable[[np.ndarray, int], Outcome]] = {
    "svd, rank 2": by_svd(2),
    "svd, rank 5": by_svd(5),
    "svd, rank 12": by_svd(12),
    "vae": by_network("vae"),
    "vae-masked": by_network("vae-masked"),
    "vae-masked, bug": by_network("vae-masked", LossDividedByObserved, latent=12, dropout=0.2),
    "vae-mean": by_network("vae-mean"),
    "mvn": by_table("mvn"),
    "sem": by_sem,
}
