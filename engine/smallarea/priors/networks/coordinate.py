"""The coordinate in which a spatial prior is smooth: hyperparameters to [-1, 1] and back.

A root of (D - rho W)^{-1} is analytic in rho except where 1 - rho l = 0 for an eigenvalue l of the scaled adjacency
matrix, the nearest of which crowd at rho = 1, where the interesting values lie. In u = log((1 + k rho) / (1 - rho))
they all sit at distance pi from the real line if k is large enough, so polynomials in u converge at a rate that
depends on the length of the range only: k = 1 does for |l| <= 1; for Leroux, whose eigenvalues 1 - rho + rho m lie in
0 <= m <= twice the largest degree, k = 20 does for degrees up to ten and nearly so beyond.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smallarea.priors.families import Family

_BENDS = {"car": 1.0, "leroux": 20.0}


def coordinate(family: Family, values: Any, library: Any) -> Any:
    """Coordinate of hyperparameters.

    Parameters
    ----------
    family : Family
        The family with its range.
    values : array, shape (..., q)
        Hyperparameters, q = 0 or 1.
    library : module
        ``numpy`` or ``jax.numpy``.

    Returns
    -------
    array, shape (...)
        -1 at the lower and 1 at the upper end of the range; 0 where there is no hyperparameter.
    """
    if not family.hyperparameters:
        return library.zeros(values.shape[:-1])
    ends = _bent(family.name, np.array([family.hyperparameters[0].lower, family.hyperparameters[0].upper]), np)
    return 2.0 * (_bent(family.name, values[..., 0], library) - ends[0]) / (ends[1] - ends[0]) - 1.0


def values_at(family: Family, t: NDArray[np.float64]) -> NDArray[np.float64]:
    """Hyperparameters at coordinates t of shape (m,), shape (m, q)."""
    if not family.hyperparameters:
        return np.empty((len(t), 0))
    one = family.hyperparameters[0]
    ends = _bent(family.name, np.array([one.lower, one.upper]), np)
    u = ends[0] + (ends[1] - ends[0]) * (t + 1.0) / 2.0
    if family.name == "gp":
        return np.exp(u)[:, None]
    if family.name == "bym2":
        return (np.sin(u) ** 2)[:, None]
    return (np.expm1(u) / (np.exp(u) + _BENDS[family.name]))[:, None]


def _bent(name: str, value: Any, library: Any) -> Any:
    if name == "gp":
        return library.log(value)
    if name == "bym2":
        # Its root mixes sqrt(rho) and sqrt(1 - rho), sine and cosine of this angle.
        return library.arcsin(library.sqrt(value))
    return library.log1p(_BENDS[name] * value) - library.log1p(-value)
