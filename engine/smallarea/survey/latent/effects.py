"""Direct, indirect and total effects, standardised parameters and defined quantities, with their uncertainty.

With B the regressions of the model (``y ~ x`` is the effect of x on y, B[y, x]), the total effects are

    T = (I - B)^{-1} - I = B + B^2 + ...,

the direct ones B, the indirect ones T - B (Bollen 1987). Their standard errors follow by the delta method from those of
the parameters (Sobel 1982), or from draws.

References
----------
Bollen, K. A. (1987). Total, direct, and indirect effects in structural equation models. Sociological Methodology 17,
37-69.
Sobel, M. E. (1982). Asymptotic confidence intervals for indirect effects in structural equation models. Sociological
Methodology 13, 290-312.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from smallarea.survey.latent.model import LatentModel

Vector = NDArray[np.float64]
_DIFFERENCE = 1e-6


@dataclass(frozen=True)
class Effect:
    """What one variable does to another.

    Attributes
    ----------
    cause, outcome : str
        Variables.
    kind : {'direct', 'indirect', 'total'}
        Along the arrow, along other ways, or both.
    """

    cause: str
    outcome: str
    kind: Literal["direct", "indirect", "total"]


def list_effects(model: LatentModel) -> tuple[Effect, ...]:
    """List the effects that the model's regressions allow.

    Parameters
    ----------
    model : LatentModel
        The model.

    Returns
    -------
    tuple of Effect
        Direct, indirect and total effect of each pair that has one.
    """
    size = len(model.variables)
    direct = np.zeros((size, size), dtype=bool)
    for one in model.parameters:
        if one.kind == "regression" and one.fixed != 0.0:
            direct[one.row, one.column] = True
    indirect = np.zeros_like(direct)
    longer = direct
    for _ in range(size):
        longer = (longer.astype(int) @ direct.astype(int)) > 0
        indirect |= longer
    found = []
    for outcome, cause in zip(*np.nonzero(direct | indirect), strict=True):
        names = model.variables[cause], model.variables[outcome]
        if direct[outcome, cause]:
            found.append(Effect(*names, "direct"))
        if indirect[outcome, cause]:
            found.append(Effect(*names, "indirect"))
        found.append(Effect(*names, "total"))
    return tuple(found)


def effect_values(model: LatentModel, theta: Vector, effects: tuple[Effect, ...]) -> Vector:
    """Return the values of effects.

    Parameters
    ----------
    model : LatentModel
        The model.
    theta : ndarray, shape (q,)
        Free parameters.
    effects : tuple of Effect
        Which.

    Returns
    -------
    ndarray, shape (len(effects),)
        In units of the outcome per unit of the cause.
    """
    size = len(model.variables)
    direct = np.zeros((size, size))
    for one in model.parameters:
        if one.kind == "regression":
            direct[one.row, one.column] = one.fixed if one.index < 0 else theta[one.index]
    total = np.linalg.inv(np.eye(size) - direct) - np.eye(size)
    by_kind = {"direct": direct, "indirect": total - direct, "total": total}
    at = {name: i for i, name in enumerate(model.variables)}
    return np.array([by_kind[e.kind][at[e.outcome], at[e.cause]] for e in effects])


def standardised(model: LatentModel, theta: Vector) -> Vector:
    """Return every parameter as if all variables had variance one.

    Parameters
    ----------
    model : LatentModel
        The model.
    theta : ndarray, shape (q,)
        Free parameters.

    Returns
    -------
    ndarray, one for each of ``model.parameters``
        Covariances become correlations; variances of what is not explained become shares of the variance.
    """
    a, s = model.matrices(theta)
    spread = np.sqrt(np.diag(model.covariance(theta)))
    left_over = np.sqrt(np.abs(np.diag(s)))
    found = []
    for one in model.parameters:
        i, j = one.row, one.column
        if one.in_effects:
            found.append(a[i, j] * spread[j] / spread[i])
        elif one.kind == "variance":
            found.append(s[i, i] / spread[i] ** 2)
        else:
            found.append(s[i, j] / (left_over[i] * left_over[j]) if left_over[i] * left_over[j] > 0.0 else np.nan)
    return np.array(found)


def defined_values(model: LatentModel, theta: Vector) -> Vector:
    """Return the quantities that the model's text defines.

    Parameters
    ----------
    model : LatentModel
        The model.
    theta : ndarray, shape (q,)
        Free parameters.

    Returns
    -------
    ndarray, one for each of ``model.definitions``
        Not finite where an expression has no value.
    """
    known = {one.label: one.fixed if one.index < 0 else theta[one.index] for one in model.parameters if one.label}
    for definition in model.definitions:
        known[definition.name] = definition.expression.value(known)
    return np.array([float(known[definition.name]) for definition in model.definitions])


def quantities(model: LatentModel, theta: Vector, effects: tuple[Effect, ...]) -> Vector:
    """Return standardised parameters, effects and defined quantities side by side.

    Parameters
    ----------
    model : LatentModel
        The model.
    theta : ndarray, shape (q,)
        Free parameters.
    effects : tuple of Effect
        Which effects.

    Returns
    -------
    ndarray
        In this order.
    """
    return np.concatenate(
        [standardised(model, theta), effect_values(model, theta, effects), defined_values(model, theta)]
    )


def delta_errors(model: LatentModel, theta: Vector, covariance: Vector, effects: tuple[Effect, ...]) -> Vector:
    """Return standard errors of `quantities` by the delta method.

    Parameters
    ----------
    model : LatentModel
        The model.
    theta : ndarray, shape (q,)
        Estimates.
    covariance : ndarray, shape (q, q)
        Of the estimates.
    effects : tuple of Effect
        Which effects.

    Returns
    -------
    ndarray
        In the order of `quantities`.
    """
    steps = _DIFFERENCE * np.maximum(np.abs(theta), np.sqrt(np.diag(covariance)))
    columns = []
    for k, h in enumerate(steps):
        move = np.zeros_like(theta)
        move[k] = h
        columns.append(
            (quantities(model, theta + move, effects) - quantities(model, theta - move, effects)) / (2.0 * h)
        )
    slopes = np.stack(columns, axis=1)
    return np.sqrt(np.maximum(np.einsum("ik,kl,il->i", slopes, covariance, slopes), 0.0))
