"""Draws of missing cells given observed ones, from a latent variable model with independent normal columns.

The chain is Metropolis within Gibbs on (z, missing cells), after Mattei and Frellsen (2018, "Leveraging the exact
likelihood of deep latent variable models", NeurIPS 31). The decoder defines the target; the encoder only proposes, so
that a poor one costs steps, not correctness. A sweep

1. draws missing cells given z, and observed cells that are known up to an interval within it;
2. proposes z from the encoder and accepts by Metropolis-Hastings;
3. proposes ``sqrt(1 - b^2) z + b e`` with e ~ N(0, I), a preconditioned Crank-Nicolson step (Cotter, Roberts, Stuart
   and White 2013, Statistical Science 28), with missing cells integrated out and b drawn anew from 0.05 to 1 on the
   logarithmic scale.

Such steps seldom cross from one mode to another, as from x to -x where y = x^2 is all that is known. So a chain begins
with rounds of iterated sampling and importance resampling (Andrieu, Lee and Vihola 2018, Bernoulli 24, 842-872): the
state is one of several candidates, the others come from far and wide (missing cells standard normal, z from the encoder
or from the prior), and one is chosen by the ratio of target and proposal. That leaves the target as it is, too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from smallarea.survey.imputation.network_table import NetworkTable
from smallarea.survey.imputation.networks import need_torch

if TYPE_CHECKING:
    from torch import Generator, Tensor

Matrix = NDArray[np.float64]

# Rows at once: what a sweep touches stays in the cache.
CHUNK = 16_384
SMALLEST_STEP = 0.05
# A chain ends after so many accepted proposals of the encoder, the mean over the rows of a chunk: each makes z new.
ENOUGH, FEWEST_SWEEPS = 8.0, 10
# Importance resampling at the start: new candidates in each round; rounds end when the mean row took one so often, and
# after so many in any case.
CANDIDATES, RENEWED, MOST_ROUNDS = 16, 4.0, 16


class LatentModel(Protocol):
    """What the sampler needs: a decoder that defines the model and an encoder that proposes."""

    @property
    def latent(self) -> int:
        """Latent dimensions d."""

    @property
    def needs_complete_rows(self) -> bool:
        """Whether the encoder looks at the values of missing cells."""

    def encode(self, x: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the proposal, shape (n, d)."""

    def decode(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the columns given z, shape (n, p)."""


@dataclass(frozen=True)
class ConditionalDraw:
    """One draw.

    Attributes
    ----------
    values : ndarray, shape (n, p)
        The table with missing cells drawn.
    acceptance : float
        Share of the encoder's proposals that were accepted; NaN without a missing cell.
    """

    values: Matrix
    acceptance: float


def draw_missing(
    model: LatentModel,
    table: NetworkTable,
    *,
    sweeps: int,
    rng: np.random.Generator,
    progress: Callable[[float, str], None] | None = None,
) -> ConditionalDraw:
    """Draw the missing cells of a table from their distribution given the observed ones.

    Parameters
    ----------
    model : LatentModel
        The model.
    table : NetworkTable
        Standardised values; cells that are NaN but not structural are drawn.
    sweeps : int
        Most steps of the chain; it ends earlier when the encoder's proposals were accepted often enough. Its last state
        is the draw.
    rng : numpy.random.Generator
        Source of randomness.
    progress : callable, optional
        Called with percent and text; may raise to cancel.

    Returns
    -------
    ConditionalDraw
        Observed cells as given, missing ones drawn, structural ones NaN.
    """
    torch = need_torch()
    rows = np.flatnonzero(table.missing.any(axis=1))
    drawn, accepted = table.values.copy(), 0.0
    generator = torch.Generator()
    generator.manual_seed(int(rng.integers(2**62)))
    with torch.no_grad():
        for start in range(0, len(rows), CHUNK):
            part = rows[start : start + CHUNK]
            own = table.rows(part)
            cells, share = _Chain(model, own, generator).run(sweeps)
            drawn[part] = np.where(own.missing, cells, own.values)
            accepted += share * len(part)
            if progress is not None:
                progress(100.0 * (start + len(part)) / len(rows), f"Drawing missing answers of {len(rows):,} rows")
    return ConditionalDraw(drawn, accepted / len(rows) if len(rows) else float("nan"))


class _Chain:
    """Chains of some rows, side by side."""

    def __init__(self, model: LatentModel, table: NetworkTable, generator: Generator) -> None:
        torch = need_torch()
        self.model, self.generator = model, generator
        self.values = torch.from_numpy(np.where(table.observed, table.values, 0.0).astype(np.float32))
        self.observed = torch.from_numpy(table.observed.astype(np.float32))
        self.missing = torch.from_numpy(table.missing)
        self.limits = _Limits(table, generator) if table.within.any() else None
        # What the target looks at: drawn cells too if the encoder sees them, else the observed ones alone.
        self.counted = self.observed + self.missing if model.needs_complete_rows else self.observed

    def run(self, sweeps: int) -> tuple[Matrix, float]:
        mean, log_variance = self.model.encode(self.values, self.observed)
        self.z = mean + (0.5 * log_variance).exp() * self._noise(mean)
        self.decoded = self.model.decode(self.z)
        renewed, rounds = 0.0, 0
        while renewed < RENEWED and rounds < MOST_ROUNDS:
            renewed += self._choose_among_many(self._cells())
            rounds += 1
        # Accepted proposals a row; categories are redrawn within their intervals, one more thing to be forgotten.
        enough = ENOUGH if self.limits is None else 2.0 * ENOUGH
        accepted, done = 0.0, 0
        while done < sweeps and (done < FEWEST_SWEEPS or accepted < enough):
            x = self._cells()
            accepted += self._propose_by_encoder(x)
            self._propose_nearby(x)
            done += 1
        return self._cells().double().numpy(), accepted / done

    def _noise(self, like: Tensor) -> Tensor:
        return need_torch().randn(like.shape, generator=self.generator)

    def _cells(self) -> Tensor:
        """Draw the missing cells given z, and those known up to an interval within it."""
        torch = need_torch()
        mean, log_variance = self.decoded
        sd = (0.5 * log_variance).exp()
        known = self.values if self.limits is None else self.limits.draw(self.values, mean, sd)
        return torch.where(self.missing, mean + sd * self._noise(mean), known)

    def _choose_among_many(self, x: Tensor) -> float:
        """Take one of the state and new candidates by their weights, and return how many rows took a new one.

        The largest of log weight + Gumbel noise is a draw in proportion to the weights.
        """
        torch = need_torch()
        renewed = torch.zeros(len(x), dtype=torch.bool)
        best = self._log_weight(x, self.z, self.decoded, self.model.encode(x, self.observed)) + self._gumbel(x)
        for _ in range(CANDIDATES):
            guess = torch.where(self.missing, self._noise(x), x)
            mean, log_variance = self.model.encode(guess, self.observed)
            by_encoder = torch.rand((len(x), 1), generator=self.generator) < 0.5
            noise = self._noise(mean)
            z = torch.where(by_encoder, mean + (0.5 * log_variance).exp() * noise, noise)
            decoded = self.model.decode(z)
            value = self._log_weight(guess, z, decoded, (mean, log_variance)) + self._gumbel(x)
            taken = (value > best)[:, None]
            best = torch.maximum(value, best)
            renewed |= taken[:, 0]
            self._take(taken, z, decoded)
        return float(renewed.float().mean())

    def _log_weight(
        self, x: Tensor, z: Tensor, decoded: tuple[Tensor, Tensor], encoded: tuple[Tensor, Tensor]
    ) -> Tensor:
        """Log of target over proposal, without their constants."""
        torch = need_torch()
        mean, log_variance = encoded
        prior = -0.5 * (z**2).sum(dim=1)
        encoder = -0.5 * ((z - mean) ** 2 * (-log_variance).exp() + log_variance).sum(dim=1)
        weight = _log_normal(x, decoded, self.counted) + prior - torch.logaddexp(prior, encoder)
        if self.model.needs_complete_rows:
            weight = weight + 0.5 * (x**2 * self.missing).sum(dim=1)
        return weight

    def _gumbel(self, like: Tensor) -> Tensor:
        torch = need_torch()
        uniform = torch.rand(len(like), generator=self.generator, dtype=torch.float64)
        return -torch.log(-torch.log(uniform.clamp(1e-300, 1.0 - 1e-16)))

    def _propose_by_encoder(self, x: Tensor) -> float:
        mean, log_variance = self.model.encode(x, self.observed)
        proposed = mean + (0.5 * log_variance).exp() * self._noise(mean)
        decoded = self.model.decode(proposed)
        gain = _log_normal(x, decoded, self.counted) - _log_normal(x, self.decoded, self.counted)
        gain += 0.5 * (self.z**2 - proposed**2).sum(dim=1)
        precision = (-log_variance).exp()
        gain += 0.5 * (((proposed - mean) ** 2 - (self.z - mean) ** 2) * precision).sum(dim=1)
        return self._accept(gain, proposed, decoded)

    def _propose_nearby(self, x: Tensor) -> None:
        torch = need_torch()
        uniform = torch.rand((len(x), 1), generator=self.generator)
        step = torch.exp(float(np.log(SMALLEST_STEP)) * uniform)
        proposed = (1.0 - step**2).sqrt() * self.z + step * self._noise(self.z)
        decoded = self.model.decode(proposed)
        gain = _log_normal(x, decoded, self.observed) - _log_normal(x, self.decoded, self.observed)
        self._accept(gain, proposed, decoded)

    def _accept(self, gain: Tensor, proposed: Tensor, decoded: tuple[Tensor, Tensor]) -> float:
        """Take proposals with probability min(1, exp(gain)), and return the share that was taken."""
        torch = need_torch()
        taken = (torch.rand(len(gain), generator=self.generator).log() < gain)[:, None]
        self._take(taken, proposed, decoded)
        return float(taken.float().mean())

    def _take(self, taken: Tensor, z: Tensor, decoded: tuple[Tensor, Tensor]) -> None:
        """Replace the state of some rows."""
        torch = need_torch()
        self.z = torch.where(taken, z, self.z)
        self.decoded = (
            torch.where(taken, decoded[0], self.decoded[0]),
            torch.where(taken, decoded[1], self.decoded[1]),
        )


class _Limits:
    """Cells within intervals, drawn by inversion of the normal distribution function."""

    def __init__(self, table: NetworkTable, generator: Generator) -> None:
        torch = need_torch()
        inside = table.within
        self.row, self.column = (torch.from_numpy(place) for place in np.nonzero(inside))
        self.lower, self.upper = (torch.from_numpy(limit[inside]) for limit in (table.lower, table.upper))
        self.generator = generator

    def draw(self, values: Tensor, mean: Tensor, sd: Tensor) -> Tensor:
        torch = need_torch()
        centre, scale = (part[self.row, self.column].double() for part in (mean, sd))
        low, high = (self.lower - centre) / scale, (self.upper - centre) / scale
        # In the upper tail the distribution function rounds to 1; there the mirror image is drawn.
        mirrored = low > 0.0
        low, high = torch.where(mirrored, -high, low), torch.where(mirrored, -low, high)
        below, above = torch.special.ndtr(low), torch.special.ndtr(high)
        uniform = torch.rand(low.shape, generator=self.generator, dtype=torch.float64)
        drawn = torch.special.ndtri(below + uniform * (above - below))
        # Where even the lower tail has no mass left, the limit that is nearer to the centre.
        drawn = torch.minimum(torch.maximum(drawn, low), high)
        drawn = torch.where(mirrored, -drawn, drawn)
        filled = values.clone()
        filled[self.row, self.column] = (centre + scale * drawn).to(values.dtype)
        return filled


def _log_normal(x: Tensor, moments: tuple[Tensor, Tensor], counted: Tensor) -> Any:
    """Log density of the counted cells of each row, without its constant."""
    mean, log_variance = moments
    return -0.5 * (((x - mean) ** 2 * (-log_variance).exp() + log_variance) * counted).sum(dim=1)
