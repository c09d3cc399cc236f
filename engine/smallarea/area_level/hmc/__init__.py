"""Area-level models by Hamiltonian Monte Carlo: learned spatial priors, and counts and proportions.

The exact engine beside this room is the yardstick for normal data; what it cannot do is here: binomial, Poisson and
beta likelihoods, and spatial effects that are known only through a decoder.
"""

from smallarea.area_level.hmc.checked import beta_observations, binomial_observations, poisson_observations
from smallarea.area_level.hmc.diagnostics import Diagnostics
from smallarea.area_level.hmc.observations import LIKELIHOODS, Observations, normal_observations
from smallarea.area_level.hmc.posterior import HmcPosterior, sample_hmc
from smallarea.area_level.hmc.setting import FORMS, chosen_form

__all__ = [
    "FORMS",
    "LIKELIHOODS",
    "Diagnostics",
    "HmcPosterior",
    "Observations",
    "beta_observations",
    "binomial_observations",
    "chosen_form",
    "normal_observations",
    "poisson_observations",
    "sample_hmc",
]
