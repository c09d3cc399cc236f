"""The area-level models by dense algebra, written from their definitions and without the code under test.

Cells are stacked area by area: cell (i, k) stands at i K + k. Nothing here is fast, and nothing uses the formulas of
the engine: fields are covariances (never precisions), the restricted likelihood is the density of error contrasts, and
moments come from the posterior of independent standard normal effects.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from scipy import stats
from scipy.sparse.csgraph import connected_components
from smallarea.area_level import AreaLevelSpecification, StackedData
from smallarea.areas import AreaGraph


def unit_covariance(effect: str, w: np.ndarray, rho: float) -> np.ndarray:
    """Covariance of one spatial effect of unit scale on all areas; zero where an area has none."""
    n = len(w)
    degrees = w.sum(axis=1)
    out = np.zeros((n, n))
    linked = np.flatnonzero(degrees > 0)
    if effect == "leroux":
        return np.linalg.inv(rho * (np.diag(degrees) - w) + (1.0 - rho) * np.eye(n))
    if effect == "car":
        out[np.ix_(linked, linked)] = np.linalg.inv((np.diag(degrees) - rho * w)[np.ix_(linked, linked)])
        return out
    labels = connected_components(w)[1]
    for label in range(labels.max() + 1):
        own = np.flatnonzero(labels == label)
        if len(own) == 1:
            out[own, own] = 1.0 if effect == "bym2" else 0.0
            continue
        # The Laplacian plus the projector on constants has the same inverse but for that projector.
        constant = np.full((len(own), len(own)), 1.0 / len(own))
        laplacian = np.diag(degrees[own]) - w[np.ix_(own, own)]
        part = np.linalg.inv(laplacian + constant) - constant
        if effect == "bym2":
            part /= stats.gmean(np.diag(part))
        out[np.ix_(own, own)] = part
    return rho * out + (1.0 - rho) * np.eye(n) if effect == "bym2" else out


def _of(hyper: Mapping[str, float], kind: str, name: str) -> float:
    """A response's own value, or the one that all share."""
    return hyper.get(f"{kind}[{name}]", hyper.get(kind, math.nan))


def response_covariance(names: tuple[str, ...], sd: list[float], hyper: Mapping[str, float]) -> np.ndarray:
    """Sigma from standard deviations and correlations."""
    sigma = np.diag(np.square(sd))
    for i, first in enumerate(names):
        for j in range(i + 1, len(names)):
            sigma[i, j] = sigma[j, i] = sd[i] * sd[j] * hyper[f"correlation[{first},{names[j]}]"]
    return sigma


def spatial_covariance(model: AreaLevelSpecification, graph: AreaGraph, hyper: Mapping[str, float]) -> np.ndarray:
    """Cov(phi), shape (N, K, N, K)."""
    names, w = model.responses, graph.adjacency.toarray()
    n, k = len(w), len(names)
    out = np.zeros((n, k, n, k))
    if model.random_effect == "iid":
        return out
    own = {name: unit_covariance(model.random_effect, w, _of(hyper, "rho", name)) for name in names}
    sd = {name: _of(hyper, "sd_phi", name) for name in names}
    if k > 1 and model.link == "separable":
        sigma = response_covariance(names, list(sd.values()), hyper)
        return np.einsum("ij,kl->ikjl", own[names[0]], sigma)
    if k > 1 and model.link == "chain":
        at = [names.index(name) for name in model.order]
        last = at[-1]
        out[:, last, :, last] = sd[names[last]] ** 2 * own[names[last]]
        for position in range(k - 2, -1, -1):
            one, given = at[position], at[position + 1]
            pair = f"[{names[one]},{names[given]}]"
            a = hyper[f"eta0{pair}"] * np.eye(n) + hyper[f"eta1{pair}"] * w
            for later in at[position + 1 :]:
                out[:, one, :, later] = a @ out[:, given, :, later]
                out[:, later, :, one] = out[:, one, :, later].T
            out[:, one, :, one] = sd[names[one]] ** 2 * own[names[one]] + a @ out[:, given, :, given] @ a.T
        return out
    for i, name in enumerate(names):
        out[:, i, :, i] = sd[name] ** 2 * own[name]
    return out


def effect_covariance(model: AreaLevelSpecification, graph: AreaGraph, hyper: Mapping[str, float]) -> np.ndarray:
    """Cov(phi + delta), shape (N K, N K)."""
    names, n = model.responses, len(graph.ids)
    k = len(names)
    out = spatial_covariance(model, graph, hyper)
    if model.iid_part:
        sd = [_of(hyper, "sd_delta", name) for name in names]
        correlated = k > 1 and model.random_effect == "iid" and model.link == "separable"
        sigma = response_covariance(names, sd, hyper) if correlated else np.diag(np.square(sd))
        out = out + np.einsum("ij,kl->ikjl", np.eye(n), sigma)
    return out.reshape(n * k, n * k)


@dataclass(frozen=True)
class Truth:
    """What the engine should find: the likelihood, and moments of the coefficients and of theta, cell by cell."""

    log_likelihood: float
    beta: np.ndarray
    theta: np.ndarray
    synthetic: np.ndarray
    covariance: np.ndarray  # of beta, then theta
    known: np.ndarray  # of theta if beta were known

    def area_blocks(self, k: int, known: bool = False) -> np.ndarray:
        """K x K covariances of each area, shape (N, K, K)."""
        full = self.known if known else self.covariance[len(self.beta) :, len(self.beta) :]
        n = len(full) // k
        blocks = full.reshape(n, k, n, k)
        return np.array([blocks[i, :, i] for i in range(n)])


def sampling(data: StackedData) -> tuple[np.ndarray, np.ndarray]:
    """Observed cells and their sampling covariance."""
    n, k = data.shape
    seen = np.flatnonzero(data.observed.ravel())
    full = np.zeros((n, k, n, k))
    for i in range(n):
        full[i, :, i] = data.covariance[i]
    return seen, full.reshape(n * k, n * k)[np.ix_(seen, seen)]


def restricted_log_likelihood(data: StackedData, effects: np.ndarray) -> float:
    """Density of y with a flat beta: that of contrasts free of beta, times |X'X|^(-1/2)."""
    seen, noise = sampling(data)
    x, y = data.design.reshape(-1, data.design.shape[2])[seen], data.y.ravel()[seen]
    free = scipy.linalg.null_space(x.T)
    covariance = free.T @ (effects[np.ix_(seen, seen)] + noise) @ free
    density = stats.multivariate_normal(np.zeros(free.shape[1]), covariance).logpdf(free.T @ y)
    return float(density - 0.5 * np.linalg.slogdet(x.T @ x)[1])


def truth(model: AreaLevelSpecification, data: StackedData, graph: AreaGraph, hyper: Mapping[str, float]) -> Truth:
    """Everything of a model with responses of their own."""
    return truth_of_effects(data, effect_covariance(model, graph, hyper))


def truth_of_effects(data: StackedData, effects: np.ndarray) -> Truth:
    """Everything, from theta = X beta + R e with e ~ N(0, I) and R a root of the effects' covariance."""
    values, vectors = np.linalg.eigh(effects)
    keep = values > 1e-14 * values[-1]
    root = vectors[:, keep] * np.sqrt(values[keep])
    seen, noise = sampling(data)
    x = data.design.reshape(len(effects), -1)
    p = x.shape[1]
    whole = np.hstack([x, root])
    half = np.linalg.solve(np.linalg.cholesky(noise), whole[seen])
    right = half.T @ np.linalg.solve(np.linalg.cholesky(noise), data.y.ravel()[seen])
    precision = half.T @ half + np.diag(np.r_[np.zeros(p), np.ones(root.shape[1])])
    covariance = np.linalg.inv(precision)
    mean = covariance @ right
    out = np.vstack([np.eye(p, len(mean)), whole])
    theta = whole @ mean
    return Truth(
        restricted_log_likelihood(data, effects),
        mean[:p],
        theta,
        x @ mean[:p],
        out @ covariance @ out.T,
        root @ np.linalg.inv(precision[p:, p:]) @ root.T,
    )
