"""The imputing networks as torch functions of their weights.

A network is a Gaussian latent variable model: ``z ~ N(0, I)``, ``x_j | z ~ N(m_j(z), v_j(z))`` independently over the
columns j. Its encoder ``q(z | x)`` serves training and, later, the proposals of the sampler; only the decoder says what
the model is.

Weights are dictionaries of tensors with matrices as (in, out).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from smallarea.errors import EngineUnavailable
from smallarea.survey.imputation.network_settings import NetworkSettings

if TYPE_CHECKING:
    from torch import Generator, Tensor

    Weights = dict[str, Tensor]
    Moments = tuple[Tensor, Tensor]

# Log variances of the decoder stay within this of 0: columns are standardised, and a column that takes few values
# would otherwise draw its variance to zero and the loss to minus infinity.
LOG_VARIANCE_LIMIT = 5.0
_LOG_2PI = float(np.log(2.0 * np.pi))


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
            "Imputation by a network needs PyTorch, which is not installed. Install it: pip install "
            '"smallarea[learned]", or choose the method mvn.'
        ) from error
    return torch


@dataclass(frozen=True)
class NumericNetwork:
    """One hidden layer of rectified units on either side.

    12-64-8 and 8-64-12 in the study that it is taken from; the encoder needs complete rows.

    Attributes
    ----------
    columns : int
        Columns of the table.
    settings : NetworkSettings
        Settings.
    """

    columns: int
    settings: NetworkSettings

    # Whether the encoder looks at the values of missing cells, and so must be given some.
    needs_complete_rows = True

    @property
    def latent(self) -> int:
        """Latent dimensions."""
        return self.settings.latent or max(8, -(-2 * self.columns // 3))

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of all weights, by name."""
        p, d, h = self.columns, self.latent, self.settings.hidden
        return {
            **_layer("encoder_hidden", p, h),
            **_layer("encoder_out", h, 2 * d),
            **_layer("decoder_hidden", d, h),
            **_layer("decoder_out", h, 2 * p),
        }

    def initial(self, generator: Generator) -> Weights:
        """Random start: uniform within one over the root of the number of inputs, PyTorch's rule."""
        torch = need_torch()
        weights: Weights = {}
        inputs = 1
        for name, shape in self.shapes().items():
            # Biases come after their matrices and have their inputs.
            inputs = shape[0] if len(shape) == 2 else inputs
            weights[name] = (2.0 * torch.rand(shape, generator=generator) - 1.0) / float(np.sqrt(inputs))
        return weights

    def encode(self, weights: Weights, x: Tensor, observed: Tensor, generator: Generator | None = None) -> Moments:
        """Mean and log variance of ``q(z | x)``.

        Parameters
        ----------
        weights : dict of str to Tensor
            Weights.
        x, observed : Tensor, shape (n, p)
            Values, and 1 where they are observed, 0 where not.
        generator : torch.Generator, optional
            Source of dropout; without one there is none.

        Returns
        -------
        mean, log_variance : Tensor, shape (n, d)
            Moments.
        """
        del observed, generator  # this encoder takes all cells as they are, and has no dropout
        hidden = _apply(weights, "encoder_hidden", x).relu()
        mean, log_variance = _apply(weights, "encoder_out", hidden).chunk(2, dim=1)
        return mean, log_variance

    def decode(self, weights: Weights, z: Tensor) -> Moments:
        """Mean and log variance of the columns given z, both of shape (n, p)."""
        return _bounded(_apply(weights, "decoder_out", _apply(weights, "decoder_hidden", z).relu()))

    def reconstruction(self, x: Tensor, observed: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
        """Negative log density of the observed cells of each row: their sum, shape (n,).

        The sum, not the mean: the Kullback-Leibler term beside it is a sum over latent dimensions, and a row
        with twice as many answers says twice as much about z.
        """
        cells = 0.5 * ((x - mean) ** 2 * (-log_variance).exp() + log_variance + _LOG_2PI)
        return (cells * observed).sum(dim=1)

    def loss(
        self, weights: Weights, x: Tensor, observed: Tensor, noise: Tensor, generator: Generator | None = None
    ) -> Tensor:
        """Negative evidence lower bound, the mean over rows.

        Parameters
        ----------
        weights, x, observed, generator
            See :meth:`encode`.
        noise : Tensor, shape (n, d)
            Standard normal draws.

        Returns
        -------
        Tensor, shape ()
            The loss in nats a row.
        """
        mean, log_variance = self.encode(weights, x, observed, generator)
        z = mean + (0.5 * log_variance).exp() * noise
        divergence = 0.5 * (mean**2 + log_variance.exp() - log_variance - 1.0).sum(dim=1)
        return (self.reconstruction(x, observed, *self.decode(weights, z)) + divergence).mean()


@dataclass(frozen=True)
class MaskAwareNetwork(NumericNetwork):
    """A network whose encoder takes incomplete rows.

    Missing cells get a fill value that is learned for each column, and the pattern of missing cells goes through a
    small network of its own, whose output is added to the hidden layer.
    """

    needs_complete_rows = False

    @property
    def latent(self) -> int:
        """Latent dimensions."""
        return self.settings.latent or max(12, self.columns)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of all weights, by name."""
        h = self.settings.hidden
        mask = {**_layer("mask_hidden", self.columns, h), **_layer("mask_out", h, h)}
        return {**super().shapes(), **mask, "fill": (self.columns,)}

    def initial(self, generator: Generator) -> Weights:
        """Random start; fill values begin at the column means."""
        weights = super().initial(generator)
        return weights | {"fill": need_torch().zeros(self.columns)}

    def encode(self, weights: Weights, x: Tensor, observed: Tensor, generator: Generator | None = None) -> Moments:
        """Mean and log variance of ``q(z | observed cells)``; values of missing cells have no say."""
        silu = need_torch().nn.functional.silu
        filled = x * observed + weights["fill"] * (1.0 - observed)
        answers = _dropped(silu(_apply(weights, "encoder_hidden", filled)), self.settings.dropout, generator)
        pattern = _apply(weights, "mask_out", silu(_apply(weights, "mask_hidden", observed)))
        mean, log_variance = _apply(weights, "encoder_out", answers + pattern).chunk(2, dim=1)
        return mean, log_variance

    def decode(self, weights: Weights, z: Tensor) -> Moments:
        """Mean and log variance of the columns given z, both of shape (n, p)."""
        silu = need_torch().nn.functional.silu
        return _bounded(_apply(weights, "decoder_out", silu(_apply(weights, "decoder_hidden", z))))


def _layer(name: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}_weight": (inputs, outputs), f"{name}_bias": (outputs,)}


def _apply(weights: Weights, layer: str, x: Tensor) -> Tensor:
    return x @ weights[f"{layer}_weight"] + weights[f"{layer}_bias"]


def _bounded(out: Tensor) -> Moments:
    mean, log_variance = out.chunk(2, dim=1)
    return mean, log_variance.clamp(-LOG_VARIANCE_LIMIT, LOG_VARIANCE_LIMIT)


def _dropped(hidden: Tensor, share: float, generator: Generator | None) -> Tensor:
    """Leave out a share of the units and scale the others up; nothing without a generator."""
    if generator is None or share == 0.0:
        return hidden
    kept = need_torch().rand(hidden.shape, generator=generator) >= share
    return hidden * kept / (1.0 - share)
