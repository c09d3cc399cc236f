"""Settings of the imputing networks: size, training, length of the chains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from smallarea.errors import ModelProblem, named

# Rows above which batches grow, so that an epoch never takes more than about 300 steps.
SMALL_TABLE, STEPS_AN_EPOCH = 10_000, 300


@dataclass(frozen=True)
class NetworkSettings:
    """Settings of a network that imputes.

    Attributes
    ----------
    latent : int or None
        Latent dimensions; by default two thirds of the columns and at least 8 (``vae``, ``vae-mean``), or as many as
        columns and at least 12 (``vae-masked``).
    hidden : int
        Width of the hidden layers.
    dropout : float
        Share of hidden units of the mask-aware encoder that are left out in training; the other networks have none.
    rate : float
        Learning rate of Adam.
    batch : int or None
        Rows a step; by default 32 up to 10,000 rows, then a power of two that keeps epochs at about 300 steps.
    epochs : int
        Passes over the training rows at most.
    patience : int
        Epochs without improvement after which training stops.
    tolerance : float
        Smallest improvement of the held-out loss that counts.
    held_out : float
        Share of rows that the stopping rule looks at.
    sweeps : int
        Steps of the Markov chain before a draw is taken.
    networks : int
        Above 1, so many networks are trained, each on a bootstrap sample of the rows, and every draw takes one of them,
        so that draws carry the uncertainty of the weights too.
    """

    latent: int | None = None
    hidden: int = 64
    dropout: float = 0.2
    rate: float = 1e-3
    batch: int | None = None
    epochs: int = 1_000
    patience: int = 10
    tolerance: float = 1e-4
    held_out: float = 0.2
    sweeps: int = 50
    networks: int = 1

    def __post_init__(self) -> None:
        whole = {"hidden": self.hidden, "epochs": self.epochs, "patience": self.patience}
        whole |= {"sweeps": self.sweeps, "networks": self.networks}
        whole |= {"latent": 1 if self.latent is None else self.latent, "batch": 1 if self.batch is None else self.batch}
        if wrong := [name for name, value in whole.items() if isinstance(value, bool) or value != int(value) or value < 1]:
            raise ModelProblem(f"Settings of the network that must be whole numbers from 1: {named(wrong)}.")
        if not 0.0 <= self.dropout < 1.0:
            raise ModelProblem(f"dropout is {self.dropout:g}; it is a share from 0 to below 1.")
        if not 0.0 < self.held_out < 1.0:
            raise ModelProblem(f"held_out is {self.held_out:g}; it is a share between 0 and 1.")
        if not self.rate > 0.0 or not self.tolerance >= 0.0:
            raise ModelProblem("rate must be above 0 and tolerance not below 0.")

    def batch_for(self, rows: int) -> int:
        """Rows a step for a table with so many training rows."""
        if self.batch is not None:
            return self.batch
        batch = 32
        while rows > SMALL_TABLE and batch * STEPS_AN_EPOCH < rows:
            batch *= 2
        return batch


def read_settings(settings: Mapping[str, Any] | None) -> NetworkSettings:
    """Settings from a plain mapping.

    Parameters
    ----------
    settings : mapping or None
        Names and values; what is not named keeps its default.

    Returns
    -------
    NetworkSettings
        The settings.

    Raises
    ------
    ModelProblem
        If a name is unknown or a value is impossible.
    """
    known = [one.name for one in fields(NetworkSettings)]
    given = dict(settings or {})
    if unknown := [name for name in given if name not in known]:
        raise ModelProblem(f"Networks have no setting {named(unknown)}. There are: {', '.join(known)}.")
    if words := [name for name, value in given.items() if isinstance(value, str)]:
        raise ModelProblem(f"These settings of the network are numbers, not text: {named(words)}.")
    return NetworkSettings(**given)
