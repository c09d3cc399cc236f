"""Leave-one-out predictions and WAIC by algebra, given the hyperparameters.

Given the hyperparameters everything is Gaussian. Let S be the covariance of all direct estimates with beta integrated
over its flat prior, A = S^{-1} (its projection), m and C the posterior mean and covariance of theta, V the sampling
covariance. From ``E[theta | y] = y - V A y`` follows ``A y = V^{-1} (y - m)``, and from ``C = V - V A V``

    A = V^{-1} - V^{-1} C V^{-1}.

For a block b of cells, y_b given all other cells is normal with covariance ``A_bb^{-1}`` and the residual ``A_bb^{-1}
(A y)_b``, because the joint density is proportional to ``exp(-y' A y / 2)`` (Dubrule 1983; Rue and Held 2005, theorem
2.3). With V block diagonal between areas, A_bb and (A y)_b of a block inside one area need only that area's V, m and
C. A block is a *cell* (one response of one area, the others of the area stay) or the whole *area*.

The density of a block given theta, ``p(y_b | theta, y_rest of the area)``, has the precision ``P = (V^{-1})_bb`` and
the score ``(V^{-1} (y - theta))_b``. With ``P = R R'`` the whitened score ``R^{-1} (V^{-1} (y - theta))_b`` is normal
over the posterior with mean t and covariance G, and

    log p(y_b | theta)    = const + log|P| / 2 - |score|^2 / 2
    log E[p(y_b | theta)] = const + log|P| / 2 - log|I + G| / 2 - t' (I + G)^{-1} t / 2
    Var[log p]            = tr(G G) / 2 + t' G t
    log p(y_b | y_-b)     = const + log|P| / 2 + log|I - G| / 2 - t' (I - G)^{-1} t / 2

so one pair (t, G) gives WAIC and leave-one-out.

References
----------
Dubrule, O. (1983). Cross validation of kriging in a unique neighborhood. Mathematical Geology 15, 687-699.
Held, L., Schroedle, B. and Rue, H. (2010). Posterior and cross-validatory predictive checks: a comparison of MCMC and
INLA. In: Statistical Modelling and Regression Structures, 91-110.
Rue, H. and Held, L. (2005). Gaussian Markov Random Fields. Chapman and Hall.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from smallarea.results.prediction.psis import PointwiseScores

Vector = NDArray[np.float64]

_LOG_2PI = math.log(2.0 * math.pi)
# A block whose own precision is this share of the sampling precision or less is predicted by nothing else.
_NOTHING = 1e-12


@dataclass(frozen=True)
class Blocks:
    """Whitened posterior scores of U blocks of k cells at M sets of hyperparameters.

    Attributes
    ----------
    score : ndarray, shape (M, U, k)
        t.
    spread : ndarray, shape (M, U, k, k)
        G; zero in rows and columns of cells that are not observed.
    log_precision : ndarray, shape (U,)
        log|P| over the observed cells.
    cells : ndarray, shape (U,)
        How many cells of the block are observed.
    """

    score: Vector
    spread: Vector
    log_precision: Vector
    cells: NDArray[np.int64]


@dataclass(frozen=True)
class LeftOut:
    """Exact predictions of direct estimates from everything outside their block, given the hyperparameters.

    Attributes
    ----------
    log_density : ndarray, shape (M, U)
        log p(y_b | y_-b, hyperparameters); NaN for blocks that are not observed or that nothing else predicts.
    mean, variance : ndarray, shape (M, N, K)
        Of each cell, the sampling variance included; NaN likewise.
    """

    log_density: Vector
    mean: Vector
    variance: Vector


def area_blocks(precision: Vector, residual: Vector, covariance: Vector, observed: NDArray[np.bool_]) -> Blocks:
    """Whiten the scores of whole areas.

    Parameters
    ----------
    precision : ndarray, shape (N, K, K)
        V_i^{-1} on the observed cells, zero elsewhere.
    residual : ndarray, shape (M, N, K)
        y - E[theta | y, hyperparameters]; what stands in cells that are not observed does not count.
    covariance : ndarray, shape (M, N, K, K)
        Cov(theta_i | y, hyperparameters).
    observed : ndarray of bool, shape (N, K)
        Cells with a direct estimate.

    Returns
    -------
    Blocks
        One block an area.
    """
    k = observed.shape[1]
    both = observed[:, :, None] & observed[:, None, :]
    # Identity where not observed: those rows are then zero in G and t, and count nothing in determinants.
    root = np.linalg.cholesky(precision + np.einsum("nk,kl->nkl", ~observed, np.eye(k)))
    root = np.where(both, root, 0.0)
    score = np.einsum("nlk,mnl->mnk", root, np.where(observed, residual, 0.0))
    spread = np.einsum("nlk,mnlj,nji->mnki", root, covariance, root, optimize=True)
    diagonal = np.where(observed, np.einsum("nkk->nk", root), 1.0)
    return Blocks(score, spread, 2.0 * np.sum(np.log(diagonal), axis=1), observed.sum(axis=1))


def cell_blocks(precision: Vector, residual: Vector, covariance: Vector, observed: NDArray[np.bool_]) -> Blocks:
    """Whiten the scores of single cells; U runs over (area, response).

    Parameters
    ----------
    precision, residual, covariance, observed
        As for :func:`area_blocks`.

    Returns
    -------
    Blocks
        N K blocks of one cell.
    """
    own = np.einsum("nkk->nk", precision)
    root = np.sqrt(np.where(observed, own, 1.0))
    score = np.einsum("nkl,mnl->mnk", precision, np.where(observed, residual, 0.0)) / root
    spread = np.einsum("nkl,mnlj,njk->mnk", precision, covariance, precision, optimize=True) / root**2
    m = len(residual)
    return Blocks(
        score.reshape(m, -1, 1),
        spread.reshape(m, -1, 1, 1),
        2.0 * np.log(root).ravel(),
        observed.ravel().astype(np.int64),
    )


def leave_out(blocks: Blocks, precision: Vector, y: Vector, observed: NDArray[np.bool_]) -> LeftOut:
    """Predict every block from all others.

    Parameters
    ----------
    blocks : Blocks
        Of cells or of areas.
    precision : ndarray, shape (N, K, K)
        V_i^{-1}, as for the blocks.
    y : ndarray, shape (N, K)
        Direct estimates.
    observed : ndarray of bool, shape (N, K)
        Cells with a direct estimate.

    Returns
    -------
    LeftOut
        Densities of the blocks and moments of their cells.
    """
    m, units, k = blocks.score.shape
    values, vectors = np.linalg.eigh(np.eye(k) - blocks.spread)
    known = (blocks.cells > 0) & (values.min(axis=2) > _NOTHING)
    safe = np.where(known[..., None], values, 1.0)
    half = np.einsum("muij,mui->muj", vectors, blocks.score)
    log_density = 0.5 * (
        blocks.log_precision - blocks.cells * _LOG_2PI + np.sum(np.log(safe), axis=2) - np.sum(half**2 / safe, axis=2)
    )
    # Back from the whitened scale: A_bb^{-1} = R'^{-1} (I - G)^{-1} R^{-1}, and the residual is A_bb^{-1} (A y)_b.
    residual = np.einsum("muij,muj->mui", vectors, half / safe)
    inverse = np.einsum("muij,muj,mulj->muil", vectors, 1.0 / safe, vectors, optimize=True)
    if units == observed.size:
        back = 1.0 / np.sqrt(np.where(observed, np.einsum("nkk->nk", precision), 1.0)).reshape(units, 1, 1)
    else:
        root = np.linalg.cholesky(precision + np.einsum("nk,kl->nkl", ~observed, np.eye(k)))
        back = np.linalg.inv(root).swapaxes(1, 2)
    shift = np.einsum("uij,muj->mui", back, residual).reshape(m, *observed.shape)
    variance = np.einsum("uij,mujl,uil->mui", back, inverse, back, optimize=True).reshape(m, *observed.shape)
    cells = np.broadcast_to(known[:, :, None], (m, units, k)).reshape(m, *observed.shape) & observed
    return LeftOut(
        np.where(known, log_density, np.nan), np.where(cells, y - shift, np.nan), np.where(cells, variance, np.nan)
    )


def exact_waic(blocks: Blocks) -> PointwiseScores:
    """WAIC without Monte Carlo error in theta: its mean and variance over theta are exact at each hyperparameter.

    Parameters
    ----------
    blocks : Blocks
        At equally weighted hyperparameters of the posterior.

    Returns
    -------
    PointwiseScores
        NaN for blocks that are not observed.
    """
    values, vectors = np.linalg.eigh(blocks.spread)
    half = np.einsum("muij,mui->muj", vectors, blocks.score) ** 2
    base = 0.5 * (blocks.log_precision - blocks.cells * _LOG_2PI)
    at_each = base - 0.5 * np.sum(np.log1p(values) + half / (1.0 + values), axis=2)
    density = special.logsumexp(at_each, axis=0) - math.log(len(at_each))
    within = np.sum(0.5 * values**2 + half * values, axis=2).mean(axis=0)
    mean = 0.5 * np.sum(half + values, axis=2)
    effective = within + mean.var(axis=0)
    gone = blocks.cells == 0
    return PointwiseScores(
        np.where(gone, np.nan, density - effective),
        np.where(gone, np.nan, effective),
        np.full(len(gone), np.nan),
        np.empty((0, len(gone))),
    )
