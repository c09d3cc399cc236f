"""The hole in the prior of an autoencoder, and its cure.

What the encoder makes of the fields, the aggregate posterior, is not N(0, I), so the decoder never saw the noise that
it is fed in a model. Here the noise is first brought to the Gaussian of the aggregate posterior; then the output is
brought to the exact mean and covariance. Both are linear maps and disappear in the weights: the decode function is the
same with and without.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smallarea.errors import ModelProblem
from smallarea.priors.exact import ExactPrior
from smallarea.priors.fidelity.reference_field import Reference, ReferenceAt, ReferenceMixture
from smallarea.priors.networks.network_settings import BetaVaeSettings

Vector = NDArray[np.float64]
Weights = dict[str, NDArray[Any]]

# Fields that are encoded at each point of the rule over the hyperparameter, and numbers at a time.
ENCODED = 2_000
NUMBERS_AT_ONCE = 8_000_000
# Terms of Mehler's series; ELU is smooth but for its second derivative, so what is left of a variance is below 1e-6.
TERMS = 50
# A direction with less than this share of the variance that it should have is not stretched.
NEGLIGIBLE = 1e-2


def imitated(exact: ExactPrior) -> Reference:
    """Return the field that an autoencoder learns: the prior with its hyperparameters integrated out."""
    return ReferenceMixture(exact) if exact.family.hyperparameters else ReferenceAt(exact, np.empty(0))


def aggregate_posterior(exact: ExactPrior, weights: Weights, rng: np.random.Generator) -> tuple[Vector, Vector]:
    """Fit a Gaussian to the latent variables that the encoder gives to fresh fields.

    Parameters
    ----------
    exact : ExactPrior
        Where the fields come from.
    weights : mapping
        Weights of the encoder.
    rng : numpy.random.Generator
        Randomness.

    Returns
    -------
    mean : ndarray, shape (J,)
        Mean of the encoder's means.
    covariance : ndarray, shape (J, J)
        Covariance of the encoder's means plus the mean of its variances.
    """
    latent = weights["mean_weight"].shape[1]
    total, squares, spread = np.zeros(latent), np.zeros((latent, latent)), np.zeros(latent)
    at_once = max(1, min(ENCODED, NUMBERS_AT_ONCE // exact.n))
    for weight, value in imitated(exact).components:
        for start in range(0, ENCODED, at_once):
            count = min(at_once, ENCODED - start)
            x = exact.draws(np.broadcast_to(value, (count, len(value))), rng)
            hidden = elu(x @ weights["encoder_weight"] + weights["encoder_bias"])
            mean = hidden @ weights["mean_weight"] + weights["mean_bias"]
            share = weight / ENCODED
            total += share * mean.sum(axis=0)
            squares += share * (mean.T @ mean)
            spread += share * np.exp(hidden @ weights["spread_weight"] + weights["spread_bias"]).sum(axis=0)
    return total, squares - np.outer(total, total) + np.diag(spread)


def decoded_moments(weights: Mapping[str, Any]) -> tuple[Vector, Vector]:
    """Mean and covariance of the decoder's output for standard normal noise, without simulation.

    The inputs of two hidden units are bivariate normal with correlation r, so the covariance of their outputs is
    ``sum_k c_k d_k r^k`` over k >= 1, with the coefficients of the activations in normalised Hermite polynomials
    (Mehler 1866).

    Parameters
    ----------
    weights : mapping
        Weights of the decoder.

    Returns
    -------
    mean : ndarray, shape (n,)
        Mean of the field.
    covariance : ndarray, shape (n, n)
        Its covariance.
    """
    inputs, out = np.asarray(weights["hidden_weight"], dtype=float), np.asarray(weights["output_weight"], dtype=float)
    scale = np.sqrt(np.einsum("jh,jh->h", inputs, inputs))
    unit = inputs / np.where(scale > 0, scale, 1.0)
    coefficients, variances = _hermite(np.asarray(weights["hidden_bias"], dtype=float), scale)
    correlation = unit.T @ unit
    power = np.ones_like(correlation)
    covariance = np.zeros_like(correlation)
    for c in coefficients[1:]:
        power *= correlation
        covariance += power * np.outer(c, c)
    np.fill_diagonal(covariance, variances)
    return coefficients[0] @ out + weights["output_bias"], out.T @ covariance @ out


def _hermite(bias: Vector, scale: Vector) -> tuple[Vector, Vector]:
    """Hermite coefficients (TERMS + 1, H) and variances (H,) of ELU(bias + scale u) for standard normal u."""
    u = np.linspace(-9.0, 9.0, 4097)
    density = np.exp(-0.5 * u * u) / np.sqrt(2.0 * np.pi) * (u[1] - u[0])
    activation = elu(bias[:, None] + scale[:, None] * u)
    polynomials = [np.ones_like(u), u]
    for k in range(2, TERMS + 1):
        polynomials.append((u * polynomials[-1] - np.sqrt(k - 1.0) * polynomials[-2]) / np.sqrt(k))
    coefficients = (activation @ (np.array(polynomials) * density).T).T
    return coefficients, activation**2 @ density - coefficients[0] ** 2


def nearest_map(covariance: Vector, wanted: Vector) -> Vector:
    """Symmetric T with T C T = wanted that moves a field of covariance C least in the mean square.

    Between Gaussians it is the optimal transport, ``C^{-1/2} (C^{1/2} S C^{1/2})^{1/2} C^{-1/2}`` (Olkin and
    Pukelsheim 1982). Directions in which C has less than a hundredth of the wanted variance are left as they are: what
    a network has there are its bends, and stretched they would be outliers and not a field.

    Parameters
    ----------
    covariance : ndarray, shape (n, n)
        What there is.
    wanted : ndarray, shape (n, n)
        What it shall become.

    Returns
    -------
    ndarray, shape (n, n)
        The map.
    """
    values, vectors = np.linalg.eigh(covariance)
    kept = values > NEGLIGIBLE * np.einsum("ik,ij,jk->k", vectors, wanted, vectors, optimize=True)
    basis, size = vectors[:, kept], np.sqrt(values[kept])
    middle = size[:, None] * (basis.T @ wanted @ basis) * size
    inner, turn = np.linalg.eigh(middle)
    root = (turn * np.sqrt(np.maximum(inner, 0.0))) @ turn.T
    others = vectors[:, ~kept]
    return basis @ (root / size[:, None] / size) @ basis.T + others @ others.T


def cured(
    exact: ExactPrior, settings: BetaVaeSettings, weights: Weights, rng: np.random.Generator
) -> tuple[Weights, dict[str, Any]]:
    """Cure the prior hole of a trained autoencoder.

    Parameters
    ----------
    exact : ExactPrior
        What it was trained on.
    settings : BetaVaeSettings
        Which cure.
    weights : mapping
        All its weights.
    rng : numpy.random.Generator
        Randomness of the fields that are encoded.

    Returns
    -------
    weights : dict
        Those that decode.
    record : dict
        The cure and relative Frobenius errors of the covariance against the mixture before and after it.
    """
    kept = {name: weights[name] for name in settings.shapes(exact.n)}
    wanted = imitated(exact).covariance()
    errors = {"none": frobenius(decoded_moments(kept)[1], wanted)}
    if settings.cure != "none":
        mean, covariance = aggregate_posterior(exact, weights, rng)
        try:
            root = np.linalg.cholesky(covariance)
        except np.linalg.LinAlgError as error:
            raise ModelProblem(
                "The latent variables of the trained network have no proper covariance. Train it longer, or with "
                "another beta."
            ) from error
        kept["hidden_bias"] = kept["hidden_bias"] + mean @ kept["hidden_weight"]
        kept["hidden_weight"] = root.T @ kept["hidden_weight"]
        errors["aggregate"] = frobenius(decoded_moments(kept)[1], wanted)
    if settings.cure == "close":
        centre, covariance = decoded_moments(kept)
        across = nearest_map(covariance, wanted)
        kept["output_weight"] = kept["output_weight"] @ across
        kept["output_bias"] = (kept["output_bias"] - centre) @ across
        errors["close"] = frobenius(decoded_moments(kept)[1], wanted)
    return kept, {"cure": settings.cure, "covariance_errors": errors}


def frobenius(covariance: Vector, wanted: Vector) -> float:
    """Norm of the difference over the norm of what is wanted."""
    return float(np.linalg.norm(covariance - wanted) / np.linalg.norm(wanted))


def elu(x: Vector) -> Vector:
    """Exponential linear unit: x above zero, exp(x) - 1 below."""
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0.0)))
