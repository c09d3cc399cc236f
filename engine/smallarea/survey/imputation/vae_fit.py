"""Networks fitted to a table with missing cells: training rows, bootstrap copies, draws, moments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smallarea.errors import ModelProblem
from smallarea.survey.imputation.fit_quality import as_correlation
from smallarea.survey.imputation.latent_sampling import ConditionalDraw, draw_missing
from smallarea.survey.imputation.method import Sampler
from smallarea.survey.imputation.network_moments import generated_moments
from smallarea.survey.imputation.network_settings import NetworkSettings
from smallarea.survey.imputation.network_table import NetworkTable
from smallarea.survey.imputation.network_training import FEWEST_ROWS, TrainedNetwork, train_network
from smallarea.survey.imputation.networks import MaskAwareNetwork, NumericNetwork

Matrix = NDArray[np.float64]
Mask = NDArray[np.bool_]
Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class FittedNetworks:
    """One or several networks and the table that they complete.

    Attributes
    ----------
    trained : tuple of TrainedNetwork
        The networks; every draw takes one at random.
    table : NetworkTable
        The table, q columns.
    answers : int
        The first so many columns are answers, the others what is known of every row.
    sweeps : int
        Most steps of the Markov chain of a draw.
    seed : int
        Seed of the simulated moments.
    record : dict
        How training went, JSON types.
    """

    trained: tuple[TrainedNetwork, ...]
    table: NetworkTable
    answers: int
    sweeps: int
    seed: int
    record: dict[str, Any]

    def draw(self, rng: np.random.Generator) -> Matrix:
        """Draw one completed table, shape (n, p)."""
        return self.draw_with_acceptance(rng).values[:, : self.answers]

    def sampler(self, rng: np.random.Generator) -> Sampler:
        """Choose a network, and return what draws rows with it; see `smallarea.survey.imputation.method.Fitted`."""
        chosen = self._choose(rng)

        def draw(rows: NDArray[np.int64] | None) -> Matrix:
            table = self.table if rows is None else self.table.rows(rows)
            return draw_missing(chosen, table, sweeps=self.sweeps, rng=rng).values[:, : self.answers]

        return draw

    def draw_with_acceptance(self, rng: np.random.Generator) -> ConditionalDraw:
        """Draw one completed table of all columns, with the share of proposals that the chain accepted."""
        return draw_missing(self._choose(rng), self.table, sweeps=self.sweeps, rng=rng)

    def _choose(self, rng: np.random.Generator) -> TrainedNetwork:
        return self.trained[int(rng.integers(len(self.trained)))]

    def correlation(self) -> Matrix:
        """Correlations of the answers that the networks generate, shape (p, p)."""
        covariances = [generated_moments(one, seed=self.seed)[1] for one in self.trained]
        return as_correlation(np.mean(covariances, axis=0)[: self.answers, : self.answers])


def fit_networks(
    method: str,
    table: NetworkTable,
    settings: NetworkSettings,
    *,
    seed: int,
    answers: int | None = None,
    network: NumericNetwork | None = None,
    progress: Progress | None = None,
) -> FittedNetworks:
    """Train what a method says.

    Parameters
    ----------
    method : {'vae', 'vae-masked', 'vae-mean'}
        Which rows and cells the network learns from.
    table : NetworkTable
        The table.
    settings : NetworkSettings
        Settings.
    seed : int
        Seed.
    answers : int, optional
        How many columns are answers; by default all.
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
    columns = table.values.shape[1]
    if network is None:
        network = (MaskAwareNetwork if method == "vae-masked" else NumericNetwork)(columns, settings)
    rng = np.random.default_rng(seed)
    x, counted = _training_table(method, table, table.spread(rng))
    trained = []
    for k in range(settings.networks):
        rows = np.arange(len(x)) if settings.networks == 1 else rng.integers(len(x), size=len(x))
        report = None if progress is None else _part_of(progress, k, settings.networks)
        own = int(rng.integers(2**62))
        trained.append(train_network(network, x[rows], counted[rows], seed=own, progress=report))
    record = {"method": method, "rows": len(x), "networks": [one.record for one in trained]}
    return FittedNetworks(tuple(trained), table, columns if answers is None else answers, settings.sweeps, seed, record)


def _training_table(method: str, table: NetworkTable, values: Matrix) -> tuple[Matrix, Mask]:
    """Rows that a method learns from, and which of their cells count."""
    observed = table.observed
    if method == "vae-masked":
        kept = observed.any(axis=1)
        return values[kept], observed[kept]
    if method == "vae-mean":
        return np.where(table.missing, np.nanmean(values, axis=0), values), ~table.structural
    complete = ~table.missing.any(axis=1)
    if int(complete.sum()) < FEWEST_ROWS:
        raise ModelProblem(
            f"The method vae learns from complete rows, and only {int(complete.sum())} of {len(values)} rows are "
            f"complete; it needs {FEWEST_ROWS}. Take vae-masked, which learns from all rows, or fewer variables."
        )
    return values[complete], observed[complete]


def _part_of(progress: Progress, k: int, n: int) -> Progress:
    """Report the k-th of n parts as a share of the whole."""
    return lambda percent, text: progress((100.0 * k + percent) / n, text)
