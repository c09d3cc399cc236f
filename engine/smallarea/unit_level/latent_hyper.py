"""Standard deviations, range and size of counts given the trees, with field and variables of clusters integrated out.

One factorisation for each proposal, so there are few of them in a sweep: random walks of each standard deviation, and
jumps in the grid of ranges with which the standard deviation moves along the ridge that data leave (Zhang 2004), as in
:mod:`smallarea.unit_level.hyper_kernel`. The size of counts needs none.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from smallarea.unit_level.hyper_kernel import ERROR, FIELD
from smallarea.unit_level.latent_field import Factor, LatentField
from smallarea.unit_level.latent_moves import Counted, move_scale
from smallarea.unit_level.likelihoods import log_likelihoods
from smallarea.unit_level.pc_prior import PcPrior
from smallarea.unit_level.settings import BartsimpSettings
from smallarea.unit_level.tuning import WALK_TARGET, tune_steps

Vector = NDArray[np.float64]

# Rounds of proposals in a sweep.
TURNS = 2
# Proposals of the size of counts in a sweep; they cost as good as nothing.
SIZE_WALKS = 3
# sigma_e of counts is at least this: sizes above a million are those of Poisson counts to the precision of numbers.
SMALLEST = 1e-3


class LatentHyper:
    """State of the hyperparameters and how they are proposed.

    Parameters
    ----------
    settings : BartsimpSettings
        Likelihood and priors.
    prior : PcPrior
        Of range and standard deviation of the field.
    field : LatentField
        The field.
    rng : numpy.random.Generator
        For the start, at a random place of the prior's middle, so that chains start apart.

    Attributes
    ----------
    logs : ndarray, shape (2,)
        Log sigma_e, log sigma_m.
    at : ndarray of int, shape (1,)
        Position of the range.
    steps : ndarray, shape (4,)
        See :func:`smallarea.unit_level.tuning.tune_steps`.
    counts : ndarray of int, shape (3, 2)
        Proposals made and accepted since the last look.
    stretches, stretched : ndarray, shape (2,) and (2, 2)
        The same two for moves that stretch normal variables and field with their standard deviations.
    """

    def __init__(
        self, settings: BartsimpSettings, prior: PcPrior, field: LatentField, rng: np.random.Generator
    ) -> None:
        self._field, self._prior = field, prior
        self._is_binomial = settings.likelihood == "binomial"
        self._turns = settings.range_moves or TURNS
        self._error_rate = settings.own_rate
        quantiles = rng.uniform(0.2, 0.8, 3)
        wanted = prior.range_quantile(quantiles[1])
        self.logs = np.zeros(2)
        self.logs[FIELD] = np.log(prior.sd_quantile(quantiles[0]))
        self.logs[ERROR] = np.log(max(-np.log1p(-quantiles[2]) / self._error_rate, SMALLEST))
        self.at = np.array([np.argmin(np.abs(np.log(field.ranges / wanted)))])
        self.steps = np.array([0.3, 0.4, max(1.0, len(field.ranges) / 8.0), 0.5])
        self.counts = np.zeros((3, 2), np.int64)
        self.stretches, self.stretched = np.full(2, 0.3), np.zeros((2, 2), np.int64)

    @property
    def sigma_e(self) -> float:
        """How clusters differ: see :mod:`smallarea.unit_level.likelihoods`."""
        return float(np.exp(self.logs[ERROR]))

    @property
    def size(self) -> float | None:
        """Size r of negative binomial counts; None of binomial ones."""
        return None if self._is_binomial else self.sigma_e**-2.0

    def factor(self, variances: Vector) -> Factor:
        """Factor at the present state; ``variances`` (n,) are those of the pseudo-data, 1 / omega."""
        return self._factor(self.logs, int(self.at[0]), variances)

    def _factor(self, logs: Vector, g: int, variances: Vector) -> Factor:
        own = np.exp(2.0 * logs[ERROR]) if self._is_binomial else 0.0
        return self._field.factor(g, float(np.exp(logs[FIELD])), variances + own)

    def _log_prior(self, logs: Vector, g: int) -> float:
        """Of the logs and log range, as far as this state has them."""
        total = 0.0
        if self._is_binomial:
            total += logs[ERROR] - self._error_rate * np.exp(logs[ERROR])
        if self._field.has_field:
            total += logs[FIELD] - self._prior.sd_rate * np.exp(logs[FIELD]) + self._field.log_weights[g]
        return float(total)

    def update(
        self, factor: Factor, residual: Vector, variances: Vector, rng: np.random.Generator, *, back: bool
    ) -> Factor:
        """Propose standard deviations and ranges given the residuals (n,) of the trees.

        Parameters
        ----------
        factor : Factor
            At the present state.
        residual, variances : ndarray, shape (n,)
            Pseudo-data less trees, and 1 / omega.
        rng : numpy.random.Generator
            Source of randomness.
        back : bool
            In the opposite order.

        Returns
        -------
        Factor
            At the state afterwards.
        """
        current = factor.log_density(residual) + self._log_prior(self.logs, int(self.at[0]))
        kinds = [ERROR] if self._is_binomial else []
        if self._field.has_field:
            kinds += [FIELD, 2]
        kinds *= self._turns
        for kind in reversed(kinds) if back else kinds:
            logs, g = self._proposal(kind, rng)
            level = np.log(rng.random())
            self.counts[kind, 0] += 1
            if not 0 <= g < len(self._field.ranges):
                continue
            proposed = self._factor(logs, g, variances)
            density = proposed.log_density(residual) + self._log_prior(logs, g)
            if level < density - current:
                self.counts[kind, 1] += 1
                self.logs[:], self.at[0] = logs, g
                factor, current = proposed, density
        return factor

    def _proposal(self, kind: int, rng: np.random.Generator) -> tuple[Vector, int]:
        """Move one log standard deviation, or (``kind`` 2) the range and the field's with it; may leave the grid."""
        logs, g = self.logs.copy(), int(self.at[0])
        if kind != 2:
            logs[kind] += self.steps[kind] * rng.standard_normal()
            return logs, g
        reach = max(1, int(self.steps[2]))
        step = int(rng.integers(2 * reach)) - reach
        new = g + (step if step < 0 else step + 1)
        if 0 <= new < len(self._field.ranges):
            logs[FIELD] += self.steps[3] * np.log(self._field.ranges[new] / self._field.ranges[g])
        return logs, new

    def draw_own(self, residual: Vector, omega: Vector, rng: np.random.Generator) -> Vector:
        """Draw the clusters' normal variables (n,) given pseudo-data less trees and field; 0 where there are none."""
        if not self._is_binomial:
            return np.zeros(len(residual))
        variance = 1.0 / (np.exp(-2.0 * self.logs[ERROR]) + omega)
        return variance * omega * residual + np.sqrt(variance) * rng.standard_normal(len(residual))

    def update_size(self, counts: Vector, exposures: Vector, eta: Vector, rng: np.random.Generator) -> None:
        """Propose the size of negative binomial counts (n,) given linear predictors (n,), omega integrated out."""

        def log_density(log_sigma: float) -> float:
            sigma = np.exp(log_sigma)
            each = log_likelihoods(counts, exposures, eta, sigma**-2.0)
            return float(each.sum()) + log_sigma - self._error_rate * sigma

        current = log_density(self.logs[ERROR])
        for _ in range(SIZE_WALKS):
            new = self.logs[ERROR] + self.steps[ERROR] * rng.standard_normal()
            level = np.log(rng.random())
            self.counts[ERROR, 0] += 1
            if new < np.log(SMALLEST):
                continue
            proposed = log_density(new)
            if level < proposed - current:
                self.counts[ERROR, 1] += 1
                self.logs[ERROR], current = new, proposed

    def stretch(self, kind: int, data: Counted, base: Vector, part: Vector, rng: np.random.Generator) -> float:
        """Propose sd ``kind`` with the part (n,) of the predictor that has it; return by what that is stretched."""
        before = float(self.logs[kind])
        rate = self._error_rate if kind == ERROR else self._prior.sd_rate
        after = move_scale(data, base, part, before, rate, float(self.stretches[kind]), rng)
        self.stretched[kind] += 1, after != before
        self.logs[kind] = after
        return float(np.exp(after - before))

    def begin(self) -> None:
        """Count proposals anew."""
        self.counts[:], self.stretched[:] = 0, 0

    def tune(self, hypers: list[Vector]) -> None:
        """Tune the proposals after a block of the warm-up."""
        rates = self.stretched[:, 1] / np.maximum(self.stretched[:, 0], 1)
        self.stretches *= np.exp(3.0 / np.sqrt(1.0 + len(hypers)) * (rates - WALK_TARGET) * (self.stretched[:, 0] > 0))
        tune_steps(self.steps, self.counts, hypers, np.log(self._field.ranges))
