"""How a run of NUTS went."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Diagnostics:
    """How the chains went.

    Attributes
    ----------
    r_hat, ess : mapping of str to float
        Of each hyperparameter that is not fixed.
    theta_r_hat_max, theta_ess_min : float
        The worst of all cells' quantities of interest.
    divergences : int
        Steps after the warm-up at which the integrator lost its way; they point to a biased sample.
    depth_hits : int
        Steps cut short at the largest tree depth; they cost efficiency, not correctness.
    leapfrogs : float
        Mean number of gradients of a step.
    """

    r_hat: dict[str, float]
    ess: dict[str, float]
    theta_r_hat_max: float
    theta_ess_min: float
    divergences: int
    depth_hits: int
    leapfrogs: float

    @property
    def ess_min(self) -> float:
        """Smallest effective sample size of hyperparameters and areas."""
        return min([*self.ess.values(), self.theta_ess_min])

    @property
    def r_hat_max(self) -> float:
        """Largest R-hat of hyperparameters and areas."""
        return max([*self.r_hat.values(), self.theta_r_hat_max])
