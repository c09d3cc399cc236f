"""Outcomes that are counted: their clusters, what a linear predictor means for them, and their Pólya-Gamma form.

A cluster holds y_i of n_i trials, or y_i cases at an exposure t_i; with eta_i the linear predictor,

    binomial             y ~ Bin(n, expit(eta)),                          psi = eta,                   b = n
    negative binomial    y ~ NB(mean t exp(eta), size r),                 psi = eta + log t - log r,   b = y + r

and each likelihood is proportional to ``exp(psi)^y / (1 + exp(psi))^b``, so that given omega ~ PG(b, psi) it is that of
a normal observation ``(y - b / 2) / omega`` of psi with variance 1 / omega (Polson, Scott and Windle 2013, theorem 1).
The size r is held as ``sigma_e = r^-1/2``, the coefficient of variation of the gamma variable that a cluster's rate is
multiplied with; of the binomial sigma_e is the standard deviation of the normal variable that is added to eta.

References
----------
Polson, N. G., Scott, J. G. and Windle, J. (2013). Bayesian inference for logistic models using Pólya-Gamma latent
variables. JASA 108, 1339-1349.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

from smallarea.errors import ModelProblem, TableProblem, named
from smallarea.unit_level.clusters import Clusters

Vector = NDArray[np.float64]
Likelihood = Literal["normal", "binomial", "negative_binomial"]
LIKELIHOODS: tuple[Likelihood, ...] = ("normal", "binomial", "negative_binomial")

# Nodes of Gauss and Hermite over the normal variable of a cluster, up to a standard deviation: shares are right to
# 5e-6, up to one of 2.
NODES = ((0.6, 5), (0.9, 7), (1.1, 9), (1.5, 15), (math.inf, 31))
# Keeps variances of working data finite, where a share is 0 or 1 to the last digit.
LEAST_INFORMATION = 1e-8


def count_clusters(
    sizes: Sequence[float] | Vector,
    likelihood: Likelihood,
    counts: Sequence[float] | Vector,
    cluster: Sequence[object],
    coordinates: Vector,
    covariates: Vector,
    *,
    names: Sequence[str] | None = None,
    strata: Sequence[object] | None = None,
) -> Clusters:
    """Add rows of counts up to clusters.

    Parameters
    ----------
    sizes : sequence of float, length N
        Trials (whole numbers), or exposures.
    likelihood : {"binomial", "negative_binomial"}
        What the counts are.
    counts : sequence of float, length N
        Successes, or cases: whole numbers.
    cluster, coordinates, covariates, names, strata
        As of :meth:`Clusters.from_rows`.

    Returns
    -------
    Clusters
        With ``sizes`` the trials or exposures, ``means`` the shares or rates, and ``within`` the sum of squares of
        single trials about the share (0 for rates).

    Raises
    ------
    TableProblem
        If counts or sizes cannot be those of the likelihood, or for the reasons of :meth:`Clusters.from_rows`.
    ModelProblem
        If nothing, or everything, was counted.
    """
    y, n = np.asarray(counts, float), np.asarray(sizes, float)
    check_counts(y, n, likelihood)
    made = Clusters.from_rows(y, cluster, coordinates, covariates, names=names, strata=strata)
    at = {name: i for i, name in enumerate(made.ids)}
    code = np.array([at[str(one)] for one in cluster])
    rows = [np.flatnonzero(code == i) for i in range(made.n)]
    total, size = (np.array([math.fsum(values[r]) for r in rows]) for values in (y, n))
    if not total.sum() > 0.0:
        raise ModelProblem("Nothing was counted in any cluster, so there is nothing to fit.")
    if likelihood == "binomial" and total.sum() == size.sum():
        raise ModelProblem("All trials of all clusters succeeded, so there is nothing to fit.")
    means = total / size
    binomial = likelihood == "binomial"
    found = replace(
        made,
        sizes=size,
        means=means,
        within=total * (1.0 - means) if binomial else np.zeros(made.n),
        smallest=0.0 if binomial else float(means.min()),
        largest=1.0 if binomial else float(means.max()),
    )
    return found.take(np.lexsort((means, size, found.coordinates[:, 1], found.coordinates[:, 0])))


def check_counts(counts: Vector, sizes: Vector, likelihood: Likelihood, unit: str = "rows") -> None:
    """Refuse counts that the likelihood cannot have; rows are counted from 1.

    Parameters
    ----------
    counts, sizes : ndarray, shape (N,)
        Counts, and trials or exposures; missing ones are left to others.
    likelihood : {"binomial", "negative_binomial"}
        What the counts are.
    unit : str
        What the numbers are of.

    Raises
    ------
    TableProblem
        Naming the rows.
    """
    known = np.isfinite(counts + sizes)
    rules = [("Counts must be whole numbers of 0 or more", (counts < 0.0) | (counts != np.floor(counts)))]
    if likelihood == "binomial":
        rules += [
            ("Trials must be whole numbers of 1 or more", (sizes < 1.0) | (sizes != np.floor(sizes))),
            ("Counts cannot be more than trials", counts > sizes),
        ]
    else:
        rules.append(("Exposures must be above 0", sizes <= 0.0))
    for rule, wrong in rules:
        bad = np.flatnonzero(wrong & known)
        if len(bad):
            raise TableProblem(f"{rule}; they are not in {unit} {named(bad + 1)} (counted from 1). Correct them.")


def counts_of(clusters: Clusters) -> Vector:
    """Return the counts of clusters made by :func:`count_clusters`, shape (n,)."""
    return np.rint(clusters.sizes * clusters.means)


def link(mean: float, likelihood: Likelihood) -> float:
    """Linear predictor of an expected outcome: itself, its logit, or its log."""
    if likelihood == "binomial":
        return math.log(mean / (1.0 - mean))
    return math.log(mean) if likelihood == "negative_binomial" else mean


def expected(linear: Vector, sigma_e: Vector, likelihood: Likelihood) -> Vector:
    """Return expected outcomes of new clusters; shares are averaged over the normal variable that clusters differ by.

    Parameters
    ----------
    linear : ndarray, shape (S, P)
        Linear predictor without that variable.
    sigma_e : ndarray, shape (S,)
        Its standard deviation in each draw.
    likelihood : {"normal", "binomial", "negative_binomial"}
        The gamma variable of a negative binomial rate has mean 1 and changes nothing.

    Returns
    -------
    ndarray, shape (S, P)
        Outcomes, shares or rates.
    """
    if likelihood == "normal":
        return linear
    if likelihood == "negative_binomial":
        return np.exp(linear)
    out = np.zeros(linear.shape)
    band = np.searchsorted([most for most, _ in NODES], sigma_e)
    for k in np.unique(band):
        rows = np.flatnonzero(band == k)
        nodes, weights = np.polynomial.hermite_e.hermegauss(NODES[k][1])
        for node, weight in zip(nodes, weights / weights.sum(), strict=True):
            out[rows] += weight * special.expit(linear[rows] + node * sigma_e[rows, None])
    return out


def draw_observed(
    linear: Vector, sigma_e: Vector, sizes: Vector, likelihood: Likelihood, rng: np.random.Generator
) -> Vector:
    """Draw the share or rate that would be observed in a new cluster.

    Parameters
    ----------
    linear : ndarray, shape (S, P)
        Linear predictor.
    sigma_e : ndarray, shape (S,)
        How clusters differ, in each draw.
    sizes : ndarray, shape (P,)
        Trials or exposures.
    likelihood : {"binomial", "negative_binomial"}
        What is counted.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    ndarray, shape (S, P)
    """
    if likelihood == "binomial":
        share = special.expit(linear + sigma_e[:, None] * rng.standard_normal(linear.shape))
        return rng.binomial(sizes.astype(np.int64), share) / sizes
    shape = np.broadcast_to(sigma_e[:, None] ** -2.0, linear.shape)
    return rng.poisson(sizes * np.exp(linear) * rng.standard_gamma(shape) / shape) / sizes


def log_likelihoods(counts: Vector, sizes: Vector, eta: Vector, size: float | None) -> Vector:
    """Return the log likelihood of each count, up to terms of the counts alone.

    Parameters
    ----------
    counts, sizes : ndarray, shape (n,)
        Counts, and trials or exposures.
    eta : ndarray, shape (n,)
        Linear predictor.
    size : float or None
        Size of negative binomial counts; None for binomial ones.

    Returns
    -------
    ndarray, shape (n,)
    """
    if size is None:
        return counts * eta - sizes * np.logaddexp(0.0, eta)
    log_ratio = np.log(sizes) + eta - math.log(size)
    of_size = special.gammaln(counts + size) - special.gammaln(size)
    return np.asarray(of_size + counts * log_ratio - (counts + size) * np.logaddexp(0.0, log_ratio))


def working_data(counts: Vector, sizes: Vector, eta: Vector, size: float | None) -> tuple[Vector, Vector]:
    """Return the normal data that a likelihood looks like near ``eta``: one Newton step, and Fisher's information.

    Parameters
    ----------
    counts, sizes, eta, size
        As of :func:`log_likelihoods`.

    Returns
    -------
    response, information : ndarray, shape (n,)
        What is observed of the linear predictor, and one over its variance.
    """
    if size is None:
        share = special.expit(eta)
        information = np.maximum(sizes * share * (1.0 - share), LEAST_INFORMATION)
        return eta + (counts - sizes * share) / information, information
    means = sizes * np.exp(eta)
    return eta + counts / means - 1.0, np.maximum(means * size / (means + size), LEAST_INFORMATION)
