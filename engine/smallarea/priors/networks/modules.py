"""The dense networks as torch functions of their weights: where training starts, and what it makes small.

Weights are dictionaries of arrays with matrices as (in, out), so that noise is always multiplied from the left, in
training as in decoding. A transposed matrix of a square network would go unnoticed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smallarea.errors import EngineUnavailable
from smallarea.priors.exact import ExactPrior
from smallarea.priors.networks.aggregate import cured, imitated
from smallarea.priors.networks.coordinate import coordinate, values_at
from smallarea.priors.networks.network_settings import BetaVaeSettings, DecoderSettings

if TYPE_CHECKING:
    from torch import Generator, Tensor

Vector = NDArray[np.float64]
Weights = dict[str, NDArray[Any]]

NUMBERS_AT_ONCE = 1_000_000
# Where hidden units start: ELU is linear above 0, and most fields stay there.
LINEAR = 1.0


def need_torch() -> Any:
    """Import PyTorch.

    Returns
    -------
    module
        ``torch``.

    Raises
    ------
    EngineUnavailable
        If it is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise EngineUnavailable(
            "Spatial priors are trained by PyTorch, which is not installed. Install it: pip install "
            '"smallarea[learned]"'
        ) from error
    return torch


@dataclass(frozen=True)
class VaeNetwork:
    """Variational autoencoder of one hidden layer on either side.

    Architecture and loss are those of Wang, Parker and Holan (2025, arXiv 2503.14710): the mean over draws of
    ``sum_i (x_i - xhat_i)^2 + beta KL``.

    Attributes
    ----------
    exact : ExactPrior
        What it learns.
    settings : BetaVaeSettings
        Its settings.
    """

    exact: ExactPrior
    settings: BetaVaeSettings

    optimiser = "Adamax"
    # Rounding of bfloat16 is small beside the noise that the encoder adds.
    mixed_precision = True

    def initial(self, rng: np.random.Generator) -> Weights:
        """Random orthogonal matrices, the decoder's those of the encoder transposed, in the linear range of ELU.

        Independent random matrices have small singular values, and directions that start small are never learned:
        their latent variables collapse. Orthogonal ones treat all directions alike (Saxe et al. 2014). Variances start
        at ``sigma^2 / lambda``, the posterior variance of probabilistic principal components (Tipping and Bishop 1999)
        for noise sigma^2 = beta / 2 and a direction of the field's mean variance lambda.
        """
        n = self.exact.n
        latent, width = self.settings.sizes(n)
        field = float(imitated(self.exact).entries()[:n].mean())
        inner, outer = _orthogonal(n, width, rng), _orthogonal(width, latent, rng)
        mean, hidden = outer / np.sqrt(field), outer.T * np.sqrt(field)
        return {
            "encoder_weight": inner,
            "encoder_bias": np.full(width, LINEAR),
            "mean_weight": mean,
            "mean_bias": -LINEAR * mean.sum(axis=0),
            "spread_weight": rng.uniform(-1.0, 1.0, (width, latent)) / width,
            "spread_bias": np.full(latent, np.log(min(1.0, 0.5 * self._beta / field))),
            "hidden_weight": hidden,
            "hidden_bias": np.full(width, LINEAR),
            "output_weight": inner.T,
            "output_bias": -LINEAR * inner.T.sum(axis=0),
        }

    @property
    def _beta(self) -> float:
        return self.settings.beta or 1.0 / self.settings.sizes(self.exact.n)[0]

    def fixed(self) -> Weights:
        """Weights that are not trained."""
        return {}

    def batch(self, values: Vector, rng: np.random.Generator) -> tuple[Vector, ...]:
        """Draw the fields of one set of hyperparameters, shape (m, n)."""
        return (self.exact.draws(values, rng),)

    def loss(self, weights: Mapping[str, Tensor], data: tuple[Tensor, ...], generator: Generator) -> Tensor:
        """Mean loss of a batch; the latent noise comes from the generator."""
        torch = need_torch()
        (x,) = data
        mean, log_variance = encode(weights, x)
        noise = torch.randn(mean.shape, generator=generator, device=mean.device)
        back = decode(weights, mean + torch.exp(0.5 * log_variance) * noise)
        divergence = 0.5 * (mean.square() + log_variance.exp() - log_variance - 1.0).float().sum(dim=1)
        return ((x - back).float().square().sum(dim=1) + self._beta * divergence).mean()

    def finish(self, weights: Weights, rng: np.random.Generator) -> tuple[Weights, dict[str, Any]]:
        """Cure the prior hole and keep what decodes; also return what the cure measured."""
        return cured(self.exact, self.settings, weights, rng)


def _orthogonal(rows: int, columns: int, rng: np.random.Generator) -> Vector:
    """Random matrix with orthonormal rows or columns, whichever are fewer."""
    basis = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))[0]
    return basis if rows >= columns else basis.T


def encode(weights: Mapping[str, Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and log variance of the latent variables given fields x (B, n), each of shape (B, J)."""
    elu = need_torch().nn.functional.elu
    hidden = elu(x @ weights["encoder_weight"] + weights["encoder_bias"])
    return (
        hidden @ weights["mean_weight"] + weights["mean_bias"],
        hidden @ weights["spread_weight"] + weights["spread_bias"],
    )


def decode(weights: Mapping[str, Tensor], z: Tensor) -> Tensor:
    """Fields of latent variables z (B, J), shape (B, n)."""
    elu = need_torch().nn.functional.elu
    hidden = elu(z @ weights["hidden_weight"] + weights["hidden_bias"])
    return hidden @ weights["output_weight"] + weights["output_bias"]


@dataclass(frozen=True)
class DecoderNetwork:
    """Supervised decoder ``f(z, v) = s(t) sum_r g_r(t) A_r z`` with polynomials g_r, log s of a coordinate t of v.

    The exact map from noise to field is linear, x = R(v) z, and analytic in v. So nothing nonlinear acts on z; what
    is learned is how the matrix moves with v. Idea of supervised pairs: DeepRV (arXiv 2503.21473).

    Attributes
    ----------
    exact : ExactPrior
        What it learns.
    settings : DecoderSettings
        Its settings.
    """

    exact: ExactPrior
    settings: DecoderSettings

    optimiser = "Adam"
    # Eight bits of bfloat16 are fewer than the accuracy that is asked for.
    mixed_precision = False

    @property
    def _conditional(self) -> bool:
        return bool(self.exact.family.hyperparameters)

    def initial(self, rng: np.random.Generator) -> Weights:
        """Best separable approximation of the exact roots, or random matrices of the right size."""
        n, latent = self.exact.n, self.exact.latent_size
        terms, coefficients = self.settings.polynomial(self._conditional)
        if self.settings.start == "random":
            mixing = np.zeros((coefficients, terms))
            mixing[:terms] = np.eye(terms)
            return {"matrices": rng.standard_normal((terms, latent, n)) / latent, "mixing": mixing}
        roots = self._roots(coefficients)
        roots /= np.exp(self._log_scales(coefficients)).astype(np.float32)[:, None, None]
        return _separable(roots, terms)

    def fixed(self) -> Weights:
        """Chebyshev coefficients of the logarithm of the mean scale of the field."""
        _, coefficients = self.settings.polynomial(self._conditional)
        return {"scale": _to_coefficients(coefficients) @ self._log_scales(coefficients)}

    def _values(self, coefficients: int) -> Vector:
        return values_at(self.exact.family, _nodes(coefficients))

    def _roots(self, coefficients: int) -> NDArray[np.float32]:
        """Transposed roots at the Chebyshev nodes, shape (D + 1, latent, n), in single precision to save room."""
        identity = np.eye(self.exact.latent_size)
        values = self._values(coefficients)
        out = np.empty((coefficients, self.exact.latent_size, self.exact.n), dtype=np.float32)
        for k, value in enumerate(values):
            out[k] = self.exact.root(np.broadcast_to(value, (len(identity), values.shape[1])), identity)
        return out

    def _log_scales(self, coefficients: int) -> Vector:
        """Half the logarithm of the mean variance at the Chebyshev nodes."""
        variances = [self.exact.entries(value)[: self.exact.n].mean() for value in self._values(coefficients)]
        return 0.5 * np.log(np.array(variances))

    def batch(self, values: Vector, rng: np.random.Generator) -> tuple[Vector, ...]:
        """Pairs at one set of hyperparameters: noise (m, latent), field (m, n) and coordinate (m,)."""
        z = rng.standard_normal((len(values), self.exact.latent_size))
        return z, self.exact.root(values, z), coordinate(self.exact.family, values, np)

    def loss(
        self,
        weights: Mapping[str, Tensor],
        data: tuple[Tensor, ...],
        generator: Generator,  # noqa: ARG002
    ) -> Tensor:
        """Mean squared error of a batch, each field in units of its scale."""
        torch = need_torch()
        z, x, t = data
        basis = chebyshev(torch, t, len(weights["mixing"]))
        mixed = (basis @ weights["mixing"])[:, :, None] * z[:, None, :]
        matrices = weights["matrices"]
        unit = mixed.flatten(1) @ matrices.reshape(-1, matrices.shape[2])
        return (unit - x * torch.exp(-(basis @ weights["scale"]))[:, None]).square().mean()

    def finish(self, weights: Weights, rng: np.random.Generator) -> tuple[Weights, dict[str, Any]]:  # noqa: ARG002
        """Everything that was trained decodes."""
        return weights, {}


def chebyshev(library: Any, t: Any, size: int) -> Any:
    """Chebyshev polynomials T_0 to T_{size - 1} at t, shape (*t.shape, size), in NumPy, torch or JAX."""
    parts = [library.ones_like(t), t]
    for _ in range(size - 2):
        parts.append(2.0 * t * parts[-1] - parts[-2])
    return library.stack(parts[:size], -1)


def _nodes(size: int) -> Vector:
    """Chebyshev nodes of the first kind in (-1, 1)."""
    return np.cos(np.pi * (np.arange(size) + 0.5) / size)


def _to_coefficients(size: int) -> Vector:
    """Matrix that turns values at the nodes into Chebyshev coefficients."""
    basis = chebyshev(np, _nodes(size), size)
    return basis.T * np.where(np.arange(size) == 0, 1.0, 2.0)[:, None] / size


def _separable(roots: NDArray[np.float32], terms: int) -> Weights:
    """Best approximation of matrices at the nodes by so many, in the Frobenius norm summed over the nodes.

    This is the singular value decomposition of the table that has one matrix a row (Eckart and Young 1936), from the
    small Gram matrix of its rows.
    """
    rows = roots.reshape(len(roots), -1)
    gram = np.zeros((len(rows), len(rows)))
    for start in range(0, rows.shape[1], NUMBERS_AT_ONCE):
        # Small singular values are lost in a Gram matrix of single precision.
        block = rows[:, start : start + NUMBERS_AT_ONCE].astype(float)
        gram += block @ block.T
    _, vectors = np.linalg.eigh(gram)
    leading = vectors[:, ::-1][:, :terms]
    # Adam moves every number by about the same, so matrices of one size each are what it steers best.
    matrices = np.tensordot(leading.T, roots, axes=1)
    sizes = np.sqrt(np.mean(matrices**2, axis=(1, 2))) * np.sqrt(roots.shape[1])
    sizes = np.maximum(sizes, np.finfo(np.float32).tiny)
    return {
        "matrices": matrices / sizes[:, None, None],
        "mixing": _to_coefficients(len(roots)) @ leading * sizes,
    }
