"""Pólya-Gamma variables that say about as much of a cluster as its counts do.

Every likelihood here is ``exp(k psi) / (1 + exp(psi))^b`` with psi = eta + offset, which given omega ~ PG(b, psi) is
that of a normal observation of psi, whatever k and b > 0 are (Polson, Scott and Windle 2013, theorem 1). With p =
expit(psi) omega is about b tanh(c / 2) / (2 c), c = logit p, and the counts say b p (1 - p). That is the same for p
near one half, but where p is small omega says 1 / (-2 p log p) times as much, which is what makes sweeps slow where
events are rare and where counts are nearly Poisson, whose p is mean / (mean + size).

So a sweep is run with another likelihood L* of that form, whose p is at least ``least`` at a point near which eta lies,
and whose first two derivatives there are those of L; it is accepted as a whole with probability L / L* after it over
L / L* before it. Since the sweep is reversible for L* the posterior is that of L. The third derivative of L*, -b p (1 -
p)(1 - 2 p), is right but for 2 ``least`` of it. The idea is that of Duan, Johndrow and Dunson (2018). The points, which
are means of eta, and ``least`` are tuned while a chain warms up and then stay.

References
----------
Duan, L. L., Johndrow, J. E. and Dunson, D. B. (2018). Scaling up data augmentation MCMC via calibration. JMLR 19.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from smallarea.unit_level.latent_moves import Counted
from smallarea.unit_level.polya_gamma import draw_polya_gamma

Vector = NDArray[np.float64]

# Blocks of the warm-up whose sweeps are those of L, before there is a point.
BLIND = 4
# The share of sweeps to accept, where ``least`` begins, and the most it can be: omega then says twice as much.
TARGET, FIRST, MOST = 0.7, 0.05, 0.1
# With a share below the first, the next block's sweeps are those of L, and then ``least`` is smaller by the second.
TOO_FEW, RETREAT = 0.25, 0.3
# Smallest b of L*: variables of a smaller one can vanish to the precision of numbers.
SMALLEST_B = 0.05


@dataclass(frozen=True)
class Augmented:
    """A likelihood ``exp(k psi) / (1 + exp(psi))^b``, psi = eta + offset; all (n,)."""

    k: Vector
    b: Vector
    offset: Vector

    def log_likelihood(self, eta: Vector) -> float:
        """Log likelihood of linear predictors (n,), up to a constant."""
        psi = eta + self.offset
        return float(np.sum(self.k * psi - self.b * np.logaddexp(0.0, psi)))

    def draw(self, eta: Vector, rng: np.random.Generator) -> tuple[Vector, Vector]:
        """Draw omega (n,) given linear predictors (n,), and return with it what is then observed of these."""
        omega = np.empty(len(eta))
        draw_polya_gamma(self.b, eta + self.offset, omega, rng)
        return omega, (self.k - 0.5 * self.b) / omega - self.offset

    def calibrated(self, at: Vector, least: float) -> Augmented:
        """Return L* with shares of ``least`` to 1 - ``least`` at linear predictors (n,)."""
        share = special.expit(at + self.offset)
        wanted = np.clip(share, least, 1.0 - least)
        b = self.b * share * (1.0 - share) / (wanted * (1.0 - wanted))
        b = np.maximum(b, np.minimum(self.b, SMALLEST_B))
        return Augmented(self.k - self.b * share + b * wanted, b, special.logit(wanted) - at)


def augmented(data: Counted) -> Augmented:
    """Likelihood of the data itself."""
    if data.size is None:
        return Augmented(data.counts, data.sizes, np.zeros(len(data.counts)))
    return Augmented(data.counts, data.counts + data.size, np.log(data.sizes) - np.log(data.size))


class Calibration:
    """Where and how far L* may differ from L.

    Parameters
    ----------
    n : int
        Clusters.

    Attributes
    ----------
    at : ndarray, shape (n,)
        Mean linear predictor so far, later sweeps counting more.
    least : ndarray, shape (1,)
        Smallest share of L* there. Below 0 as long as sweeps are those of L; less that is then where to begin.
    counts : ndarray of int, shape (2,)
        Sweeps proposed and accepted since the last look.
    """

    def __init__(self, n: int) -> None:
        self.at, self.least = np.zeros(n), np.full(1, -FIRST)
        self.counts = np.zeros(2, np.int64)
        self._sum = np.zeros(n)

    def begin(self) -> None:
        """Look anew."""
        self.counts[:], self._sum[:] = 0, 0.0

    def star(self, exact: Augmented) -> Augmented:
        """Return L* for L."""
        return exact.calibrated(self.at, float(self.least[0])) if self.least[0] > 0.0 else exact

    def count(self, eta: Vector, is_accepted: bool) -> None:
        """Take note of a sweep that ended with linear predictors (n,)."""
        self.counts += 1, is_accepted
        self._sum += eta

    def tune(self, blocks: int) -> None:
        """Tune after so many blocks of the warm-up, the last one included."""
        self.at += 2.0 / (1.0 + blocks) * (self._sum / self.counts[0] - self.at)
        if blocks < BLIND:
            return
        rate, least = self.counts[1] / self.counts[0], float(self.least[0])
        if least < 0.0 or rate < TOO_FEW:
            self.least[:] = -least if least < 0.0 else -RETREAT * least
            return
        self.least[:] = min(least * np.exp(3.0 / np.sqrt(1.0 + blocks) * (rate - TARGET)), MOST)
