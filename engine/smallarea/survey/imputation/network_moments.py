"""What a network stands for: means and covariances of the tables that it generates from its prior.

Generated, not reconstructed: a network whose latent space has collapsed, or whose encoder fills only part of the
prior, may reconstruct a table well and still say something else about the population.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from smallarea.survey.imputation.networks import need_torch

if TYPE_CHECKING:
    from smallarea.survey.imputation.latent_sampling import LatentModel

Matrix = NDArray[np.float64]

DRAWS = 200_000
_AT_ONCE = 20_000


def generated_moments(model: LatentModel, *, seed: int, draws: int = DRAWS) -> tuple[Matrix, Matrix]:
    """Mean and covariance of ``x`` under ``z ~ N(0, I)``, ``x | z ~ N(m(z), diag v(z))``.

    ``Cov(x) = Cov(m(z)) + diag E v(z)``: the columns' own noise is added by its expectation, so that only m is
    simulated. The Monte Carlo error of a correlation is below one over the root of the number of draws, 0.0022.

    Parameters
    ----------
    model : LatentModel
        The model.
    seed : int
        Seed of the draws of z.
    draws : int
        How many.

    Returns
    -------
    mean : ndarray, shape (p,)
        Means.
    covariance : ndarray, shape (p, p)
        Covariances.
    """
    torch = need_torch()
    generator = torch.Generator()
    generator.manual_seed(int(np.random.default_rng(seed).integers(2**62)))
    first: Matrix | float = 0.0
    second: Matrix | float = 0.0
    own: Matrix | float = 0.0
    done = 0
    with torch.no_grad():
        while done < draws:
            n = min(_AT_ONCE, draws - done)
            mean, log_variance = model.decode(torch.randn((n, model.latent), generator=generator))
            centre = mean.double().numpy()
            first = first + centre.sum(axis=0)
            second = second + centre.T @ centre
            own = own + log_variance.double().exp().sum(dim=0).numpy()
            done += n
    average = np.asarray(first) / draws
    return average, np.asarray(second) / draws - np.outer(average, average) + np.diag(np.asarray(own) / draws)
