"""Imputation by variational autoencoders, three ways: from complete rows, mask-aware, and after mean imputation.

All draw missing answers from their distribution given the observed ones under the decoder
(:mod:`smallarea.survey.imputation.latent_sampling`); none takes a reconstruction for a draw.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from smallarea.survey.imputation.encoded import EncodedTable
from smallarea.survey.imputation.network_settings import NetworkSettings
from smallarea.survey.imputation.network_table import network_table
from smallarea.survey.imputation.vae_fit import FittedNetworks, fit_networks

Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Vae(NetworkSettings):
    """Autoencoder of one hidden layer, trained on the rows without a missing answer.

    Right where answers are missing completely at random; rows that are incomplete teach it nothing.
    """

    method: ClassVar[str] = "vae"

    def fit(self, encoded: EncodedTable, *, seed: int, progress: Progress | None = None) -> FittedNetworks:
        """Train the networks.

        Parameters
        ----------
        encoded : EncodedTable
            The answers; covariates and area effects enter as further columns.
        seed : int
            Of all randomness.
        progress : callable, optional
            Called with a percentage and a text.

        Returns
        -------
        FittedNetworks
            The networks, ready to draw.

        Raises
        ------
        ModelProblem
            If there are fewer than 50 rows to learn from.
        EngineUnavailable
            If PyTorch is not installed.
        """
        return fit_networks(
            self.method, network_table(encoded), self, seed=seed, answers=encoded.shape[1], progress=progress
        )


@dataclass(frozen=True)
class MaskedVae(Vae):
    """Autoencoder whose encoder knows which answers are missing, trained on all rows.

    Right where answers are missing at random: its likelihood is that of the observed answers.
    """

    method: ClassVar[str] = "vae-masked"


@dataclass(frozen=True)
class MeanVae(Vae):
    """Autoencoder of one hidden layer, trained on all rows with missing answers replaced by the column's mean.

    Kept because it is common, not because it is right: filled-in means pull correlations towards 0 and variances down.
    """

    method: ClassVar[str] = "vae-mean"
