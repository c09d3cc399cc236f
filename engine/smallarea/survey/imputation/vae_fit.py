"""Networks fitted to a table with missing cells: training rows, bootstrap copies, draws, moments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smallarea.errors import ModelProblem
from smallarea.survey.imputation.fit_quality import as_correlation
from smallarea.survey.imputation.latent_sampling import ConditionalDraw, Intervals, draw_missing
from smallarea.survey.imputation.network_moments import generated_moments
from smallarea.survey.imputation.network_settings import NetworkSettings
from smallarea.survey.imputation.network_training import FEWEST_ROWS, TrainedNetwork, train_network
from smallarea.survey.imputation.networks import MaskAwareNetwork, NumericNetwork

Matrix = NDArray[np.float64]
Mask = NDArray[np.bool_]
Progress = Callable[[float, str], None]

NETWORK_METHODS = ("vae", "vae-masked", "vae-mean")


@dataclass(frozen=True)
class FittedNetworks:
    """One or several networks and the table that they complete.

    Attributes
    ----------
    trained : tuple of TrainedNetwork
        The networks; every draw takes one at random.
    values : ndarray, shape (n, p)
        Standardised values, NaN where missing.
    intervals : Intervals or None
        Limits of cells that are categories.
    sweeps : int
        Length of the Markov chain of a draw.
    seed : int
        Seed of the simulated moments.
    record : dict
        How training went, JSON types.
    """

    trained: tuple[TrainedNetwork, ...]
    values: Matrix
    intervals: Intervals | None
    sweeps: int
    seed: int
    record: Mapping[str, Any] = field(default_factory=dict)

    def draw(self, rng: np.random.Generator) -> Matrix:
        """Draw one completed table, shape (n, p)."""
        return self.draw_with_acceptance(rng).values

    def draw_with_acceptance(self, rng: np.random.Generator) -> ConditionalDraw:
        """Draw one completed table, with the share of proposals that the chain accepted."""
        chosen = self.trained[int(rng.integers(len(self.trained)))]
        observed = ~np.isnan(self.values)
        return draw_missing(chosen, self.values, observed, sweeps=self.sweeps, rng=rng, intervals=self.intervals)

    def covariance(self) -> Matrix:
        """Covariances of the columns that the networks generate, on the standardised scale."""
        return np.asarray(
            np.mean([generated_moments(one, seed=self.seed)[1] for one in self.trained], axis=0), dtype=float
        )

    def correlation(self) -> Matrix:
        """Correlations of the columns that the networks generate."""
        return as_correlation(self.covariance())


def fit_networks(
    method: str,
    values: Matrix,
    settings: NetworkSettings,
    *,
    seed: int,
    intervals: Intervals | None = None,
    network: NumericNetwork | None = None,
    progress: Progress | None = None,
) -> FittedNetworks:
    """Train what a method says.

    Parameters
    ----------
    method : {'vae', 'vae-masked', 'vae-mean'}
        Which rows and cells the network learns from.
    values : ndarray, shape (n, p)
        Standardised values, NaN where missing.
    settings : NetworkSettings
        Settings.
    seed : int
        Seed.
    intervals : Intervals, optional
        Limits of cells that are categories.
    network : NumericNetwork, optional
        Another network than the method's own.
    progress : callable, optional
        Called with percent and text; may raise to cancel.

    Returns
    -------
    FittedNetworks
        The networks, ready to draw.

    Raises
    ------
    ModelProblem
        If there are too few rows to learn from.
    EngineUnavailable
        If PyTorch is not installed.
    """
    if network is None:
        make = MaskAwareNetwork if method == "vae-masked" else NumericNetwork
        network = make(values.shape[1], settings)
    x, counted = _training_table(method, values)
    rng = np.random.default_rng(seed)
    trained = []
    for k in range(settings.networks):
        rows = np.arange(len(x)) if settings.networks == 1 else rng.integers(len(x), size=len(x))
        own = int(rng.integers(2**62))
        report = None if progress is None else _part_of(progress, k, settings.networks)
        trained.append(train_network(network, x[rows], counted[rows], seed=own, progress=report))
    record = {"method": method, "training_rows": len(x), "networks": [one.record for one in trained]}
    return FittedNetworks(tuple(trained), values, intervals, settings.sweeps, seed, record)


def _training_table(method: str, values: Matrix) -> tuple[Matrix, Mask]:
    """Rows that a method learns from, and which of their cells count."""
    observed = ~np.isnan(values)
    if method == "vae-masked":
        kept = observed.any(axis=1)
        return values[kept], observed[kept]
    if method == "vae-mean":
        mean = np.nanmean(values, axis=0)
        return np.where(observed, values, mean), np.ones_like(observed)
    complete = observed.all(axis=1)
    if int(complete.sum()) < FEWEST_ROWS:
        raise ModelProblem(
            f"The method vae learns from complete rows, and only {int(complete.sum())} of {len(values)} rows are "
            f"complete; it needs {FEWEST_ROWS}. Take vae-masked, which learns from all rows, or fewer variables."
        )
    return values[complete], observed[complete]


def _part_of(progress: Progress, k: int, n: int) -> Progress:
    """Report the k-th of n parts as a share of the whole."""
    return lambda percent, text: progress((100.0 * k + percent) / n, text)
