"""What a fit of BARTSIMP gives: the posterior, tables of what it learned, and what to know before using it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from smallarea.gmrf.spde import Spde
from smallarea.io.workbook import Sheet
from smallarea.report.formatting import significant
from smallarea.unit_level import BartsimpPosterior
from smallarea.unit_level.mesh_choice import error_at_clusters, mesh_notes
from smallarea.unit_level.settings import OWN_ALPHA
from smallarea.workflows.bartsimp_comparison import ModelComparison
from smallarea.workflows.bartsimp_counts import many_notes
from smallarea.workflows.bartsimp_input import ClusterData, describe
from smallarea.workflows.displaced_result import positions_table

# Chains that differ by more have not converged; fewer effective draws make limits of 95 % intervals uncertain.
R_HAT_LIMIT, ESS_LIMIT = 1.05, 200.0
# Share of draws at an end of the grid of ranges that is no accident.
AT_BOUNDS_LIMIT = 0.05
# Spread of log densities beyond which a reduced field has another posterior.
LARGE_RANK_ERROR = 1.0
# Draws times clusters in memory.
_AT_ONCE = 20_000_000


@dataclass(frozen=True)
class FitBartsimpResult:
    """What `fit_bartsimp` found.

    Attributes
    ----------
    posterior : BartsimpPosterior
        The draws.
    data : ClusterData
        What was read.
    hyperparameters : pandas.DataFrame
        One row each: ``parameter``, ``mean``, ``sd``, ``median``, ``lower``, ``upper``, ``r_hat``, ``ess``, ``prior``.
    covariates : pandas.DataFrame
        One row a column: ``covariate``, ``share`` of all rules (mean over draws), ``lower``, ``upper``, ``used`` (share
        of the draws with a rule).
    comparison : ModelComparison or None
        Cross-validation against the baselines.
    settings : dict
        The call.
    versions : dict
        Of the engine and the libraries.
    field_notes : tuple of str
        How uncertain places of clusters are, and how far the field on a mesh is from the exact one.
    """

    posterior: BartsimpPosterior
    data: ClusterData
    hyperparameters: pd.DataFrame
    covariates: pd.DataFrame
    comparison: ModelComparison | None
    settings: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    field_notes: tuple[str, ...] = ()

    @property
    def summary(self) -> dict[str, Any]:
        """What was read, medians of the hyperparameters, and how well chains agree."""
        names, medians = self.hyperparameters["parameter"], self.hyperparameters["median"]
        r_hat, ess = worst(self.posterior)
        return {
            "model": self.settings["model"],
            **describe(self.data),
            **{str(name): float(value) for name, value in zip(names, medians, strict=True)},
            "r_hat_max": r_hat,
            "ess_min": ess,
            "draws": self.posterior.draws,
        }

    @property
    def warnings(self) -> tuple[str, ...]:
        """What must be mended before the numbers are used."""
        return convergence_warnings(self.posterior)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was read and left out, and what the comparison says."""
        compared = () if self.comparison is None else (*self.comparison.notes, *self.comparison.verdicts)
        return (*self.data.notes, *self.field_notes, *compared)

    def clusters(self) -> pd.DataFrame:
        """One row a cluster: ``cluster``, ``x``, ``y``, ``observations``, ``mean``, ``fitted``, ``se``, ``field``.

        Of counted outcomes, ``observations`` are trials or exposures, ``mean``, ``fitted`` and ``se`` shares or rates,
        and ``field`` is on the scale of logits or logs.
        """
        c = self.posterior.clusters
        every = np.arange(self.posterior.draws)
        fitted, se, field = np.empty((3, c.n))
        # All draws at thousands of clusters need not be in memory at the same time.
        for part in np.array_split(np.arange(c.n), -(-c.n * self.posterior.draws // _AT_ONCE)):
            own = self.posterior.field_at_clusters(part)
            linear = self.posterior.trees_at_clusters(part) + own + self.posterior.centre
            whole = self.posterior.expected(linear, every)
            fitted[part], field[part] = whole.mean(axis=0), own.mean(axis=0)
            se[part] = whole.std(axis=0, ddof=1)
        columns: dict[str, Any] = {"cluster": c.ids, "x": c.coordinates[:, 0], "y": c.coordinates[:, 1]}
        sizes = c.sizes if self.data.likelihood == "negative_binomial" else c.sizes.astype(int)
        columns |= {"observations": sizes, "mean": c.means, "fitted": fitted}
        return pd.DataFrame(columns | {"se": se, "field": field})

    def sheets(self) -> list[Sheet]:
        """Return everything as sheets of a workbook."""
        found = [
            Sheet("Hyperparameters", self.hyperparameters),
            Sheet("Covariates", self.covariates),
            Sheet("Clusters", self.clusters()),
        ]
        if self.posterior.clusters.candidates is not None:
            found.append(Sheet("Positions", positions_table(self.posterior)))
        if self.comparison is not None:
            found += [Sheet("Cross-validation", self.comparison.table), Sheet("Left out", self.comparison.clusters)]
        said = [("warning", text) for text in self.warnings] + [("note", text) for text in self.notes]
        if said:
            found.append(Sheet("Read this", pd.DataFrame(said, columns=["kind", "text"])))
        rows = [(name, str(value)) for name, value in {**self.settings, **self.versions}.items() if value is not None]
        return [*found, Sheet("Settings", pd.DataFrame(rows, columns=["setting", "value"]))]


def field_notes(posterior: BartsimpPosterior) -> tuple[str, ...]:
    """Say how far a field on a mesh or of few directions is from the exact one, or where a mesh would save much time.

    Parameters
    ----------
    posterior : BartsimpPosterior
        The draws.

    Returns
    -------
    tuple of str
    """
    if posterior.settings.field == "reduced":
        return rank_notes(posterior)
    if posterior.mesh is None:
        return many_notes(posterior)
    middle = float(np.median(posterior.range))
    error = error_at_clusters(Spde(posterior.mesh), posterior.clusters, middle)
    said = (
        f"The field lives on a mesh of {posterior.mesh.n} nodes. At the median range, {significant(middle, 4)}, "
        f"covariances of the clusters are wrong by at most {error.covariance:.1%} of the field's variance."
    )
    return (said, *mesh_notes(posterior.mesh, posterior.range.ravel(), error))


def rank_notes(posterior: BartsimpPosterior) -> tuple[str, ...]:
    """Say what leaving directions of the field out does to the posterior.

    Parameters
    ----------
    posterior : BartsimpPosterior
        Draws of a reduced field.

    Returns
    -------
    tuple of str
    """
    error, settings, n = posterior.diagnostics.rank_error, posterior.settings, posterior.clusters.n
    if settings.rank >= n:
        return (f"The field has a direction for each of the {n} clusters, so that a rank of {settings.rank} is exact.",)
    said = (
        f"The field keeps {settings.rank} of {n} directions, the others share their mean variance. Against the exact "
        f"field log densities change by {error['log_density']:.2g} (standard deviation over {error['draws']:.0f} "
        f"draws): weighted to be its posterior, {error['effective']:.0%} of the draws would be left."
    )
    if error["log_density"] > LARGE_RANK_ERROR:
        return said, "That is not small: ask for a larger rank, or leave rank out, which is exact."
    return (said,)


def worst(posterior: BartsimpPosterior) -> tuple[float, float]:
    """Return the largest R-hat and the smallest effective sample size of hyperparameters and surface."""
    d = posterior.diagnostics
    r_hat = np.concatenate([np.array([*d.r_hat.values()]), d.f_r_hat])
    ess = np.concatenate([np.array([*d.ess.values()]), d.f_ess])
    return float(np.nanmax(r_hat)), float(np.nanmin(ess))


def hyperparameter_table(posterior: BartsimpPosterior, level: float) -> pd.DataFrame:
    """Summarise the hyperparameters.

    Parameters
    ----------
    posterior : BartsimpPosterior
        The draws.
    level : float
        Coverage of the intervals.

    Returns
    -------
    pandas.DataFrame
        See :class:`FitBartsimpResult`.
    """
    settings, scales = posterior.settings, posterior.scales
    columns = {"sigma_e": posterior.sigma_e}
    said = {
        "sigma_e": f"P(sigma_e < {significant(scales.error_start, 4)}) = {settings.error_quantile:g}, "
        f"{settings.error_df:g} degrees of freedom"
    }
    if settings.likelihood != "normal":
        said["sigma_e"] = f"P(sigma_e > {settings.own_sd0:g}) = {OWN_ALPHA:g}"
    if settings.field != "none":
        prior = scales.field_prior
        columns |= {"range": posterior.range, "sigma_m": posterior.sigma_m}
        said["range"] = f"P(range < {significant(prior.range0, 4)}) = {prior.range_alpha:g}"
        said["sigma_m"] = f"P(sigma_m > {significant(prior.sd0, 4)}) = {prior.sd_alpha:g}"
    rows = []
    for name, values in columns.items():
        lower, median, upper = np.quantile(values, [(1.0 - level) / 2.0, 0.5, (1.0 + level) / 2.0])
        d = posterior.diagnostics
        summary = [values.mean(), values.std(ddof=1), median, lower, upper, d.r_hat[name], d.ess[name]]
        rows.append([name, *summary, said[name]])
    return pd.DataFrame(rows, columns=["parameter", "mean", "sd", "median", "lower", "upper", "r_hat", "ess", "prior"])


def covariate_table(
    posterior: BartsimpPosterior, level: float, columns: Mapping[str, Sequence[int]] | None = None
) -> pd.DataFrame:
    """Summarise how often trees split on each covariate; most frequent first.

    Parameters
    ----------
    posterior : BartsimpPosterior
        The draws.
    level : float
        Coverage of the intervals.
    columns : mapping of str to sequence of int, optional
        Columns that belong together; each for itself if left out.

    Returns
    -------
    pandas.DataFrame
        See :class:`FitBartsimpResult`.
    """
    counts = posterior.forest.rule_counts(len(posterior.clusters.names))
    names = list(posterior.clusters.names) if columns is None else list(columns)
    if columns is not None:
        counts = np.column_stack([counts[:, list(own)].sum(axis=1) for own in columns.values()])
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    lower, upper = np.quantile(share, [(1.0 - level) / 2.0, (1.0 + level) / 2.0], axis=0)
    table = pd.DataFrame({"covariate": names, "share": share.mean(axis=0), "lower": lower, "upper": upper})
    table["used"] = (counts > 0).mean(axis=0)
    return table.sort_values("share", ascending=False, kind="stable", ignore_index=True)


def convergence_warnings(posterior: BartsimpPosterior) -> tuple[str, ...]:
    """Say where chains disagree, are short, or ran into the end of the ranges, and what to do.

    Parameters
    ----------
    posterior : BartsimpPosterior
        The draws.

    Returns
    -------
    tuple of str
        At most three.
    """
    d = posterior.diagnostics
    found = []
    r_hat = {**d.r_hat, "trees plus field": float(np.nanmax(d.f_r_hat))}
    apart = [f"{name} ({value:.2f})" for name, value in r_hat.items() if value > R_HAT_LIMIT]
    ess = {**d.ess, "trees plus field": float(np.nanmin(d.f_ess))}
    short = [f"{name} ({value:.0f})" for name, value in ess.items() if value < ESS_LIMIT]
    if apart:
        found.append(
            f"The chains have not converged: R-hat is above {R_HAT_LIMIT:g} for {', '.join(apart)}. Take more warm-up "
            "and draws (several times as many) before you use the estimates."
        )
    elif short:
        found.append(
            f"Few effective draws, below {ESS_LIMIT:.0f}, of {', '.join(short)}: limits of intervals are uncertain. "
            "Take more draws or chains."
        )
    if d.at_bounds > AT_BOUNDS_LIMIT:
        found.append(
            f"{d.at_bounds:.0%} of the draws have the range of the field at an end of its grid: the data say little "
            "about it. The surface may still be good; do not interpret the range."
        )
    return tuple(found)
